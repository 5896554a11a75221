//! Weights for `vpmaddubsw`, whose sums of two products must fit 16 bits.
//!
//! Levels are at most 255, so products of two levels with weights of one sign fit as long as these add up to no more than 128, and
//! weights of opposite signs always fit. A product with the weight w is 255 w less the product of the complement of its level with
//! w: complementing one level of a pair turns the sign of its weight. So a group of four levels is read in one of twelve views: each
//! of its three pairings, with the second level of either pair complemented or not. At least one of them fits most groups of 8
//! channels; a group that no view fits is read twice, the second time with what the first weights of each pair leave no room for.
//!
//! Where the weights of two groups still add up to no more than 128 of one sign, their products are added in 16 bits, which saves
//! an addition and a widening.

use super::super::{Line, Matrix};
use std::arch::x86_64::*;
use std::ops::Range;

/// Order of the four levels in each pairing.
const PAIRINGS: [[u8; 4]; 3] = [[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2]];

/// Views of a group: view 4 p + f is pairing p, complements by the bits of f.
const VIEWS: usize = 12;

/// Where a view finds its levels, for `vpshufb`.
#[inline]
#[target_feature(enable = "avx2")]
fn order(view: u8) -> __m256i {
    let groups = _mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c);
    let group = _mm256_set1_epi32(i32::from_le_bytes(PAIRINGS[usize::from(view) / 4]));
    _mm256_add_epi8(_mm256_broadcastsi128_si256(groups), group)
}

/// All bits of what a view complements.
#[inline]
#[target_feature(enable = "avx2")]
fn complement(view: u8) -> __m256i {
    let of = |flag: u8| if view & flag == 0 { 0 } else { 0xff };
    _mm256_set1_epi32(i32::from_le_bytes([0, of(1), 0, of(2)]))
}

/// Where a product reads the levels of each of its vectors of weights.
#[derive(Clone, Debug, Default)]
pub struct Views {
    /// The views that pixels are laid out in, one after the other.
    pub used: Vec<u8>,
    /// For each 8 channels, the vectors that are added in 16 bits, two and two, and those that follow them alone.
    pub counts: Vec<[usize; 2]>,
    /// Of each vector, in what [`Views::lay`] wrote.
    pub offsets: Vec<u32>,
}

impl Views {
    /// Writes all views of each pixel, `padded` bytes each, from every `padded · used` bytes of `rows` on.
    ///
    /// # Safety
    /// `padded`, a multiple of 32, bytes of every pixel can be read, and `rows` have room.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn lay(&self, pixels: &[*const u8], rows: *mut u8, padded: usize) {
        let stride = self.used.len() * padded;
        for (index, &view) in self.used.iter().enumerate() {
            let (order, complement) = (order(view), complement(view));
            for (i, pixel) in pixels.iter().enumerate() {
                // SAFETY: as the caller says.
                unsafe {
                    let to = rows.add(i * stride + index * padded);
                    for at in (0..padded).step_by(32) {
                        let levels = _mm256_loadu_si256(pixel.add(at).cast());
                        let levels = _mm256_shuffle_epi8(levels, order);
                        let levels = _mm256_xor_si256(levels, complement);
                        _mm256_storeu_si256(to.add(at).cast(), levels);
                    }
                }
            }
        }
    }
}

/// A group of weights of 8 channels as one view stores them.
#[derive(Clone, Copy)]
struct Form {
    weights: __m256i,
    /// For each pair, as bytes: its positive weights added up, and its negative ones.
    sums: __m256i,
    offset: u32,
    view: u8,
}

impl Form {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(group: __m256i, view: u8, offset: usize) -> Form {
        let (zero, complement) = (_mm256_setzero_si256(), complement(view));
        let weights = _mm256_shuffle_epi8(group, order(view));
        // The lowest weight has no opposite.
        let lost = _mm256_cmpeq_epi8(weights, _mm256_set1_epi8(i8::MIN));
        let lost = _mm256_and_si256(lost, complement);
        let weights = _mm256_sub_epi8(_mm256_xor_si256(weights, complement), complement);
        let added = |bytes| _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
        let positive = _mm256_or_si256(_mm256_max_epi8(weights, zero), lost);
        let negative = _mm256_sub_epi8(zero, _mm256_min_epi8(weights, zero));
        let sums = _mm256_packus_epi16(added(positive), added(negative));
        Form {
            weights,
            sums,
            offset: offset as u32,
            view,
        }
    }

    /// No product of levels and these weights leaves 16 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fits(&self) -> bool {
        at_most_128(self.sums)
    }

    /// Nor does its sum with one of the others.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fits_with(&self, other: &Form) -> bool {
        at_most_128(_mm256_adds_epu8(self.sums, other.sums))
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn at_most_128(bytes: __m256i) -> bool {
    let above = _mm256_subs_epu8(bytes, _mm256_set1_epi8(i8::MIN));
    _mm256_testz_si256(above, above) == 1
}

