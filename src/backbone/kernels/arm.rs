//! What the 64-bit Arm kernels share: signed activations, their requantization, and packing in plain order of channels.
//!
//! Instructions of a later revision than the base architecture (`sdot`, `smmla`) are written as assembly: their intrinsics are not
//! in stable Rust.

use super::{Line, Matrix, Packed, Requant, Sum, Window, pack_groups, portable};
use std::arch::aarch64::*;

/// Bits turned in stored activations: u8 levels become signed numbers.
pub const FLIP: u8 = 0x80;

/// Blocks of 16 channels, then one of 8 if that is enough.
pub fn blocks(n: usize) -> Vec<Vec<usize>> {
    let mut blocks = Vec::new();
    let mut first = 0;
    while first < n {
        let channels = if n - first > 8 { 16 } else { 8 };
        blocks.push((first..first + channels).collect());
        first += channels;
    }
    blocks
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
    let rows = matrix.weights.chunks_exact(matrix.k);
    for (bias, row) in requant.bias.iter_mut().zip(rows) {
        *bias += 128 * row.iter().map(|&w| i32::from(w)).sum::<i32>();
    }
    Packed {
        flip: FLIP,
        pairs_fit: !matrix.weights.contains(&i8::MIN),
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

/// What turns the sums of one block into bytes.
#[derive(Clone, Copy)]
pub struct Finish {
    multiplier: *const f32,
    zero: int16x8_t,
    low: int8x16_t,
    high: int8x16_t,
}

impl Finish {
    /// For the channels from the `first` packed one on.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn new(packed: &Packed, first: usize) -> Finish {
        Finish {
            multiplier: packed.multiplier[first..].as_ptr(),
            zero: vdupq_n_s16(i16::from(packed.zero_point) - 128),
            low: vdupq_n_s8((packed.low ^ FLIP) as i8),
            high: vdupq_n_s8((packed.high ^ FLIP) as i8),
        }
    }

    /// Sums of vector `j` times their multipliers, rounded to even, as 16 bits.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn scaled(&self, sums: int32x4_t, j: usize) -> int32x4_t {
        // SAFETY: a block has a multiplier for each of its lanes.
        let multiplier = unsafe { vld1q_f32(self.multiplier.add(4 * j)) };
        vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), multiplier))
    }

    /// The 8 shorts of vectors `j` and `j + 1`.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn shorts(&self, a: int32x4_t, b: int32x4_t, j: usize) -> int16x8_t {
        // SAFETY: as in `scaled`.
        let (a, b) = unsafe { (self.scaled(a, j), self.scaled(b, j + 1)) };
        vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), self.zero)
    }

    /// Stores the 16 or 8 bytes of a block of four vectors or two.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn store<const V: usize>(&self, sums: &[int32x4_t; V], to: *mut u8) {
        // SAFETY: as in `scaled`; the caller gives a place for 4 · V bytes.
        unsafe {
            let left = vqmovn_s16(self.shorts(sums[0], sums[1], 0));
            if V == 4 {
                let right = self.shorts(sums[V - 2], sums[V - 1], 2);
                let bytes = vqmovn_high_s16(left, right);
                let bytes = vminq_s8(vmaxq_s8(bytes, self.low), self.high);
                vst1q_s8(to.cast(), bytes);
            } else {
                let bytes = vmax_s8(left, vget_low_s8(self.low));
                vst1_s8(to.cast(), vmin_s8(bytes, vget_low_s8(self.high)));
            }
        }
    }
}
