//! Whom to ask next while a leader is sought. Pure: each orchestrator is asked once at a time, at
//! once after another one has named it as the leader, and ever more rarely while it does not answer.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The pause after the how-many-th failure, from 1. `spread` from 0 to 1 shortens it by up to a
/// half, so that many workers do not come at the same moment.
pub(crate) fn pause(failures: u32, spread: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    whole.mul_f64(1.0 - spread.clamp(0.0, 1.0) / 2.0)
}

#[derive(Debug)]
struct Candidate {
    url: String,
    failures: u32,
    /// When it is asked next; `None` while it is being asked.
    due: Option<Instant>,
}

/// The orchestrators that may lead.
#[derive(Debug)]
pub(super) struct Search {
    candidates: Vec<Candidate>,
    avoid: Option<String>,
}

impl Search {
    /// All of `urls` are due at `from`, without `avoid`.
    pub(super) fn new(urls: impl IntoIterator<Item = String>, avoid: Option<String>, from: Instant) -> Self {
        let mut search = Self { candidates: Vec::new(), avoid };
        for url in urls {
            search.add(&url, from);
        }
        search
    }

    /// Takes those that are to be asked now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<String> {
        let due = self.candidates.iter_mut().filter(|it| it.due.is_some_and(|due| due <= now));
        due.map(|it| {
            it.due = None;
            it.url.clone()
        })
        .collect()
    }

    /// When somebody is to be asked next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.candidates.iter().filter_map(|it| it.due).min()
    }

    /// `url` did not answer, or does not lead.
    pub(super) fn handle_failure(&mut self, url: &str, now: Instant, spread: f64) {
        if let Some(candidate) = self.candidates.iter_mut().find(|it| it.url == url) {
            candidate.failures += 1;
            candidate.due = Some(now + pause(candidate.failures, spread));
        }
    }

    /// `url` named the leader.
    pub(super) fn handle_misdirected(&mut self, url: &str, leader: &str, now: Instant, spread: f64) {
        self.handle_failure(url, now, spread);
        let leader = leader.trim_end_matches('/');
        if leader == url {
            return;
        }
        match self.candidates.iter_mut().find(|it| it.url == leader) {
            // The first hint outruns the pause; one that keeps failing is not asked more often for it.
            Some(named) if named.failures <= 1 => named.due = named.due.map(|due| due.min(now)),
            Some(_) => {}
            None => self.add(leader, now),
        }
    }

    fn add(&mut self, url: &str, from: Instant) {
        let is_known = self.candidates.iter().any(|it| it.url == url);
        if !is_known && self.avoid.as_deref() != Some(url) {
            self.candidates.push(Candidate { url: url.to_owned(), failures: 0, due: Some(from) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(avoid: Option<&str>, now: Instant) -> Search {
        let urls = ["http://a", "http://b", "http://a"].map(str::to_owned);
        Search::new(urls, avoid.map(str::to_owned), now)
    }

    #[test]
    fn all_are_asked_at_once_and_each_only_once_at_a_time() {
        let now = Instant::now();
        let mut search = search(None, now);
        assert_eq!(search.take_due(now), ["http://a", "http://b"]);
        assert!(search.take_due(now).is_empty());
        assert_eq!(search.next_due(), None);
    }

    #[test]
    fn who_fails_is_asked_again_ever_more_rarely() {
        let now = Instant::now();
        let mut search = search(None, now);
        search.take_due(now);
        search.handle_failure("http://a", now, 0.0);
        assert_eq!(search.next_due(), Some(now + FIRST_PAUSE));
        assert_eq!(search.take_due(now + FIRST_PAUSE), ["http://a"]);
        search.handle_failure("http://a", now, 0.0);
        assert_eq!(search.next_due(), Some(now + FIRST_PAUSE * 2));
        assert_eq!(pause(40, 0.0), LONGEST_PAUSE);
        assert_eq!(pause(40, 1.0), LONGEST_PAUSE / 2);
    }

    #[test]
    fn a_named_leader_is_asked_at_once() {
        let now = Instant::now();
        let mut search = search(None, now);
        search.take_due(now);
        search.handle_failure("http://b", now, 0.0);
        search.handle_misdirected("http://a", "http://b/", now, 0.0);
        assert_eq!(search.take_due(now), ["http://b"]);
        search.handle_misdirected("http://a", "http://c", now, 0.0);
        assert_eq!(search.take_due(now), ["http://c"]);
    }

    #[test]
    fn a_named_leader_that_is_being_asked_is_not_asked_twice() {
        let now = Instant::now();
        let mut search = search(None, now);
        search.take_due(now);
        search.handle_misdirected("http://a", "http://b", now, 0.0);
        assert!(search.take_due(now).is_empty());
    }

    #[test]
    fn two_that_name_a_dead_leader_do_not_make_the_worker_hammer_it() {
        let now = Instant::now();
        let mut search = search(None, now);
        search.take_due(now);
        for _ in 0..3 {
            search.handle_failure("http://b", now, 0.0);
        }
        search.handle_misdirected("http://a", "http://b", now, 0.0);
        assert!(search.take_due(now).is_empty());
    }

    #[test]
    fn the_one_to_avoid_is_not_asked_even_when_it_is_named() {
        let now = Instant::now();
        let mut search = search(Some("http://b"), now);
        assert_eq!(search.take_due(now), ["http://a"]);
        search.handle_misdirected("http://a", "http://b", now, 0.0);
        assert!(search.take_due(now).is_empty());
    }
}
