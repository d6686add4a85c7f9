//! The program `clb-worker`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    clb_worker::main()
}
