//! One contract for every kernel: the bytes of the portable one, whatever the shape and the numbers.

use super::*;
use proptest::prelude::*;

/// What numbers a case is made of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Lowest,
    Highest,
    Extremes,
    Usual,
    Any,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        1 => Just(Kind::Lowest),
        1 => Just(Kind::Highest),
        3 => Just(Kind::Extremes),
        5 => Just(Kind::Usual),
        10 => Just(Kind::Any),
    ]
}

/// Numbers from a seed.
struct Numbers(crate::random::SplitMix64);

impl Numbers {
    fn new(seed: u64) -> Numbers {
        Numbers(crate::random::SplitMix64::new(seed))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    fn weights(&mut self, count: usize, kind: Kind) -> Vec<i8> {
        let weight = |_| match kind {
            Kind::Lowest => i8::MIN,
            Kind::Highest => i8::MAX,
            Kind::Extremes => [i8::MIN, i8::MAX][self.below(2) as usize],
            // Of a trained model: most are small.
            Kind::Usual => (0..4).map(|_| self.below(64) as i8 - 32).sum::<i8>(),
            Kind::Any => self.below(256) as u8 as i8,
        };
        (0..count).map(weight).collect()
    }

    fn bytes(&mut self, count: usize, kind: Kind) -> Vec<u8> {
        let byte = |_| match kind {
            Kind::Lowest => 0,
            Kind::Highest => u8::MAX,
            Kind::Extremes => [0, u8::MAX][self.below(2) as usize],
            Kind::Usual | Kind::Any => self.below(256) as u8,
        };
        (0..count).map(byte).collect()
    }

    fn requant(&mut self, n: usize) -> Requant {
        let low = self.below(100) as u8;
        Requant {
            bias: (0..n)
                .map(|_| self.below(200_000) as i32 - 100_000)
                .collect(),
            // From sums that all saturate to sums that all vanish, ties included.
            multiplier: (0..n)
                .map(|_| [0.5, 1.0, 3e-2, 1e-3, 7e-5, 1e-7][self.below(6) as usize])
                .collect(),
            zero_point: self.below(256) as u8,
            low,
            high: low.saturating_add(self.below(256) as u8),
        }
    }
}

/// A source of `height · width` pixels, with rows and pixels that have gaps, and room for a target.
struct Case {
    bytes: Vec<u8>,
    pixel: usize,
    row: usize,
    rows: usize,
    width: usize,
    to_pixel: usize,
    to_row: usize,
}

impl Case {
    fn source(&self) -> Source<'_> {
        Source {
            bytes: &self.bytes,
            origin: 3,
            pixel_bytes: self.pixel,
            row_bytes: self.row,
        }
    }

    /// As a kernel stores it.
    fn flipped(&self, flip: u8) -> Case {
        Case {
            bytes: self.bytes.iter().map(|b| b ^ flip).collect(),
            ..*self
        }
    }

    /// What `work` writes; what it leaves alone is 77.
    fn output(&self, work: impl Fn(Source<'_>, Target<'_>)) -> Vec<u8> {
        let mut bytes = vec![77; 5 + self.rows * self.to_row];
        let target = Target {
            bytes: &mut bytes,
            origin: 5,
            pixel_bytes: self.to_pixel,
            row_bytes: self.to_row,
            rows: self.rows,
            width: self.width,
        };
        work(self.source(), target);
        bytes
    }

    /// The channels of each pixel; a kernel may write the padding behind them.
    fn channels(&self, output: &[u8], n: usize, flip: u8) -> Vec<u8> {
        let mut found = Vec::new();
        for y in 0..self.rows {
            for x in 0..self.width {
                let pixel = &output[5 + y * self.to_row + x * self.to_pixel..][..n];
                found.extend(pixel.iter().map(|b| b ^ flip));
            }
        }
        found
    }

