//! Washers.

use super::{Relief, bevel};
use crate::source::line::number::{cosine, direction, length, sine};
use crate::source::line::random::Random;

/// A ring. Proportions between those of ISO 7089 (hole about half) and ISO 7093 (hole about a third); one in four is a split
/// spring washer (DIN 127), whose ends stand apart.
#[derive(Clone, Debug)]
pub struct Washer {
    outer: f32,
    hole: f32,
    thick: f32,
    edge: f32,
    /// Half the width of the gap of a spring washer, or 0.
    gap: f32,
    /// How much the gap leans from the radius.
    lean: f32,
}

impl Washer {
    pub fn make(random: &mut Random) -> Washer {
        let outer = random.between(41.0, 54.0);
        let split = random.chance(0.25);
        let hole = if split {
            random.between(0.56, 0.68)
        } else {
            random.between(0.32, 0.62)
        };
        Washer {
            outer,
            hole: outer * hole,
            thick: random.between(4.0, 9.0),
            edge: random.between(1.5, 4.0),
            gap: if split { random.between(1.6, 3.2) } else { 0.0 },
            lean: random.between(-0.5, 0.5),
        }
    }

    pub fn relief(&self, x: f32, y: f32) -> Relief {
        let radius = length(x, y);
        let ring = (radius - self.outer).max(self.hole - radius);
        let mut height = self.thick * (0.5 + 0.5 * bevel(ring, self.edge));
        let mut distance = ring;
        if self.gap > 0.0 {
            let middle = 0.5 * (self.outer + self.hole);
            let across = y + self.lean * (x + middle);
            // On the left, where `direction` jumps from -1/2 to 1/2.
            let cut = if x < 0.0 {
                self.gap - across.abs()
            } else {
                -self.outer
            };
            distance = ring.max(cut);
            // One end stands up, the other lies on the belt.
            height *= 1.25 - 0.9 * direction(x, y);
        }
        Relief { distance, height }
    }

    pub fn reach(&self) -> f32 {
        self.outer
    }
}

/// Distance to the rim of the nearest of `count` round holes of radius `hole` on a circle of radius `on`; negative outside them.
pub fn ring_of_holes(x: f32, y: f32, count: f32, on: f32, hole: f32) -> f32 {
    let turns = direction(x, y);
    let nearest = (turns * count).round() / count;
    let (cx, cy) = (on * cosine(nearest), on * sine(nearest));
    hole - length(x - cx, y - cy)
}
