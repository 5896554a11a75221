//! Screws.

use super::{Relief, bevel};
use crate::source::line::number::{fract, mix};
use crate::source::line::random::Random;

/// What the head looks like from the side.
#[derive(Clone, Copy, Debug)]
enum Head {
    /// Half round, as ISO 7380.
    Round,
    /// A cone, as ISO 10642.
    Countersunk,
    /// A cylinder, as ISO 4762.
    Cylinder,
    /// A hexagon, as ISO 4017: three of its faces show.
    Hexagon,
}

/// A screw on its side, along x: the head on the left, the tip on the right. Heads are 1.6 to 2.1 shafts wide, as in the
/// standards named at `Head`.
#[derive(Clone, Debug)]
pub struct Screw {
    half: f32,
    shaft: f32,
    head: Head,
    head_radius: f32,
    head_length: f32,
    /// Length of the shaft that bears no thread.
    plain: f32,
    pitch: f32,
    thread: f32,
    /// Length over which the tip narrows.
    tip: f32,
    /// Radius that is left at the end of the tip, as a share.
    blunt: f32,
}

impl Screw {
    pub fn make(random: &mut Random) -> Screw {
        let heads = [
            Head::Round,
            Head::Countersunk,
            Head::Cylinder,
            Head::Hexagon,
        ];
        let head = heads[random.below(4)];
        let half = random.between(40.0, 60.0);
        let shaft = random.between(6.5, 11.0);
        let head_radius = shaft * random.between(1.6, 2.1);
        let head_length = match head {
            Head::Round | Head::Countersunk => head_radius * random.between(0.6, 0.85),
            Head::Cylinder => shaft * random.between(1.5, 2.0),
            Head::Hexagon => shaft * random.between(1.1, 1.5),
        };
        let pointed = random.chance(0.4);
        let shank = 2.0 * half - head_length;
        Screw {
            half,
            shaft,
            head,
            head_radius,
            head_length,
            plain: if random.chance(0.4) {
                shank * random.between(0.15, 0.45)
            } else {
                2.0
            },
            pitch: random.between(4.2, 7.0),
            thread: random.between(1.2, 2.2),
            tip: if pointed {
                random.between(12.0, 20.0)
            } else {
                random.between(2.0, 4.0)
            },
            blunt: if pointed { 0.1 } else { 0.75 },
        }
    }

    pub fn relief(&self, x: f32, y: f32) -> Relief {
        let from_top = x + self.half;
        let in_head = from_top < self.head_length;
        let (radius, slope) = if in_head {
            (self.head_profile(from_top), 1.0)
        } else {
            self.shaft_profile(from_top - self.head_length, y)
        };
        let ends = (-from_top).max(x - self.half);
        let side = (y.abs() - radius) * slope;
        // Below the neck the head ends in a step: a point beside it is at most that far from the head.
        let distance = side.max(ends);
        let inside = (radius * radius - y * y).max(0.0).sqrt();
        let round = if in_head && matches!(self.head, Head::Hexagon) {
            self.faces(y)
        } else {
            inside
        };
        let edge = if in_head { bevel(ends, 2.0) } else { 1.0 };
        Relief {
            distance,
            height: 0.55 * self.head_radius + round * (0.7 + 0.3 * edge),
        }
    }

    /// Radius of the head at a distance from its top.
    fn head_profile(&self, from_top: f32) -> f32 {
        let t = (from_top / self.head_length).clamp(0.0, 1.0);
        match self.head {
            Head::Round => self.head_radius * (t * (2.0 - t)).sqrt(),
            Head::Countersunk => {
                let rim = 0.12;
                mix(
                    self.head_radius,
                    self.shaft,
                    ((t - rim) / (1.0 - rim)).max(0.0),
                )
            }
            Head::Cylinder => self.head_radius * (0.93 + 0.07 * (t * 6.0).min(1.0)),
            Head::Hexagon => self.head_radius * (0.9 + 0.1 * (t * 4.0).min(1.0)),
        }
    }

    /// Radius of the shaft at a distance from the neck, and how steep its outline is.
    fn shaft_profile(&self, from_neck: f32, y: f32) -> (f32, f32) {
        let left = 2.0 * self.half - self.head_length - from_neck;
        let taper = mix(self.blunt, 1.0, (left / self.tip).clamp(0.0, 1.0));
        if from_neck < self.plain {
            return (self.shaft * taper, 1.0);
        }
        // The thread winds: seen from above, its crests lean by half a pitch from one side to the other.
        let phase = (from_neck + 0.25 * self.pitch * y / self.shaft) / self.pitch;
        let groove = 2.0 * (fract(phase) - 0.5).abs();
        ((self.shaft - self.thread * groove) * taper, 0.8)
    }

    /// A hexagon from its side: a face on top, half as wide as the head, and one to the left and to the right.
    fn faces(&self, y: f32) -> f32 {
        let beyond = (y.abs() - 0.5 * self.head_radius).max(0.0);
        0.87 * self.head_radius - 1.2 * beyond
    }

    pub fn reach(&self) -> f32 {
        // The farthest points are the corners of the head's top.
        let (x, y) = (self.half, self.head_radius);
        (x * x + y * y).sqrt()
    }
}
