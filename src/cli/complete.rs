//! `completions` and `man`: what shells and `man` know of the command line, from its one definition in `args`.

use super::args::Args;
use super::output::Unwritten;
use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, CommandFactory};
use clap_complete::Shell;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
pub struct Completions {
    /// The shell that shall complete
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

#[derive(Debug, ClapArgs)]
pub struct Man {
    /// Where to write fieldhead.1 and a page for each verb
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

pub fn completions(options: &Completions) -> Result<()> {
    // In memory first: the generator takes a closed pipe for a bug.
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut Args::command(),
        "fieldhead",
        &mut script,
    );
    let written = io::stdout().lock().write_all(&script);
    Ok(written.map_err(Unwritten::from)?)
}

pub fn man(options: &Man) -> Result<()> {
    clap_mangen::generate_to(Args::command(), &options.folder)
        .with_context(|| format!("cannot write manual pages to {}", options.folder.display()))
}
