//! Integer kernels: the arithmetic of a quantized backbone, once for each instruction set.
//!
//! Owns: packing weights, matrix product and depthwise convolution with their requantization, and choosing by what the processor
//! has. Does not own: the order of the layers (`program`), or what a model means (`lower`).
//!
//! Invariant: every kernel gives the bytes of [`portable`]. Sums are exact in i32; what follows them is one multiplication of IEEE
//! f32, one rounding to even, and a clamp, which all processors do alike.
//!
//! Activations are bytes, pixel after pixel, the channels of a pixel together (NHWC) and padded to [`CHANNEL_ALIGN`]. A byte is the
//! u8 of the model, or has its highest bit turned where an instruction wants signed numbers: [`Kernel::flip`].

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod dotprod;
pub mod gang;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pixels;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni;

/// The channels of a stored pixel are a multiple of this many bytes: one 128-bit vector.
pub const CHANNEL_ALIGN: usize = 16;

/// What kernels may read behind the last pixel of a buffer: one vector of 512 bits.
pub const SLACK: usize = 64;

/// An instruction set's way of doing it.
pub trait Kernel: Send + Sync {
    /// As `FIELDHEAD_KERNEL` names it.
    fn name(&self) -> &'static str;
    /// Bits that are turned in the activations as this kernel stores them: 0, or 0x80 to make them signed.
    fn flip(&self) -> u8 {
        0
    }
    /// Lays out a matrix for [`Kernel::matmul`].
    fn pack(&self, matrix: &Matrix, requant: &Requant) -> Packed;
    /// Lays out filters for [`Kernel::depthwise`]; `None` for a shape that this kernel leaves to the portable one.
    fn pack_depthwise(&self, filters: &Filters, requant: &Requant) -> Option<Packed>;
    /// For each pixel of `to`: the product of the pixel of `from` with the matrix, requantized.
    fn matmul(&self, packed: &Packed, from: Source<'_>, to: Target<'_>);
    /// For each pixel of `to` and each channel: the sum over its window in `from`, requantized. The pixel of `from` at the
    /// target's pixel (0, 0) is the first of its window.
    fn depthwise(&self, packed: &Packed, from: Source<'_>, to: Target<'_>);
    /// `to = requantize(a, b)`, byte by byte over whole buffers.
    fn add(&self, sum: &Sum, a: &[u8], b: &[u8], to: &mut [u8]) {
        portable::add::<0>(sum, a, b, to);
    }
    /// Runs `rounds` of the innermost instructions on registers alone, and gives the number of their multiply-accumulates.
    fn peak(&self, rounds: usize) -> u64;
}

/// Weights `[n, k]`, row by row: a row gives one output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    pub n: usize,
    pub k: usize,
    pub weights: Vec<i8>,
}

/// Depthwise filters: weights `[height, width, channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub stride: usize,
    pub weights: Vec<i8>,
}

/// Sums to bytes: `clamp(round(sum · multiplier) + zero_point, low, high)`, rounded to even.
///
/// [`Requant::fits`] holds, so that no sum overflows and no product leaves the range of i32.
#[derive(Clone, Debug, PartialEq)]
pub struct Requant {
    /// Start of each channel's sum, the input's zero point included.
    pub bias: Vec<i32>,
    pub multiplier: Vec<f32>,
    pub zero_point: u8,
    pub low: u8,
    pub high: u8,
}

impl Requant {
    /// Whether the sums of rows of weights whose absolute values add up to `weight_sums` stay in range.
    pub fn fits(&self, weight_sums: &[i64]) -> bool {
        let limit = f64::from(1u32 << 30);
        let rows = self.bias.iter().zip(&self.multiplier).zip(weight_sums);
        self.low <= self.high
            && rows.into_iter().all(|((&bias, &multiplier), &weights)| {
                let most = (i64::from(bias).abs() + 255 * weights) as f64;
                let scaled = most * f64::from(multiplier);
                multiplier > 0.0 && most < limit && scaled < limit
            })
    }
}

