//! Convolution of each channel by itself, for all Arm kernels. The dot product wants four taps of one channel side by side: for
//! filters of this size, putting them there costs what it saves.
//!
//! A step is four output pixels of one row by 16 channels: 16 vectors of sums, 8 of products. A product is a tap for eight channels, so
//! the products of a row of taps are added in 16 bits as far as they fit.

use super::FIT;
use crate::backbone::kernels::arm::{self, Finish};
use crate::backbone::kernels::{Filters, Matrix, Packed, Requant, Source, Target, Window};
use std::arch::aarch64::*;
use std::arch::asm;

/// Filters of 3 × 3 and 5 × 5 for [`depthwise`].
pub fn pack_depthwise(filters: &Filters, requant: &Requant) -> Option<Packed> {
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
    Some(Packed {
        spills: row_spills(&matrix, &blocks, window.width),
        ..arm::packed(&matrix, window, filters.channels, requant, &blocks, lines)
    })
}

/// For each block of channels and row of the window: bit `x` is set if tap `x + 1` of the row may not fit with those before it.
fn row_spills(filters: &Matrix, blocks: &[Vec<usize>], width: usize) -> Vec<u8> {
    let mut spills = Vec::new();
    for channels in blocks {
        let channels = &channels[..channels.len().min(filters.n - channels[0])];
        for row in (0..filters.k).step_by(width) {
            let mut added = vec![0; channels.len()];
            let mut bits = 0;
            for x in 0..width {
                let magnitude =
                    |c: usize| u32::from(filters.weights[c * filters.k + row + x].unsigned_abs());
                let next: Vec<u32> = channels.iter().map(|&c| magnitude(c)).collect();
                let mut both = added.iter().zip(&next);
                if both.any(|(added, next)| added + next > FIT) {
                    bits |= 1 << (x - 1);
                    added = next;
                } else {
                    added = added.iter().zip(&next).map(|(a, b)| a + b).collect();
                }
            }
            spills.push(bits);
        }
    }
    spills
}

/// The convolution that [`pack_depthwise`] packed for.
pub fn depthwise(packed: &Packed, from: Source<'_>, to: Target<'_>) {
    packed.check(&from, &to);
    // SAFETY: the processor has the instructions, or `choose` would not have given this kernel; `check` bounds every access.
    unsafe {
        match (packed.window.height, packed.window.stride) {
            (3, 1) => windows::<3, 1>(packed, &from, to, |c, at| four_3_1(c, at)),
            (3, _) => windows::<3, 2>(packed, &from, to, |c, at| four_3_2(c, at)),
            (_, 1) => windows::<5, 1>(packed, &from, to, |c, at| four_5_1(c, at)),
            (_, _) => windows::<5, 2>(packed, &from, to, |c, at| four_5_2(c, at)),
        }
    }
}

/// Filters of 16 channels.
struct Channels {
    weights: *const u8,
    /// One byte a row.
    spills: *const u8,
    bias: *const i32,
    pixel_bytes: usize,
    row_bytes: usize,
}

/// Output columns of one step.
const COLUMNS: usize = 4;

/// `four` gives the sums of 16 channels of four neighbours in a row, from the first pixel of the first window on.
#[inline(always)]
unsafe fn windows<const K: usize, const S: usize>(
    packed: &Packed,
    from: &Source<'_>,
    to: Target<'_>,
    four: impl Fn(&Channels, *const u8) -> [[int32x4_t; 4]; 4],
) {
    let source = from.bytes[from.origin..].as_ptr();
    let target = to.bytes[to.origin..].as_mut_ptr();
    for block in 0..packed.n.div_ceil(16) {
        let finish = Finish::new(packed, 16 * block);
        let channels = Channels {
            weights: packed
                .lines
                .as_ptr()
                .cast::<u8>()
                .wrapping_add(16 * K * K * block),
            spills: packed.spills[K * block..].as_ptr(),
            bias: packed.bias[16 * block..].as_ptr(),
            pixel_bytes: from.pixel_bytes,
            row_bytes: from.row_bytes,
        };
        for y in 0..to.rows {
            // SAFETY: `Packed::check` bounds the windows and the pixels, whose channels are whole blocks.
            unsafe {
                let from_row = source.add(y * S * from.row_bytes + 16 * block);
                let to_row = target.add(y * to.row_bytes + 16 * block);
                let mut x = 0;
                while x < to.width {
                    if to.width < COLUMNS {
                        let sums = one::<K>(&channels, from_row.add(x * S * from.pixel_bytes));
                        finish.store(&[sums], [to_row.add(x * to.pixel_bytes)]);
                        x += 1;
                        continue;
                    }
                    x = x.min(to.width - COLUMNS);
                    let sums = four(&channels, from_row.add(x * S * from.pixel_bytes));
                    let to = std::array::from_fn(|i| to_row.add((x + i) * to.pixel_bytes));
                    finish.store(&sums, to);
                    x += COLUMNS;
                }
            }
        }
    }
}

