//! What the 64-bit Arm kernels share: signed activations, their requantization, and a walk over blocks of channels in plain order.
//!
//! The innermost loops are written as assembly: a tile takes all 32 vector registers, which a compiler that moves one of them to
//! memory would spoil, and the instructions of later revisions (`sdot`, `smmla`) have no intrinsics in stable Rust.

use super::portable::{self, ROUNDER};
use super::{Line, Matrix, Packed, Requant, Sum, Window, pack_groups};
use std::arch::aarch64::*;

/// Bits turned in stored activations: u8 levels become signed numbers.
pub const FLIP: u8 = 0x80;

/// Blocks of up to `most` channels: halves of it down to 8, the last one filled up.
pub fn blocks(n: usize, most: usize) -> Vec<Vec<usize>> {
    let mut blocks = Vec::new();
    let mut first = 0;
    while first < n {
        let channels = block_channels(n - first, most);
        blocks.push((first..first + channels).collect());
        first += channels;
    }
    blocks
}

/// Channels of the next block when `left` are left.
fn block_channels(left: usize, most: usize) -> usize {
    let left = left.next_multiple_of(8);
    let mut channels = most;
    while channels > left {
        channels /= 2;
    }
    channels
}

/// A matrix whose products take signed activations, packed by `lines`: the turned bit is a shift of the bias.
pub fn packed(
    matrix: &Matrix,
    window: Window,
    k: usize,
    requant: &Requant,
    blocks: &[Vec<usize>],
    lines: Vec<Line>,
) -> Packed {
    let mut requant = requant.clone();
    let whole = requant.low == u8::MIN && requant.high == u8::MAX;
    let mut plain = whole && requant.zero_point.is_multiple_of(2);
    let rows = matrix.weights.chunks_exact(matrix.k);
    let numbers = requant.bias.iter_mut().zip(&requant.multiplier);
    for ((bias, &multiplier), row) in numbers.zip(rows) {
        *bias += 128 * row.iter().map(|&w| i32::from(w)).sum::<i32>();
        let weights: i64 = row.iter().map(|&w| i64::from(w).abs()).sum();
        let most = i64::from(*bias).abs() + 128 * weights;
        // With room for a zero point beside it.
        plain &= most as f64 * f64::from(multiplier) < f64::from(i16::MAX - 256);
    }
    Packed {
        flip: FLIP,
        plain,
        ..Packed::new([matrix.n, k], window, blocks, lines, &requant)
    }
}

/// Lanes of `group` weights.
pub fn lanes(matrix: &Matrix, blocks: &[Vec<usize>], group: usize) -> Vec<Line> {
    pack_groups(matrix, blocks, group, group, |lane, weights| {
        for (byte, &weight) in lane.iter_mut().zip(weights) {
            *byte = weight as u8;
        }
    })
}

pub fn add(sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
    portable::add::<FLIP>(sum, a, b, to);
}

/// Some output channels: their weights, and what follows their sums.
pub struct Block {
    /// Groups of inputs.
    pub groups: usize,
    pub weights: *const u8,
    /// One byte a group, for kernels that have any.
    pub spills: *const u8,
    pub bias: *const i32,
    pub finish: Finish,
    /// The first channel and their number.
    pub channel: usize,
    pub channels: usize,
}

/// The blocks of a product whose lanes are groups of `group` inputs.
pub fn blocks_of(packed: &Packed, group: usize, most: usize) -> impl Iterator<Item = Block> {
    let groups = packed.k.div_ceil(group);
    let (mut channel, mut number) = (0, 0);
    std::iter::from_fn(move || {
        let left = packed.bias.len() - channel;
        if left == 0 {
            return None;
        }
        let channels = block_channels(left, most);
        let weights = packed.lines.as_ptr().cast::<u8>();
        let block = Block {
            groups,
            weights: weights.wrapping_add(channel * groups * group),
            spills: packed.spills.as_ptr().wrapping_add(number * groups),
            bias: packed.bias[channel..].as_ptr(),
            finish: Finish::new(packed, channel),
            channel,
            channels,
        };
        channel += channels;
        number += 1;
        Some(block)
    })
}

/// What turns the sums of one block into bytes.
#[derive(Clone, Copy)]
pub struct Finish {
    multiplier: *const f32,
    zero: i16,
    low: i8,
    high: i8,
    plain: bool,
}

impl Finish {
    /// For the channels from the `first` packed one on.
    pub fn new(packed: &Packed, first: usize) -> Finish {
        Finish {
            multiplier: packed.multiplier[first..].as_ptr(),
            zero: i16::from(packed.zero_point) - 128,
            low: (packed.low ^ FLIP) as i8,
            high: (packed.high ^ FLIP) as i8,
            plain: packed.plain,
        }
    }

    /// Stores the 4 · `V` channels of `M` pixels; `V` is even.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn store<const V: usize, const M: usize>(
        &self,
        sums: &[[int32x4_t; V]; M],
        to: [*mut u8; M],
    ) {
        // SAFETY: the caller gives a place for the bytes of each pixel.
        unsafe {
            if self.plain {
                self.store_as::<V, M, true>(sums, to);
            } else {
                self.store_as::<V, M, false>(sums, to);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_as<const V: usize, const M: usize, const PLAIN: bool>(
        &self,
        sums: &[[int32x4_t; V]; M],
        to: [*mut u8; M],
    ) {
        // SAFETY: a block has a multiplier for each of its lanes.
        let multiplier: [float32x4_t; V] =
            std::array::from_fn(|j| unsafe { vld1q_f32(self.multiplier.add(4 * j)) });
        let zero = vdupq_n_s16(self.zero);
        let rounder = vdupq_n_f32(ROUNDER + f32::from(self.zero));
        let (low, high) = (vdupq_n_s8(self.low), vdupq_n_s8(self.high));
        // Multiplied, rounded to even, narrowed to 16 bits, and moved by the zero point.
        let shorts = |sums: &[int32x4_t; V], j: usize| {
            let scaled = |j: usize| vmulq_f32(vcvtq_f32_s32(sums[j]), multiplier[j]);
            let (a, b) = (scaled(j), scaled(j + 1));
            if PLAIN {
                // A number so large that it leaves no room for fractions rounds; the integer is the low half of the bits. It takes an
                // even zero point with it, which no tie minds.
                let (a, b) = (vaddq_f32(a, rounder), vaddq_f32(b, rounder));
                vuzp1q_s16(vreinterpretq_s16_f32(a), vreinterpretq_s16_f32(b))
            } else {
                let (a, b) = (vcvtnq_s32_f32(a), vcvtnq_s32_f32(b));
                vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero)
            }
        };
        for (sums, to) in sums.iter().zip(to) {
            for j in (0..V).step_by(4) {
                let left = vqmovn_s16(shorts(sums, j));
                // SAFETY: as the caller of `store` says.
                unsafe {
                    if j + 4 <= V {
                        let mut bytes = vqmovn_high_s16(left, shorts(sums, j + 2));
                        if !PLAIN {
                            bytes = vminq_s8(vmaxq_s8(bytes, low), high);
                        }
                        vst1q_s8(to.add(4 * j).cast(), bytes);
                    } else {
                        let bytes = vmax_s8(left, vget_low_s8(low));
                        vst1_s8(to.add(4 * j).cast(), vmin_s8(bytes, vget_low_s8(high)));
                    }
                }
            }
        }
    }
}
