//! Workers that die, fall silent, pretend to be dead, or come not at all.

mod deaths;
mod hardening;
mod silence;
mod simulated_crash;
mod starts;
