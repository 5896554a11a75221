//! Armv8.6 matrix product: `smmla` adds the products of 2 rows of 8 i8 with 2 columns of 8 i8 to a 2 × 2 matrix of sums.
//!
//! A step is 4 pixels by 16 output channels; a vector of weights holds eight consecutive inputs of two channels, a vector of pixels
//! those of two pixels.

use super::arm::{self, Block};
use super::pixels::Pixels;
use super::{Filters, Kernel, Matrix, Packed, Requant, Source, Sum, Target, Window, neon};
use std::arch::aarch64::*;
use std::arch::asm;

pub struct I8mm;

/// Whether this processor has what [`I8mm`] needs.
pub fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("i8mm")
}

/// Inputs of a lane.
const GROUP: usize = 8;

/// Channels of the largest block.
const MOST: usize = 16;

impl Kernel for I8mm {
    fn name(&self) -> &'static str {
        "i8mm"
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

#[target_feature(enable = "neon,i8mm")]
unsafe fn matmul(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
    let pixels = Pixels::new(from, to);
    for block in arm::blocks_of(packed, GROUP, MOST) {
        // SAFETY: `Packed::check` bounds every pixel; a block has its groups of weights.
        unsafe {
            match block.channels {
                16 => {
                    for (from, to) in pixels.steps::<4>(block.channel) {
                        store::<8, 4>(&block, &tile_16(&block, from), to);
                    }
                }
                _ => {
                    for (from, to) in pixels.steps::<4>(block.channel) {
                        store::<4, 2>(&block, &tile_8(&block, from), to);
                    }
                }
            }
        }
    }
}

/// Stores the sums of two pairs of pixels by `C` pairs of channels, `V` vectors a pixel.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn store<const C: usize, const V: usize>(
    block: &Block,
    sums: &[[int32x4_t; C]; 2],
    to: [*mut u8; 4],
) {
    let wide = |pair: usize, c: usize| vreinterpretq_s64_s32(sums[pair][c]);
    let sums: [[int32x4_t; V]; 4] = std::array::from_fn(|pixel| {
        std::array::from_fn(|j| {
            let (a, b) = (wide(pixel / 2, 2 * j), wide(pixel / 2, 2 * j + 1));
            vreinterpretq_s32_s64(match pixel % 2 {
                0 => vzip1q_s64(a, b),
                _ => vzip2q_s64(a, b),
            })
        })
    });
    // SAFETY: as the caller says.
    unsafe { block.finish.store(&sums, to) };
}

/// Two pairs of pixels, `$a` and `$b`, with four pairs of channels.
macro_rules! quad {
    ($a:literal, $b:literal, $($first:literal $second:literal $weights:literal),+) => {
        concat!(
            "ld1 {{v8.16b-v11.16b}}, [{w}], #64\n",
            $(
                "smmla ", $first, ".4s, ", $a, ".16b, ", $weights, ".16b\n",
                "smmla ", $second, ".4s, ", $b, ".16b, ", $weights, ".16b\n",
            )+
        )
    };
}

macro_rules! group_16 {
    ($a:literal, $b:literal) => {
        concat!(
            quad!($a, $b, "v16" "v24" "v8", "v17" "v25" "v9", "v18" "v26" "v10", "v19" "v27" "v11"),
            quad!($a, $b, "v20" "v28" "v8", "v21" "v29" "v9", "v22" "v30" "v10", "v23" "v31" "v11"),
        )
    };
}

macro_rules! group_8 {
    ($a:literal, $b:literal) => {
        quad!($a, $b, "v16" "v24" "v8", "v17" "v25" "v9", "v18" "v26" "v10", "v19" "v27" "v11")
    };
}

