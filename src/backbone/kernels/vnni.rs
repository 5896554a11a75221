//! AVX-512 VNNI: `vpdpbusd` adds the products of four u8 with four i8 to each of 16 sums.
//!
//! A block of 64 output channels is four vectors of sums. Channels are dealt to them so that the two packing instructions, which
//! work within 128-bit lanes, put the bytes in order: lane `l` of vector `j` holds channels `16 l + 4 j` to `16 l + 4 j + 3`. The
//! same order comes out of interleaving four rows of pixels, which is how the depthwise kernel feeds the instruction. Blocks of 32
//! and 16 channels are dealt alike to two vectors and one.

use super::pixels::Pixels;
use super::{Filters, Kernel, Line, Matrix, Packed, Requant, Source, Sum, Target, Window};
use super::{columns_of, pack_groups, portable};
use std::arch::x86_64::*;

pub struct Vnni;

/// Whether this processor has what [`Vnni`] needs.
pub fn supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// Channels of each vector of each block of a product: blocks of four vectors, then one of two and one of one.
fn product_blocks(n: usize) -> Vec<Vec<usize>> {
    let mut blocks = Vec::new();
    let mut first = 0;
    while first < n {
        let vectors = match n - first {
            49.. => 4,
            17.. => 2,
            _ => 1,
        };
        blocks.push(dealt(first, vectors));
        first += 16 * vectors;
    }
    blocks
}

/// The channels from `first` on as packing orders those of 1, 2 or 4 vectors.
fn dealt(first: usize, vectors: usize) -> Vec<usize> {
    (0..16 * vectors)
        .map(|at| {
            let (vector, lane, within) = (at / 16, at / 4 % 4, at % 4);
            first + 4 * vectors * lane + 4 * vector + within
        })
        .collect()
}

/// Four weights of a channel are its lane.
fn put(lane: &mut [u8], weights: &[i8]) {
    for (byte, &weight) in lane.iter_mut().zip(weights) {
        *byte = weight as u8;
    }
}

impl Kernel for Vnni {
    fn name(&self) -> &'static str {
        "vnni"
    }

    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed {
        let blocks = product_blocks(matrix.n);
        let lines = pack_groups(matrix, &blocks, 4, 4, put);
        let size = [matrix.n, matrix.k];
        Packed::new(size, Window::POINT, &blocks, lines, requant)
    }

    fn pack_depthwise(&self, filters: &Filters, requant: &Requant) -> Option<Packed> {
        let window = Window::usual(filters)?;
        let blocks: Vec<Vec<usize>> = (0..filters.channels.div_ceil(64))
            .map(|block| dealt(64 * block, 4))
            .collect();
        // Four rows of a column are one group; the groups of a column follow each other, the columns too.
        let lines = pack_groups(&columns_of(filters, 4), &blocks, 4, 4, put);
        let size = [filters.channels; 2];
        Some(Packed::new(size, window, &blocks, lines, requant))
    }

    fn matmul(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        // SAFETY: the processor has the instructions, or `choose` would not have given this kernel; `check` bounds every access.
        unsafe { matmul(packed, &from, to) }
    }

    fn depthwise(&self, packed: &Packed, from: Source<'_>, to: Target<'_>) {
        packed.check(&from, &to);
        // SAFETY: as in `matmul`.
        unsafe {
            match (packed.window.height, packed.window.stride) {
                (3, 1) => depthwise::<3, 1>(packed, &from, to),
                (3, _) => depthwise::<3, 2>(packed, &from, to),
                (_, 1) => depthwise::<5, 1>(packed, &from, to),
                (_, _) => depthwise::<5, 2>(packed, &from, to),
            }
        }
    }

    fn add(&self, sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        fn add(sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
            portable::add::<0>(sum, a, b, to);
        }
        // SAFETY: the processor has the instructions.
        unsafe { add(sum, a, b, to) }
    }

    fn peak(&self, rounds: usize) -> u64 {
        // SAFETY: the processor has the instructions.
        unsafe { peak(rounds) }
    }
}

