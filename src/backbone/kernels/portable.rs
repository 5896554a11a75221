//! The kernel in plain Rust: the reference for all others, and what runs where there is no other.

use super::{Filters, Kernel, Matrix, Packed, Requant, Source, Sum, Target, Window};

pub struct Portable;

/// Added to an f32 below 2²², this leaves no room for a fraction: the sum is rounded, half to even, and its lowest bits are the
/// integer.
pub const ROUNDER: f32 = 12_582_912.0;

/// The integer nearest to a number below 2²², ties to even.
#[inline(always)]
fn integer(x: f32) -> i32 {
    (x + ROUNDER).to_bits() as i32 - ROUNDER.to_bits() as i32
}

/// `clamp(round(sum · multiplier) + zero_point, low, high)`
#[inline(always)]
fn requantize(packed: &Packed, channel: usize, sum: i32) -> u8 {
    let scaled = sum as f32 * packed.multiplier[channel];
    let byte = integer(scaled.clamp(-1e6, 1e6)) + i32::from(packed.zero_point);
    byte.clamp(i32::from(packed.low), i32::from(packed.high)) as u8 ^ packed.flip
}

impl Kernel for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed {
        packed(
            matrix.n,
            matrix.k,
            Window::POINT,
            &matrix.weights,
            requant,
            0,
        )
    }

    fn pack_depthwise(&self, these: &Filters, requant: &Requant) -> Option<Packed> {
        Some(filters(these, requant, 0))
    }

    fn matmul(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        let (n, k) = (packed.n, packed.k);
        let row_lines = k.div_ceil(64);
        for y in 0..to.rows {
            for x in 0..to.width {
                let pixel = &from.bytes[from.origin + y * from.row_bytes + x * from.pixel_bytes..];
                let pixel = &pixel[..k];
                let out = to.origin + y * to.row_bytes + x * to.pixel_bytes;
                for channel in 0..n {
                    let row = &packed.lines[channel * row_lines..][..row_lines];
                    let mut sum = packed.bias[channel];
                    for (line, pixel) in row.iter().zip(pixel.chunks(64)) {
                        let products = pixel.iter().zip(&line.0);
                        let products = products.map(|(&a, &w)| product(packed.flip, a, w));
                        sum += products.sum::<i32>();
                    }
                    to.bytes[out + channel] = requantize(packed, channel, sum);
                }
            }
        }
    }

    fn depthwise(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        let window = packed.window;
        let tap_lines = packed.n.div_ceil(64);
        let mut sums = vec![0i32; packed.n];
        for y in 0..to.rows {
            for x in 0..to.width {
                sums.copy_from_slice(&packed.bias);
                for ky in 0..window.height {
                    for kx in 0..window.width {
                        let row = from.origin + (y * window.stride + ky) * from.row_bytes;
                        let at = row + (x * window.stride + kx) * from.pixel_bytes;
                        let tap = (ky * window.width + kx) * tap_lines;
                        let tap = &packed.lines[tap..tap + tap_lines];
                        let pixel = from.bytes[at..at + packed.n].chunks(64);
                        for ((sums, pixel), line) in sums.chunks_mut(64).zip(pixel).zip(tap) {
                            for (sum, (&a, &w)) in sums.iter_mut().zip(pixel.iter().zip(&line.0)) {
                                *sum += product(packed.flip, a, w);
                            }
                        }
                    }
                }
                let out = to.origin + y * to.row_bytes + x * to.pixel_bytes;
                for (channel, &sum) in sums.iter().enumerate() {
                    to.bytes[out + channel] = requantize(packed, channel, sum);
                }
            }
        }
    }

    fn peak(&self, rounds: usize) -> u64 {
        let (a, w) = ([1i32; 64], [3i32; 64]);
        let mut sums = [0i32; 64];
        for _ in 0..rounds {
            let (a, w) = (std::hint::black_box(&a), std::hint::black_box(&w));
            for lane in 0..64 {
                sums[lane] = sums[lane].wrapping_add(a[lane] * w[lane]);
            }
        }
        std::hint::black_box(sums);
        64 * rounds as u64
    }
}

/// Filters of any shape, for activations with some bits turned.
pub fn filters(filters: &Filters, requant: &Requant, flip: u8) -> Packed {
    let window = Window {
        height: filters.height,
        width: filters.width,
        stride: filters.stride,
    };
    let channels = filters.channels;
    packed(channels, channels, window, &filters.weights, requant, flip)
}

fn packed(
    n: usize,
    k: usize,
    window: Window,
    weights: &[i8],
    requant: &Requant,
    flip: u8,
) -> Packed {
    // Each row begins a line.
    let row = |row: &[i8]| super::lines(&row.iter().map(|&w| w as u8).collect::<Vec<u8>>());
    Packed {
        n,
        k,
        window,
        lines: weights.chunks(k).flat_map(row).collect(),
        bias: requant.bias.clone(),
        multiplier: requant.multiplier.clone(),
        zero_point: requant.zero_point,
        low: requant.low,
        high: requant.high,
        flip,
        spills: Vec::new(),
        plain: false,
        #[cfg(target_arch = "x86_64")]
        views: super::avx2::Views::default(),
    }
}

/// Activation times weight.
#[inline(always)]
fn product(flip: u8, a: u8, w: u8) -> i32 {
    i32::from(a ^ flip) * i32::from(w as i8)
}

/// Sums of bytes that have the bits of `FLIP` turned.
#[inline(always)]
pub fn add<const FLIP: u8>(sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        let (a, b) = (f32::from(a ^ FLIP), f32::from(b ^ FLIP));
        let total = a * sum.scale_a + (b * sum.scale_b + sum.fixed);
        let byte = integer(total);
        *to = byte.clamp(i32::from(sum.low), i32::from(sum.high)) as u8 ^ FLIP;
    }
}
