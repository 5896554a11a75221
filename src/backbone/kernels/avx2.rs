//! AVX2. Products: `vpmaddubsw` adds the products of two u8 with two i8 in 16 bits, for weights laid out so that these never
//! saturate (`views`); `vpmaddwd` with ones adds two of them to each of 8 sums.
//!
//! Depthwise convolutions: `vpmaddwd` adds the products of two i16 with two i16 to each of 8 sums. A block of 16 channels is two
//! vectors of sums. Channels are dealt to them as interleaving two rows of pixels and packing order them: lane `l` of vector `j`
//! holds channels `8 l + 4 j` to `8 l + 4 j + 3`.

mod views;

pub use views::Views;

use super::pixels::Pixels;
use super::{Filters, Kernel, Line, Matrix, Packed, Requant, Source, Sum, Target, Window};
use super::{pack_groups, portable};
use std::arch::x86_64::*;

pub struct Avx2;

/// Whether this processor has what [`Avx2`] needs.
pub fn supported() -> bool {
    is_x86_feature_detected!("avx2")
}

/// The channels of all blocks of 16, dealt.
fn blocks(n: usize) -> Vec<Vec<usize>> {
    (0..n.div_ceil(16))
        .map(|block| {
            let dealt = |at: usize| {
                let (vector, lane, within) = (at / 8, at / 4 % 2, at % 4);
                16 * block + 8 * lane + 4 * vector + within
            };
            (0..16).map(dealt).collect()
        })
        .collect()
}

/// Filters as a matrix whose rows take two rows of the window at a time, column by column, and then the last row.
fn in_pairs(filters: &Filters) -> Matrix {
    let (height, width) = (filters.height, filters.width);
    let paired = (0..width).flat_map(|column| (0..height - 1).map(move |row| (row, column)));
    let taps: Vec<_> = paired
        .chain((0..width).map(|column| (height - 1, column)))
        .collect();
    let weight = |channel, &(row, column): &(usize, usize)| {
        filters.weights[(row * width + column) * filters.channels + channel]
    };
    Matrix {
        n: filters.channels,
        k: taps.len(),
        weights: (0..filters.channels)
            .flat_map(|channel| taps.iter().map(move |tap| weight(channel, tap)))
            .collect(),
    }
}

/// Two weights of a channel, as i16, are its lane.
fn put(lane: &mut [u8], weights: &[i8]) {
    for (bytes, &weight) in lane.chunks_exact_mut(2).zip(weights) {
        bytes.copy_from_slice(&i16::from(weight).to_le_bytes());
    }
}

impl Kernel for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }

    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed {
        // SAFETY: the processor has the instructions, or `choose` would not have given this kernel.
        let (views, lines, bias) = unsafe { views::pack(matrix, &requant.bias) };
        let requant = Requant {
            bias,
            ..requant.clone()
        };
        let blocks: Vec<usize> = (0..8 * views.counts.len()).collect();
        let size = [matrix.n, matrix.k];
        let packed = Packed::new(size, Window::POINT, &[blocks], lines, &requant);
        Packed { views, ..packed }
    }

    fn pack_depthwise(&self, filters: &Filters, requant: &Requant) -> Option<Packed> {
        let window = Window::usual(filters)?;
        let blocks = blocks(filters.channels);
        let lines = pack_groups(&in_pairs(filters), &blocks, 2, 4, put);
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
        #[target_feature(enable = "avx2")]
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
    /// In every lane, as i16 and as bytes.
    zero_point: __m256i,
    low: __m256i,
    high: __m256i,
    /// Not all bytes are allowed.
    clamps: bool,
}

impl Finish {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(packed: &Packed) -> Finish {
        Finish {
            multiplier: packed.multiplier.as_ptr(),
            zero_point: _mm256_set1_epi16(i16::from(packed.zero_point)),
            low: _mm256_set1_epi8(packed.low as i8),
            high: _mm256_set1_epi8(packed.high as i8),
            clamps: packed.low > u8::MIN || packed.high < u8::MAX,
        }
    }

    /// That of the channels from `first` on.
    fn of(&self, packed: &Packed, first: usize) -> Finish {
        Finish {
            multiplier: packed.multiplier[first..].as_ptr(),
            ..*self
        }
    }

