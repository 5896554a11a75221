//! AVX2: `vpmaddwd` adds the products of two i16 with two i16 to each of 8 sums. (`vpmaddubsw` would take bytes, twice as many at
//! once, but it saturates, and the sums would not be exact.)
//!
//! A block of 16 output channels is two vectors of sums. Channels are dealt to them as interleaving two rows of pixels and packing
//! order them: lane `l` of vector `j` holds channels `8 l + 4 j` to `8 l + 4 j + 3`.

use super::{Filters, Kernel, Line, Matrix, Packed, Requant, Source, Sum, Target, Window};
use super::{columns_of, pack_groups, portable};
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
        let blocks = blocks(matrix.n);
        let lines = pack_groups(matrix, &blocks, 2, 4, put);
        let size = [matrix.n, matrix.k];
        Packed::new(size, Window::POINT, &blocks, lines, requant)
    }

    fn pack_depthwise(&self, filters: &Filters, requant: &Requant) -> Option<Packed> {
        let window = Window::usual(filters)?;
        let blocks = blocks(filters.channels);
        // Two rows of a column are one group; the groups of a column follow each other, the columns too.
        let lines = pack_groups(&columns_of(filters, 2), &blocks, 2, 4, put);
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
    zero_point: u8,
    low: u8,
    high: u8,
}

impl Finish {
    fn new(packed: &Packed, first: usize) -> Finish {
        Finish {
            multiplier: packed.multiplier[first..].as_ptr(),
            zero_point: packed.zero_point,
            low: packed.low,
            high: packed.high,
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
        let zero = _mm256_set1_epi16(i16::from(self.zero_point));
        let short = _mm256_adds_epi16(_mm256_packs_epi32(scaled[0], scaled[1]), zero);
        let bytes = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi16(short, short));
        let bytes = _mm256_castsi256_si128(bytes);
        let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(self.low as i8));
        _mm_min_epu8(bytes, _mm_set1_epi8(self.high as i8))
    }
}

/// Pixels of one step of a product: 12 sums, 2 weights, a pair of activations and a product fill the 16 registers.
const STEP: usize = 6;

#[target_feature(enable = "avx2")]
unsafe fn matmul(packed: &Packed, from: &Source<'_>, to: Target<'_>) {
    let groups = packed.k.div_ceil(2);
    let padded = (2 * groups).next_multiple_of(16);
    let mut wide = vec![0i16; STEP * padded];
    let (count, width) = (to.rows * to.width, to.width);
    let (source, target) = (
        from.bytes[from.origin..].as_ptr(),
        to.bytes[to.origin..].as_mut_ptr(),
    );
    let mut first = 0;
    while first < count {
        let step = if count < STEP { 1 } else { STEP };
        // The last step goes over pixels that are done already rather than over fewer.
        first = first.min(count - step);
        let mut outs = [target; STEP];
        for (i, out) in outs.iter_mut().take(step).enumerate() {
            let (y, x) = ((first + i) / width, (first + i) % width);
            // SAFETY: `Packed::check` bounds the pixels; what is read beyond one is within the slack.
            unsafe {
                *out = target.add(y * to.row_bytes + x * to.pixel_bytes);
                let pixel = source.add(y * from.row_bytes + x * from.pixel_bytes);
                let row = wide[i * padded..].as_mut_ptr();
                for at in (0..padded).step_by(16) {
                    let bytes = _mm_loadu_si128(pixel.add(at).cast());
                    _mm256_storeu_si256(row.add(at).cast(), _mm256_cvtepu8_epi16(bytes));
                }
            }
        }
        for block in 0..packed.bias.len() / 16 {
            let block = Block {
                groups,
                weights: packed.lines[block * groups..].as_ptr(),
                bias: packed.bias[16 * block..].as_ptr(),
                finish: Finish::new(packed, 16 * block),
                channel: 16 * block,
            };
            // SAFETY: rows of `wide` hold all groups; the targets are those of `step` pixels.
            unsafe {
                if step == STEP {
                    block.step::<STEP>(&wide, padded, &outs);
                } else {
                    block.step::<1>(&wide, padded, &outs);
                }
            }
        }
        first += step;
    }
}

/// The weights of 16 output channels.
struct Block {
    groups: usize,
    weights: *const Line,
    bias: *const i32,
    finish: Finish,
    channel: usize,
}

impl Block {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn step<const M: usize>(&self, wide: &[i16], padded: usize, outs: &[*mut u8; STEP]) {
        // SAFETY: as the caller says.
        unsafe {
            let bias: [__m256i; 2] =
                std::array::from_fn(|j| _mm256_loadu_si256(self.bias.add(8 * j).cast()));
            let mut sums = [bias; M];
            let rows: [*const i16; M] = std::array::from_fn(|i| wide.as_ptr().add(i * padded));
            for group in 0..self.groups {
                let line = self.weights.add(group).cast::<__m256i>();
                let weights = [_mm256_load_si256(line), _mm256_load_si256(line.add(1))];
                for i in 0..M {
                    let pair = rows[i].add(2 * group).cast::<i32>().read_unaligned();
                    let pair = _mm256_set1_epi32(pair);
                    for j in 0..2 {
                        let products = _mm256_madd_epi16(pair, weights[j]);
                        sums[i][j] = _mm256_add_epi32(sums[i][j], products);
                    }
                }
            }
            for i in 0..M {
                let bytes = self.finish.bytes(&sums[i]);
                _mm_storeu_si128(outs[i].add(self.channel).cast(), bytes);
            }
        }
    }
}

/// Output columns of one step of the depthwise kernel.
const COLUMNS: usize = 4;

#[target_feature(enable = "avx2")]
unsafe fn depthwise<const K: usize, const S: usize>(
    packed: &Packed,
    from: &Source<'_>,
    to: Target<'_>,
) {
    let lines_a_block = K.div_ceil(2) * K;
    let target = to.bytes[to.origin..].as_mut_ptr();
    for block in 0..packed.n.div_ceil(16) {
        let one = Channels {
            weights: packed.lines[block * lines_a_block..].as_ptr(),
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
            let pairs = K.div_ceil(2);
            for column in 0..(X - 1) * S + K {
                for pair in 0..pairs {
                    let at = from.add(column * from_pixel + 2 * pair * from_row);
                    let a = _mm256_cvtepu8_epi16(_mm_loadu_si128(at.cast()));
                    let b = if 2 * pair + 1 < K {
                        _mm256_cvtepu8_epi16(_mm_loadu_si128(at.add(from_row).cast()))
                    } else {
                        _mm256_setzero_si256()
                    };
                    let two = [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)];
                    for (x, sums) in sums.iter_mut().enumerate() {
                        if column >= x * S && column - x * S < K {
                            let line = self.weights.add((column - x * S) * pairs + pair);
                            let line = line.cast::<__m256i>();
                            for j in 0..2 {
                                let weights = _mm256_load_si256(line.add(j));
                                let products = _mm256_madd_epi16(two[j], weights);
                                sums[j] = _mm256_add_epi32(sums[j], products);
                            }
                        }
                    }
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
    const CHAINS: usize = 8;
    let (a, w) = (_mm256_set1_epi16(1), _mm256_set1_epi16(2));
    let mut sums = [_mm256_setzero_si256(); CHAINS];
    for _ in 0..rounds {
        let w = std::hint::black_box(w);
        for sum in &mut sums {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(a, w));
        }
    }
    std::hint::black_box(sums);
    (rounds * CHAINS * 16) as u64
}
