//! Which faults strike, drawn from the seed: the nth round is the same in every run.

use std::fmt;
use std::time::Duration;

use clb_tests::dice::Dice;

const SUBJECT: u64 = 0x6e65_6d65;

/// Whom a fault strikes. Who leads is found out when it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Worker(u16),
    Program(u16),
    Leader,
    Standby,
}

/// What is done to it. What lasts for a time is undone after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillProcess(Victim),
    Kill(Victim),
    Stop(Victim),
    Remove(Victim),
    Pause(Victim, Duration),
    Freeze(Victim, Duration),
    StallLog(Victim, Duration),
    CutOff(Victim, Duration),
    SimulateCrash(Victim, Duration),
    StarveOfMemory(u16),
    EatMemory,
    KillBoth,
    StopBoth,
    RemoveBoth,
    PauseBoth(Duration),
    RollPool(u64),
    Restart(Victim),
    Drain(Victim, Duration),
    AskALot,
    BreakOffABatch(u64),
    KillClient(Duration),
    KillDatabase,
    TakeEngineAway(Duration),
    SlowEngine(Duration),
}

/// Faults that strike together, each a moment after the round begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// How long all is left alone afterwards.
    pub(crate) rest: Duration,
}

/// How many there are of whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crew {
    pub(crate) workers: u16,
    pub(crate) programs: u16,
}

/// The round with this number.
pub(crate) fn draw(seed: u64, number: u64, (least, most): (u64, u64), crew: Crew) -> Round {
    let mut dice = Dice::about(seed, SUBJECT, number);
    let count = least + dice.roll(most - least + 1);
    let faults = (0..count).map(|_| (dice.millis(0, 800), fault(&mut dice, crew))).collect();
    Round { faults, rest: dice.millis(0, 1_500) }
}

fn fault(dice: &mut Dice, crew: Crew) -> Fault {
    let victim = victim(dice, crew);
    let worker = worker(dice, crew);
    // Shorter and longer than a lease and than a worker may be silent.
    let time = if dice.once_in(2) { dice.millis(100, 1_500) } else { dice.millis(2_500, 9_000) };
    match dice.roll(60) {
        0..6 => Fault::KillProcess(victim),
        6..12 => Fault::Kill(victim),
        12..16 => Fault::Stop(victim),
        16..19 => Fault::Remove(victim),
        19..24 => Fault::Pause(victim, time),
        24..27 => Fault::Freeze(victim, time),
        27..30 => Fault::StallLog(victim, time),
        30..33 => Fault::CutOff(victim, time),
        33..36 => {
            let victim = if let Victim::Program(_) = victim { Victim::Leader } else { victim };
            Fault::SimulateCrash(victim, time)
        }
        36..38 => Fault::StarveOfMemory(1 + dice.roll(u64::from(crew.workers)) as u16),
        38..40 => Fault::EatMemory,
        40..42 => Fault::KillBoth,
        42 => Fault::StopBoth,
        43 => Fault::RemoveBoth,
        44 => Fault::PauseBoth(time),
        45..47 => Fault::RollPool(dice.roll(1_000_000)),
        47..49 => Fault::Restart(worker),
        49..51 => Fault::Drain(worker, time),
        51..53 => Fault::AskALot,
        53 => Fault::BreakOffABatch(dice.roll(2)),
        54..56 => Fault::KillClient(dice.millis(5, 300)),
        56 => Fault::KillDatabase,
        57..59 => Fault::TakeEngineAway(time),
        _ => Fault::SlowEngine(time),
    }
}

fn victim(dice: &mut Dice, crew: Crew) -> Victim {
    match dice.roll(10) {
        0..3 => Victim::Leader,
        3..5 => Victim::Standby,
        _ => worker(dice, crew),
    }
}

