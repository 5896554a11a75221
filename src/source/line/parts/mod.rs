//! Parts: which kinds there are, and the form of one piece.
//!
//! Owns: the kinds ([`Part`]), and a piece's form as a relief above the belt ([`Shape`]). Does not own: where it lies (`pose`) or
//! how it shines (`metal`).
//!
//! Invariant: a shape knows its reach, and nothing of it is farther than that from its middle. Lengths are in pixels of the frame
//! at scale 1.

mod bearing;
mod bracket;
mod gear;
mod nut;
mod screw;
mod washer;

use super::number::length;
use super::random::Random;

/// A kind of part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A flat or a split ring.
    Washer,
    /// A hexagon with a threaded hole, with or without a flange.
    HexNut,
    /// A screw or bolt that lies on its side.
    Screw,
    /// A spur gear of 10 to 18 teeth.
    Gear,
    /// A ball bearing, open or shielded.
    Bearing,
    /// A flat angle with holes.
    Bracket,
}

impl Part {
    /// Every kind, in a fixed order.
    pub const ALL: [Part; 6] = [
        Part::Washer,
        Part::HexNut,
        Part::Screw,
        Part::Gear,
        Part::Bearing,
        Part::Bracket,
    ];

    /// The name of the class; it passes `label::check`.
    pub fn label(self) -> &'static str {
        match self {
            Part::Washer => "washer",
            Part::HexNut => "hex nut",
            Part::Screw => "screw",
            Part::Gear => "gear",
            Part::Bearing => "bearing",
            Part::Bracket => "bracket",
        }
    }
}

/// What is at a point: how far the outline is (negative inside), and how high the surface is above the belt.
#[derive(Clone, Copy, Debug)]
pub struct Relief {
    pub distance: f32,
    pub height: f32,
}

/// One piece of a kind, with proportions of its own.
#[derive(Clone, Debug)]
pub enum Shape {
    Washer(washer::Washer),
    HexNut(nut::HexNut),
    Screw(screw::Screw),
    Gear(gear::Gear),
    Bearing(bearing::Bearing),
    Bracket(bracket::Bracket),
}

impl Shape {
    pub fn make(part: Part, random: &mut Random) -> Shape {
        match part {
            Part::Washer => Shape::Washer(washer::Washer::make(random)),
            Part::HexNut => Shape::HexNut(nut::HexNut::make(random)),
            Part::Screw => Shape::Screw(screw::Screw::make(random)),
            Part::Gear => Shape::Gear(gear::Gear::make(random)),
            Part::Bearing => Shape::Bearing(bearing::Bearing::make(random)),
            Part::Bracket => Shape::Bracket(bracket::Bracket::make(random)),
        }
    }

    pub fn relief(&self, x: f32, y: f32) -> Relief {
        match self {
            Shape::Washer(washer) => washer.relief(x, y),
            Shape::HexNut(nut) => nut.relief(x, y),
            Shape::Screw(screw) => screw.relief(x, y),
            Shape::Gear(gear) => gear.relief(x, y),
            Shape::Bearing(bearing) => bearing.relief(x, y),
            Shape::Bracket(bracket) => bracket.relief(x, y),
        }
    }

    /// Radius of a circle around the middle that holds the piece.
    pub fn reach(&self) -> f32 {
        match self {
            Shape::Washer(washer) => washer.reach(),
            Shape::HexNut(nut) => nut.reach(),
            Shape::Screw(screw) => screw.reach(),
            Shape::Gear(gear) => gear.reach(),
            Shape::Bearing(bearing) => bearing.reach(),
            Shape::Bracket(bracket) => bracket.reach(),
        }
    }
}

/// A rounded edge: 0 at the outline, 1 from `width` inside, a quarter of a circle between.
fn bevel(distance: f32, width: f32) -> f32 {
    let t = (-distance / width).clamp(0.0, 1.0);
    (t * (2.0 - t)).sqrt()
}

/// Distance to the outline of a box with rounded corners.
fn rounded_box(x: f32, y: f32, half: [f32; 2], corner: f32) -> f32 {
    let (right, below) = (x.abs() - half[0] + corner, y.abs() - half[1] + corner);
    length(right.max(0.0), below.max(0.0)) + right.max(below).min(0.0) - corner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_part_is_beyond_its_reach() {
        let mut random = Random::new(3);
        for part in Part::ALL {
            for _ in 0..12 {
                let shape = Shape::make(part, &mut random);
                let (reach, mut inside) = (shape.reach(), 0);
                for row in -80..=80 {
                    for column in -80..=80 {
                        let (x, y) = (column as f32, row as f32);
                        let relief = shape.relief(x, y);
                        assert!(relief.distance.is_finite() && relief.height.is_finite());
                        if relief.distance < 0.0 {
                            inside += 1;
                            assert!(length(x, y) <= reach, "{part:?} at {x} {y}");
                            assert!((0.0..=40.0).contains(&relief.height), "{part:?}");
                        }
                    }
                }
                assert!(inside > 600, "{part:?} has {inside} points");
            }
        }
    }
}
