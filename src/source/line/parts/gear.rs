//! Gears.

use super::washer::ring_of_holes;
use super::{Relief, bevel};
use crate::source::line::number::{RADIANS, direction, fract, length};
use crate::source::line::random::Random;

/// What is between the hub and the rim.
#[derive(Clone, Copy, Debug)]
enum Web {
    Solid,
    /// Turned down to this share of the thickness.
    Recessed(f32),
    /// Drilled through this many times.
    Drilled(f32),
}

/// A spur gear.
#[derive(Clone, Debug)]
pub struct Gear {
    teeth: f32,
    outer: f32,
    root: f32,
    bore: f32,
    hub: f32,
    thick: f32,
    web: Web,
    edge: f32,
}

impl Gear {
    pub fn make(random: &mut Random) -> Gear {
        let teeth = 10.0 + random.below(9) as f32;
        let outer = random.between(43.0, 54.0);
        // Module = diameter over teeth + 2, and a tooth is 2.25 modules high (ISO 53); worn ones are shorter.
        let module = 2.0 * outer / (teeth + 2.0);
        let root = outer - module * random.between(1.5, 2.2);
        let bore = outer * random.between(0.14, 0.34);
        let web = match random.below(3) {
            0 => Web::Solid,
            1 => Web::Recessed(random.between(0.45, 0.75)),
            _ => Web::Drilled(3.0 + random.below(4) as f32),
        };
        Gear {
            teeth,
            outer,
            root,
            bore,
            hub: bore + random.between(4.0, 8.0),
            thick: random.between(7.0, 15.0),
            web,
            edge: random.between(1.2, 2.5),
        }
    }

    pub fn relief(&self, x: f32, y: f32) -> Relief {
        let radius = length(x, y);
        let outline = self.outline(x, y, radius).max(self.bore - radius);
        let top = self.thick * (0.55 + 0.45 * bevel(outline, self.edge));
        let rim = self.root - 6.0;
        let (in_web, middle) = (rim - self.hub, 0.5 * (rim + self.hub));
        let (distance, height) = match self.web {
            Web::Recessed(share) if in_web > 3.0 => {
                let into = (0.5 * in_web - (radius - middle).abs()).clamp(0.0, 2.0) / 2.0;
                (outline, top * (1.0 - into * (1.0 - share)))
            }
            Web::Drilled(count) if in_web > 6.0 => {
                // As wide as the web, but with metal left between neighbours.
                let hole = (0.42 * in_web).min(0.35 * middle * RADIANS / count);
                let holes = ring_of_holes(x, y, count, middle, hole);
                let edge = 0.75 + 0.25 * bevel(holes, self.edge);
                (outline.max(holes), top * edge)
            }
            _ => (outline, top),
        };
        Relief { distance, height }
    }

    /// Distance to the toothed outline, the bore left out.
    fn outline(&self, x: f32, y: f32, radius: f32) -> f32 {
        let within = fract(direction(x, y) * self.teeth) - 0.5;
        let along = within.abs() * RADIANS / self.teeth * radius;
        // A tooth is half its pitch wide at half its height, wider at its root and narrower at its tip.
        let share = (radius - self.root) / (self.outer - self.root);
        let half_pitch = 0.25 * RADIANS / self.teeth * 0.5 * (self.root + self.outer);
        let flank = along - half_pitch * (1.45 - 0.9 * share);
        let tooth = flank.max(radius - self.outer);
        tooth.min(radius - self.root)
    }

    pub fn reach(&self) -> f32 {
        self.outer
    }
}
