//! The base architecture, Armv8.0: `smull` and `smlal` multiply 8 i8 with 8 i8 to 16 bits, and what they add up to is added to sums
//! of 32 bits.
//!
//! A product of signed bytes is at most 128 · |w|, so products may be added in 16 bits as long as the |w| add up to no more than
//! [`FIT`]. Weights are known when they are packed, and so is each place where that would be too much: [`Packed::spills`] marks it,
//! and there the sums are emptied earlier. Most weights are small: four products nearly always fit.
//!
//! A matrix product takes eight inputs at a time. A vector of products holds four channels by two inputs; instead of a copy of a
//! pair of inputs in every lane, the pixel is turned by one pair three times, and the weights are packed for that: in turn `r`,
//! channel `i` of a quad meets pair `(i + r) mod 4`.

use super::arm::{self, Block};
use super::pixels::Pixels;
use super::{Filters, Kernel, Line, Matrix, Packed, Requant, Source, Sum, Target, Window, lines};
use std::arch::aarch64::*;
use std::arch::asm;

mod depthwise;

pub use depthwise::{depthwise, pack_depthwise};

pub struct Neon;

/// Whether this processor has what [`Neon`] needs.
pub fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

/// Magnitudes of weights whose products fit 16 bits together: 128 · 255 < 2¹⁵.
const FIT: u32 = 255;

/// Inputs of one step of a product.
const GROUP: usize = 8;

/// Channels of the largest block: two pixels by 32 are 16 vectors of sums.
const MOST: usize = 32;

impl Kernel for Neon {
    fn name(&self) -> &'static str {
        "neon"
    }

    fn flip(&self) -> u8 {
        arm::FLIP
    }

    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed {
        let blocks = arm::blocks(matrix.n, MOST);
        let lines = turned(matrix, &blocks);
        Packed {
            spills: product_spills(matrix, &blocks),
            ..arm::packed(matrix, Window::POINT, matrix.k, requant, &blocks, lines)
        }
    }

    fn pack_depthwise(&self, filters: &Filters, requant: &Requant) -> Option<Packed> {
        pack_depthwise(filters, requant)
    }

    fn matmul(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        // SAFETY: the processor has the instructions, or `choose` would not have given this kernel; `check` bounds every access.
        unsafe { matmul(packed, &from, to) }
    }

    fn depthwise(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        depthwise(packed, from, to);
    }

    fn add(&self, sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
        arm::add(sum, a, b, to);
    }

    fn peak(&self, rounds: usize) -> u64 {
        // SAFETY: the processor has the instructions.
        unsafe { peak(rounds) }
    }
}

/// The weight that channel `at` of a block meets in a turn, as its place among the inputs of a group: this and the next.
fn met(at: usize, turn: usize) -> usize {
    2 * ((at + turn) % 4)
}

/// Weights of blocks: for each group of inputs, for each eight channels, for each turn, the pairs that they meet.
fn turned(matrix: &Matrix, blocks: &[Vec<usize>]) -> Vec<Line> {
    let weight = |channel: usize, k: usize| {
        let inside = channel < matrix.n && k < matrix.k;
        inside.then(|| matrix.weights[channel * matrix.k + k] as u8)
    };
    let mut bytes = Vec::new();
    for channels in blocks {
        for first in (0..matrix.k).step_by(GROUP) {
            for eight in channels.chunks(8) {
                for turn in 0..4 {
                    for (at, &channel) in eight.iter().enumerate() {
                        let k = first + met(at, turn);
                        bytes.extend([k, k + 1].map(|k| weight(channel, k).unwrap_or(0)));
                    }
                }
            }
        }
    }
    lines(&bytes)
}

/// For each block and group of inputs: bit `j` is set if the four products of a lane of the `j`th eight channels may not fit, bit
/// `4 + j` if not even those of two turns may.
fn product_spills(matrix: &Matrix, blocks: &[Vec<usize>]) -> Vec<u8> {
    let magnitude = |channel: usize, k: usize| {
        let inside = channel < matrix.n && k < matrix.k;
        let weight = inside.then(|| matrix.weights[channel * matrix.k + k]);
        u32::from(weight.unwrap_or(0).unsigned_abs())
    };
    let mut spills = Vec::new();
    for channels in blocks {
        for first in (0..matrix.k).step_by(GROUP) {
            let mut bits = 0;
            for (j, eight) in channels.chunks(8).enumerate() {
                for (at, &channel) in eight.iter().enumerate() {
                    for odd in 0..2 {
                        let turn = |turn| magnitude(channel, first + met(at, turn) + odd);
                        let (early, late) = (turn(0) + turn(1), turn(2) + turn(3));
                        bits |= u8::from(early + late > FIT) << j;
                        bits |= u8::from(early > FIT || late > FIT) << (4 + j);
                    }
                }
            }
            spills.push(bits);
        }
    }
    spills
}