    /// The 16 bytes of a block.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn bytes(&self, sums: &[__m256i; 2]) -> __m128i {
        // SAFETY: a block has a multiplier for each of its lanes.
        let scaled: [__m256i; 2] = std::array::from_fn(|j| unsafe {
            let multiplier = _mm256_loadu_ps(self.multiplier.add(8 * j));
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums[j]), multiplier))
        });
        let short = _mm256_packs_epi32(scaled[0], scaled[1]);
        let short = _mm256_adds_epi16(short, self.zero_point);
        let mut bytes = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi16(short, short));
        if self.clamps {
            bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, self.low), self.high);
        }
        _mm256_castsi256_si128(bytes)
    }

    /// Writes the 8 bytes of each of four pixels.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn eights(&self, sums: &[__m256i; 4], outs: [*mut u8; 4]) {
        // SAFETY: there is a multiplier for each channel; the caller gives room for 8 bytes at each of `outs`.
        unsafe {
            let multiplier = _mm256_loadu_ps(self.multiplier);
            let scaled = sums
                .map(|sum| _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), multiplier)));
            let short = |a, b| _mm256_adds_epi16(_mm256_packs_epi32(a, b), self.zero_point);
            let mut bytes =
                _mm256_packus_epi16(short(scaled[0], scaled[1]), short(scaled[2], scaled[3]));
            if self.clamps {
                bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, self.low), self.high);
            }
            // The first half holds channels 0 to 3 of each pixel, the second one channels 4 to 7.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            let halves = [
                _mm256_castsi256_si128(bytes),
                _mm256_extracti128_si256::<1>(bytes),
            ];
            for (half, outs) in halves.into_iter().zip(outs.as_chunks::<2>().0) {
                _mm_storel_epi64(outs[0].cast(), half);
                _mm_storeh_pd(outs[1].cast(), _mm_castsi128_pd(half));
            }
        }
    }
}

/// Most pixels of one step of a product: 12 sums, the weights, ones and the products fill the 16 registers.
const STEP: usize = 12;

#[target_feature(enable = "avx2")]
unsafe fn matmul(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
    let views = &packed.views;
    let finish = Finish::new(packed);
    let padded = packed.k.next_multiple_of(32);
    let stride = views.used.len() * padded;
    let mut rows = vec![0u8; STEP * stride];
    let pixels = Pixels::new(from, to);
    let mut first = 0;
    while first < pixels.count {
        let step = (pixels.count - first).min(STEP).next_multiple_of(4);
        // The last step repeats the last pixel rather than doing fewer.
        let at = pixels.at::<STEP>(first);
        let last = pixels.count - 1 - first;
        // SAFETY: `Packed::check` bounds the pixels; what is read beyond one is within the slack.
        let (outs, ins): ([*mut u8; STEP], [*const u8; STEP]) = unsafe {
            (
                std::array::from_fn(|i| pixels.to.add(at[i.min(last)].1)),
                std::array::from_fn(|i| pixels.from.add(at[i.min(last)].0)),
            )
        };
        // SAFETY: as above; `rows` have room for all views of a step.
        unsafe { views.lay(&ins[..step], rows.as_mut_ptr(), padded) };
        let mut line = packed.lines.as_ptr().cast::<__m256i>();
        let mut start = 0;
        for (vector, &[pairs, single]) in views.counts.iter().enumerate() {
            let end = start + pairs + single;
            let (pairs, single) = views.offsets[start..end].split_at(pairs);
            let eight = Eight {
                pairs: pairs.as_chunks().0,
                single,
                weights: line,
                bias: packed.bias[8 * vector..].as_ptr(),
                finish: finish.of(packed, 8 * vector),
                channel: 8 * vector,
            };
            // SAFETY: `rows` hold every offset; the targets are those of `step` pixels; a vector has a line for each offset.
            unsafe {
                match step {
                    4 => eight.step::<1>(rows.as_ptr(), stride, &outs),
                    8 => eight.step::<2>(rows.as_ptr(), stride, &outs),
                    _ => eight.step::<3>(rows.as_ptr(), stride, &outs),
                }
                line = line.add(end - start);
            }
            start = end;
        }
        first += step;
    }
}

/// The weights of 8 output channels.
struct Eight<'a> {
    /// Where the levels are for the weights that are added in 16 bits two and two, and for the others.
    pairs: &'a [[u32; 2]],
    single: &'a [u32],
    weights: *const __m256i,
    bias: *const i32,
    finish: Finish,
    channel: usize,
}

impl Eight<'_> {
    /// `Q` times four pixels.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn step<const Q: usize>(&self, rows: *const u8, stride: usize, outs: &[*mut u8; STEP]) {
        // SAFETY: as the caller says.
        unsafe {
            let mut sums = [[_mm256_loadu_si256(self.bias.cast()); 4]; Q];
            let ones = _mm256_set1_epi16(1);
            let products = |row: *const u8, weights: __m256i| {
                let levels = _mm256_set1_epi32(row.cast::<i32>().read_unaligned());
                _mm256_maddubs_epi16(levels, weights)
            };
            let mut weights = self.weights;
            for &[a, b] in self.pairs {
                let two = [
                    _mm256_loadu_si256(weights),
                    _mm256_loadu_si256(weights.add(1)),
                ];
                for (four, sums) in sums.iter_mut().enumerate() {
                    let row_a = rows.add(a as usize + 4 * four * stride);
                    let row_b = rows.add(b as usize + 4 * four * stride);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        let a = products(row_a.add(i * stride), two[0]);
                        let b = products(row_b.add(i * stride), two[1]);
                        let wide = _mm256_madd_epi16(_mm256_add_epi16(a, b), ones);
                        *sum = _mm256_add_epi32(*sum, wide);
                    }
                }
                weights = weights.add(2);
            }
            for &offset in self.single {
                let one = _mm256_loadu_si256(weights);
                for (four, sums) in sums.iter_mut().enumerate() {
                    let row = rows.add(offset as usize + 4 * four * stride);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        let wide = _mm256_madd_epi16(products(row.add(i * stride), one), ones);
                        *sum = _mm256_add_epi32(*sum, wide);
                    }
                }
                weights = weights.add(1);
            }
            for (sums, outs) in sums.iter().zip(outs.as_chunks::<4>().0) {
                self.finish
                    .eights(sums, outs.map(|out| out.add(self.channel)));
            }
        }
    }
}