/// What turns the sums of one block into bytes.
#[derive(Clone, Copy)]
struct Finish {
    multiplier: *const f32,
    zero_point: u8,
    low: u8,
    high: u8,
    /// Not all bytes are allowed.
    clamps: bool,
}

impl Finish {
    fn new(packed: &Packed, first: usize) -> Finish {
        Finish {
            multiplier: packed.multiplier[first..].as_ptr(),
            zero_point: packed.zero_point,
            low: packed.low,
            high: packed.high,
            clamps: packed.low > u8::MIN || packed.high < u8::MAX,
        }
    }

    /// Sums of vector `j` times their multipliers, rounded.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn scaled(&self, sums: __m512i, j: usize) -> __m512i {
        // SAFETY: a block has a multiplier for each of its lanes.
        let multiplier = unsafe { _mm512_loadu_ps(self.multiplier.add(16 * j)) };
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), multiplier))
    }

    /// The 64 bytes of a block whose channels are dealt.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn four(&self, sums: &[__m512i; 4]) -> __m512i {
        // SAFETY: `scaled` reads what a block of four vectors has.
        let scaled = unsafe {
            [
                self.scaled(sums[0], 0),
                self.scaled(sums[1], 1),
                self.scaled(sums[2], 2),
                self.scaled(sums[3], 3),
            ]
        };
        let zero = _mm512_set1_epi16(i16::from(self.zero_point));
        let left = _mm512_adds_epi16(_mm512_packs_epi32(scaled[0], scaled[1]), zero);
        let right = _mm512_adds_epi16(_mm512_packs_epi32(scaled[2], scaled[3]), zero);
        let bytes = _mm512_packus_epi16(left, right);
        if !self.clamps {
            return bytes;
        }
        let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(self.low as i8));
        _mm512_min_epu8(bytes, _mm512_set1_epi8(self.high as i8))
    }

    /// The 32 bytes of a block of two vectors.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn two(&self, sums: [__m512i; 2]) -> __m256i {
        // SAFETY: `scaled` reads what a block of two vectors has.
        let scaled = unsafe { [self.scaled(sums[0], 0), self.scaled(sums[1], 1)] };
        let zero = _mm512_set1_epi16(i16::from(self.zero_point));
        let shorts = _mm512_adds_epi16(_mm512_packs_epi32(scaled[0], scaled[1]), zero);
        let shorts = _mm512_max_epi16(shorts, _mm512_set1_epi16(i16::from(self.low)));
        _mm512_cvtepi16_epi8(_mm512_min_epi16(
            shorts,
            _mm512_set1_epi16(i16::from(self.high)),
        ))
    }

    /// The 16 bytes of a block of one vector.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn one(&self, sums: __m512i) -> __m128i {
        // SAFETY: `scaled` reads what a block of one vector has.
        let scaled = unsafe { self.scaled(sums, 0) };
        let zero = _mm256_set1_epi16(i16::from(self.zero_point));
        let shorts = _mm256_adds_epi16(_mm512_cvtsepi32_epi16(scaled), zero);
        let shorts = _mm256_max_epi16(shorts, _mm256_set1_epi16(i16::from(self.low)));
        _mm256_cvtepi16_epi8(_mm256_min_epi16(
            shorts,
            _mm256_set1_epi16(i16::from(self.high)),
        ))
    }
}

/// Pixels of one step of a product by vectors of sums: as many sums as leave registers for the weights.
const STEP: [usize; 5] = [0, 14, 12, 0, 6];

