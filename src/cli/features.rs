//! `features`: features and labels of a folder, as numpy reads them.
//!
//! Owns: the `.npz` layout. It is an uncompressed zip of three `.npy` files of format 1.0 (NumPy enhancement proposal 1):
//! `features` f32 [N, D], `labels` i64 [N] (index into `label_names`), `label_names` fixed-width Unicode [C].

use super::args::Features;
use super::context::Context;
use super::embed::{self, EmbeddedTree};
use super::export::{target, write_whole};
use anyhow::Result;
use serde_json::json;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

pub fn run(context: &Context, options: &Features) -> Result<()> {
    // Refused before the work, not after it.
    target(&options.out)?;
    let embedder = context.embedder()?;
    let tree = embed::tree(context, &embedder, &options.from)?;
    let width = embedder.recipe().width as usize;
    let bytes = npz(&tree, width)?;
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
        "{} vectors of {width} numbers written to {out}",
        tree.files.len()
    ))?;
    Ok(())
}

fn npz(tree: &EmbeddedTree, width: usize) -> Result<Vec<u8>> {
    let mut names: Vec<&str> = tree.files.iter().map(|f| f.label.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let n = tree.files.len();
    let features = tree.features.iter().flatten().flat_map(|x| x.to_le_bytes());
    let labels = tree.files.iter().flat_map(|file| {
        (names.binary_search(&file.label.as_str()).unwrap_or(0) as i64).to_le_bytes()
    });
    let longest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(1);
    let padded = names.iter().flat_map(|name| {
        name.chars()
            .map(u32::from)
            .chain(std::iter::repeat(0))
            .take(longest)
            .flat_map(u32::to_le_bytes)
    });
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let arrays = [
        ("features", npy("<f4", &format!("{n}, {width}"), features)),
        ("labels", npy("<i8", &format!("{n},"), labels)),
        (
            "label_names",
            npy(
                &format!("<U{longest}"),
                &format!("{},", names.len()),
                padded,
            ),
        ),
    ];
    for (name, bytes) in arrays {
        let stored =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file(format!("{name}.npy"), stored)?;
        zip.write_all(&bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// One array: magic, version 1.0, header padded so that the data begins at a multiple of 64, data.
fn npy(descr: &str, shape: &str, data: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let unpadded = 10 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}