/// Output columns of one step of the depthwise kernel, and columns of pixels that their windows may span.
const COLUMNS: usize = 4;
const MOST_COLUMNS: usize = (COLUMNS - 1) * 2 + 5;

#[target_feature(enable = "avx2")]
unsafe fn depthwise<const K: usize, const S: usize>(
    packed: &Packed,
    from: &Source<'_>,
    to: Target<'_>,
) {
    let finish = Finish::new(packed);
    let lines_a_block = (K * K).div_ceil(2);
    let target = to.bytes[to.origin..].as_mut_ptr();
    for block in 0..packed.n.div_ceil(16) {
        let one = Channels {
            weights: packed.lines[block * lines_a_block..].as_ptr(),
            bias: packed.bias[16 * block..].as_ptr(),
            finish: finish.of(packed, 16 * block),
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
    weights: *const Line,
    bias: *const i32,
    finish: Finish,
}

impl Channels {
    /// `X` output columns of one row: each column of pixels is interleaved once and serves every window it is in.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn step<const K: usize, const S: usize, const X: usize>(
        &self,
        from: *const u8,
        to: *mut u8,
        (from_pixel, from_row, to_pixel): (usize, usize, usize),
    ) {
        // SAFETY: as the caller says; weights and bias are of these channels.
        unsafe {
            let bias: [__m256i; 2] =
                std::array::from_fn(|j| _mm256_loadu_si256(self.bias.add(8 * j).cast()));
            let mut sums = [bias; X];
            let load = |column: usize, row: usize| {
                let at = from.add(column * from_pixel + row * from_row);
                _mm256_cvtepu8_epi16(_mm_loadu_si128(at.cast()))
            };
            let interleave = |a, b| [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)];
            let add = |sums: &mut [__m256i; 2], two: &[__m256i; 2], group: usize| {
                let line = self.weights.add(group).cast::<__m256i>();
                for j in 0..2 {
                    let products = _mm256_madd_epi16(two[j], _mm256_load_si256(line.add(j)));
                    sums[j] = _mm256_add_epi32(sums[j], products);
                }
            };
            let (pairs, columns) = (K / 2, (X - 1) * S + K);
            for column in 0..columns {
                for pair in 0..pairs {
                    let two = interleave(load(column, 2 * pair), load(column, 2 * pair + 1));
                    for (x, sums) in sums.iter_mut().enumerate() {
                        if column >= x * S && column - x * S < K {
                            add(sums, &two, (column - x * S) * pairs + pair);
                        }
                    }
                }
            }
            // The last row has no other to go with; its columns are taken two and two.
            let mut last = [[_mm256_setzero_si256(); 2]; MOST_COLUMNS];
            let mut next = load(0, K - 1);
            for (column, last) in last.iter_mut().enumerate().take(columns) {
                let this = next;
                if column + 1 < columns {
                    next = load(column + 1, K - 1);
                }
                *last = interleave(this, next);
            }
            for (x, sums) in sums.iter_mut().enumerate() {
                for pair in 0..K.div_ceil(2) {
                    add(sums, &last[x * S + 2 * pair], K * pairs + pair);
                }
            }
            for (x, sums) in sums.iter().enumerate() {
                let bytes = self.finish.bytes(sums);
                _mm_storeu_si128(to.add(x * to_pixel).cast(), bytes);
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn peak(rounds: usize) -> u64 {
    const CHAINS: usize = 6;
    let levels: [__m256i; CHAINS] = std::array::from_fn(|i| _mm256_set1_epi8(1 + i as i8));
    let (w, ones) = (_mm256_set1_epi8(2), _mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_si256(); CHAINS];
    for _ in 0..rounds {
        let w = std::hint::black_box(w);
        for (sum, levels) in sums.iter_mut().zip(&levels) {
            let pairs = _mm256_maddubs_epi16(*levels, w);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    std::hint::black_box(sums);
    (rounds * CHAINS * 32) as u64
}
