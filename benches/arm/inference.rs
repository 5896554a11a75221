//! Inferences of one backbone on one thread, with marks that `count.c` sees: one before each inference, then one after each
//! operator of a last one.
//!
//!     inference BACKBONE_FOLDER [RUNS]
//!
//! Prints the kernel, and then a line for each operator: kind, multiply-accumulates, name. `benches/arm/count.py` builds it for
//! 64-bit Arm, runs it under the emulator and prints the table.

use fieldhead::backbone::{Backbone, find};
use fieldhead::features::FeatureSet;
use std::os::unix::process::parent_id;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(folder) = arguments.next() else {
        println!("skipped: name a backbone's folder, as benches/arm/count.py does");
        return Ok(());
    };
    let runs: u32 = arguments.next().map_or(Ok(3), |runs| runs.parse())?;
    let kernel = std::env::var("FIELDHEAD_KERNEL").ok();
    let found = find::find(&folder, &[])?;
    let backbone = Backbone::load(&found, FeatureSet::Final, kernel.as_deref())?;
    let input = &backbone.card().input;
    let bytes = (input.height * input.width * input.channels) as usize;
    // Levels of all sizes; what they are does not change the number of instructions.
    let pixels: Vec<u8> = (0..bytes)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect();
    for _ in 0..runs {
        mark();
        backbone.embed_on(&pixels, 1)?;
    }
    mark();
    backbone.watch(&pixels, 1, &mut |_| mark())?;
    println!("{}", backbone.kernel());
    for operator in backbone.operators() {
        println!("{} {} {}", operator.kind, operator.macs, operator.name);
    }
    Ok(())
}

/// Asks for the parent's process id: a system call that nothing else here makes.
fn mark() {
    std::hint::black_box(parent_id());
}