/// A residual sum: `clamp(round(a·scale_a + (b·scale_b + fixed)), low, high)`, in f32 and in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum {
    /// Scale of the input over the scale of the output, at most 2¹¹: the sum then rounds exactly.
    pub scale_a: f32,
    pub scale_b: f32,
    /// Zero point of the output, less those of the inputs at their scales.
    pub fixed: f32,
    pub low: u8,
    pub high: u8,
}

/// 64 bytes where a vector load never crosses a line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line([u8; 64]);

/// Weights and requantization as one kernel wants them.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Output channels.
    n: usize,
    /// Bytes of a pixel that a product reads.
    k: usize,
    window: Window,
    lines: Vec<Line>,
    /// In the kernel's order of channels, padded.
    bias: Vec<i32>,
    multiplier: Vec<f32>,
    zero_point: u8,
    low: u8,
    high: u8,
    /// Bits that are turned in what the portable kernel reads and writes.
    flip: u8,
    #[cfg_attr(
        not(target_arch = "aarch64"),
        expect(dead_code, reason = "only NEON adds in 16 bits")
    )]
    /// Bits that say where sums of products would leave 16 bits, as the kernel wants to know it.
    spills: Vec<u8>,
    #[cfg_attr(
        not(target_arch = "aarch64"),
        expect(dead_code, reason = "only the Arm kernels look at it")
    )]
    /// All sums at their scales fit 16 bits, all bytes are allowed, and the zero point is even: nothing to clamp, and no tie to mind.
    plain: bool,
    #[cfg(target_arch = "x86_64")]
    views: avx2::Views,
}

/// Extent of a depthwise window; 1 × 1 for a product.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    height: usize,
    width: usize,
    stride: usize,
}

impl Window {
    const POINT: Window = Window {
        height: 1,
        width: 1,
        stride: 1,
    };

    /// The window of filters, if it is one of those that vector code is written for.
    fn usual(filters: &Filters) -> Option<Window> {
        let window = Window {
            height: filters.height,
            width: filters.width,
            stride: filters.stride,
        };
        let usual = matches!(
            (window.height, window.width, window.stride),
            (3, 3, 1 | 2) | (5, 5, 1 | 2)
        );
        usual.then_some(window)
    }
}

/// Pixels to read: the one at column x of row y begins at `origin + y · row_bytes + x · pixel_bytes`.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub bytes: &'a [u8],
    pub origin: usize,
    pub pixel_bytes: usize,
    pub row_bytes: usize,
}

/// Pixels to write, laid out as those of a [`Source`].
pub struct Target<'a> {
    pub bytes: &'a mut [u8],
    pub origin: usize,
    pub pixel_bytes: usize,
    pub row_bytes: usize,
    pub rows: usize,
    pub width: usize,
}

impl Packed {
    /// `lines` of `n` channels whose pixels have `k` bytes, with the requantization in the order of `blocks`.
    fn new(
        [n, k]: [usize; 2],
        window: Window,
        blocks: &[Vec<usize>],
        lines: Vec<Line>,
        requant: &Requant,
    ) -> Packed {
        Packed {
            n,
            k,
            window,
            lines,
            bias: in_order(blocks, &requant.bias, 0),
            multiplier: in_order(blocks, &requant.multiplier, 1.0),
            zero_point: requant.zero_point,
            low: requant.low,
            high: requant.high,
            flip: 0,
            spills: Vec::new(),
            plain: false,
            #[cfg(target_arch = "x86_64")]
            views: avx2::Views::default(),
        }
    }

    /// Bytes of the weights as they are packed.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&self.lines[..])
    }

    /// Stops a call whose reads or writes would leave their buffers: what the vector code relies on.
    fn check(&self, from: &Source<'_>, to: &Target<'_>) {
        let Window {
            height,
            width,
            stride,
        } = self.window;
        let across = ((to.width - 1) * stride + width - 1) * from.pixel_bytes;
        let down = ((to.rows - 1) * stride + height - 1) * from.row_bytes;
        let read = from.origin + down + across + self.k + SLACK;
        let written = to.origin + (to.rows - 1) * to.row_bytes + (to.width - 1) * to.pixel_bytes;
        let n = self.n.next_multiple_of(CHANNEL_ALIGN);
        assert!(read <= from.bytes.len(), "a kernel would read too far");
        assert!(
            n <= to.pixel_bytes && written + n <= to.bytes.len(),
            "a kernel would write too far"
        );
    }
}

