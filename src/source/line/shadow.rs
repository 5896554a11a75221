//! Shadows: which places a part keeps the lamp from.
//!
//! Owns: casting the shadow of a height map, at half the frame's resolution, which also makes its edge soft.
//!
//! Invariant: 0 where the lamp shines, 1 where it does not.

use super::{HEIGHT, WIDTH};
use std::ops::Range;

const COLUMNS: usize = WIDTH / 2;
const ROWS: usize = HEIGHT / 2;

/// Height over the line of sight to the lamp, in pixels, at which a shadow is full: a lamp is not a point.
const SOFT: f32 = 1.5;

/// Passes of a 3 × 3 mean that make the darkness around a part's foot: about 5 half pixels wide.
const CONTACT_PASSES: usize = 3;

/// How much of the lamp is hidden, and how near the part's foot is, both from 0 to 1 for each place of `[ROWS, COLUMNS]`.
pub struct Shadow {
    shadow: Vec<f32>,
    contact: Vec<f32>,
}

impl Shadow {
    /// `toward` the lamp on the belt, of length 1; `elevation` as a tangent.
    pub fn cast(height: &[f32], toward: [f32; 2], elevation: f32) -> Shadow {
        let low = halved(height);
        let highest = low.iter().fold(0.0_f32, |high, h| high.max(*h));
        // A step is two pixels. No shadow is longer than the frame, however low the lamp.
        let steps = (highest / (2.0 * elevation)).min((COLUMNS + ROWS) as f32) as usize + 1;
        let mut shadow = vec![0.0; COLUMNS * ROWS];
        let [rows, columns] = reached(&low, toward, steps);
        for row in rows {
            for column in columns.clone() {
                let at = row * COLUMNS + column;
                shadow[at] = blocked(&low, [column, row], toward, elevation, steps);
            }
        }
        let mut contact: Vec<f32> = low.iter().map(|h| (h / 6.0).min(1.0)).collect();
        for _ in 0..CONTACT_PASSES {
            contact = mean(&contact);
        }
        Shadow {
            shadow: mean(&shadow),
            contact,
        }
    }

    /// How much of the lamp is hidden from a pixel.
    pub fn at(&self, x: usize, y: usize) -> f32 {
        between(&self.shadow, x, y)
    }

    /// How near a pixel is to the foot of the part.
    pub fn contact(&self, x: usize, y: usize) -> f32 {
        between(&self.contact, x, y)
    }
}

/// The rows and columns that a shadow of this length can be in: those of the part, and those behind it.
fn reached(low: &[f32], toward: [f32; 2], steps: usize) -> [Range<usize>; 2] {
    let (mut first, mut last) = ([usize::MAX; 2], [0; 2]);
    for at in (0..low.len()).filter(|at| low[*at] > 0.0) {
        for (axis, place) in [at / COLUMNS, at % COLUMNS].into_iter().enumerate() {
            first[axis] = first[axis].min(place);
            last[axis] = last[axis].max(place + 1);
        }
    }
    let along = |axis: usize, component: f32, end: usize| {
        let length = (steps as f32 * component.abs()) as usize + 1;
        if component > 0.0 {
            first[axis].saturating_sub(length)..last[axis]
        } else {
            first[axis]..(last[axis] + length).min(end)
        }
    };
    [along(0, toward[1], ROWS), along(1, toward[0], COLUMNS)]
}

/// Walks from a place toward the lamp, and finds how far something stands above the line of sight.
fn blocked(low: &[f32], from: [usize; 2], toward: [f32; 2], elevation: f32, steps: usize) -> f32 {
    let start = low[from[1] * COLUMNS + from[0]] + 0.6;
    let mut above = 0.0_f32;
    for step in 1..=steps {
        let t = step as f32;
        let (x, y) = (
            from[0] as f32 + toward[0] * t + 0.5,
            from[1] as f32 + toward[1] * t + 0.5,
        );
        if x < 0.0 || y < 0.0 || x >= COLUMNS as f32 || y >= ROWS as f32 {
            break;
        }
        let height = low[y as usize * COLUMNS + x as usize];
        above = above.max(height - start - 2.0 * elevation * t);
    }
    (above / SOFT).min(1.0)
}

fn halved(height: &[f32]) -> Vec<f32> {
    let mut low = Vec::with_capacity(COLUMNS * ROWS);
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let at = 2 * row * WIDTH + 2 * column;
            low.push(
                0.25 * (height[at] + height[at + 1] + height[at + WIDTH] + height[at + WIDTH + 1]),
            );
        }
    }
    low
}

/// The mean of 3 × 3 places; the border stays as it is.
fn mean(values: &[f32]) -> Vec<f32> {
    let mut wide = values.to_vec();
    for (row, from) in wide
        .chunks_exact_mut(COLUMNS)
        .zip(values.chunks_exact(COLUMNS))
    {
        for (at, three) in from.windows(3).enumerate() {
            row[at + 1] = (three[0] + three[1] + three[2]) / 3.0;
        }
    }
    let mut out = wide.clone();
    for at in COLUMNS..values.len() - COLUMNS {
        out[at] = (wide[at - COLUMNS] + wide[at] + wide[at + COLUMNS]) / 3.0;
    }
    out
}

/// Bilinear: a pixel lies a quarter from the middle of its half-resolution place.
fn between(values: &[f32], x: usize, y: usize) -> f32 {
    let (column, row) = (x / 2, y / 2);
    let side = |place: usize, odd: usize, end: usize| {
        let other = if odd == 1 {
            place + 1
        } else {
            place.wrapping_sub(1)
        };
        if other < end { other } else { place }
    };
    let (next_column, next_row) = (side(column, x % 2, COLUMNS), side(row, y % 2, ROWS));
    let (here, there) = (row * COLUMNS, next_row * COLUMNS);
    0.5625 * values[here + column]
        + 0.1875 * (values[here + next_column] + values[there + column])
        + 0.0625 * values[there + next_column]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box of 40 × 40 pixels, 10 high, in the middle of the frame.
    fn box_in_the_middle() -> Vec<f32> {
        let inside = |at: usize| (at / WIDTH).abs_diff(120) < 20 && (at % WIDTH).abs_diff(160) < 20;
        (0..WIDTH * HEIGHT)
            .map(|at| if inside(at) { 10.0 } else { 0.0 })
            .collect()
    }

    #[test]
    fn an_empty_belt_has_no_shadow() {
        let shadow = Shadow::cast(&vec![0.0; WIDTH * HEIGHT], [1.0, 0.0], 0.4);
        assert!(
            shadow
                .shadow
                .iter()
                .chain(&shadow.contact)
                .all(|s| *s == 0.0)
        );
    }

    #[test]
    fn a_shadow_lies_away_from_the_lamp_and_is_as_long_as_the_lamp_is_low() {
        let height = box_in_the_middle();
        for (elevation, dark, bright) in [(1.0, 186, 196), (0.25, 205, 230)] {
            let shadow = Shadow::cast(&height, [-1.0, 0.0], elevation);
            assert!(shadow.at(dark, 120) > 0.0 && shadow.at(bright, 120) == 0.0);
            assert_eq!((shadow.at(130, 120), shadow.at(160, 120)), (0.0, 0.0));
        }
        assert_eq!(Shadow::cast(&height, [1.0, 0.0], 0.25).at(200, 120), 0.0);
    }
}
