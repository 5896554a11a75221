//! Armv8.6 matrix product: `smmla` adds the products of 2 rows of 8 i8 with 2 columns of 8 i8 to a 2 × 2 matrix of sums.
//!
//! A step is 4 pixels by 16 output channels; a vector of weights holds eight consecutive inputs of two channels, a vector of pixels
//! those of two pixels.

use super::arm::{self, Finish};
use super::dotprod;
use super::pixels::Pixels;
use super::{Filters, Kernel, Matrix, Packed, Requant, Source, Sum, Target, Window};
use std::arch::aarch64::*;
use std::arch::asm;

pub struct I8mm;

/// Whether this processor has what [`I8mm`] needs.
pub fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("i8mm") && dotprod::supported()
}

impl Kernel for I8mm {
    fn name(&self) -> &'static str {
        "i8mm"
    }

    fn flip(&self) -> u8 {
        arm::FLIP
    }

    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed {
        let blocks = arm::blocks(matrix.n);
        let lines = arm::lanes(matrix, &blocks, 8);
        arm::packed(matrix, Window::POINT, matrix.k, requant, &blocks, lines)
    }

    fn pack_depthwise(&self, filters: &Filters, requant: &Requant) -> Option<Packed> {
        dotprod::pack_depthwise(filters, requant)
    }

    fn matmul(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        // SAFETY: the processor has the instructions, or `choose` would not have given this kernel; `check` bounds every access.
        unsafe { matmul(packed, &from, to) }
    }

    fn depthwise(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        dotprod::depthwise(packed, from, to);
    }

    fn add(&self, sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
        arm::add(sum, a, b, to);
    }

    fn peak(&self, rounds: usize) -> u64 {
        // SAFETY: the processor has the instructions.
        unsafe { peak(rounds) }
    }
}

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
unsafe fn matmul(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
    let groups = packed.k.div_ceil(8);
    let mut pixels = Pixels::new(from, to);
    let mut weights = packed.lines.as_ptr().cast::<i8>();
    let mut channel = 0;
    while channel < packed.bias.len() {
        let left = packed.bias.len() - channel;
        let block = Block {
            groups,
            weights,
            bias: packed.bias[channel..].as_ptr(),
            finish: Finish::new(packed, channel),
            channel,
        };
        // SAFETY: `Packed::check` bounds every pixel; a block has its groups of weights.
        unsafe {
            if left >= 16 {
                block.run::<4, 8>(&mut pixels);
                weights = weights.add(groups * 128);
                channel += 16;
            } else {
                block.run::<2, 4>(&mut pixels);
                weights = weights.add(groups * 64);
                channel += 8;
            }
        }
    }
}

/// The weights of 16 or 8 output channels.
struct Block {
    groups: usize,
    weights: *const i8,
    bias: *const i32,
    finish: Finish,
    channel: usize,
}

/// Pixels of one step, in pairs.
const PAIRS: usize = 2;

impl Block {
    /// All pixels, `V` vectors of four channels or `C` pairs of channels at a time. A step that has too few pixels takes the last of
    /// them several times.
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn run<const V: usize, const C: usize>(&self, pixels: &mut Pixels) {
        let mut first = 0;
        while first < pixels.count {
            first = first.min(pixels.count.saturating_sub(2 * PAIRS));
            // SAFETY: the pixels from `first` on are there.
            unsafe { self.step::<V, C>(pixels, first) };
            first += 2 * PAIRS;
        }
    }

    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn step<const V: usize, const C: usize>(&self, pixels: &mut Pixels, first: usize) {
        let mut at = pixels.at::<{ 2 * PAIRS }>(first);
        for i in 1..2 * PAIRS {
            if first + i >= pixels.count {
                at[i] = at[i - 1];
            }
        }
        // SAFETY: `Packed::check` bounds what is read of a pixel and written of one; weights and bias are of this block.
        unsafe {
            let mut rows: [*const i8; 2 * PAIRS] =
                std::array::from_fn(|i| pixels.from.add(at[i].0).cast());
            let bias: [int32x4_t; C] = std::array::from_fn(|c| {
                let two = vld1_s32(self.bias.add(2 * c));
                vcombine_s32(two, two)
            });
            let mut sums = [bias; PAIRS];
            let mut weights = self.weights;
            for _ in 0..self.groups / 2 {
                let wide = |x: *const i8| vreinterpretq_s64_s8(vld1q_s8(x));
                let pairs: [[int8x16_t; 2]; PAIRS] = std::array::from_fn(|pair| {
                    let (a, b) = (wide(rows[2 * pair]), wide(rows[2 * pair + 1]));
                    [
                        vreinterpretq_s8_s64(vzip1q_s64(a, b)),
                        vreinterpretq_s8_s64(vzip2q_s64(a, b)),
                    ]
                });
                for row in &mut rows {
                    *row = row.add(16);
                }
                for half in 0..2 {
                    for c in 0..C {
                        let w = vld1q_s8(weights.add(16 * (half * C + c)));
                        for pair in 0..PAIRS {
                            sums[pair][c] = product(sums[pair][c], pairs[pair][half], w);
                        }
                    }
                }
                weights = weights.add(32 * C);
            }
            if self.groups % 2 == 1 {
                for c in 0..C {
                    let w = vld1q_s8(weights.add(16 * c));
                    for pair in 0..PAIRS {
                        let two = vcombine_s8(vld1_s8(rows[2 * pair]), vld1_s8(rows[2 * pair + 1]));
                        sums[pair][c] = product(sums[pair][c], two, w);
                    }
                }
            }
            for pair in 0..PAIRS {
                let wide = |c: usize| vreinterpretq_s64_s32(sums[pair][c]);
                let upper: [int32x4_t; V] = std::array::from_fn(|j| {
                    vreinterpretq_s32_s64(vzip1q_s64(wide(2 * j), wide(2 * j + 1)))
                });
                let lower: [int32x4_t; V] = std::array::from_fn(|j| {
                    vreinterpretq_s32_s64(vzip2q_s64(wide(2 * j), wide(2 * j + 1)))
                });
                let to = pixels.to.add(self.channel);
                self.finish.store::<V>(&upper, to.add(at[2 * pair].1));
                self.finish.store::<V>(&lower, to.add(at[2 * pair + 1].1));
            }
        }
    }
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