    /// Whatever lies between the pixels is as it was.
    fn gaps_untouched(&self, output: &[u8], n: usize) -> bool {
        let written = n.next_multiple_of(CHANNEL_ALIGN);
        let mut free = vec![true; output.len()];
        for y in 0..self.rows {
            for x in 0..self.width {
                free[5 + y * self.to_row + x * self.to_pixel..][..written].fill(false);
            }
        }
        output.iter().zip(free).all(|(&b, free)| !free || b == 77)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn products_are_the_portable_ones(
        seed in any::<u64>(),
        (n, k) in (1usize..150, 1usize..200),
        (rows, width) in (1usize..4, 1usize..20),
        (gap, to_gap, row_gap) in (0usize..3, 0usize..2, 0usize..40),
        (weights, bytes) in (kinds(), kinds()),
    ) {
        let mut numbers = Numbers::new(seed);
        let matrix = Matrix { n, k, weights: numbers.weights(n * k, weights) };
        let requant = numbers.requant(n);
        let pixel = k + gap;
        let row = width * pixel + row_gap;
        let to_pixel = n.next_multiple_of(CHANNEL_ALIGN) + to_gap * CHANNEL_ALIGN;
        let case = Case {
            bytes: numbers.bytes(3 + rows * row + k + SLACK, bytes),
            pixel, row, rows, width, to_pixel,
            to_row: width * to_pixel + row_gap,
        };
        let packed = Portable.pack(&matrix, &requant);
        let expected = case.output(|from, to| Portable.matmul(&packed, from, to));
        for kernel in available() {
            let packed = kernel.pack(&matrix, &requant);
            let flipped = case.flipped(kernel.flip());
            let got = flipped.output(|from, to| kernel.matmul(&packed, from, to));
            prop_assert_eq!(
                case.channels(&got, n, kernel.flip()), case.channels(&expected, n, 0), "{}", kernel.name()
            );
            prop_assert!(case.gaps_untouched(&got, n), "{}", kernel.name());
        }
    }

    #[test]
    fn depthwise_convolutions_are_the_portable_ones(
        seed in any::<u64>(),
        channels in 1usize..150,
        (side, stride) in (prop::sample::select(vec![1usize, 2, 3, 5]), 1usize..4),
        (rows, width) in (1usize..4, 1usize..12),
        (to_gap, row_gap) in (0usize..2, 0usize..40),
        (weights, bytes) in (kinds(), kinds()),
    ) {
        let mut numbers = Numbers::new(seed);
        let filters = Filters {
            height: side,
            width: side,
            channels,
            stride,
            weights: numbers.weights(side * side * channels, weights),
        };
        let requant = numbers.requant(channels);
        let pixel = channels.next_multiple_of(CHANNEL_ALIGN);
        let row = ((width - 1) * stride + side) * pixel + row_gap;
        let to_pixel = pixel + to_gap * CHANNEL_ALIGN;
        let case = Case {
            bytes: numbers.bytes(3 + ((rows - 1) * stride + side) * row + SLACK, bytes),
            pixel, row, rows, width, to_pixel,
            to_row: width * to_pixel + row_gap,
        };
        let packed = portable_filters(&filters, &requant, 0);
        let expected = case.output(|from, to| Portable.depthwise(&packed, from, to));
        for kernel in available() {
            let Some(packed) = kernel.pack_depthwise(&filters, &requant) else {
                continue;
            };
            let flipped = case.flipped(kernel.flip());
            let got = flipped.output(|from, to| kernel.depthwise(&packed, from, to));
            prop_assert_eq!(
                case.channels(&got, channels, kernel.flip()), case.channels(&expected, channels, 0), "{}", kernel.name()
            );
            prop_assert!(case.gaps_untouched(&got, channels), "{}", kernel.name());
        }
    }

    #[test]
    fn sums_are_the_portable_ones(
        seed in any::<u64>(),
        count in 1usize..200,
        (scale_a, scale_b, fixed) in (0f32..2.0, 0f32..2.0, -300f32..300.0),
    ) {
        let mut numbers = Numbers::new(seed);
        let (a, b) = (numbers.bytes(count, Kind::Any), numbers.bytes(count, Kind::Any));
        let sum = Sum { scale_a, scale_b, fixed, low: 3, high: 250 };
        let expected: Vec<u8> = a.iter().zip(&b).map(|(&a, &b)| {
            let total = f32::from(a) * scale_a + (f32::from(b) * scale_b + fixed);
            total.round_ties_even().clamp(3.0, 250.0) as u8
        }).collect();
        for kernel in available() {
            let flip = |bytes: &[u8]| bytes.iter().map(|b| b ^ kernel.flip()).collect::<Vec<u8>>();
            let mut got = vec![0; count];
            kernel.add(&sum, &flip(&a), &flip(&b), &mut got);
            let got = flip(&got);
            prop_assert_eq!(&got, &expected, "{}", kernel.name());
        }
    }
}

#[test]
fn the_portable_product_is_the_sum_rounded_to_even() {
    let matrix = Matrix {
        n: 2,
        k: 2,
        weights: vec![1, 2, -3, 4],
    };
    let requant = Requant {
        bias: vec![1, 0],
        multiplier: vec![0.5, 0.25],
        zero_point: 10,
        low: 0,
        high: 255,
    };
    let case = Case {
        bytes: {
            let mut bytes = vec![0; 3 + 2 + SLACK];
            bytes[3..5].copy_from_slice(&[4, 7]);
            bytes
        },
        pixel: 2,
        row: 2,
        rows: 1,
        width: 1,
        to_pixel: 16,
        to_row: 16,
    };
    let packed = Portable.pack(&matrix, &requant);
    let got = case.output(|from, to| Portable.matmul(&packed, from, to));
    // (1 + 4 + 14) / 2 = 9.5 rounds to 10; (-12 + 28) / 4 = 4.
    assert_eq!(case.channels(&got, 2, 0), [20, 14]);
}

#[test]
fn a_kernel_that_the_processor_lacks_is_refused_with_those_it_has() {
    assert!(choose(Some("portable")).is_ok());
    let error = choose(Some("abacus")).err().unwrap();
    assert!(
        error.contains("abacus") && error.contains("portable"),
        "{error}"
    );
}
