//! The protocol of beanstalkd, as much as one task needs.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;

use serde_json::Value;

use super::{Server, figures};

struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Sends a command and gives the words of the answer, which must begin with this one.
    fn call(&mut self, command: &str, expected: &str) -> io::Result<Vec<String>> {
        self.0.get_mut().write_all(command.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match words.first() {
            Some(word) if word == expected => Ok(words),
            _ => Err(io::Error::other(format!("answered {command:?} with {line:?}"))),
        }
    }

    /// Takes one job and deletes it.
    fn work(&mut self) -> io::Result<()> {
        let reserved = self.call("reserve\r\n", "RESERVED")?;
        let bytes: usize = reserved[2].parse().map_err(io::Error::other)?;
        self.0.read_exact(&mut vec![0; bytes + 2])?;
        self.call(&format!("delete {}\r\n", reserved[1]), "DELETED")?;
        Ok(())
    }
}

pub(super) fn measure() -> io::Result<Value> {
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let server = Server::start("beanstalkd", |port| {
        let folder = folder.path().display().to_string();
        ["-l", "127.0.0.1", "-p", port, "-b", &folder, "-f", "0"].map(str::to_owned).to_vec()
    })?;
    let connect = || server.connect().map(|stream| Connection(BufReader::new(stream)));
    let (mut caller, mut worker) = (connect()?, connect()?);
    let (tell, done) = mpsc::channel();
    // It ends with the server.
    std::thread::spawn(move || while worker.work().is_ok_and(|()| tell.send(()).is_ok()) {});
    figures(|| {
        caller.call("put 0 0 60 5\r\n3 + 4\r\n", "INSERTED")?;
        done.recv().map_err(io::Error::other)
    })
}
