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
const CTRL_U: u8 = 21;
const CTRL_W: u8 = 23;
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
    let mut escape = Escape::None;
    let mut byte = Zeroizing::new([0]);
    while bytes.len() < bound && rustix::io::read(terminal, &mut byte[..])? == 1 {
        match byte[0] {
            CTRL_C => return Ok(Asked::Interrupted),
            CTRL_D => break,
            byte if byte == end => break,
            byte if escape.takes(byte) => {}
            byte => press(&mut bytes, byte),
        }
    }
    Ok(Asked::Typed(bytes))
}

/// Where in the sequence of an arrow, a function key or Alt the keys are; such a sequence is no part of what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    Sequence,
}

impl Escape {
    fn takes(&mut self, key: u8) -> bool {
        *self = match (*self, key) {
            (_, 27) => Self::Begun,
            (Self::None, _) => return false,
            (Self::Begun, b'[' | b'O') => Self::Sequence,
            (Self::Sequence, b' '..=b'?') => Self::Sequence,
            (Self::Begun | Self::Sequence, _) => Self::None,
        };
        true
    }
}

/// What a key does to what was typed so far. Nothing is shown, so a key must do here what it does at every other prompt;
/// and one that would leave a character nobody sees (an arrow, Ctrl-Z) leaves none.
fn press(typed: &mut Zeroizing<Vec<u8>>, key: u8) {
    match key {
        BACKSPACE | DELETE => drop_character(typed),
        CTRL_U => {
            while typed.last().is_some_and(|last| *last != b'\n') {
                drop_character(typed);
            }
        }
        CTRL_W => {
            let is_blank = |last: &u8| matches!(*last, b' ' | b'\t');
            while typed.last().is_some_and(is_blank) {
                drop_character(typed);
            }
            while typed.last().is_some_and(|last| !is_blank(last) && *last != b'\n') {
                drop_character(typed);
            }
        }
        b'\n' | b'\t' | b' '.. => typed.push(key),
        _ => {}
    }
}

/// Takes the last character, which may be several bytes; one that is no UTF-8 goes byte by byte.
fn drop_character(typed: &mut Zeroizing<Vec<u8>>) {
    let is_whole = |from: usize| std::str::from_utf8(&typed[from..]).is_ok();
    let most = typed.len().saturating_sub(4);
    let from = (most..typed.len()).rev().find(|from| is_whole(*from));
    let keep = from.unwrap_or(typed.len().saturating_sub(1));
    typed[keep..].fill(0);
    typed.truncate(keep);
}

fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    // Nobody there to read it is no reason to stop.
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Vec<u8> {
        let (mut typed, mut escape) = (Zeroizing::new(Vec::new()), Escape::None);
        for key in keys {
            if !escape.takes(*key) {
                press(&mut typed, *key);
            }
        }
        typed.to_vec()
    }

    #[test]
    fn backspace_takes_the_last_character_however_many_bytes_it_has() {
        assert_eq!(typed("päß€😀\u{7f}\u{8}".as_bytes()), "päß".as_bytes());
        assert_eq!(typed("pä\u{7f}\u{7f}\u{7f}\u{7f}".as_bytes()), b"");
        assert_eq!(typed(b"a\xff\xfe\x7f"), b"a\xff");
    }

    #[test]
    fn keys_that_erase_lines_and_words_do_so_and_none_leaves_what_nobody_sees() {
        assert_eq!(typed("eins zwei\u{15}drei".as_bytes()), b"drei");
        assert_eq!(typed("one\ntwo\u{15}2".as_bytes()), b"one\n2");
        assert_eq!(typed("one zwö  \u{17}2".as_bytes()), b"one 2");
        assert_eq!(typed(b"a\x1a\x00b\tc"), b"ab\tc");
        assert_eq!(typed(b"a\x1b[D\x1b[1;5Cb\x1bOPc\x1bxd"), b"abcd");
    }
}
