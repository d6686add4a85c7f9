//! Ports on the host that no other cluster of any test process uses.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

/// Below the ports that the kernel gives to outgoing connections.
const FIRST: u16 = 16_000;
const LAST: u16 = 32_000;
const BLOCK: u16 = 20;

/// A block of ports. Holding its first one open keeps other test processes out of it.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    _claim: TcpListener,
}

impl Ports {
    pub(super) fn reserve() -> Self {
        let blocks = (LAST - FIRST) / BLOCK;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_micros());
        let start = (clock % u32::from(blocks)) as u16;
        (0..blocks)
            .map(|step| FIRST + (start + step) % blocks * BLOCK)
            .find_map(Self::claim)
            .expect("there is a block of free ports")
    }

    fn claim(first: u16) -> Option<Self> {
        let claim = bind(first)?;
        let all_free = (first + 1..first + BLOCK).all(|port| bind(port).is_some());
        all_free.then_some(Self { first, _claim: claim })
    }

    pub(super) fn orchestrator(&self, number: usize) -> u16 {
        self.first + 1 + number as u16
    }

    pub(super) fn client(&self) -> u16 {
        self.first + 3
    }

    pub(super) fn database(&self) -> u16 {
        self.first + 4
    }

    /// Takes the first worker's port as another program of the machine would.
    pub(super) fn occupy_first_worker(&self) -> TcpListener {
        bind(self.first_worker()).expect("the port was free a moment ago")
    }

    pub(super) fn first_worker(&self) -> u16 {
        self.first + 5
    }
}

fn bind(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}
