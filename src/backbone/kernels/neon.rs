//! The base architecture, Armv8.0: `smull` and `smlal` multiply 8 i8 with 8 i8 to 16 bits, `sadalp` adds neighbours to sums of 32.
//!
//! A vector of products holds four channels by two inputs. The eight inputs of a step are four pairs; instead of a copy of a pair in
//! every lane, the pixel is turned by one pair three times, and the weights are packed for that: in turn `r`, channel `i` of a quad
//! meets pair `(i + r) mod 4`. Two products of one channel fit 16 bits unless a weight is −128; where one is, each is added by itself.

use super::arm::{self, Finish};
use super::pixels::Pixels;
use super::{Filters, Kernel, Line, Matrix, Packed, Requant, Source, Sum, Target, Window, lines};
use std::arch::aarch64::*;

pub struct Neon;

/// Whether this processor has what [`Neon`] needs.
pub fn supported() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

impl Kernel for Neon {
    fn name(&self) -> &'static str {
        "neon"
    }

    fn flip(&self) -> u8 {
        arm::FLIP
    }

    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed {
        let blocks = arm::blocks(matrix.n);
        let lines = turned(matrix, &blocks);
        arm::packed(matrix, Window::POINT, matrix.k, requant, &blocks, lines)
    }

    fn pack_depthwise(&self, filters: &Filters, requant: &Requant) -> Option<Packed> {
        let window = Window::usual(filters)?;
        let taps = window.height * window.width;
        let matrix = Matrix {
            n: filters.channels,
            k: taps,
            weights: (0..filters.channels * taps)
                .map(|at| filters.weights[at % taps * filters.channels + at / taps])
                .collect(),
        };
        let blocks: Vec<Vec<usize>> = (0..filters.channels.div_ceil(16))
            .map(|block| (16 * block..16 * block + 16).collect())
            .collect();
        let lines = arm::lanes(&matrix, &blocks, 1);
        let k = filters.channels;
        Some(arm::packed(&matrix, window, k, requant, &blocks, lines))
    }

    fn matmul(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        // SAFETY: the processor has the instructions, or `choose` would not have given this kernel; `check` bounds every access.
        unsafe {
            if packed.pairs_fit {
                matmul::<true>(packed, &from, to);
            } else {
                matmul::<false>(packed, &from, to);
            }
        }
    }

    fn depthwise(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        // SAFETY: as in `matmul`.
        unsafe {
            match (packed.window.height, packed.window.stride, packed.pairs_fit) {
                (3, 1, true) => windows::<3, 1, true>(packed, &from, to),
                (3, _, true) => windows::<3, 2, true>(packed, &from, to),
                (_, 1, true) => windows::<5, 1, true>(packed, &from, to),
                (_, _, true) => windows::<5, 2, true>(packed, &from, to),
                (3, 1, false) => windows::<3, 1, false>(packed, &from, to),
                (3, _, false) => windows::<3, 2, false>(packed, &from, to),
                (_, 1, false) => windows::<5, 1, false>(packed, &from, to),
                (_, _, false) => windows::<5, 2, false>(packed, &from, to),
            }
        }
    }

    fn add(&self, sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
        arm::add(sum, a, b, to);
    }

    fn peak(&self, rounds: usize) -> u64 {
        // SAFETY: the processor has the instructions.
        unsafe { peak(rounds) }
    }
}

/// Weights of blocks: for each eight inputs, for each turn, for each quad of channels, the pair of inputs that each of them meets.
fn turned(matrix: &Matrix, blocks: &[Vec<usize>]) -> Vec<Line> {
    let weight = |channel: usize, k: usize| {
        let inside = channel < matrix.n && k < matrix.k;
        inside.then(|| matrix.weights[channel * matrix.k + k] as u8)
    };
    let mut bytes = Vec::new();
    for channels in blocks {
        for first in (0..matrix.k).step_by(8) {
            for turn in 0..4 {
                for (at, &channel) in channels.iter().enumerate() {
                    let k = first + 2 * ((at + turn) % 4);
                    bytes.extend([k, k + 1].map(|k| weight(channel, k).unwrap_or(0)));
                }
            }
        }
    }
    lines(&bytes)
}

/// Pixels of one step: 16 vectors of sums, 8 of pixels in two turns, 2 of weights and 2 of products.
const STEP: usize = 4;

