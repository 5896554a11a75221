//! Steps that are the same with every kernel: row by row, bytes or numbers from the bytes of a plane.

use super::{Gang, Memory, Plane, Program, Slide};
use std::ops::Range;

impl Program {
    /// Another byte for each.
    pub(super) fn lookup(
        &self,
        memory: &mut Memory,
        gang: &mut Gang<'_>,
        planes: [usize; 2],
        table: &[u8; 256],
    ) {
        self.rows(memory, gang, planes, |bytes, plane, y, row| {
            let from = &bytes[plane.at(y as isize, 0)..][..row.len()];
            for (to, &byte) in row.iter_mut().zip(from) {
                *to = table[usize::from(byte)];
            }
        });
    }

    /// The maximum of each channel over windows that stay inside.
    pub(super) fn max_pool(
        &self,
        memory: &mut Memory,
        gang: &mut Gang<'_>,
        planes: [usize; 2],
        slide: &Slide,
    ) {
        let flip = self.kernel.flip();
        let step = self.planes[planes[1]].pixel_bytes;
        self.rows(memory, gang, planes, |bytes, plane, y, row| {
            let first = (y * slide.stride[0]) as isize;
            for (x, pixel) in row.chunks_exact_mut(step).enumerate() {
                // The least level, as the kernel stores it.
                pixel.fill(flip);
                for at in 0..slide.height * slide.width {
                    let line = first + (at / slide.width) as isize;
                    let column = (x * slide.stride[1] + at % slide.width) as isize;
                    let from = &bytes[plane.at(line, column)..][..step];
                    for (most, &byte) in pixel.iter_mut().zip(from) {
                        *most = (*most ^ flip).max(byte ^ flip) ^ flip;
                    }
                }
            }
        });
    }

    /// Lets `work` fill each row of the second plane, told its number, from the first, shared between threads.
    fn rows(
        &self,
        memory: &mut Memory,
        gang: &mut Gang<'_>,
        planes: [usize; 2],
        work: impl Fn(&[u8], &Plane, usize, &mut [u8]) + Sync,
    ) {
        self.share(
            memory,
            gang,
            planes,
            false,
            |bytes, plane, first, target| {
                let count = target.width * target.pixel_bytes;
                let rows = target.bytes.chunks_exact_mut(target.row_bytes);
                for (y, row) in (first..).zip(rows) {
                    work(bytes, plane, y, &mut row[target.origin..][..count]);
                }
            },
        );
    }
}

/// Sum or maximum of each channel, over some rows.
pub(super) fn pool(
    plane: &Plane,
    rows: Range<usize>,
    bytes: &[u8],
    max: bool,
    flip: u8,
) -> Vec<u32> {
    let mut found = vec![0u32; plane.channels];
    for y in rows {
        for x in 0..plane.width {
            let pixel = &bytes[plane.at(y as isize, x as isize)..][..plane.channels];
            let levels = found.iter_mut().zip(pixel);
            if max {
                levels.for_each(|(found, level)| *found = (*found).max(u32::from(level ^ flip)));
            } else {
                levels.for_each(|(found, level)| *found += u32::from(level ^ flip));
            }
        }
    }
    found
}
