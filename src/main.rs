//! The program. All of its code is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Returns the memory of a wave of connections to the system; glibc's allocator keeps it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    frontdesk::command_line::run()
}
