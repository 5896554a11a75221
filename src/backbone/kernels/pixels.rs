//! Walking over the pixels of a product: where each is read and written.

use super::{Source, Target};

/// Where the pixels are, one after the other through all rows.
pub struct Pixels {
    pub from: *const u8,
    pub to: *mut u8,
    from_pixel: usize,
    from_row: usize,
    to_pixel: usize,
    to_row: usize,
    width: usize,
    pub count: usize,
}

impl Pixels {
    pub fn new(from: &Source<'_>, to: Target<'_>) -> Pixels {
        let whole = from.row_bytes == to.width * from.pixel_bytes
            && to.row_bytes == to.width * to.pixel_bytes;
        Pixels {
            from: from.bytes[from.origin..].as_ptr(),
            from_pixel: from.pixel_bytes,
            from_row: from.row_bytes,
            to_pixel: to.pixel_bytes,
            to_row: to.row_bytes,
            count: to.rows * to.width,
            // Rows without gaps are one long row.
            width: if whole { to.rows * to.width } else { to.width },
            to: to.bytes[to.origin..].as_mut_ptr(),
        }
    }

    /// Offsets of `M` pixels from `first` on, to read and to write.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn at<const M: usize>(&self, first: usize) -> [(usize, usize); M] {
        let (mut y, mut x) = (first / self.width, first % self.width);
        std::array::from_fn(|_| {
            let offsets = (
                y * self.from_row + x * self.from_pixel,
                y * self.to_row + x * self.to_pixel,
            );
            x += 1;
            if x == self.width {
                (y, x) = (y + 1, 0);
            }
            offsets
        })
    }

    #[cfg(target_arch = "aarch64")]
    /// All pixels in their order, `M` at a time, `channel` bytes further on the side that is written; where fewer are left, the last
    /// one again.
    pub fn steps<const M: usize>(&self, channel: usize) -> Steps<M> {
        Steps {
            from: self.from,
            to: self.to.wrapping_add(channel),
            from_pixel: self.from_pixel,
            to_pixel: self.to_pixel,
            from_turn: self.from_row.wrapping_sub(self.width * self.from_pixel),
            to_turn: self.to_row.wrapping_sub(self.width * self.to_pixel),
            width: self.width,
            x: 0,
            left: self.count,
        }
    }
}

#[cfg(target_arch = "aarch64")]
/// A walk over the pixels: where each is read and written.
pub struct Steps<const M: usize> {
    from: *const u8,
    to: *mut u8,
    from_pixel: usize,
    to_pixel: usize,
    /// From behind the last pixel of a row to the first of the next; the rows of a source may overlap.
    from_turn: usize,
    to_turn: usize,
    width: usize,
    x: usize,
    left: usize,
}

#[cfg(target_arch = "aarch64")]
impl<const M: usize> Iterator for Steps<M> {
    type Item = ([*const u8; M], [*mut u8; M]);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let (mut from, mut to) = ([self.from; M], [self.to; M]);
        if self.left > M && self.x + M < self.width {
            for i in 1..M {
                from[i] = from[i - 1].wrapping_add(self.from_pixel);
                to[i] = to[i - 1].wrapping_add(self.to_pixel);
            }
            self.from = from[M - 1].wrapping_add(self.from_pixel);
            self.to = to[M - 1].wrapping_add(self.to_pixel);
            self.x += M;
            self.left -= M;
            return Some((from, to));
        }
        for i in 0..M {
            (from[i], to[i]) = (self.from, self.to);
            if self.left > 1 {
                self.x += 1;
                self.from = self.from.wrapping_add(self.from_pixel);
                self.to = self.to.wrapping_add(self.to_pixel);
                if self.x == self.width {
                    self.x = 0;
                    self.from = self.from.wrapping_add(self.from_turn);
                    self.to = self.to.wrapping_add(self.to_turn);
                }
            }
            self.left = self.left.saturating_sub(1);
        }
        Some((from, to))
    }
}
