//! Asks at a terminal for what must not be shown while it is typed.

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::{
    io::{self, Write as _},
    os::fd::BorrowedFd,
};
use zeroize::Zeroizing;

/// What came of a question.
#[derive(Debug)]
pub enum Asked {
    Typed(Zeroizing<Vec<u8>>),
    /// Ctrl-C: whoever sits there wants none of this.
    Interrupted,
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// Puts the terminal back as it was, whatever happens.
struct Restore<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        termios::tcsetattr(self.terminal, OptionalActions::Now, &self.before).ok();
        print("\n");
    }
}

/// Asks on standard error and reads `terminal` byte by byte up to `end`, Ctrl-D, or `bound` bytes: no echo, no limit to
/// a line, one allocation, and the terminal is as before when it returns, after Ctrl-C too.
///
/// # Errors
/// What is no terminal, or went away.
pub fn hidden(
    terminal: BorrowedFd<'_>,
    question: &str,
    bound: usize,
    end: u8,
) -> io::Result<Asked> {
    let before = termios::tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    silent.special_codes[SpecialCodeIndex::VMIN] = 1;
    silent.special_codes[SpecialCodeIndex::VTIME] = 0;
    print(question);
    termios::tcsetattr(terminal, OptionalActions::Flush, &silent)?;
    let _restore = Restore { terminal, before };
    let mut bytes = Zeroizing::new(Vec::with_capacity(bound));
    let mut byte = Zeroizing::new([0]);
    while bytes.len() < bound && rustix::io::read(terminal, &mut byte[..])? == 1 {
        match byte[0] {
            CTRL_C => return Ok(Asked::Interrupted),
            CTRL_D => break,
            byte if byte == end => break,
            BACKSPACE | DELETE => {
                bytes.pop();
            }
            other => bytes.push(other),
        }
    }
    Ok(Asked::Typed(bytes))
}

fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    // Nobody there to read it is no reason to stop.
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).ok();
}
