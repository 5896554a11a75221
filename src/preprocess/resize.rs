//! Resampling with a triangle filter whose support grows with the reduction (antialiased bilinear), in integers only.
//!
//! Written here and not taken from a library because the invariant needs it: no library's vector code promises the portable
//! code's bits. Weights are exact fractions rounded once, so there is nothing a machine could round differently.

use super::{Image, Rect};

/// Weights of one output pixel sum to exactly this: 14 bits leave room for a u8 level and the fraction below in a u32.
const ONE: u64 = 1 << 14;
/// Bits of fraction kept between the horizontal and the vertical pass.
const FRACTION_BITS: u32 = 4;

/// Where an output pixel looks, and how much each input pixel counts.
struct Taps {
    first: usize,
    weights: Vec<u32>,
}

/// Resamples `part` of the picture to `width` x `height`; the part lies inside the picture and no side is zero.
pub fn resize(image: &Image, part: Rect, width: u32, height: u32) -> Vec<u8> {
    let columns = taps(part.width, width);
    let rows = taps(part.height, height);
    let stride = image.width as usize * 3;
    let left = part.x as usize * 3;
    let line = width as usize * 3;
    let mut narrow = vec![0u16; part.height as usize * line];
    for (y, out) in narrow.chunks_exact_mut(line).enumerate() {
        let start = (part.y as usize + y) * stride + left;
        let row = &image.rgb[start..start + part.width as usize * 3];
        narrow_row(row, &columns, out);
    }
    let mut pixels = vec![0u8; height as usize * line];
    let mut sums = vec![0u32; line];
    for (taps, out) in rows.iter().zip(pixels.chunks_exact_mut(line)) {
        blend_rows(&narrow, taps, &mut sums, out);
    }
    pixels
}

fn narrow_row(row: &[u8], columns: &[Taps], out: &mut [u16]) {
    const SHIFT: u32 = ONE.trailing_zeros() - FRACTION_BITS;
    for (taps, pixel) in columns.iter().zip(out.chunks_exact_mut(3)) {
        let mut sum = [1u32 << (SHIFT - 1); 3];
        for (&weight, level) in taps
            .weights
            .iter()
            .zip(row[taps.first * 3..].chunks_exact(3))
        {
            sum[0] += weight * u32::from(level[0]);
            sum[1] += weight * u32::from(level[1]);
            sum[2] += weight * u32::from(level[2]);
        }
        for (value, sum) in pixel.iter_mut().zip(sum) {
            *value = (sum >> SHIFT) as u16;
        }
    }
}

fn blend_rows(narrow: &[u16], taps: &Taps, sums: &mut [u32], out: &mut [u8]) {
    const SHIFT: u32 = ONE.trailing_zeros() + FRACTION_BITS;
    let line = out.len();
    sums.fill(1 << (SHIFT - 1));
    for (&weight, row) in taps
        .weights
        .iter()
        .zip(narrow[taps.first * line..].chunks_exact(line))
    {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += weight * u32::from(value);
        }
    }
    for (pixel, &sum) in out.iter_mut().zip(sums.iter()) {
        *pixel = (sum >> SHIFT).min(255) as u8;
    }
}

/// The taps of every output pixel along one side.
///
/// In units of 1/(2·output) input pixels, output pixel `i` stands at (2i + 1)·input, input pixel `x` at (2x + 1)·output, and
/// the triangle reaches 2·max(input, output) to either side.
fn taps(input: u32, output: u32) -> Vec<Taps> {
    let (n, m) = (u64::from(input), u64::from(output));
    let reach = 2 * n.max(m);
    (0..m)
        .map(|i| {
            let center = (2 * i + 1) * n;
            let weight = |x: u64| reach.saturating_sub(((2 * x + 1) * m).abs_diff(center));
            let first = center.saturating_sub(reach) / (2 * m);
            let last = ((center + reach) / (2 * m)).min(n - 1);
            let first = (first..=last).find(|&x| weight(x) > 0).unwrap_or(last);
            let raw: Vec<u64> = (first..=last).map(weight).take_while(|&w| w > 0).collect();
            Taps {
                first: first as usize,
                weights: normalize(&raw),
            }
        })
        .collect()
}

/// Scales weights to a sum of exactly [`ONE`]; what rounding left over goes to the largest.
fn normalize(raw: &[u64]) -> Vec<u32> {
    let total: u64 = raw.iter().sum::<u64>().max(1);
    let mut weights: Vec<u32> = raw.iter().map(|&w| (w * ONE / total) as u32).collect();
    let rest = ONE as u32 - weights.iter().sum::<u32>();
    if let Some(largest) = (0..raw.len()).max_by_key(|&i| (raw[i], std::cmp::Reverse(i))) {
        weights[largest] += rest;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(image: &Image) -> Rect {
        Rect {
            x: 0,
            y: 0,
            width: image.width,
            height: image.height,
        }
    }

    #[test]
    fn halving_weighs_as_the_triangle_says() {
        let weights: Vec<u32> = taps(8, 4)[1].weights.clone();
        assert_eq!(weights, [2048, 6144, 6144, 2048]);
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        let rgb = (0..64u8)
            .flat_map(|x| [x * 4; 3])
            .collect::<Vec<_>>()
            .repeat(8);
        let image = Image {
            width: 64,
            height: 8,
            rgb,
        };
        let small = resize(&image, whole(&image), 16, 8);
        assert!(small[..48].windows(4).all(|w| w[3] >= w[0]));
        assert_eq!(small[8 * 3], 8 * 16 + 6);
    }

    proptest! {
        #[test]
        fn weights_sum_to_one_and_stay_inside(input in 1u32..3000, output in 1u32..300) {
            for one in taps(input, output) {
                prop_assert_eq!(one.weights.iter().sum::<u32>() as u64, ONE);
                prop_assert!(one.first + one.weights.len() <= input as usize);
            }
        }

        #[test]
        fn levels_stay_between_the_darkest_and_the_brightest(
            w in 1u32..40, h in 1u32..40, out in 1u32..50, seed in any::<u64>()
        ) {
            let mut state = seed | 1;
            let rgb: Vec<u8> = (0..w * h * 3).map(|_| { state = state.wrapping_mul(6364136223846793005).wrapping_add(1); (state >> 56) as u8 }).collect();
            let image = Image { width: w, height: h, rgb };
            let (low, high) = (image.rgb.iter().min().unwrap(), image.rgb.iter().max().unwrap());
            for level in resize(&image, whole(&image), out, out) {
                prop_assert!(level >= *low && level <= *high);
            }
        }
    }
}
