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
}
