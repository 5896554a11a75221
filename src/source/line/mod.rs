//! A simulated line: a conveyor belt of drawn parts, seen from above.
//!
//! Owns: the kinds of parts ([`Part`]), the light they are seen in ([`Light`]), and drawing them ([`Line`]), for trying the
//! program, its tests and its measurements without a camera. Does not own: the text that names a line (`source::parse`), or frames
//! as a source ([`super::LineSource`]). Drawn parts say nothing about how well real ones are told apart.
//!
//! Invariant: a seed and a light give the same bytes on every machine. Nothing here calls a libm or reads a clock; see `number`.

mod belt;
mod light;
mod metal;
mod number;
mod parts;
mod pose;
mod random;
mod scene;
mod sensor;
mod shadow;

pub use light::Light;
pub use parts::Part;

use crate::preprocess::Image;
use belt::Belt;
use random::Random;
use scene::{Lamp, Piece};

/// Size of a frame: QVGA, which small cameras and webcams give.
const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// Red, green and blue: levels of light or reflectances, linear.
type Pixel = [f32; 3];

/// A line: gives one picture of a part after the other, without end.
#[derive(Clone, Debug)]
pub struct Line {
    random: Random,
    belt: Belt,
    light: Light,
}

impl Line {
    /// A line of its own for each seed: its belt, its parts and their order.
    pub fn new(seed: u64, light: Light) -> Line {
        let mut random = Random::new(seed);
        Line {
            belt: Belt::new(&mut random),
            random,
            light,
        }
    }

    /// Changes the light over the running belt.
    pub fn set_light(&mut self, light: Light) {
        self.light = light;
    }

    /// The next part, of any kind, and its picture of 320 × 240 pixels.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, so it gives no Option"
    )]
    pub fn next(&mut self) -> (Part, Image) {
        let part = Part::ALL[self.random.below(Part::ALL.len())];
        (part, self.frame(part))
    }

    /// The next picture, of 320 × 240 pixels, of a part of this kind.
    pub fn frame(&mut self, part: Part) -> Image {
        self.draw(Some(part))
    }

    /// One frame; without a part, the empty belt of the same frame.
    fn draw(&mut self, part: Option<Part>) -> Image {
        // Each frame draws from a stream of its own, so that what one of them uses up does not move the next.
        let mut random = Random::new(self.random.bits());
        let stretch = self.belt.draw(&mut random);
        let lamp = Lamp::draw(&mut random);
        let mut sensor = Random::new(random.bits());
        let piece = part.map(|part| Piece::draw(part, &mut random));
        let levels = scene::render(&stretch, piece.as_ref(), &lamp, &self.light);
        sensor::expose(levels, &self.light, &mut sensor)
    }
}

#[cfg(test)]
mod tests;