#[target_feature(enable = "neon")]
unsafe fn matmul(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
    let pixels = Pixels::new(from, to);
    for block in arm::blocks_of(packed, GROUP, MOST) {
        // SAFETY: `Packed::check` bounds every pixel; a block has its groups of weights.
        unsafe {
            match block.channels {
                32 => {
                    for (from, to) in pixels.steps::<2>(block.channel) {
                        block.finish.store(&tile_32(&block, from), to);
                    }
                }
                16 => {
                    for (from, to) in pixels.steps::<2>(block.channel) {
                        block.finish.store(&tile_16(&block, from), to);
                    }
                }
                _ => {
                    for (from, to) in pixels.steps::<2>(block.channel) {
                        block.finish.store(&tile_8(&block, from), to);
                    }
                }
            }
        }
    }
}

/// One instruction (and its second half) for two pixels: weights `$w` with the pixels as turned, `$a` and `$b`.
macro_rules! products {
    ($op:literal, $w:literal, $a:literal, $b:literal) => {
        concat!(
            $op,
            " v12.8h, ",
            $w,
            ".8b, ",
            $a,
            ".8b\n",
            $op,
            "2 v13.8h, ",
            $w,
            ".16b, ",
            $a,
            ".16b\n",
            $op,
            " v14.8h, ",
            $w,
            ".8b, ",
            $b,
            ".8b\n",
            $op,
            "2 v15.8h, ",
            $w,
            ".16b, ",
            $b,
            ".16b\n",
        )
    };
}

/// Adds the products to the sums of eight channels of two pixels.
macro_rules! gather {
    ($a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "sadalp ",
            $a,
            ".4s, v12.8h\n",
            "sadalp ",
            $b,
            ".4s, v13.8h\n",
            "sadalp ",
            $c,
            ".4s, v14.8h\n",
            "sadalp ",
            $d,
            ".4s, v15.8h\n",
        )
    };
}

/// Eight channels of a group; `$bit` says whether they are done at `$aside` instead.
macro_rules! eight {
    ($bit:literal, $aside:literal, $back:literal, $($sums:literal)+) => {
        concat!(
            "ld1 {{v8.16b-v11.16b}}, [{w}], #64\n",
            "tbnz {spill:w}, #", $bit, ", ", $aside, "f\n",
            products!("smull", "v8", "v0", "v4"),
            products!("smlal", "v9", "v1", "v5"),
            products!("smlal", "v10", "v2", "v6"),
            products!("smlal", "v11", "v3", "v7"),
            gather!($($sums),+),
            $back, ":\n",
        )
    };
}

/// The same, two products at a time, or at `$far` one at a time if bit `$bit` says so.
macro_rules! eight_aside {
    ($bit:literal, $aside:literal, $far:literal, $back:literal, $($sums:literal)+) => {
        concat!(
            $aside, ":\n",
            "tbnz {spill:w}, #", $bit, ", ", $far, "f\n",
            products!("smull", "v8", "v0", "v4"),
            products!("smlal", "v9", "v1", "v5"), gather!($($sums),+),
            products!("smull", "v10", "v2", "v6"),
            products!("smlal", "v11", "v3", "v7"), gather!($($sums),+),
            "b ", $back, "b\n",
            $far, ":\n",
            products!("smull", "v8", "v0", "v4"), gather!($($sums),+),
            products!("smull", "v9", "v1", "v5"), gather!($($sums),+),
            products!("smull", "v10", "v2", "v6"), gather!($($sums),+),
            products!("smull", "v11", "v3", "v7"), gather!($($sums),+),
            "b ", $back, "b\n",
        )
    };
}

