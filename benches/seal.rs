//! How fast we seal and open, beside what OpenSSL's cipher does on the same core.
//!
//! `cargo bench --bench seal`. A record is one envelope; a payload is two (its data key is sealed to the term as well).

#![expect(clippy::print_stdout, reason = "a table for people")]

use secretd::{
    crypto::{
        context::{Context, Subject},
        key::Key,
        keyring::Keyring,
        plaintext::Plaintext,
        record,
    },
    kit::id::{ClusterId, ObjectId},
};
use std::{
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

const SIZES: [(usize, &str); 4] =
    [(64, "64 B"), (1024, "1 KiB"), (64 * 1024, "64 KiB"), (500_000, "500 KB")];
const WINDOW: Duration = Duration::from_millis(200);
const WINDOWS: usize = 5;

fn main() {
    // `cargo test --benches` passes --test: show that it runs, measure nothing.
    let windows = if std::env::args().any(|arg| arg == "--bench") { WINDOWS } else { 0 };
    let openssl = if windows > 0 { openssl_version() } else { None };
    println!(
        "AES-256-GCM on one core, median of {WINDOWS} windows of {WINDOW:?}; MB/s and time per message"
    );
    println!("beside: {}\n", openssl.as_deref().unwrap_or("no openssl here"));
    println!(
        "{:>8}  {:>18}  {:>18}  {:>18}  {:>18}  {:>14}",
        "size", "record seal", "record open", "payload seal", "payload open", "openssl speed"
    );
    // As the daemon does.
    secretd::kit::os::tune_allocator();
    let storage = Key::random();
    let cluster = ClusterId::random();
    let (keyring, _) = Keyring::generate(&Key::random(), cluster);
    let context = Context {
        cluster,
        subject: Subject::Secret,
        object: ObjectId::random(),
        name: "nerd-dinner-db-sa-password".into(),
        version: 1,
    };
    for (size, label) in SIZES {
        let plain = vec![0x5a; size];
        let aad = [7; 48];
        let mut out = Vec::with_capacity(size + record::OVERHEAD);
        let record_seal = measure(windows, || {
            out.clear();
            record::seal_into(&storage, &aad, black_box(&plain), &mut out);
        });
        let sealed = record::seal(&storage, &aad, &plain);
        let mut opened = Vec::with_capacity(size);
        let record_open = measure(windows, || {
            opened.clear();
            record::open_into(&storage, &aad, black_box(&sealed), &mut opened)
                .expect("just sealed");
        });
        let payload_seal = measure(windows, || {
            black_box(keyring.seal(&context, Plaintext::new(plain.clone())));
        });
        let sealed = keyring.seal(&context, Plaintext::new(plain.clone()));
        let payload_open = measure(windows, || {
            black_box(keyring.check(&context, black_box(&sealed)).expect("just sealed"));
        });
        let speed = openssl.as_ref().and_then(|_| openssl_speed(size));
        println!(
            "{label:>8}  {}  {}  {}  {}  {:>14}",
            cell(size, record_seal),
            cell(size, record_open),
            cell(size, payload_seal),
            cell(size, payload_open),
            speed.map_or("-".into(), |mb| format!("{mb:.0}")),
        );
    }
}

/// The median time of one call; one call is made to see that it works when no window is asked for.
fn measure(windows: usize, mut call: impl FnMut()) -> Option<Duration> {
    call();
    let mut times: Vec<Duration> = (0..windows)
        .map(|_| {
            let (start, mut calls) = (Instant::now(), 0_u32);
            while start.elapsed() < WINDOW {
                (0..16).for_each(|_| call());
                calls += 16;
            }
            start.elapsed() / calls
        })
        .collect();
    times.sort_unstable();
    times.get(windows / 2).copied()
}

fn cell(size: usize, time: Option<Duration>) -> String {
    let Some(time) = time else { return format!("{:>18}", "-") };
    let (secs, bytes) = (time.as_secs_f64(), f64::from(u32::try_from(size).expect("small")));
    format!("{:>7.0} {:>7.2} us", bytes / secs / 1e6, secs * 1e6)
}

fn openssl_version() -> Option<String> {
    let out = Command::new("openssl").arg("version").output().ok()?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// MB/s of `openssl speed`: one key for all messages, no AAD, no key derivation.
fn openssl_speed(size: usize) -> Option<f64> {
    // By the clock on the wall, as ours: on a busy machine its count of CPU time would flatter it.
    let args = ["speed", "-elapsed", "-mr", "-evp", "aes-256-gcm", "-seconds", "1", "-bytes"];
    let out = Command::new("openssl").args(args).arg(size.to_string()).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("+F:"))?;
    line.rsplit(':').next()?.trim().parse::<f64>().ok().map(|bytes| bytes / 1e6)
}
