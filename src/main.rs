//! The `outboard` command; see [`outboard::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    outboard::cli::main()
}
