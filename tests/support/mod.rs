//! What several tests need: drawn samples, a field in a folder, the program.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use fieldhead::head::Samples;
use fieldhead::random::SplitMix64;

/// The shape of a drawn training set.
pub struct Blob {
    pub n: usize,
    pub width: usize,
    pub classes: usize,
}

impl Blob {
    /// Fewer samples than features.
    pub const FEW: Blob = Blob {
        n: 24,
        width: 40,
        classes: 3,
    };
    /// More samples than features.
    pub const MANY: Blob = Blob {
        n: 90,
        width: 12,
        classes: 3,
    };
}

/// Clouds around one centre a class; two samples share a burst.
pub fn blobs(blob: &Blob, seed: u64) -> Samples {
    let mut random = SplitMix64::new(seed);
    let mut uniform = move || random.below(2_000_001) as f32 / 1e6 - 1.0;
    let centers: Vec<f32> = (0..blob.classes * blob.width).map(|_| uniform()).collect();
    let mut rows = Vec::new();
    for i in 0..blob.n {
        let class = i % blob.classes;
        let center = &centers[class * blob.width..][..blob.width];
        rows.extend(center.iter().map(|c| c + 0.6 * uniform()));
    }
    let labels = (0..blob.n).map(|i| (i % blob.classes) as u32).collect();
    let names = (0..blob.classes).map(|i| format!("class {i}")).collect();
    let groups =
        (0..blob.n).map(|i| ((i / blob.classes / 2) * blob.classes + i % blob.classes) as u64);
    Samples::new(blob.width, rows, labels, names, groups.collect()).unwrap()
}
