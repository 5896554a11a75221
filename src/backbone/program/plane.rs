//! Where the pixels of an activation lie in its buffer, and windows over them.

use crate::backbone::kernels::{SLACK, Target};

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
        if self.border == Border::default() {
            return;
        }
        let Plane { border, zero, .. } = *self;
        let (row_bytes, pixel) = (self.row_bytes(), self.pixel_bytes);
        bytes[..border.top * row_bytes].fill(zero);
        let last = (border.top + self.height) * row_bytes;
        bytes[last..last + border.bottom * row_bytes].fill(zero);
        for row in bytes[border.top * row_bytes..last].chunks_exact_mut(row_bytes) {
            row[..border.left * pixel].fill(zero);
            row[(border.left + self.width) * pixel..].fill(zero);
        }
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
