//! The program: all of it is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// It gives the memory of a wave of connections back to the system; glibc's keeps it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    frontdesk::command_line::run()
}
