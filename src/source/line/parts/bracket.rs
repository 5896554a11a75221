//! Brackets.

use super::{Relief, bevel, rounded_box};
use crate::source::line::number::length;
use crate::source::line::random::Random;

/// A flat angle of two arms at a right angle, cut from sheet, with one to three holes or slots in each arm.
#[derive(Clone, Debug)]
pub struct Bracket {
    /// Length of the arms along x and y, measured over the corner.
    arms: [f32; 2],
    width: f32,
    corner: f32,
    thick: f32,
    holes: [usize; 2],
    hole: f32,
    /// Half of what a slot is longer than wide; 0 for round holes.
    slot: f32,
    /// Side of the triangle that fills the inner corner, or 0.
    gusset: f32,
}

impl Bracket {
    pub fn make(random: &mut Random) -> Bracket {
        let width = random.between(22.0, 33.0);
        let arms = [random.between(66.0, 88.0), random.between(56.0, 88.0)];
        let slotted = random.chance(0.3);
        Bracket {
            arms,
            width,
            corner: random.between(2.0, 0.45 * width),
            thick: random.between(4.0, 9.0),
            holes: [1 + random.below(2), 1 + random.below(2)],
            hole: width * random.between(0.17, 0.28),
            slot: if slotted {
                width * random.between(0.1, 0.2)
            } else {
                0.0
            },
            gusset: if random.chance(0.4) {
                random.between(8.0, 20.0)
            } else {
                0.0
            },
        }
    }

    pub fn relief(&self, x: f32, y: f32) -> Relief {
        // From here on the outer corner of the angle is at 0, 0.
        let (x, y) = (x + 0.5 * self.arms[0], y + 0.5 * self.arms[1]);
        let half = 0.5 * self.width;
        let flat = [0.5 * self.arms[0], half];
        let upright = [half, 0.5 * self.arms[1]];
        let across = rounded_box(x - flat[0], y - flat[1], flat, self.corner);
        let down = rounded_box(x - upright[0], y - upright[1], upright, self.corner);
        let mut outline = across.min(down);
        if self.gusset > 0.0 {
            // It overlaps the arms by more than the bevel is wide, so that no seam shows.
            let seam = self.width - 5.0;
            let slant = (x + y - 2.0 * self.width - self.gusset) * std::f32::consts::FRAC_1_SQRT_2;
            outline = outline.min(slant.max(seam - x).max(seam - y));
        }
        let holes = self
            .row_of_holes(x, y - half, self.arms[0], self.holes[0])
            .max(self.row_of_holes(y, x - half, self.arms[1], self.holes[1]));
        let distance = outline.max(holes);
        Relief {
            distance,
            height: self.thick * (0.5 + 0.5 * bevel(distance, 2.0)),
        }
    }

    /// Distance to the rim of the nearest hole of an arm; negative outside the holes.
    fn row_of_holes(&self, along: f32, off: f32, arm: f32, count: usize) -> f32 {
        let (first, last) = (self.width + 0.2 * self.hole, arm - 0.5 * self.width);
        let at = |hole: usize| {
            let share = if count == 1 { 0.7 } else { hole as f32 };
            let beyond = ((along - first - (last - first) * share).abs() - self.slot).max(0.0);
            self.hole - length(beyond, off)
        };
        (1..count).fold(at(0), |nearest, hole| nearest.max(at(hole)))
    }

    pub fn reach(&self) -> f32 {
        0.5 * length(self.arms[0], self.arms[1])
    }
}
