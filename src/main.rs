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
            eprintln!("fieldhead: {}", cli::plain(&one_line(&error)));
            ExitCode::from(cli::code(&error))
        }
    }
}

/// An error with its causes, the lines of a library's message joined; a cause that the message tells already is not told again.
fn one_line(error: &anyhow::Error) -> String {
    let told = error
        .chain()
        .skip(1)
        .fold(error.to_string(), |text, cause| {
            let cause = cause.to_string();
            if text.contains(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        });
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    lines.join(" ")
}
