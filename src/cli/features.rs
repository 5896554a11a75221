//! `features`: features and labels of a folder, as numpy reads them.

use super::args::Features;
use super::context::Context;
use super::embed::{self, EmbeddedTree};
use super::export::{target, write_whole};
use super::output::count;
use anyhow::Result;
use fieldhead::features::npz::{self, Table};
use fieldhead::source::folder::{self, Labelled};
use serde_json::json;

pub fn run(context: &Context, options: &Features) -> Result<()> {
    // Refused before the work, not after it.
    target(&options.out)?;
    let context = &context.suited_anyway(folder::scan(&options.from)?.paths())?;
    let embedder = context.embedder()?;
    let tree = embed::tree(context, &embedder, &options.from)?;
    let width = embedder.recipe().width as usize;
    let bytes = npz::encode(&table(&tree, width))?;
    write_whole(&options.out, &bytes)?;
    let out = options.out.display().to_string();
    context.out.json(&json!({
        "n": tree.files.len(),
        "width": width,
        "skipped": tree.skipped.len(),
        "file": out,
        "backbone": embedder.recipe().backbone,
        "fit": embedder.recipe().view.fit.to_string(),
        "features": embedder.recipe().set.to_string(),
    }))?;
    context.out.line(format!(
        "{} of {width} numbers written to {out}",
        count(tree.files.len(), "vector")
    ))?;
    Ok(())
}

/// Files of a tree as rows of a table, labels in order of their names.
fn table(tree: &EmbeddedTree, width: usize) -> Table {
    let mut names: Vec<String> = tree.files.iter().map(|f| f.label.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let label = |file: &Labelled| names.binary_search(&file.label).unwrap_or(0) as u32;
    Table {
        width,
        rows: tree.features.concat(),
        labels: tree.files.iter().map(label).collect(),
        names,
        bursts: None,
    }
}
