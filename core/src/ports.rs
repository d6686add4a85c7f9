//! Which ports of the host the workers of a pool are published on: those from its first one on, without those of the
//! system itself. Whose they are depends on nothing else, so that a worker keeps its port when others come and go.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use clb_protocol::pool::PoolSpec;

/// Ports of the host that no worker may be published on: those of orchestrators, database and client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved(BTreeSet<u16>);

impl Reserved {
    /// The `n`th port from `first` on, beginning with 1; `None` beyond the last port there is.
    #[must_use]
    pub fn nth(&self, first: u16, n: u16) -> Option<u16> {
        let mut port = u32::from(first) + u32::from(n.saturating_sub(1));
        for reserved in self.0.range(first..) {
            if u32::from(*reserved) > port {
                break;
            }
            port += 1;
        }
        u16::try_from(port).ok()
    }

    /// From the first to the last port of a pool; nothing of another pool fits in between.
    ///
    /// # Errors
    /// It says what is in the way, for people.
    pub fn span(&self, spec: &PoolSpec) -> Result<Option<RangeInclusive<u16>>, String> {
        let Some(first) = spec.first_port.filter(|_| spec.workers > 0) else { return Ok(None) };
        if self.0.contains(&first) {
            return Err(format!("port {first} belongs to the system itself"));
        }
        match self.nth(first, spec.workers) {
            Some(last) => Ok(Some(first..=last)),
            None => Err("must leave every worker a port up to 65535".to_owned()),
        }
    }
}

impl FromIterator<u16> for Reserved {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        Self(ports.into_iter().collect())
    }
}

/// Whether two pools want the same port.
#[must_use]
pub fn overlap(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> bool {
    one.start() <= other.end() && other.start() <= one.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved() -> Reserved {
        [3_001, 3_002, 3_003, 3_012, 3_013].into_iter().collect()
    }

    fn spec(first_port: u16, workers: u16) -> PoolSpec {
        PoolSpec { workers, first_port: Some(first_port), ..PoolSpec::default() }
    }

    #[test]
    fn workers_have_the_ports_from_the_first_on_without_those_of_the_system() {
        let ports: Vec<u16> = (1..=10).filter_map(|n| reserved().nth(3_004, n)).collect();
        assert_eq!(ports, [3_004, 3_005, 3_006, 3_007, 3_008, 3_009, 3_010, 3_011, 3_014, 3_015]);
        assert_eq!(reserved().nth(65_535, 1), Some(65_535));
        assert_eq!(reserved().nth(65_535, 2), None);
    }

    #[test]
    fn a_pool_spans_the_ports_of_the_system_and_does_not_begin_with_one() {
        assert_eq!(reserved().span(&spec(3_004, 9)), Ok(Some(3_004..=3_014)));
        assert_eq!(reserved().span(&spec(3_004, 0)), Ok(None));
        assert_eq!(reserved().span(&PoolSpec::default()), Ok(None));
        let refused = reserved().span(&spec(3_012, 1)).unwrap_err();
        assert_eq!(refused, "port 3012 belongs to the system itself");
        assert!(reserved().span(&spec(65_000, 1_000)).unwrap_err().contains("65535"));
    }

    #[test]
    fn pools_overlap_when_they_share_a_port() {
        assert!(overlap(&(3_004..=3_006), &(3_006..=3_008)) && overlap(&(3_004..=3_009), &(3_005..=3_005)));
        assert!(!overlap(&(3_004..=3_006), &(3_007..=3_008)));
    }
}
