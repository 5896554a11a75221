//! Ball bearings.

use super::{Relief, bevel};
use crate::source::line::number::{cosine, direction, length, sine};
use crate::source::line::random::Random;

/// A deep-groove ball bearing: two rings with balls or a shield between. The bore is 0.38 to 0.56 of the outside, as in ISO 15
/// (608: 8 of 22 mm, 6204: 20 of 47 mm, 6806: 30 of 42 mm is left out as too thin to show).
#[derive(Clone, Debug)]
pub struct Bearing {
    outer: f32,
    bore: f32,
    /// Inner radius of the outer ring, and outer radius of the inner ring.
    race: [f32; 2],
    thick: f32,
    /// How many balls show, or 0 behind a shield.
    balls: f32,
    turned: f32,
}

impl Bearing {
    pub fn make(random: &mut Random) -> Bearing {
        let outer = random.between(42.0, 54.0);
        let bore = outer * random.between(0.38, 0.56);
        let wall = (outer - bore) * random.between(0.22, 0.31);
        let open = random.chance(0.5);
        Bearing {
            outer,
            bore,
            race: [outer - wall, bore + wall],
            thick: random.between(9.0, 17.0),
            balls: if open {
                7.0 + random.below(4) as f32
            } else {
                0.0
            },
            turned: random.unit(),
        }
    }

    pub fn relief(&self, x: f32, y: f32) -> Relief {
        let radius = length(x, y);
        let distance = (radius - self.outer).max(self.bore - radius);
        let groove = (radius - self.race[0]).max(self.race[1] - radius);
        let rings = self.thick * (0.5 + 0.5 * bevel(distance, 3.0));
        let height = if groove < 0.0 {
            self.between_rings(x, y, radius, groove)
        } else {
            // The inner edges of both rings are broken too.
            rings - 1.2 * (1.0 - groove).max(0.0)
        };
        Relief { distance, height }
    }

    fn between_rings(&self, x: f32, y: f32, radius: f32, groove: f32) -> f32 {
        let [far, near] = self.race;
        let middle = 0.5 * (far + near);
        if self.balls == 0.0 {
            // A pressed shield: a little lower than the rings, and domed.
            let dome = 1.0 - ((radius - middle) / (far - near)).abs();
            return self.thick * 0.72 + 2.0 * dome - 1.5 * (1.0 - bevel(groove, 1.5));
        }
        let turns = direction(x, y) - self.turned;
        let nearest = (turns * self.balls).round() / self.balls + self.turned;
        let (cx, cy) = (middle * cosine(nearest), middle * sine(nearest));
        // The race hides the flanks of a ball: it is a little wider than the gap.
        let ball = 0.55 * (far - near);
        let off = length(x - cx, y - cy);
        let sphere = (ball * ball - off * off).max(0.0).sqrt();
        self.thick * 0.3 + sphere
    }

    pub fn reach(&self) -> f32 {
        self.outer
    }
}