/// One output pixel of a narrow plane.
#[target_feature(enable = "neon")]
unsafe fn one<const K: usize>(channels: &Channels, from: *const u8) -> [int32x4_t; 4] {
    // SAFETY: as in `windows`.
    unsafe {
        let mut sums = std::array::from_fn(|j| vld1q_s32(channels.bias.add(4 * j)));
        for tap in 0..K * K {
            let at = tap / K * channels.row_bytes + tap % K * channels.pixel_bytes;
            let (pixel, weights) = (from.add(at), channels.weights.add(16 * tap));
            let (pixel, weights) = (vld1q_s8(pixel.cast()), vld1q_s8(weights.cast()));
            let low = vmull_s8(vget_low_s8(pixel), vget_low_s8(weights));
            let high = vmull_high_s8(pixel, weights);
            sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
            sums[1] = vaddw_high_s16(sums[1], low);
            sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
            sums[3] = vaddw_high_s16(sums[3], high);
        }
        sums
    }
}

/// A tap of the window for four output pixels, whose own pixels are in the registers named: weights are in v4, products in v8 to v15.
macro_rules! tap {
    ($op:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "ld1 {{v4.16b}}, [{w}], #16\n",
            $op,
            " v8.8h, v4.8b, ",
            $a,
            ".8b\n",
            $op,
            "2 v9.8h, v4.16b, ",
            $a,
            ".16b\n",
            $op,
            " v10.8h, v4.8b, ",
            $b,
            ".8b\n",
            $op,
            "2 v11.8h, v4.16b, ",
            $b,
            ".16b\n",
            $op,
            " v12.8h, v4.8b, ",
            $c,
            ".8b\n",
            $op,
            "2 v13.8h, v4.16b, ",
            $c,
            ".16b\n",
            $op,
            " v14.8h, v4.8b, ",
            $d,
            ".8b\n",
            $op,
            "2 v15.8h, v4.16b, ",
            $d,
            ".16b\n",
        )
    };
}

/// Adds the products of one pixel to its sums.
macro_rules! widen {
    ($low:literal, $high:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "saddw ", $a, ".4s, ", $a, ".4s, ", $low, ".4h\n", "saddw2 ", $b, ".4s, ", $b, ".4s, ",
            $low, ".8h\n", "saddw ", $c, ".4s, ", $c, ".4s, ", $high, ".4h\n", "saddw2 ", $d,
            ".4s, ", $d, ".4s, ", $high, ".8h\n",
        )
    };
}

/// Adds all products to their sums.
macro_rules! widen_all {
    () => {
        concat!(
            widen!("v8", "v9", "v16", "v17", "v18", "v19"),
            widen!("v10", "v11", "v20", "v21", "v22", "v23"),
            widen!("v12", "v13", "v24", "v25", "v26", "v27"),
            widen!("v14", "v15", "v28", "v29", "v30", "v31"),
        )
    };
}

/// The next tap of a row, `$load` and then `$tap`; if bit `$bit` says so it begins new products at `$aside` instead.
macro_rules! then {
    ($bit:literal, $aside:literal, $back:literal, $load:expr, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            $load,
            "tbnz {spill:w}, #",
            $bit,
            ", ",
            $aside,
            "f\n",
            tap!("smlal", $a, $b, $c, $d),
            $back,
            ":\n",
        )
    };
}

macro_rules! then_aside {
    ($aside:literal, $back:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            $aside,
            ":\n",
            widen_all!(),
            tap!("smull", $a, $b, $c, $d),
            "b ",
            $back,
            "b\n"
        )
    };
}

/// The next pixel of a row whose windows overlap.
macro_rules! next {
    ($register:literal) => {
        concat!("ld1 {{", $register, ".16b}}, [{column}], {pixel}\n")
    };
}

/// The four pixels that tap `x` of windows two apart meet: `column` moves on by two pixels, `start` by one.
macro_rules! apart {
    () => {
        concat!(
            "mov {column}, {start}\n",
            "add {start}, {start}, {pixel}, lsr #1\n",
            next!("v0"),
            next!("v1"),
            next!("v2"),
            next!("v3"),
        )
    };
}