/// The kernel that `wanted` names, or the fastest one that this processor has.
///
/// # Errors
/// The names to choose from, for one that this processor cannot run.
pub fn choose(wanted: Option<&str>) -> Result<&'static dyn Kernel, String> {
    let available = available();
    match wanted {
        None => Ok(available[0]),
        Some(name) => available
            .iter()
            .find(|kernel| kernel.name() == name)
            .copied()
            .ok_or_else(|| {
                let names: Vec<&str> = available.iter().map(|k| k.name()).collect();
                format!(
                    "the kernel '{name}' is not one this processor can run; it has {}",
                    names.join(", ")
                )
            }),
    }
}

/// What this processor can run, fastest first.
pub fn available() -> Vec<&'static dyn Kernel> {
    let mut found: Vec<&'static dyn Kernel> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if vnni::supported() {
            found.push(&vnni::Vnni);
        }
        if avx2::supported() {
            found.push(&avx2::Avx2);
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        if i8mm::supported() {
            found.push(&i8mm::I8mm);
        }
        if dotprod::supported() {
            found.push(&dotprod::Dotprod);
        }
        if neon::supported() {
            found.push(&neon::Neon);
        }
    }
    found.push(&portable::Portable);
    found
}

pub use portable::{Portable, filters as portable_filters};

/// Packs a matrix so that a vector holds `group` consecutive weights of each of its channels. A block names the channels of all its
/// vectors in order; `put` writes the weights of one lane, of `lane` bytes.
fn pack_groups(
    matrix: &Matrix,
    blocks: &[Vec<usize>],
    group: usize,
    lane: usize,
    put: impl Fn(&mut [u8], &[i8]),
) -> Vec<Line> {
    let groups = matrix.k.div_ceil(group);
    let lanes: usize = blocks.iter().map(Vec::len).sum();
    let mut lines = vec![Line([0; 64]); (lanes * groups * lane).div_ceil(64)];
    let mut at = 0;
    for channels in blocks {
        for first in (0..matrix.k).step_by(group) {
            for &channel in channels {
                if channel < matrix.n {
                    let row = &matrix.weights[channel * matrix.k..][..matrix.k];
                    let weights = &row[first..(first + group).min(matrix.k)];
                    put(&mut lines[at / 64].0[at % 64..][..lane], weights);
                }
                at += lane;
            }
        }
    }
    lines
}

/// Filters as a matrix whose rows go down the columns of the window, each filled up with zeros to a multiple of `group` rows.
#[cfg(target_arch = "x86_64")]
fn columns_of(filters: &Filters, group: usize) -> Matrix {
    let height = filters.height.next_multiple_of(group);
    let k = filters.width * height;
    let mut weights = vec![0; filters.channels * k];
    for (tap, weights_of_tap) in filters.weights.chunks_exact(filters.channels).enumerate() {
        let (row, column) = (tap / filters.width, tap % filters.width);
        for (channel, &weight) in weights_of_tap.iter().enumerate() {
            weights[channel * k + column * height + row] = weight;
        }
    }
    Matrix {
        n: filters.channels,
        k,
        weights,
    }
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    let line = |chunk: &[u8]| {
        let mut line = Line([0; 64]);
        line.0[..chunk.len()].copy_from_slice(chunk);
        line
    };
    bytes.chunks(64).map(line).collect()
}

/// Values of each channel in the order of `blocks`; `rest` for lanes without a channel.
fn in_order<T: Copy>(blocks: &[Vec<usize>], values: &[T], rest: T) -> Vec<T> {
    blocks
        .iter()
        .flatten()
        .map(|&channel| values.get(channel).copied().unwrap_or(rest))
        .collect()
}
