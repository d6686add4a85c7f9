//! A program for inside of containers that have no shell: ends, fills, writes and removes as told.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// A supervised program's container ends with the code that is written here.
const ORDER: &str = "/tmp/exit";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["exit", code] => return ExitCode::from(code.parse().unwrap_or(u8::MAX)),
        ["supervise", program] => supervise(program),
        ["write", path, text] => std::fs::write(path, text).map(|()| 0),
        ["fill", path] => fill(path).map(|()| 0),
        ["remove", path] => std::fs::remove_file(path).map(|()| 0),
        ["mode", octal, path] => set_mode(octal, path).map(|()| 0),
        _ => Err(io::Error::other(
            "exit CODE, supervise PROGRAM, write PATH TEXT, fill PATH, remove PATH, mode OCTAL PATH",
        )),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("fixture: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a program until it ends or until somebody writes an exit code to [`ORDER`].
fn supervise(program: &str) -> io::Result<u8> {
    let mut child = Command::new(program).spawn()?;
    loop {
        if let Ok(code) = std::fs::read_to_string(ORDER) {
            return code.trim().parse().map_err(io::Error::other);
        }
        if let Some(status) = child.try_wait()? {
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
            return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes until nothing more fits.
fn fill(path: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    for block in [64 << 10, 4 << 10, 1] {
        let block = vec![7; block];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn set_mode(octal: &str, path: &str) -> io::Result<()> {
    let mode = u32::from_str_radix(octal, 8).map_err(io::Error::other)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}
