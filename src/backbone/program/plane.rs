//! Where the pixels of an activation lie in its buffer, and windows over them.

use crate::backbone::kernels::{SLACK, Target};
use std::ops::Range;

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
    /// Buffer it lies in.
    pub buffer: usize,
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

    pub fn bytes(&self) -> usize {
        (self.border.top + self.height + self.border.bottom) * self.row_bytes() + SLACK
    }

    /// Where the pixel at row y and column x begins; both may be in the border.
    pub(super) fn at(&self, y: isize, x: isize) -> usize {
        let row = (self.border.top as isize + y) as usize;
        let column = (self.border.left as isize + x) as usize;
        row * self.row_bytes() + column * self.pixel_bytes
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
            let rows = self.border.top + self.height + self.border.bottom;
            self.fill_border_of(0..rows, &mut bytes[..rows * self.row_bytes()]);
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

    /// Shares the rows between threads: fills the border and lets `work` fill the rest, told the first of its rows.
    pub(super) fn share(
        &self,
        bytes: &mut [u8],
        threads: usize,
        work: &(impl Fn(usize, Target<'_>) + Sync),
    ) {
        let rows = self.border.top + self.height + self.border.bottom;
        let bytes = &mut bytes[..rows * self.row_bytes()];
        self.share_rows(0..self.height, bytes, threads, work);
    }

    /// `bytes` are those of `rows`, with the border above the first and below the last.
    fn share_rows(
        &self,
        rows: Range<usize>,
        bytes: &mut [u8],
        threads: usize,
        work: &(impl Fn(usize, Target<'_>) + Sync),
    ) {
        let above = if rows.start == 0 { self.border.top } else { 0 };
        let row_bytes = self.row_bytes();
        if threads < 2 || rows.len() < 2 {
            let first = self.border.top + rows.start - above;
            if self.border != Border::default() {
                self.fill_border_of(first..first + bytes.len() / row_bytes, bytes);
            }
            let inside = &mut bytes[above * row_bytes..][..rows.len() * row_bytes];
            return work(rows.start, self.target(inside));
        }
        let left = threads / 2;
        let middle = rows.start + (rows.len() * left).div_ceil(threads);
        let (upper, lower) = bytes.split_at_mut((above + middle - rows.start) * row_bytes);
        rayon::join(
            || self.share_rows(rows.start..middle, upper, left, work),
            || self.share_rows(middle..rows.end, lower, threads - left, work),
        );
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
