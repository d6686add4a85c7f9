//! The binary protocol of Gearman, as much as one task needs.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::{Server, figures};

const CAN_DO: u32 = 1;
const PRE_SLEEP: u32 = 4;
const NOOP: u32 = 6;
const SUBMIT_JOB: u32 = 7;
const JOB_CREATED: u32 = 8;
const GRAB_JOB: u32 = 9;
const NO_JOB: u32 = 10;
const JOB_ASSIGN: u32 = 11;
const WORK_COMPLETE: u32 = 13;

struct Connection(TcpStream);

impl Connection {
    fn say(&mut self, kind: u32, data: &[u8]) -> io::Result<()> {
        let mut packet = b"\0REQ".to_vec();
        packet.extend(kind.to_be_bytes());
        packet.extend((data.len() as u32).to_be_bytes());
        packet.extend(data);
        self.0.write_all(&packet)
    }

    fn hear(&mut self) -> io::Result<(u32, Vec<u8>)> {
        let mut header = [0; 12];
        self.0.read_exact(&mut header)?;
        let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| header[at + n]));
        let mut data = vec![0; number(8) as usize];
        self.0.read_exact(&mut data)?;
        Ok((number(4), data))
    }

    fn expect(&mut self, kind: u32) -> io::Result<Vec<u8>> {
        match self.hear()? {
            (found, data) if found == kind => Ok(data),
            (found, _) => Err(io::Error::other(format!("packet {found} instead of {kind}"))),
        }
    }

    /// Waits for jobs and does them, until the server is gone.
    fn work(mut self) -> io::Result<()> {
        self.say(CAN_DO, b"add")?;
        self.say(GRAB_JOB, b"")?;
        loop {
            match self.hear()? {
                (JOB_ASSIGN, data) => {
                    let handle = data.split(|byte| *byte == 0).next().unwrap_or_default();
                    self.say(WORK_COMPLETE, &[handle, b"\x007"].concat())?;
                    self.say(GRAB_JOB, b"")?;
                }
                (NO_JOB, _) => self.say(PRE_SLEEP, b"")?,
                (NOOP, _) => self.say(GRAB_JOB, b"")?,
                (kind, _) => return Err(io::Error::other(format!("packet {kind} for a worker"))),
            }
        }
    }
}

pub(super) fn measure() -> io::Result<Value> {
    let folder = tempfile::tempdir()?;
    let server = Server::start("gearmand", |port| {
        let log = folder.path().join("log").display().to_string();
        ["--listen", "127.0.0.1", "--port", port, "--log-file", &log].map(str::to_owned).to_vec()
    })?;
    let worker = Connection(server.connect()?);
    // It ends with the server.
    std::thread::spawn(move || worker.work());
    let mut caller = Connection(server.connect()?);
    figures(|| {
        caller.say(SUBMIT_JOB, b"add\0\x003 + 4")?;
        caller.expect(JOB_CREATED)?;
        caller.expect(WORK_COMPLETE)?;
        Ok(())
    })
}