/// Pixels of the last step where no more are left: as many sums as hide how long an instruction takes.
const LAST: [usize; 5] = [0, 7, 4, 0, 2];

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn matmul(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
    let groups = packed.k.div_ceil(4);
    let mut pixels = Pixels::new(from, to);
    let mut line = packed.lines.as_ptr();
    let mut first = 0;
    while first < packed.bias.len() {
        let vectors = match packed.bias.len() - first {
            64.. => 4,
            32.. => 2,
            _ => 1,
        };
        let block = Block {
            groups,
            weights: line,
            end: line.wrapping_add(vectors * groups),
            bias: packed.bias[first..].as_ptr(),
            finish: Finish::new(packed, first),
        };
        // SAFETY: `Packed::check` bounds every pixel; a block has `vectors · groups` lines.
        unsafe {
            match vectors {
                4 => block.run::<{ STEP[4] }, { LAST[4] }, 4>(&mut pixels, first),
                2 => block.run::<{ STEP[2] }, { LAST[2] }, 2>(&mut pixels, first),
                _ => block.run::<{ STEP[1] }, { LAST[1] }, 1>(&mut pixels, first),
            }
            line = line.add(vectors * groups);
        }
        first += 16 * vectors;
    }
}

/// The weights of up to 64 output channels.
struct Block {
    groups: usize,
    weights: *const Line,
    /// Behind its weights: those of the next block, or of nothing.
    end: *const Line,
    bias: *const i32,
    finish: Finish,
}

impl Block {
    /// All pixels, `M` at a time, and `L` at a time at the end if no more are left; the last step goes over pixels that are done
    /// already rather than over fewer.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const M: usize, const L: usize, const V: usize>(
        &self,
        pixels: &mut Pixels,
        channel: usize,
    ) {
        let mut first = 0;
        // SAFETY: the pixels of each step are there.
        unsafe {
            while first < pixels.count {
                let left = pixels.count - first;
                if pixels.count >= M && left > L {
                    self.step::<M, V>(pixels, first.min(pixels.count - M), channel);
                    first += M;
                } else if pixels.count >= L {
                    self.step::<L, V>(pixels, first.min(pixels.count - L), channel);
                    first += L;
                } else {
                    self.step::<1, V>(pixels, first, channel);
                    first += 1;
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn step<const M: usize, const V: usize>(
        &self,
        pixels: &mut Pixels,
        first: usize,
        channel: usize,
    ) {
        let at = pixels.at::<M>(first);
        // SAFETY: `Packed::check` bounds what is read of a pixel and written of one; weights and bias are of this block.
        unsafe {
            let rows: [*const u8; M] = std::array::from_fn(|i| pixels.from.add(at[i].0));
            let bias: [__m512i; V] =
                std::array::from_fn(|j| _mm512_loadu_si512(self.bias.add(16 * j).cast()));
            let mut sums = [bias; M];
            // A few steps fetch the weights of the next block: those of small planes come too slowly for their first step.
            let ahead = self.end.wrapping_add(first / M * self.groups);
            for group in 0..self.groups {
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(group).cast());
                let line = self.weights.add(group * V);
                let weights: [__m512i; V] =
                    std::array::from_fn(|j| _mm512_load_si512(line.add(j).cast()));
                for i in 0..M {
                    let four = rows[i].add(4 * group).cast::<i32>().read_unaligned();
                    let four = _mm512_set1_epi32(four);
                    for j in 0..V {
                        sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], four, weights[j]);
                    }
                }
            }
            for i in 0..M {
                let to = pixels.to.add(at[i].1 + channel);
                let vector = |j: usize| sums[i][j.min(V - 1)];
                match V {
                    4 => {
                        let four = std::array::from_fn(vector);
                        _mm512_storeu_si512(to.cast(), self.finish.four(&four));
                    }
                    2 => {
                        let bytes = self.finish.two([vector(0), vector(1)]);
                        _mm256_storeu_si256(to.cast(), bytes);
                    }
                    _ => _mm_storeu_si128(to.cast(), self.finish.one(vector(0))),
                }
            }
        }
    }
}

