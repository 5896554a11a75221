//! parse → run → exit code.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    match cli::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if cli::was_enough(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fieldhead: {}", cli::plain(&cli::one_line(&error)));
            ExitCode::from(cli::code(&error))
        }
    }
}