/// Lays out a matrix: the views, the vectors of weights, and the bias with what the complements add.
#[target_feature(enable = "avx2")]
pub fn pack(matrix: &Matrix, bias: &[i32]) -> (Views, Vec<Line>, Vec<i32>) {
    let groups = matrix.k.div_ceil(4);
    let padded = matrix.k.next_multiple_of(32);
    let vectors = matrix.n.next_multiple_of(16) / 8;
    let weights: Vec<__m256i> = (0..vectors * groups)
        .map(|at| group_of(matrix, at / groups, at % groups))
        .collect();
    let mut fitting = vec![0; weights.len()];
    for view in 0..VIEWS as u8 {
        for (fitting, &group) in fitting.iter_mut().zip(&weights) {
            *fitting |= u16::from(Form::new(group, view, 0).fits()) << view;
        }
    }
    let mut views = Views {
        used: worth_laying(&fitting, padded / 32),
        ..Views::default()
    };
    let mut packed = Vec::with_capacity(weights.len());
    let (mut forms, mut ranges) = (Vec::new(), Vec::new());
    for (weights, fitting) in weights
        .chunks_exact(groups)
        .zip(fitting.chunks_exact(groups))
    {
        forms.clear();
        ranges.clear();
        for (group, (&weights, fitting)) in weights.iter().zip(fitting).enumerate() {
            if _mm256_testz_si256(weights, weights) == 1 {
                continue;
            }
            let before = forms.len();
            for (index, &view) in views.used.iter().enumerate() {
                if fitting >> view & 1 == 1 {
                    forms.push(Form::new(weights, view, index * padded + 4 * group));
                }
            }
            if forms.len() > before {
                ranges.push(before..forms.len());
                continue;
            }
            let excess = excess(weights);
            for part in [_mm256_sub_epi8(weights, excess), excess] {
                ranges.push(forms.len()..forms.len() + 1);
                forms.push(Form::new(part, 0, 4 * group));
            }
        }
        let before = packed.len();
        let single = pair_up(&forms, &ranges, &mut packed);
        let pairs = packed.len() - before;
        views.counts.push([pairs, single.len()]);
        packed.extend(single);
    }
    views.offsets = packed.iter().map(|form| form.offset).collect();
    let mut bytes = vec![Line([0; 64]); packed.len().div_ceil(2)];
    let mut bias = bias.to_vec();
    let mut vectors = views
        .counts
        .iter()
        .enumerate()
        .flat_map(|(vector, counts)| std::iter::repeat_n(vector, counts[0] + counts[1]));
    for (at, form) in packed.iter().enumerate() {
        let to = &mut bytes[at / 2].0[at % 2 * 32..][..32];
        // SAFETY: 32 bytes are written to as many.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), form.weights) };
        let channel = 8 * vectors.next().unwrap_or_default();
        for (bias, four) in bias.iter_mut().skip(channel).zip(to.as_chunks::<4>().0) {
            // A complement stands for 255 less the level.
            for (flag, stored) in [(1, four[1]), (2, four[3])] {
                if form.view & flag != 0 {
                    *bias -= 255 * i32::from(stored as i8);
                }
            }
        }
    }
    (views, bytes, bias)
}

/// What there is no room for in the second weight of each pair.
#[target_feature(enable = "avx2")]
fn excess(weights: __m256i) -> __m256i {
    let sums = _mm256_maddubs_epi16(_mm256_set1_epi8(1), weights);
    let room = _mm256_max_epi16(sums, _mm256_set1_epi16(-128));
    let room = _mm256_min_epi16(room, _mm256_set1_epi16(128));
    _mm256_slli_epi16::<8>(_mm256_sub_epi16(sums, room))
}

/// Four weights of each of 8 channels; what is beyond the matrix is zero.
#[target_feature(enable = "avx2")]
fn group_of(matrix: &Matrix, vector: usize, group: usize) -> __m256i {
    let mut lanes = [0; 8];
    let rows = matrix.weights.chunks_exact(matrix.k).skip(8 * vector);
    for (lane, row) in lanes.iter_mut().zip(rows) {
        let mut four = [0; 4];
        for (byte, &weight) in four.iter_mut().zip(&row[4 * group..]) {
            *byte = weight as u8;
        }
        *lane = i32::from_le_bytes(four);
    }
    // SAFETY: 32 bytes are read of as many.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

/// Chooses one of the `forms` of each group: of those that fit with another one, two and two, and of the rest,
/// which are given back.
#[target_feature(enable = "avx2")]
fn pair_up(forms: &[Form], groups: &[Range<usize>], pairs: &mut Vec<Form>) -> Vec<Form> {
    let mut single = Vec::new();
    let groups = groups.iter().map(|group| &forms[group.clone()]);
    let mut open: Vec<&[Form]> = groups.rev().collect();
    while let Some(group) = open.pop() {
        let mut tried = open.iter().enumerate().rev().take(TRIED);
        match tried.find_map(|(at, other)| Some((at, fitting(group, other)?))) {
            Some((at, two)) => {
                open.remove(at);
                pairs.extend(two);
            }
            None => single.extend(group.first()),
        }
    }
    single
}

/// A form of each of two groups that fit together.
#[target_feature(enable = "avx2")]
fn fitting(group: &[Form], other: &[Form]) -> Option<[Form; 2]> {
    for a in group {
        for b in other {
            if a.fits_with(b) {
                return Some([*a, *b]);
            }
        }
    }
    None
}

/// Groups that are tried to find one that fits with another.
const TRIED: usize = 16;

/// The plain view, and those that save more vectors of weights than laying them out takes.
fn worth_laying(fitting: &[u16], cost: usize) -> Vec<u8> {
    let mut used = vec![0];
    let mut open: Vec<u16> = fitting.iter().copied().filter(|fit| fit & 1 == 0).collect();
    loop {
        let saved = |view: u8| open.iter().filter(|&&fit| fit >> view & 1 == 1).count();
        let best = (1..VIEWS as u8).map(|view| (saved(view), view)).max();
        match best {
            Some((saved, view)) if saved > cost => {
                open.retain(|fit| fit >> view & 1 == 0);
                used.push(view);
            }
            _ => return used,
        }
    }
}