#[target_feature(enable = "neon")]
unsafe fn matmul<const FIT: bool>(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
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
                block.run::<4, FIT>(&mut pixels);
                weights = weights.add(groups * 128);
                channel += 16;
            } else {
                block.run::<2, FIT>(&mut pixels);
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

impl Block {
    /// All pixels; the last step goes over pixels that are done already rather than over fewer.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn run<const V: usize, const FIT: bool>(&self, pixels: &mut Pixels) {
        let mut first = 0;
        // SAFETY: the pixels from `first` on are there.
        unsafe {
            if pixels.count < STEP {
                while first < pixels.count {
                    self.step::<1, V, FIT>(pixels, first);
                    first += 1;
                }
                return;
            }
            while first < pixels.count {
                first = first.min(pixels.count - STEP);
                self.step::<STEP, V, FIT>(pixels, first);
                first += STEP;
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn step<const M: usize, const V: usize, const FIT: bool>(
        &self,
        pixels: &mut Pixels,
        first: usize,
    ) {
        let at = pixels.at::<M>(first);
        // SAFETY: `Packed::check` bounds what is read of a pixel and written of one; weights and bias are of this block.
        unsafe {
            let mut rows: [*const i8; M] = std::array::from_fn(|i| pixels.from.add(at[i].0).cast());
            let bias: [int32x4_t; V] = std::array::from_fn(|j| vld1q_s32(self.bias.add(4 * j)));
            let mut sums = [bias; M];
            let mut weights = self.weights;
            for _ in 0..self.groups {
                let eight: [int8x16_t; M] = std::array::from_fn(|i| {
                    let eight = rows[i].cast::<i64>().read_unaligned();
                    vreinterpretq_s8_s64(vdupq_n_s64(eight))
                });
                for row in &mut rows {
                    *row = row.add(8);
                }
                let once = eight.map(|x| vextq_s8::<2>(x, x));
                turns::<M, V, FIT>(&mut sums, weights, &eight, &once);
                let twice = eight.map(|x| vextq_s8::<4>(x, x));
                let thrice = eight.map(|x| vextq_s8::<6>(x, x));
                turns::<M, V, FIT>(&mut sums, weights.add(16 * V), &twice, &thrice);
                weights = weights.add(32 * V);
            }
            for i in 0..M {
                let to = pixels.to.add(at[i].1 + self.channel);
                self.finish.store::<V>(&sums[i], to);
            }
        }
    }
}

/// Adds the products of two turns, `a` and `b`, of `M` pixels.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn turns<const M: usize, const V: usize, const FIT: bool>(
    sums: &mut [[int32x4_t; V]; M],
    weights: *const i8,
    a: &[int8x16_t; M],
    b: &[int8x16_t; M],
) {
    for j in (0..V).step_by(2) {
        // SAFETY: a turn has 8 · V bytes of weights.
        let (u, v) = unsafe {
            (
                vld1q_s8(weights.add(8 * j)),
                vld1q_s8(weights.add(8 * (V + j))),
            )
        };
        for i in 0..M {
            let low = vmull_s8(vget_low_s8(u), vget_low_s8(a[i]));
            let high = vmull_high_s8(u, a[i]);
            if FIT {
                let low = vmlal_s8(low, vget_low_s8(v), vget_low_s8(b[i]));
                let high = vmlal_high_s8(high, v, b[i]);
                sums[i][j] = vpadalq_s16(sums[i][j], low);
                sums[i][j + 1] = vpadalq_s16(sums[i][j + 1], high);
            } else {
                let more_low = vmull_s8(vget_low_s8(v), vget_low_s8(b[i]));
                let more_high = vmull_high_s8(v, b[i]);
                sums[i][j] = vpadalq_s16(vpadalq_s16(sums[i][j], low), more_low);
                sums[i][j + 1] = vpadalq_s16(vpadalq_s16(sums[i][j + 1], high), more_high);
            }
        }
    }
}

/// Output columns of one step of the depthwise kernel.
const COLUMNS: usize = 4;

#[target_feature(enable = "neon")]
unsafe fn windows<const K: usize, const S: usize, const FIT: bool>(
    packed: &Packed,
    from: &Source<'_>,
    to: Target<'_>,
) {
    let target = to.bytes[to.origin..].as_mut_ptr();
    let weights = packed.lines.as_ptr().cast::<i8>();
    for block in 0..packed.n.div_ceil(16) {
        for y in 0..to.rows {
            // SAFETY: `Packed::check` bounds the windows and the pixels, whose channels are whole blocks.
            unsafe {
                let one = Channels {
                    weights: weights.add(block * 16 * K * K),
                    bias: packed.bias[16 * block..].as_ptr(),
                    finish: Finish::new(packed, 16 * block),
                };
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
                        one.step::<K, S, COLUMNS, FIT>(pixel, out, strides);
                    } else {
                        one.step::<K, S, 1, FIT>(pixel, out, strides);
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
    /// `X` output columns of one row, two taps of the window at a time.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn step<const K: usize, const S: usize, const X: usize, const FIT: bool>(
        &self,
        from: *const u8,
        to: *mut u8,
        (from_pixel, from_row, to_pixel): (usize, usize, usize),
    ) {
        // SAFETY: as the caller says; weights and bias are of these channels.
        unsafe {
            let bias: [int32x4_t; 4] = std::array::from_fn(|j| vld1q_s32(self.bias.add(4 * j)));
            let mut sums = [bias; X];
            let pixel = |x: usize, tap: usize| {
                let at = tap / K * from_row + (x * S + tap % K) * from_pixel;
                vld1q_s8(from.add(at).cast())
            };
            let mut tap = 0;
            while tap < K * K {
                let u = vld1q_s8(self.weights.add(16 * tap));
                let pair = FIT && tap + 1 < K * K;
                let v = vld1q_s8(self.weights.add(16 * if pair { tap + 1 } else { tap }));
                for (x, sums) in sums.iter_mut().enumerate() {
                    let a = pixel(x, tap);
                    let mut low = vmull_s8(vget_low_s8(a), vget_low_s8(u));
                    let mut high = vmull_high_s8(a, u);
                    if pair {
                        let b = pixel(x, tap + 1);
                        low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(v));
                        high = vmlal_high_s8(high, b, v);
                    }
                    sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
                    sums[1] = vaddw_high_s16(sums[1], low);
                    sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
                    sums[3] = vaddw_high_s16(sums[3], high);
                }
                tap += if pair { 2 } else { 1 };
            }
            for (x, sums) in sums.iter().enumerate() {
                self.finish.store::<4>(sums, to.add(x * to_pixel));
            }
        }
    }
}

#[target_feature(enable = "neon")]
fn peak(rounds: usize) -> u64 {
    const CHAINS: usize = 8;
    let (a, w) = (vdupq_n_s8(1), vdupq_n_s8(2));
    let mut sums = [vdupq_n_s32(0); CHAINS];
    for _ in 0..rounds {
        let w = std::hint::black_box(w);
        for sum in &mut sums {
            let products = vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(w)), a, w);
            *sum = vpadalq_s16(*sum, products);
        }
    }
    std::hint::black_box(sums);
    (rounds * CHAINS * 16) as u64
}