/// Output columns of one step of the depthwise kernel.
const COLUMNS: usize = 4;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn depthwise<const K: usize, const S: usize>(
    packed: &Packed,
    from: &Source<'_>,
    to: Target<'_>,
) {
    let target = to.bytes[to.origin..].as_mut_ptr();
    let lines_a_block = K.div_ceil(4) * K * 4;
    for block in 0..packed.n.div_ceil(64) {
        let left = packed.n.next_multiple_of(16) - 64 * block;
        let mask = if left >= 64 { !0 } else { (1u64 << left) - 1 };
        let one = Channels {
            mask,
            weights: packed.lines[block * lines_a_block..].as_ptr(),
            bias: packed.bias[64 * block..].as_ptr(),
            finish: Finish::new(packed, 64 * block),
        };
        for y in 0..to.rows {
            // SAFETY: `Packed::check` bounds the windows and the pixels; the mask keeps to the pixel's channels.
            unsafe {
                let from_row = from
                    .bytes
                    .as_ptr()
                    .add(from.origin + y * S * from.row_bytes + 64 * block);
                let to_row = target.add(y * to.row_bytes + 64 * block);
                let mut x = 0;
                while x < to.width {
                    let step = if to.width < COLUMNS { 1 } else { COLUMNS };
                    x = x.min(to.width - step);
                    let pixel = from_row.add(x * S * from.pixel_bytes);
                    let out = to_row.add(x * to.pixel_bytes);
                    let strides = (from.pixel_bytes, from.row_bytes, to.pixel_bytes);
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

/// Filters of up to 64 channels.
struct Channels {
    mask: u64,
    weights: *const Line,
    bias: *const i32,
    finish: Finish,
}

impl Channels {
    /// `X` output columns of one row: each column of pixels is interleaved once and serves every window it is in.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn step<const K: usize, const S: usize, const X: usize>(
        &self,
        from: *const u8,
        to: *mut u8,
        (from_pixel, from_row, to_pixel): (usize, usize, usize),
    ) {
        // SAFETY: as the caller says; weights and bias are of these channels.
        unsafe {
            let bias: [__m512i; 4] =
                std::array::from_fn(|j| _mm512_loadu_si512(self.bias.add(16 * j).cast()));
            let mut sums = [bias; X];
            let quads = K.div_ceil(4);
            for column in 0..(X - 1) * S + K {
                for quad in 0..quads {
                    let at = from.add(column * from_pixel + 4 * quad * from_row);
                    let row = |row: usize| {
                        if 4 * quad + row < K {
                            _mm512_maskz_loadu_epi8(self.mask, at.add(row * from_row).cast())
                        } else {
                            _mm512_setzero_si512()
                        }
                    };
                    let four = interleave(row(0), row(1), row(2), row(3));
                    for (x, sums) in sums.iter_mut().enumerate() {
                        if column >= x * S && column - x * S < K {
                            let line = self.weights.add(((column - x * S) * quads + quad) * 4);
                            for j in 0..4 {
                                let weights = _mm512_load_si512(line.add(j).cast());
                                sums[j] = _mm512_dpbusd_epi32(sums[j], four[j], weights);
                            }
                        }
                    }
                }
            }
            for (x, sums) in sums.iter().enumerate() {
                let bytes = self.finish.four(sums);
                _mm512_mask_storeu_epi8(to.add(x * to_pixel).cast(), self.mask, bytes);
            }
        }
    }
}

/// Bytes of four rows side by side, 16 channels a vector.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn interleave(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab_low, cd_low),
        _mm512_unpackhi_epi16(ab_low, cd_low),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn peak(rounds: usize) -> u64 {
    const CHAINS: usize = 16;
    let (a, w) = (_mm512_set1_epi8(1), _mm512_set1_epi8(2));
    let mut sums = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..rounds {
        let w = std::hint::black_box(w);
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, w);
        }
    }
    std::hint::black_box(sums);
    (rounds * CHAINS * 64) as u64
}