fn worker(dice: &mut Dice, crew: Crew) -> Victim {
    let number = dice.roll(u64::from(crew.workers + crew.programs)) as u16;
    if number < crew.workers {
        Victim::Worker(1 + number)
    } else {
        Victim::Program(1 + number - crew.workers)
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(slot) => write!(f, "worker-{slot}"),
            Self::Program(slot) => write!(f, "{}-{slot}", crate::workload::PROGRAMS),
            Self::Leader => f.write_str("the leader"),
            Self::Standby => f.write_str("the standby"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillProcess(victim) => write!(f, "kill -9 of the process of {victim}"),
            Self::Kill(victim) => write!(f, "docker kill {victim}"),
            Self::Stop(victim) => write!(f, "docker stop {victim}"),
            Self::Remove(victim) => write!(f, "docker rm -f {victim}"),
            Self::Pause(victim, time) => write!(f, "docker pause {victim} for {time:?}"),
            Self::Freeze(victim, time) => write!(f, "SIGSTOP of the process of {victim} for {time:?}"),
            Self::StallLog(victim, time) => {
                write!(f, "SIGSTOP of whoever reads the output of {victim} for {time:?}")
            }
            Self::CutOff(victim, time) => write!(f, "docker network disconnect {victim} for {time:?}"),
            Self::SimulateCrash(victim, time) => write!(f, "/stop of {victim} for {time:?}"),
            Self::StarveOfMemory(slot) => write!(f, "worker-{slot} gets too little memory"),
            Self::EatMemory => f.write_str("a program eats more memory than its worker has"),
            Self::KillBoth => f.write_str("docker kill both orchestrators"),
            Self::StopBoth => f.write_str("docker stop both orchestrators"),
            Self::RemoveBoth => f.write_str("docker rm -f both orchestrators"),
            Self::PauseBoth(time) => write!(f, "docker pause both orchestrators for {time:?}"),
            Self::RollPool(version) => write!(f, "PUT of the pool programs, version {version}"),
            Self::Restart(victim) => write!(f, "restart of {victim}"),
            Self::Drain(victim, time) => write!(f, "drain of {victim} for {time:?}"),
            Self::AskALot => f.write_str("a burst of explanations, lists and counts"),
            Self::BreakOffABatch(door) => write!(f, "half a batch for orchestrator-{}", door + 1),
            Self::KillClient(after) => write!(f, "kill -9 of `clb batch` after {after:?}"),
            Self::KillDatabase => f.write_str("docker kill the database"),
            Self::TakeEngineAway(time) => write!(f, "no engine for {time:?}"),
            Self::SlowEngine(time) => write!(f, "a slow engine for {time:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::mem::discriminant;

    use super::*;

    const CREW: Crew = Crew { workers: 3, programs: 2 };

    #[test]
    fn a_round_is_the_same_whenever_it_is_drawn_and_has_as_many_faults_as_wanted() {
        let mut counts = BTreeSet::new();
        for number in 0..200 {
            let round = draw(5, number, (1, 3), CREW);
            assert_eq!(round, draw(5, number, (1, 3), CREW));
            counts.insert(round.faults.len());
        }
        assert_eq!(counts, BTreeSet::from([1, 2, 3]));
        assert_eq!(draw(5, 0, (2, 2), CREW).faults.len(), 2);
        assert_ne!(draw(5, 1, (1, 3), CREW), draw(6, 1, (1, 3), CREW));
    }

    #[test]
    fn every_fault_and_every_victim_comes_up() {
        let rounds = (0..500).flat_map(|number| draw(5, number, (3, 3), CREW).faults);
        let faults: Vec<Fault> = rounds.map(|(_, fault)| fault).collect();
        let kinds: std::collections::HashSet<_> = faults.iter().map(discriminant).collect();
        assert_eq!(kinds.len(), 24);
        for victim in [Victim::Leader, Victim::Standby, Victim::Worker(3), Victim::Program(2)] {
            assert!(faults.contains(&Fault::Kill(victim)), "{victim}");
        }
    }
}
