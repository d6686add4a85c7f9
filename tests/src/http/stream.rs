//! A body as it comes.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::patience::LONG;

/// An answer that goes on.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    read: Vec<u8>,
}

impl Stream {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, read: Vec::new() }
    }

    /// Reads on; `false` at the end. An error when it broke off.
    async fn more(&mut self) -> Result<bool, String> {
        let frame = timeout(LONG, self.body.frame()).await.map_err(|_| "nothing comes".to_owned())?;
        let Some(frame) = frame else { return Ok(false) };
        let frame = frame.map_err(|error| format!("it broke off: {error}"))?;
        self.read.extend_from_slice(&frame.into_data().unwrap_or_default());
        Ok(true)
    }

    /// Everything so far, once it has this in it.
    pub async fn until(&mut self, text: &str) -> String {
        loop {
            let read = String::from_utf8_lossy(&self.read).into_owned();
            if read.contains(text) {
                return read;
            }
            match self.more().await {
                Ok(true) => {}
                Ok(false) => panic!("it ended without {text:?}: {read:?}"),
                Err(why) => panic!("{why} after {read:?}"),
            }
        }
    }

    /// All of it, once it has ended; an error when it broke off.
    pub async fn whole(mut self) -> Result<Vec<u8>, String> {
        while self.more().await? {}
        Ok(self.read)
    }
}