/// Two pixels by a block of channels: `$bias` reads the block's bias into the sums of both pixels, `$sums` are their registers.
macro_rules! tile {
    ($name:ident, $v:literal, $bias:expr, $eights:expr, $asides:expr, [$($j:literal: $first:tt $second:tt,)+]) => {
        #[inline]
        #[target_feature(enable = "neon")]
        unsafe fn $name(block: &Block, from: [*const u8; 2]) -> [[int32x4_t; $v]; 2] {
            let mut sums = [[vdupq_n_s32(0); $v]; 2];
            // SAFETY: reads what `matmul`'s caller has checked: the groups of two pixels, and the block's weights, spills and bias.
            unsafe {
                asm!(
                    $bias,
                    "2:",
                    "ldrb {spill:w}, [{spills}], #1",
                    "ld1r {{v0.2d}}, [{a}], #8",
                    "ld1r {{v4.2d}}, [{b}], #8",
                    "ext v1.16b, v0.16b, v0.16b, #2",
                    "ext v5.16b, v4.16b, v4.16b, #2",
                    "ext v2.16b, v0.16b, v0.16b, #4",
                    "ext v6.16b, v4.16b, v4.16b, #4",
                    "ext v3.16b, v0.16b, v0.16b, #6",
                    "ext v7.16b, v4.16b, v4.16b, #6",
                    $eights,
                    "subs {n}, {n}, #1",
                    "b.ne 2b",
                    "b 3f",
                    $asides,
                    "3:",
                    a = inout(reg) from[0] => _,
                    b = inout(reg) from[1] => _,
                    w = inout(reg) block.weights => _,
                    spills = inout(reg) block.spills => _,
                    n = inout(reg) block.groups => _,
                    bias = inout(reg) block.bias => _,
                    spill = out(reg) _,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                    out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                    out("v8") _, out("v9") _, out("v10") _, out("v11") _,
                    out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                    $(out($first) sums[0][$j], out($second) sums[1][$j],)+
                    options(readonly, nostack)
                );
            }
            sums
        }
    };
}

tile!(
    tile_32,
    8,
    concat!(
        "ld1 {{v16.4s-v19.4s}}, [{bias}], #64\n",
        "ld1 {{v20.4s-v23.4s}}, [{bias}]\n",
        "sub {bias}, {bias}, #64\n",
        "ld1 {{v24.4s-v27.4s}}, [{bias}], #64\n",
        "ld1 {{v28.4s-v31.4s}}, [{bias}]\n",
    ),
    concat!(
        eight!("0", "40", "50", "v16" "v17" "v24" "v25"),
        eight!("1", "41", "51", "v18" "v19" "v26" "v27"),
        eight!("2", "42", "52", "v20" "v21" "v28" "v29"),
        eight!("3", "43", "53", "v22" "v23" "v30" "v31"),
    ),
    concat!(
        eight_aside!("4", "40", "60", "50", "v16" "v17" "v24" "v25"),
        eight_aside!("5", "41", "61", "51", "v18" "v19" "v26" "v27"),
        eight_aside!("6", "42", "62", "52", "v20" "v21" "v28" "v29"),
        eight_aside!("7", "43", "63", "53", "v22" "v23" "v30" "v31"),
    ),
    [
        0: "v16" "v24", 1: "v17" "v25", 2: "v18" "v26", 3: "v19" "v27",
        4: "v20" "v28", 5: "v21" "v29", 6: "v22" "v30", 7: "v23" "v31",
    ]
);

tile!(
    tile_16,
    4,
    concat!(
        "ld1 {{v16.4s-v19.4s}}, [{bias}]\n",
        "ld1 {{v24.4s-v27.4s}}, [{bias}]\n",
    ),
    concat!(
        eight!("0", "40", "50", "v16" "v17" "v24" "v25"),
        eight!("1", "41", "51", "v18" "v19" "v26" "v27"),
    ),
    concat!(
        eight_aside!("4", "40", "60", "50", "v16" "v17" "v24" "v25"),
        eight_aside!("5", "41", "61", "51", "v18" "v19" "v26" "v27"),
    ),
    [0: "v16" "v24", 1: "v17" "v25", 2: "v18" "v26", 3: "v19" "v27",]
);

tile!(
    tile_8,
    2,
    concat!(
        "ld1 {{v16.4s, v17.4s}}, [{bias}]\n",
        "ld1 {{v24.4s, v25.4s}}, [{bias}]\n",
    ),
    eight!("0", "40", "50", "v16" "v17" "v24" "v25"),
    eight_aside!("4", "40", "60", "50", "v16" "v17" "v24" "v25"),
    [0: "v16" "v24", 1: "v17" "v25",]
);

#[target_feature(enable = "neon")]
fn peak(rounds: usize) -> u64 {
    const CHAINS: usize = 8;
    let (a, w) = (vdupq_n_s8(1), vdupq_n_s8(2));
    let mut sums = [vdupq_n_s32(0); CHAINS];
    for _ in 0..rounds {
        let w = std::hint::black_box(w);
        for sum in &mut sums {
            let two = vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(w)), a, w);
            let four = vmlal_high_s8(vmlal_s8(two, vget_low_s8(a), vget_low_s8(w)), a, w);
            *sum = vpadalq_s16(*sum, four);
        }
    }
    std::hint::black_box(sums);
    (rounds * CHAINS * 32) as u64
}
