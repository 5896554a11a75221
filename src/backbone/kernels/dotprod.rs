//! Armv8.2 dot product: `sdot` adds the products of four i8 with four i8 to each of 4 sums.
//!
//! A block is 16 output channels, four vectors of sums; a lane of the weights holds four consecutive inputs of one channel.

use super::arm::{self, Finish};
use super::pixels::Pixels;
use super::{Filters, Kernel, Matrix, Packed, Requant, Source, Sum, Target, Window, columns_of};
use std::arch::aarch64::*;
use std::arch::asm;

pub struct Dotprod;

/// Whether this processor has what [`Dotprod`] needs.
pub fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

impl Kernel for Dotprod {
    fn name(&self) -> &'static str {
        "dotprod"
    }

    fn flip(&self) -> u8 {
        arm::FLIP
    }

    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed {
        let blocks = arm::blocks(matrix.n);
        let lines = arm::lanes(matrix, &blocks, 4);
        arm::packed(matrix, Window::POINT, matrix.k, requant, &blocks, lines)
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

/// `sums += weights · lane`, where lane `L` of `pixel` is four inputs.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_lane<const L: i32>(sums: int32x4_t, weights: int8x16_t, pixel: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: registers alone.
    unsafe {
        asm!(
            "sdot {s:v}.4s, {w:v}.16b, {p:v}.4b[{l}]",
            s = inout(vreg) sums, w = in(vreg) weights, p = in(vreg) pixel, l = const L,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

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

/// Pixels of one step: 24 vectors of sums and 6 of pixels leave 2 for the weights.
const STEP: usize = 6;

#[target_feature(enable = "neon,dotprod")]
unsafe fn matmul(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
    let groups = packed.k.div_ceil(4);
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
                block.run::<4>(&mut pixels);
                weights = weights.add(groups * 64);
                channel += 16;
            } else {
                block.run::<2>(&mut pixels);
                weights = weights.add(groups * 32);
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

impl Block {
    /// All pixels; the last step goes over pixels that are done already rather than over fewer.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn run<const V: usize>(&self, pixels: &mut Pixels) {
        let mut first = 0;
        // SAFETY: the pixels from `first` on are there.
        unsafe {
            if pixels.count < STEP {
                while first < pixels.count {
                    self.step::<1, V>(pixels, first);
                    first += 1;
                }
                return;
            }
            while first < pixels.count {
                first = first.min(pixels.count - STEP);
                self.step::<STEP, V>(pixels, first);
                first += STEP;
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn step<const M: usize, const V: usize>(&self, pixels: &mut Pixels, first: usize) {
        let at = pixels.at::<M>(first);
        // SAFETY: `Packed::check` bounds what is read of a pixel and written of one; weights and bias are of this block.
        unsafe {
            let mut rows: [*const i8; M] = std::array::from_fn(|i| pixels.from.add(at[i].0).cast());
            let bias: [int32x4_t; V] = std::array::from_fn(|j| vld1q_s32(self.bias.add(4 * j)));
            let mut sums = [bias; M];
            let mut weights = self.weights;
            for _ in 0..self.groups / 4 {
                let sixteen: [int8x16_t; M] = std::array::from_fn(|i| vld1q_s8(rows[i]));
                for row in &mut rows {
                    *row = row.add(16);
                }
                for j in 0..V {
                    let w = vld1q_s8(weights.add(16 * j));
                    for i in 0..M {
                        sums[i][j] = dot_lane::<0>(sums[i][j], w, sixteen[i]);
                    }
                }
                for j in 0..V {
                    let w = vld1q_s8(weights.add(16 * (V + j)));
                    for i in 0..M {
                        sums[i][j] = dot_lane::<1>(sums[i][j], w, sixteen[i]);
                    }
                }
                for j in 0..V {
                    let w = vld1q_s8(weights.add(16 * (2 * V + j)));
                    for i in 0..M {
                        sums[i][j] = dot_lane::<2>(sums[i][j], w, sixteen[i]);
                    }
                }
                for j in 0..V {
                    let w = vld1q_s8(weights.add(16 * (3 * V + j)));
                    for i in 0..M {
                        sums[i][j] = dot_lane::<3>(sums[i][j], w, sixteen[i]);
                    }
                }
                weights = weights.add(64 * V);
            }
            for _ in 0..self.groups % 4 {
                for i in 0..M {
                    let four =
                        vreinterpretq_s8_s32(vdupq_n_s32(rows[i].cast::<i32>().read_unaligned()));
                    for j in 0..V {
                        sums[i][j] = dot(sums[i][j], vld1q_s8(weights.add(16 * j)), four);
                    }
                    rows[i] = rows[i].add(4);
                }
                weights = weights.add(16 * V);
            }
            for i in 0..M {
                let to = pixels.to.add(at[i].1 + self.channel);
                self.finish.store::<V>(&sums[i], to);
            }
        }
    }
}

/// Filters of 3 × 3 and 5 × 5: four rows of a column are a lane.
pub fn pack_depthwise(filters: &Filters, requant: &Requant) -> Option<Packed> {
    let window = Window::usual(filters)?;
    let blocks: Vec<Vec<usize>> = (0..filters.channels.div_ceil(16))
        .map(|block| (16 * block..16 * block + 16).collect())
        .collect();
    let matrix = columns_of(filters, 4);
    let lines = arm::lanes(&matrix, &blocks, 4);
    let k = filters.channels;
    Some(arm::packed(&matrix, window, k, requant, &blocks, lines))
}

/// The depthwise convolution of this kernel and of `i8mm`, which has nothing better for it.
pub fn depthwise(packed: &Packed, from: Source<'_>, to: Target<'_>) {
    packed.check(&from, &to);
    // SAFETY: the processor has the instructions, or `choose` would not have given this kernel; `check` bounds every access.
    unsafe {
        match (packed.window.height, packed.window.stride) {
            (3, 1) => windows::<3, 1>(packed, &from, to),
            (3, _) => windows::<3, 2>(packed, &from, to),
            (_, 1) => windows::<5, 1>(packed, &from, to),
            (_, _) => windows::<5, 2>(packed, &from, to),
        }
    }
}

/// Output columns of one step of the depthwise kernel.
const COLUMNS: usize = 4;

#[target_feature(enable = "neon,dotprod")]
unsafe fn windows<const K: usize, const S: usize>(
    packed: &Packed,
    from: &Source<'_>,
    to: Target<'_>,
) {
    let target = to.bytes[to.origin..].as_mut_ptr();
    let lines_a_block = K.div_ceil(4) * K;
    for block in 0..packed.n.div_ceil(16) {
        let one = Channels {
            weights: packed.lines[block * lines_a_block..].as_ptr().cast(),
            bias: packed.bias[16 * block..].as_ptr(),
            finish: Finish::new(packed, 16 * block),
        };
        for y in 0..to.rows {
            // SAFETY: `Packed::check` bounds the windows and the pixels, whose channels are whole blocks.
            unsafe {
                let from_row = from
                    .bytes
                    .as_ptr()
                    .add(from.origin + y * S * from.row_bytes + 16 * block);
                let to_row = target.add(y * to.row_bytes + 16 * block);
                let strides = (from.pixel_bytes, from.row_bytes, to.pixel_bytes);
                let mut x = 0;
                while x < to.width {
                    let step = if to.width < COLUMNS { 1 } else { COLUMNS };
                    x = x.min(to.width - step);
                    let pixel = from_row.add(x * S * from.pixel_bytes);
                    let out = to_row.add(x * to.pixel_bytes);
                    if step == COLUMNS {
                        one.step::<K, S, COLUMNS>(pixel, out, strides);
                    } else {
                        one.step::<K, S, 1>(pixel, out, strides);
                    }
                    x += step;
                }
            }
        }
    }
}

/// Filters of 16 channels.
struct Channels {
    weights: *const i8,
    bias: *const i32,
    finish: Finish,
}

impl Channels {
    /// `X` output columns of one row: each column of pixels is interleaved once and serves every window it is in.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn step<const K: usize, const S: usize, const X: usize>(
        &self,
        from: *const u8,
        to: *mut u8,
        (from_pixel, from_row, to_pixel): (usize, usize, usize),
    ) {
        // SAFETY: as the caller says; weights and bias are of these channels.
        unsafe {
            let bias: [int32x4_t; 4] = std::array::from_fn(|j| vld1q_s32(self.bias.add(4 * j)));
            let mut sums = [bias; X];
            let quads = K.div_ceil(4);
            for column in 0..(X - 1) * S + K {
                for quad in 0..quads {
                    let at = from.add(column * from_pixel + 4 * quad * from_row);
                    let row = |row: usize| {
                        if 4 * quad + row < K {
                            vld1q_s8(at.add(row * from_row).cast())
                        } else {
                            vdupq_n_s8(0)
                        }
                    };
                    let four = interleave(row(0), row(1), row(2), row(3));
                    for (x, sums) in sums.iter_mut().enumerate() {
                        if column >= x * S && column - x * S < K {
                            let tap = (column - x * S) * quads + quad;
                            for j in 0..4 {
                                let weights = vld1q_s8(self.weights.add(64 * tap + 16 * j));
                                sums[j] = dot(sums[j], four[j], weights);
                            }
                        }
                    }
                }
            }
            for (x, sums) in sums.iter().enumerate() {
                self.finish.store::<4>(sums, to.add(x * to_pixel));
            }
        }
    }
}

/// Bytes of four rows side by side, 4 channels a vector.
#[inline]
#[target_feature(enable = "neon")]
fn interleave(a: int8x16_t, b: int8x16_t, c: int8x16_t, d: int8x16_t) -> [int8x16_t; 4] {
    let wide = |x: int8x16_t| vreinterpretq_s16_s8(x);
    let (ab_low, ab_high) = (wide(vzip1q_s8(a, b)), wide(vzip2q_s8(a, b)));
    let (cd_low, cd_high) = (wide(vzip1q_s8(c, d)), wide(vzip2q_s8(c, d)));
    [
        vreinterpretq_s8_s16(vzip1q_s16(ab_low, cd_low)),
        vreinterpretq_s8_s16(vzip2q_s16(ab_low, cd_low)),
        vreinterpretq_s8_s16(vzip1q_s16(ab_high, cd_high)),
        vreinterpretq_s8_s16(vzip2q_s16(ab_high, cd_high)),
    ]
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
