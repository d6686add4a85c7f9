//! The command line.

use std::time::Duration;

use clap::Parser;

/// Draws faults from a seed, 1 to 3 at once, on a real cluster under load, and checks that no promise breaks.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaos")]
pub(crate) struct Options {
    /// What everything is drawn from: the same seed strikes with the same faults in the same order
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How long faults are drawn, as in 45s, 10m or 1h
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = time)]
    pub(crate) time: Duration,
    /// How many faults strike at once, as in 2 or 1..3
    #[arg(long, value_name = "N..M", default_value = "1..3", value_parser = span)]
    pub(crate) faults: (u64, u64),
    /// How many tasks wait in a paused pool all the time, and must still be there at the end
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) waiting: u64,
    /// How many workers the pool `default` has
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=12))]
    pub(crate) workers: u16,
    /// How many submissions begin in a second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,
    /// Print what the seed draws and start nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| "must be a time like 45s, 10m or 1h".to_owned())?;
    Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

fn span(text: &str) -> Result<(u64, u64), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (least.parse(), most.trim_start_matches('=').parse()) {
        (Ok(least), Ok(most)) if 1 <= least && least <= most && most <= 10 => Ok((least, most)),
        _ => Err("must be a number from 1 to 10, or two of them as in 1..3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_of_faults_are_read_as_people_write_them() {
        assert_eq!(time("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(time("1h"), Ok(Duration::from_hours(1)));
        assert!(time("soon").is_err() && time("-1s").is_err());
        assert_eq!((span("1..3"), span("2")), (Ok((1, 3)), Ok((2, 2))));
        assert!(span("3..1").is_err() && span("0").is_err() && span("1..99").is_err());
    }
}