/// Four pixels by a block of channels: two groups of inputs at a time, then one that is left.
macro_rules! tile {
    ($name:ident, $c:literal, $group:ident, $bias:expr, [$($j:literal: $first:tt $second:tt,)+]) => {
        #[inline]
        #[target_feature(enable = "neon,i8mm")]
        unsafe fn $name(block: &Block, from: [*const u8; 4]) -> [[int32x4_t; $c]; 2] {
            let mut sums = [[vdupq_n_s32(0); $c]; 2];
            // SAFETY: reads what `matmul`'s caller has checked: the groups of four pixels, and the block's weights and bias.
            unsafe {
                asm!(
                    $bias,
                    "cbz {twos}, 3f",
                    "2:",
                    "ldr q0, [{a}], #16",
                    "ldr q1, [{b}], #16",
                    "ldr q2, [{c}], #16",
                    "ldr q3, [{d}], #16",
                    "zip1 v4.2d, v0.2d, v1.2d",
                    "zip1 v5.2d, v2.2d, v3.2d",
                    "zip2 v6.2d, v0.2d, v1.2d",
                    "zip2 v7.2d, v2.2d, v3.2d",
                    $group!("v4", "v5"),
                    $group!("v6", "v7"),
                    "subs {twos}, {twos}, #1",
                    "b.ne 2b",
                    "3:",
                    "cbz {one}, 4f",
                    "ldr d4, [{a}]",
                    "ldr d5, [{c}]",
                    "ld1 {{v4.d}}[1], [{b}]",
                    "ld1 {{v5.d}}[1], [{d}]",
                    $group!("v4", "v5"),
                    "4:",
                    a = inout(reg) from[0] => _,
                    b = inout(reg) from[1] => _,
                    c = inout(reg) from[2] => _,
                    d = inout(reg) from[3] => _,
                    w = inout(reg) block.weights => _,
                    twos = inout(reg) block.groups / 2 => _,
                    one = in(reg) block.groups % 2,
                    bias = inout(reg) block.bias => _,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                    out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                    out("v8") _, out("v9") _, out("v10") _, out("v11") _,
                    $(out($first) sums[0][$j], out($second) sums[1][$j],)+
                    options(readonly, nostack)
                );
            }
            sums
        }
    };
}

// A vector of sums holds two channels of one pixel, then the same two of the other: two of their biases, twice.
tile!(
    tile_16,
    8,
    group_16,
    concat!(
        "ld1 {{v0.4s-v3.4s}}, [{bias}]\n",
        "dup v16.2d, v0.d[0]\ndup v17.2d, v0.d[1]\n",
        "dup v18.2d, v1.d[0]\ndup v19.2d, v1.d[1]\n",
        "dup v20.2d, v2.d[0]\ndup v21.2d, v2.d[1]\n",
        "dup v22.2d, v3.d[0]\ndup v23.2d, v3.d[1]\n",
        "dup v24.2d, v0.d[0]\ndup v25.2d, v0.d[1]\n",
        "dup v26.2d, v1.d[0]\ndup v27.2d, v1.d[1]\n",
        "dup v28.2d, v2.d[0]\ndup v29.2d, v2.d[1]\n",
        "dup v30.2d, v3.d[0]\ndup v31.2d, v3.d[1]\n",
    ),
    [
        0: "v16" "v24", 1: "v17" "v25", 2: "v18" "v26", 3: "v19" "v27",
        4: "v20" "v28", 5: "v21" "v29", 6: "v22" "v30", 7: "v23" "v31",
    ]
);

tile!(
    tile_8,
    4,
    group_8,
    concat!(
        "ld1 {{v0.4s, v1.4s}}, [{bias}]\n",
        "dup v16.2d, v0.d[0]\ndup v17.2d, v0.d[1]\n",
        "dup v18.2d, v1.d[0]\ndup v19.2d, v1.d[1]\n",
        "dup v24.2d, v0.d[0]\ndup v25.2d, v0.d[1]\n",
        "dup v26.2d, v1.d[0]\ndup v27.2d, v1.d[1]\n",
    ),
    [0: "v16" "v24", 1: "v17" "v25", 2: "v18" "v26", 3: "v19" "v27",]
);

/// `sums += pixels · weightsᵀ`: 2 × 2 sums of 8 products.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn product(sums: int32x4_t, pixels: int8x16_t, weights: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: registers alone.
    unsafe {
        asm!(
            "smmla {s:v}.4s, {p:v}.16b, {w:v}.16b",
            s = inout(vreg) sums, p = in(vreg) pixels, w = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

#[target_feature(enable = "neon,i8mm")]
fn peak(rounds: usize) -> u64 {
    const CHAINS: usize = 16;
    let (a, w) = (vdupq_n_s8(1), vdupq_n_s8(2));
    let mut sums = [vdupq_n_s32(0); CHAINS];
    for _ in 0..rounds {
        let w = std::hint::black_box(w);
        for sum in &mut sums {
            *sum = product(*sum, a, w);
        }
    }
    std::hint::black_box(sums);
    (rounds * CHAINS * 32) as u64
}
