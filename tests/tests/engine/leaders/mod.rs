//! Leaders that die, stop, freeze, pretend to be dead, and come back.

mod callers;
mod deaths;
mod handovers;
mod leaving;
mod load;
mod simulated_crash;
mod together;
