//! How a dead container is judged, from what Docker tells about it.

use clb_protocol::api::{Usage, Verdict, VerdictKind};

const SIGINT: i64 = 2;
const SIGKILL: i64 = 9;
const SIGTERM: i64 = 15;

/// How a container's process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Nobody can tell: the container was gone already, or the engine cannot say.
    #[default]
    Unknown,
    /// It never began: whoever made the container died before starting it.
    NeverRan,
    /// With this exit code.
    Exited(i64),
}

/// What was found of a dead container before it was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// How its process ended.
    pub end: End,
    /// Whether it was dead before anybody here touched it.
    pub was_dead: bool,
    /// Whether the kernel killed it over its memory limit.
    pub oom: bool,
    /// Its memory limit, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Its last lines.
    pub last_logs: Vec<String>,
}

/// The highest memory use among samples, in bytes.
#[must_use]
pub fn memory_peak<'a>(usage: impl IntoIterator<Item = &'a Usage>) -> Option<u64> {
    usage.into_iter().map(|sample| sample.memory_bytes).max()
}

/// Judges a death. `signalled` is the last signal that somebody sent through Docker; `peak_bytes` the
/// highest memory use that was seen.
#[must_use]
pub fn judge(remains: &Remains, signalled: Option<i64>, peak_bytes: Option<u64>) -> Verdict {
    let exit_code = match (remains.end, signalled) {
        (End::Exited(code), _) => code,
        (End::NeverRan, _) => {
            return Verdict::new(VerdictKind::HostLost, "It was made and never started");
        }
        (End::Unknown, Some(signal)) => return by_signal(signal, true, None),
        (End::Unknown, None) => {
            return Verdict::new(VerdictKind::HostLost, "The container is gone and nobody can tell how");
        }
    };
    if remains.oom {
        let limit = remains.memory_limit_bytes.map_or("unknown".to_owned(), mebibytes);
        let peak = peak_bytes.map_or("unknown".to_owned(), mebibytes);
        let detail =
            format!("The kernel killed it over its memory limit of {limit} (highest use seen: {peak})");
        return Verdict {
            exit_code: Some(exit_code),
            signal: Some(SIGKILL),
            ..Verdict::new(VerdictKind::Oom, detail)
        };
    }
    if let Some(signal @ (SIGTERM | SIGINT)) = signalled {
        let detail = format!("It was stopped through Docker and ended with exit code {exit_code}");
        let signal = (exit_code > 128).then_some(signal);
        return Verdict { exit_code: Some(exit_code), signal, ..Verdict::new(VerdictKind::Stopped, detail) };
    }
    if exit_code > 128 {
        let signal = exit_code - 128;
        return by_signal(signal, signalled == Some(signal), Some(exit_code));
    }
    let detail = format!("Its process ended by itself with exit code {exit_code}");
    Verdict { exit_code: Some(exit_code), ..Verdict::new(VerdictKind::Exited, detail) }
}

/// Whether somebody ended the container through Docker, which says nothing against what is in it.
#[must_use]
pub fn is_by_hand(verdict: &Verdict, signalled: Option<i64>) -> bool {
    match verdict.kind {
        VerdictKind::Stopped => signalled.is_some(),
        VerdictKind::Killed => signalled.is_some() && signalled == verdict.signal,
        _ => false,
    }
}

fn by_signal(signal: i64, through_docker: bool, exit_code: Option<i64>) -> Verdict {
    let by = if through_docker { "sent through Docker" } else { "from outside of Docker" };
    let verdict = Verdict::new(VerdictKind::Killed, format!("Signal {signal}, {by}, killed its process"));
    Verdict { exit_code, signal: Some(signal), ..verdict }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(exit_code: Option<i64>, oom: bool, signalled: Option<i64>) -> (VerdictKind, Option<i64>) {
        let end = exit_code.map_or(End::Unknown, End::Exited);
        let remains = Remains { end, oom, ..Remains::default() };
        let verdict = judge(&remains, signalled, Some(1 << 20));
        (verdict.kind, verdict.signal)
    }

    #[test]
    fn every_way_to_die_has_its_verdict() {
        assert_eq!(judged(Some(1), false, None), (VerdictKind::Exited, None));
        assert_eq!(judged(Some(137), false, None), (VerdictKind::Killed, Some(9)));
        assert_eq!(judged(Some(137), false, Some(9)), (VerdictKind::Killed, Some(9)));
        assert_eq!(judged(Some(139), false, None), (VerdictKind::Killed, Some(11)));
        assert_eq!(judged(Some(137), true, None), (VerdictKind::Oom, Some(9)));
        assert_eq!(judged(Some(0), false, Some(15)), (VerdictKind::Stopped, None));
        assert_eq!(judged(Some(137), false, Some(15)), (VerdictKind::Stopped, Some(15)));
        assert_eq!(judged(None, false, Some(9)), (VerdictKind::Killed, Some(9)));
        assert_eq!(judged(None, false, None), (VerdictKind::HostLost, None));
        assert_eq!(judged(Some(139), false, Some(9)), (VerdictKind::Killed, Some(11)));
        let never = judge(&Remains { end: End::NeverRan, ..Remains::default() }, None, None);
        assert_eq!(never.detail, "It was made and never started");
    }

    #[test]
    fn only_a_death_that_docker_was_asked_for_is_by_hand() {
        let is_by_hand = |exit_code, oom, signalled| {
            let remains = Remains { end: End::Exited(exit_code), oom, ..Remains::default() };
            is_by_hand(&judge(&remains, signalled, None), signalled)
        };
        assert!(is_by_hand(137, false, Some(9)) && is_by_hand(0, false, Some(15)));
        assert!(is_by_hand(137, false, Some(15)), "its grace was over before Docker said so");
        assert!(!is_by_hand(137, false, None), "a signal from outside of Docker");
        assert!(!is_by_hand(139, false, Some(1)), "it crashed after a signal that it took");
        assert!(!is_by_hand(3, false, Some(1)), "it ended by itself after a signal that it took");
        assert!(!is_by_hand(137, true, Some(9)), "out of memory");
    }
}
