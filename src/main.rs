//! parse → run → exit code.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    match cli::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fieldhead: {}", cli::plain(&one_line(&error)));
            ExitCode::from(cli::code(&error))
        }
    }
}

/// Whoever read our output has seen enough, as in `fieldhead samples | head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
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
