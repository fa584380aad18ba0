//! The `outboard` command; see [`outboard::cli`].

use std::process::ExitCode;

/// Gives memory back to the system within seconds, where the C library keeps what a storm of large requests took
/// until the process ends.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    outboard::cli::main()
}
