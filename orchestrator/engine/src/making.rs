//! Everything that is made or started on the engine has its turn here, so that it can come to an end: a
//! request that the engine has taken cannot be taken back.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Docker, EngineError};

/// How many things are made at once. The engine is no faster with more, and has to finish all that it took.
const AT_ONCE: u32 = 16;

#[derive(Debug)]
pub(crate) struct Making {
    turns: Semaphore,
    is_over: AtomicBool,
}

impl Default for Making {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE as usize), is_over: AtomicBool::new(false) }
    }
}

impl Making {
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, EngineError> {
        let turn = self.turns.acquire().await.map_err(|_| EngineError::TakenDown)?;
        if self.is_over.load(Ordering::SeqCst) { Err(EngineError::TakenDown) } else { Ok(turn) }
    }

    async fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Whoever waits for a turn goes first, and without having made anything.
        drop(self.turns.acquire_many(AT_ONCE).await);
    }
}

impl Docker {
    /// From now on nothing is made or started. Returns once everything is there that was being made.
    pub async fn make_no_more(&self) {
        self.making.end().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_what_is_being_made_and_nothing_is_made_after_it() {
        let making = Making::default();
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(making.turn().await.unwrap());
        }
        let mut late = std::pin::pin!(making.turn());
        assert!(late.as_mut().now_or_never().is_none());
        let mut end = std::pin::pin!(making.end());
        assert!(end.as_mut().now_or_never().is_none());
        turns.pop();
        assert!(matches!(late.await, Err(EngineError::TakenDown)));
        assert!(end.as_mut().now_or_never().is_none());
        turns.clear();
        end.await;
        assert!(matches!(making.turn().await, Err(EngineError::TakenDown)));
    }
}
