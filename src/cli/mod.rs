//! The command line: one file a verb. Printing lives here and nowhere else.
//!
//! Owns: parsing, progress, tables, JSON, exit codes. Does not own: anything that a library user would miss.

mod answers;
mod args;
mod backbones;
mod bench;
mod board;
mod change;
mod class;
mod collect;
mod complete;
mod context;
mod demo;
mod embed;
mod eval;
mod example;
mod exit;
mod export;
mod features;
mod fewshot;
mod history;
mod mistakes;
mod notify;
mod output;
mod page;
mod per_class;
mod predict;
mod run;
mod samples;
mod serve;
mod sets;
mod sound;
mod strangers;
mod train;
mod wires;

pub use args::Args;
pub use exit::{code, one_line};
pub use output::{plain, was_enough};

use args::Verb;
use context::Context;

/// Runs one verb.
pub fn run(args: Args) -> anyhow::Result<()> {
    let context = Context::new(&args.common)?;
    match args.verb {
        Verb::Demo(options) => demo::run(&context, &options),
        Verb::Collect(options) => collect::run(&context, &options),
        Verb::Train(options) => train::run(&context, &options),
        Verb::Eval(options) => eval::run(&context, &options),
        Verb::Predict(options) => predict::run(&context, &options),
        Verb::Run(options) => run::run(&context, &options),
        Verb::Serve(options) => serve::run(&context, &options),
        Verb::Correct(options) => change::correct(&context, &options),
        Verb::Forget(options) => change::forget(&context, &options),
        Verb::Samples(options) => samples::run(&context, &options),
        Verb::Class(options) => class::run(&context, &options),
        Verb::History => history::history(&context),
        Verb::Rollback(options) => history::rollback(&context, &options),
        Verb::Export(options) => export::export(&context, &options),
        Verb::Import(options) => export::import(&context, &options),
        Verb::Features(options) => features::run(&context, &options),
        Verb::Fewshot(options) => fewshot::run(&context, &options),
        Verb::Bench(options) => bench::run(&context, &options),
        Verb::Backbones(options) => backbones::run(&context, &options),
        Verb::Board(options) => board::run(&context, &options),
        Verb::Completions(options) => complete::completions(&options),
        Verb::Man(options) => complete::man(&options),
    }
}
