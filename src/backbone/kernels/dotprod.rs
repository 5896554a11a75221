//! Armv8.2 dot product: `sdot` adds the products of four i8 with four i8 to each of 4 sums.
//!
//! A block is 16 output channels, four vectors of sums; a lane of the weights holds four consecutive inputs of one channel. Five pixels
//! are a tile: 20 vectors of sums, 5 of pixels, 4 of weights.

use super::arm::{self, Block};
use super::pixels::Pixels;
use super::{Filters, Kernel, Matrix, Packed, Requant, Source, Sum, Target, Window, neon};
use std::arch::aarch64::*;
use std::arch::asm;

pub struct Dotprod;

/// Whether this processor has what [`Dotprod`] needs.
pub fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

/// Inputs of a lane.
const GROUP: usize = 4;

/// Channels of the largest block.
const MOST: usize = 16;

impl Kernel for Dotprod {
    fn name(&self) -> &'static str {
        "dotprod"
    }

    fn flip(&self) -> u8 {
        arm::FLIP
    }

    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed {
        let blocks = arm::blocks(matrix.n, MOST);
        let lines = arm::lanes(matrix, &blocks, GROUP);
        arm::packed(matrix, Window::POINT, matrix.k, requant, &blocks, lines)
    }

    fn pack_depthwise(&self, filters: &Filters, requant: &Requant) -> Option<Packed> {
        neon::pack_depthwise(filters, requant)
    }

    fn matmul(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        // SAFETY: the processor has the instructions, or `choose` would not have given this kernel; `check` bounds every access.
        unsafe { matmul(packed, &from, to) }
    }

    fn depthwise(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        neon::depthwise(packed, from, to);
    }

    fn add(&self, sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
        arm::add(sum, a, b, to);
    }

    fn peak(&self, rounds: usize) -> u64 {
        // SAFETY: the processor has the instructions.
        unsafe { peak(rounds) }
    }
}

#[target_feature(enable = "neon,dotprod")]
unsafe fn matmul(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
    let pixels = Pixels::new(from, to);
    for block in arm::blocks_of(packed, GROUP, MOST) {
        // SAFETY: `Packed::check` bounds every pixel; a block has its groups of weights.
        unsafe {
            match block.channels {
                16 => {
                    for (from, to) in pixels.steps::<5>(block.channel) {
                        block.finish.store(&tile_16(&block, from), to);
                    }
                }
                _ => {
                    for (from, to) in pixels.steps::<5>(block.channel) {
                        block.finish.store(&tile_8(&block, from), to);
                    }
                }
            }
        }
    }
}

/// The products of one pixel's lane with four vectors of weights, or two.
macro_rules! dots {
    ($lane:literal, $pixel:literal, $($sums:literal $weights:literal),+) => {
        concat!($("sdot ", $sums, ".4s, ", $weights, ".16b, ", $pixel, ".4b[", $lane, "]\n"),+)
    };
}

/// One lane of five pixels with 16 channels.
macro_rules! lane_16 {
    ($lane:literal) => {
        concat!(
            "ld1 {{v5.16b-v8.16b}}, [{w}], #64\n",
            dots!($lane, "v0", "v12" "v5", "v13" "v6", "v14" "v7", "v15" "v8"),
            dots!($lane, "v1", "v16" "v5", "v17" "v6", "v18" "v7", "v19" "v8"),
            dots!($lane, "v2", "v20" "v5", "v21" "v6", "v22" "v7", "v23" "v8"),
            dots!($lane, "v3", "v24" "v5", "v25" "v6", "v26" "v7", "v27" "v8"),
            dots!($lane, "v4", "v28" "v5", "v29" "v6", "v30" "v7", "v31" "v8"),
        )
    };
}

/// One lane of five pixels with 8 channels.
macro_rules! lane_8 {
    ($lane:literal) => {
        concat!(
            "ld1 {{v5.16b, v6.16b}}, [{w}], #32\n",
            dots!($lane, "v0", "v12" "v5", "v13" "v6"),
            dots!($lane, "v1", "v16" "v5", "v17" "v6"),
            dots!($lane, "v2", "v20" "v5", "v21" "v6"),
            dots!($lane, "v3", "v24" "v5", "v25" "v6"),
            dots!($lane, "v4", "v28" "v5", "v29" "v6"),
        )
    };
}

