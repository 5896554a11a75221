//! Where the pixels of an activation lie in its buffer, and windows over them.

use crate::backbone::kernels::gang::Gang;
use crate::backbone::kernels::{SLACK, Target};
use std::ops::{Deref, DerefMut, Range};

/// Bytes of a line of the cache.
pub const LINE: usize = 64;

/// How one activation lies in its buffer: rows of pixels, with a border that holds the zero point where a window reaches over
/// the edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plane {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Channels and their padding.
    pub pixel_bytes: usize,
    pub border: Border,
    /// What the border holds, as the kernel stores it.
    pub zero: u8,
    /// Buffer it lies in, and where it begins there.
    pub buffer: usize,
    pub start: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Border {
    pub top: usize,
    pub left: usize,
    pub bottom: usize,
    pub right: usize,
}

impl Border {
    /// The border that holds both.
    pub fn max(self, other: Border) -> Border {
        Border {
            top: self.top.max(other.top),
            left: self.left.max(other.left),
            bottom: self.bottom.max(other.bottom),
            right: self.right.max(other.right),
        }
    }
}

impl Plane {
    pub(super) fn row_bytes(&self) -> usize {
        (self.border.left + self.width + self.border.right) * self.pixel_bytes
    }

    /// Bytes from its start on, and what kernels may read behind it.
    pub fn bytes(&self) -> usize {
        self.rows() * self.row_bytes() + SLACK
    }

    /// Where the pixel at row y and column x begins; both may be in the border.
    pub(super) fn at(&self, y: isize, x: isize) -> usize {
        let row = (self.border.top as isize + y) as usize;
        let column = (self.border.left as isize + x) as usize;
        self.start + row * self.row_bytes() + column * self.pixel_bytes
    }

    /// Where the second of two threads begins, from the start of the plane on.
    pub fn middle(&self) -> usize {
        if self.border == Border::default() {
            return (self.height * self.width).div_ceil(2) * self.pixel_bytes;
        }
        (self.border.top + self.height.div_ceil(2)) * self.row_bytes()
    }

    /// Fetches what another thread wrote of the rows that windows see from rows `share` of a plane of `height` rows: one after the
    /// other, which is several times quicker than where windows meet them.
    pub(super) fn fetch(&self, bytes: &[u8], slide: &Slide, share: Range<usize>, height: usize) {
        let row = |row: usize| (row * slide.stride[0]) as isize - slide.pad[0] as isize;
        let own = [share.start, share.end].map(|row| (self.height * row).div_ceil(height) as isize);
        let end = row(share.end - 1) + slide.height as isize;
        let all = -(self.border.top as isize)..(self.height + self.border.bottom) as isize;
        for rows in [row(share.start)..own[0], own[1]..end] {
            let (start, end) = (rows.start.max(all.start), rows.end.min(all.end));
            if start < end {
                let left = -(self.border.left as isize);
                let lines = bytes[self.at(start, left)..self.at(end, left)].iter();
                std::hint::black_box(lines.step_by(LINE).fold(0, |all, byte| all ^ byte));
            }
        }
    }

    /// Where each byte lies, in the order of ONNX: channel by channel, row by row.
    pub fn in_order(self) -> impl Iterator<Item = usize> {
        let row = move |channel, y| {
            (0..self.width).map(move |x| self.at(y as isize, x as isize) + channel)
        };
        let channel = move |channel| (0..self.height).flat_map(move |y| row(channel, y));
        (0..self.channels).flat_map(channel)
    }

    /// The same pixels without a border, one a row.
    pub fn one_column(self) -> Plane {
        Plane {
            height: self.height * self.width,
            width: 1,
            ..self
        }
    }

    /// Whole rows as a kernel's target.
    pub(super) fn target<'a>(&self, rows: &'a mut [u8]) -> Target<'a> {
        Target {
            origin: self.border.left * self.pixel_bytes,
            pixel_bytes: self.pixel_bytes,
            row_bytes: self.row_bytes(),
            rows: rows.len() / self.row_bytes(),
            width: self.width,
            bytes: rows,
        }
    }

    pub(super) fn fill_border(&self, bytes: &mut [u8]) {
        if self.border != Border::default() {
            self.fill_border_of(0..self.rows(), self.all(bytes));
        }
    }

    /// Fills what is border in `rows`, counted from the first of the border.
    fn fill_border_of(&self, rows: Range<usize>, bytes: &mut [u8]) {
        let Plane { border, zero, .. } = *self;
        let inside = border.top..border.top + self.height;
        for (y, row) in rows.zip(bytes.chunks_exact_mut(self.row_bytes())) {
            if inside.contains(&y) {
                row[..border.left * self.pixel_bytes].fill(zero);
                row[(border.left + self.width) * self.pixel_bytes..].fill(zero);
            } else {
                row.fill(zero);
            }
        }
    }

    /// Rows, those of the border included.
    fn rows(&self) -> usize {
        self.border.top + self.height + self.border.bottom
    }

    /// Its bytes in its buffer.
    fn all<'a>(&self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        &mut bytes[self.start..][..self.rows() * self.row_bytes()]
    }

    /// Shares the rows between threads: fills the border and lets `work` fill the rest, told the first of its rows.
    pub(super) fn share(
        &self,
        bytes: &mut [u8],
        gang: &mut Gang<'_>,
        work: impl Fn(usize, Target<'_>) + Sync,
    ) {
        let row_bytes = self.row_bytes();
        let bands = gang.threads().min(self.height).max(1);
        let mut shares = Vec::with_capacity(bands);
        let mut left = self.all(bytes);
        let mut first = 0;
        for band in 1..=bands {
            // The border above goes with the first row, the one below with the last.
            let above = if first == 0 { self.border.top } else { 0 };
            let end = (self.height * band).div_ceil(bands);
            let bytes = if band == bands {
                left.len()
            } else {
                (above + end - first) * row_bytes
            };
            let (mine, others) = std::mem::take(&mut left).split_at_mut(bytes);
            shares.push((first..end, above, mine));
            (left, first) = (others, end);
        }
        gang.share(&mut shares, |(rows, above, bytes)| {
            if self.border != Border::default() {
                let first = self.border.top + rows.start - *above;
                self.fill_border_of(first..first + bytes.len() / row_bytes, bytes);
            }
            let inside = &mut bytes[*above * row_bytes..][..rows.len() * row_bytes];
            work(rows.start, self.target(inside));
        });
    }
}

/// Memory that begins a line of the cache.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    first: usize,
}

impl Buffer {
    pub(super) fn new(size: usize) -> Buffer {
        let bytes = vec![0; size + LINE];
        // Elsewhere it would only be slower.
        let first = bytes.as_ptr().align_offset(LINE).min(LINE);
        Buffer { bytes, first }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.first..]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.first..]
    }
}

/// A window that slides over a plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slide {
    pub height: usize,
    pub width: usize,
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// How far the first window begins before the first pixel.
    pub pad: [usize; 2],
}

impl Slide {
    pub const POINT: Slide = Slide {
        height: 1,
        width: 1,
        stride: [1, 1],
        dilation: [1, 1],
        pad: [0, 0],
    };

    pub(super) fn is_point(&self) -> bool {
        self.height == 1 && self.width == 1
    }
}

/// Bytes that follow each other in a plane and in a window: a row of it, or a pixel when it is dilated.
pub fn run_bytes(slide: &Slide, pixel_bytes: usize) -> usize {
    if slide.dilation[1] == 1 {
        slide.width * pixel_bytes
    } else {
        pixel_bytes
    }
}