/// `$row` is the code of one row of windows, `$step` the pixels between two loads, `$asides` that of its taps which begin new products.
macro_rules! four {
    ($name:ident, $rows:literal, $step:literal, $row:expr, $asides:expr) => {
        #[inline]
        #[target_feature(enable = "neon")]
        unsafe fn $name(channels: &Channels, from: *const u8) -> [[int32x4_t; 4]; 4] {
            let mut sums = [[vdupq_n_s32(0); 4]; 4];
            // SAFETY: reads the windows, which `windows`' caller has checked, and the channels' weights, spills and bias.
            unsafe {
                asm!(
                    "ld1 {{v16.4s-v19.4s}}, [{bias}]",
                    "ld1 {{v20.4s-v23.4s}}, [{bias}]",
                    "ld1 {{v24.4s-v27.4s}}, [{bias}]",
                    "ld1 {{v28.4s-v31.4s}}, [{bias}]",
                    "2:",
                    "ldrb {spill:w}, [{spills}], #1",
                    "mov {column}, {from}",
                    "mov {start}, {from}",
                    "add {from}, {from}, {row}",
                    $row,
                    widen_all!(),
                    "subs {n}, {n}, #1",
                    "b.ne 2b",
                    "b 3f",
                    $asides,
                    "3:",
                    from = inout(reg) from => _,
                    w = inout(reg) channels.weights => _,
                    spills = inout(reg) channels.spills => _,
                    n = inout(reg) $rows => _,
                    bias = in(reg) channels.bias,
                    pixel = in(reg) $step * channels.pixel_bytes,
                    row = in(reg) channels.row_bytes,
                    spill = out(reg) _, column = out(reg) _, start = out(reg) _,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _,
                    out("v8") _, out("v9") _, out("v10") _, out("v11") _,
                    out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                    out("v16") sums[0][0], out("v17") sums[0][1], out("v18") sums[0][2], out("v19") sums[0][3],
                    out("v20") sums[1][0], out("v21") sums[1][1], out("v22") sums[1][2], out("v23") sums[1][3],
                    out("v24") sums[2][0], out("v25") sums[2][1], out("v26") sums[2][2], out("v27") sums[2][3],
                    out("v28") sums[3][0], out("v29") sums[3][1], out("v30") sums[3][2], out("v31") sums[3][3],
                    options(readonly, nostack)
                );
            }
            sums
        }
    };
}

four!(
    four_3_1,
    3usize,
    1,
    concat!(
        next!("v0"),
        next!("v1"),
        next!("v2"),
        next!("v3"),
        tap!("smull", "v0", "v1", "v2", "v3"),
        then!("0", "40", "50", next!("v0"), "v1", "v2", "v3", "v0"),
        then!("1", "41", "51", next!("v1"), "v2", "v3", "v0", "v1"),
    ),
    concat!(
        then_aside!("40", "50", "v1", "v2", "v3", "v0"),
        then_aside!("41", "51", "v2", "v3", "v0", "v1"),
    )
);

four!(
    four_3_2,
    3usize,
    2,
    concat!(
        apart!(),
        tap!("smull", "v0", "v1", "v2", "v3"),
        then!("0", "40", "50", apart!(), "v0", "v1", "v2", "v3"),
        then!("1", "41", "51", apart!(), "v0", "v1", "v2", "v3"),
    ),
    concat!(
        then_aside!("40", "50", "v0", "v1", "v2", "v3"),
        then_aside!("41", "51", "v0", "v1", "v2", "v3"),
    )
);

four!(
    four_5_1,
    5usize,
    1,
    concat!(
        next!("v0"),
        next!("v1"),
        next!("v2"),
        next!("v3"),
        tap!("smull", "v0", "v1", "v2", "v3"),
        then!("0", "40", "50", next!("v0"), "v1", "v2", "v3", "v0"),
        then!("1", "41", "51", next!("v1"), "v2", "v3", "v0", "v1"),
        then!("2", "42", "52", next!("v2"), "v3", "v0", "v1", "v2"),
        then!("3", "43", "53", next!("v3"), "v0", "v1", "v2", "v3"),
    ),
    concat!(
        then_aside!("40", "50", "v1", "v2", "v3", "v0"),
        then_aside!("41", "51", "v2", "v3", "v0", "v1"),
        then_aside!("42", "52", "v3", "v0", "v1", "v2"),
        then_aside!("43", "53", "v0", "v1", "v2", "v3"),
    )
);

four!(
    four_5_2,
    5usize,
    2,
    concat!(
        apart!(),
        tap!("smull", "v0", "v1", "v2", "v3"),
        then!("0", "40", "50", apart!(), "v0", "v1", "v2", "v3"),
        then!("1", "41", "51", apart!(), "v0", "v1", "v2", "v3"),
        then!("2", "42", "52", apart!(), "v0", "v1", "v2", "v3"),
        then!("3", "43", "53", apart!(), "v0", "v1", "v2", "v3"),
    ),
    concat!(
        then_aside!("40", "50", "v0", "v1", "v2", "v3"),
        then_aside!("41", "51", "v0", "v1", "v2", "v3"),
        then_aside!("42", "52", "v0", "v1", "v2", "v3"),
        then_aside!("43", "53", "v0", "v1", "v2", "v3"),
    )
);