/// Five pixels by a block of channels: four groups of inputs at a time, then one at a time.
macro_rules! tile {
    ($name:ident, $v:literal, $lane:ident, $bias:expr, [$($j:literal: $a:tt $b:tt $c:tt $d:tt $e:tt,)+]) => {
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        unsafe fn $name(block: &Block, from: [*const u8; 5]) -> [[int32x4_t; $v]; 5] {
            let mut sums = [[vdupq_n_s32(0); $v]; 5];
            // SAFETY: reads what `matmul`'s caller has checked: the groups of five pixels, and the block's weights and bias.
            unsafe {
                asm!(
                    $bias,
                    "cbz {fours}, 3f",
                    "2:",
                    "ldr q0, [{a}], #16",
                    "ldr q1, [{b}], #16",
                    "ldr q2, [{c}], #16",
                    "ldr q3, [{d}], #16",
                    "ldr q4, [{e}], #16",
                    $lane!("0"), $lane!("1"), $lane!("2"), $lane!("3"),
                    "subs {fours}, {fours}, #1",
                    "b.ne 2b",
                    "3:",
                    "cbz {ones}, 5f",
                    "4:",
                    "ldr s0, [{a}], #4",
                    "ldr s1, [{b}], #4",
                    "ldr s2, [{c}], #4",
                    "ldr s3, [{d}], #4",
                    "ldr s4, [{e}], #4",
                    $lane!("0"),
                    "subs {ones}, {ones}, #1",
                    "b.ne 4b",
                    "5:",
                    a = inout(reg) from[0] => _,
                    b = inout(reg) from[1] => _,
                    c = inout(reg) from[2] => _,
                    d = inout(reg) from[3] => _,
                    e = inout(reg) from[4] => _,
                    w = inout(reg) block.weights => _,
                    fours = inout(reg) block.groups / 4 => _,
                    ones = inout(reg) block.groups % 4 => _,
                    bias = in(reg) block.bias,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _,
                    out("v5") _, out("v6") _, out("v7") _, out("v8") _,
                    $(
                        out($a) sums[0][$j], out($b) sums[1][$j], out($c) sums[2][$j],
                        out($d) sums[3][$j], out($e) sums[4][$j],
                    )+
                    options(readonly, nostack)
                );
            }
            sums
        }
    };
}

tile!(
    tile_16,
    4,
    lane_16,
    concat!(
        "ld1 {{v12.4s-v15.4s}}, [{bias}]\n",
        "ld1 {{v16.4s-v19.4s}}, [{bias}]\n",
        "ld1 {{v20.4s-v23.4s}}, [{bias}]\n",
        "ld1 {{v24.4s-v27.4s}}, [{bias}]\n",
        "ld1 {{v28.4s-v31.4s}}, [{bias}]\n",
    ),
    [
        0: "v12" "v16" "v20" "v24" "v28",
        1: "v13" "v17" "v21" "v25" "v29",
        2: "v14" "v18" "v22" "v26" "v30",
        3: "v15" "v19" "v23" "v27" "v31",
    ]
);

tile!(
    tile_8,
    2,
    lane_8,
    concat!(
        "ld1 {{v12.4s, v13.4s}}, [{bias}]\n",
        "ld1 {{v16.4s, v17.4s}}, [{bias}]\n",
        "ld1 {{v20.4s, v21.4s}}, [{bias}]\n",
        "ld1 {{v24.4s, v25.4s}}, [{bias}]\n",
        "ld1 {{v28.4s, v29.4s}}, [{bias}]\n",
    ),
    [
        0: "v12" "v16" "v20" "v24" "v28",
        1: "v13" "v17" "v21" "v25" "v29",
    ]
);

/// `sums += a · b`, four products a sum.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: registers alone.
    unsafe {
        asm!(
            "sdot {s:v}.4s, {a:v}.16b, {b:v}.16b",
            s = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

#[target_feature(enable = "neon,dotprod")]
fn peak(rounds: usize) -> u64 {
    const CHAINS: usize = 16;
    let (a, w) = (vdupq_n_s8(1), vdupq_n_s8(2));
    let mut sums = [vdupq_n_s32(0); CHAINS];
    for _ in 0..rounds {
        let w = std::hint::black_box(w);
        for sum in &mut sums {
            *sum = dot(*sum, a, w);
        }
    }
    std::hint::black_box(sums);
    (rounds * CHAINS * 16) as u64
}
