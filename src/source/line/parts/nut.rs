//! Hex nuts.

use super::{Relief, bevel};
use crate::source::line::number::{fract, length};
use crate::source::line::random::Random;

/// √3/2: half the width across flats of a hexagon whose corners are 1 from the middle.
const ROOT_3_HALF: f32 = 0.866_025_4;

/// A hexagon with a threaded hole. The hole is 0.5 to 0.62 of the width across flats (ISO 4032: M4 7 mm, M10 16 mm, M20 30 mm);
/// one in four stands on a flange (EN 1661).
#[derive(Clone, Debug)]
pub struct HexNut {
    /// Half the width across flats.
    flat: f32,
    hole: f32,
    thick: f32,
    /// Radius of the flange, or 0.
    flange: f32,
    /// How far the corners are turned down.
    chamfer: f32,
    pitch: f32,
}

impl HexNut {
    pub fn make(random: &mut Random) -> HexNut {
        let flanged = random.chance(0.25);
        let flat = if flanged {
            random.between(33.0, 38.0)
        } else {
            random.between(36.0, 46.0)
        };
        HexNut {
            flat,
            hole: flat * random.between(0.46, 0.62),
            thick: random.between(11.0, 20.0),
            flange: if flanged {
                flat * random.between(1.28, 1.42)
            } else {
                0.0
            },
            chamfer: random.between(0.35, 0.9),
            pitch: random.between(2.2, 3.4),
        }
    }

    pub fn relief(&self, x: f32, y: f32) -> Relief {
        let radius = length(x, y);
        let across = (y.abs() * 0.5 + x.abs() * ROOT_3_HALF).max(y.abs());
        let hexagon = across - self.flat;
        let hole = self.hole - radius;
        let corner = (radius - 0.98 * self.flat).max(0.0) * self.chamfer;
        let mouth = (hole + 4.0).max(0.0);
        let top = self.thick * (0.62 + 0.38 * bevel(hexagon, 2.5)) - corner - mouth;
        if self.flange == 0.0 {
            return self.with_thread(radius, hexagon, top);
        }
        let skirt = radius - self.flange;
        let slope = 0.18 * (self.flange - radius);
        let low = (2.0 + slope.max(0.0)) * (0.5 + 0.5 * bevel(skirt, 2.0));
        let height = if hexagon < 0.0 { top.max(low) } else { low };
        self.with_thread(radius, skirt, height)
    }

    /// The hole: the belt shows through its middle, and a few turns of the thread show on its wall.
    fn with_thread(&self, radius: f32, outline: f32, height: f32) -> Relief {
        let wall = 0.12 * self.hole;
        let bore = self.hole - wall - radius;
        let height = if radius < self.hole {
            let depth = (self.hole - radius) / wall;
            let ridge = (fract((self.hole - radius) / self.pitch) - 0.5).abs();
            self.thick * (0.6 - 0.4 * depth) + 2.0 * ridge
        } else {
            height
        };
        Relief {
            distance: outline.max(bore),
            height: height.max(0.5),
        }
    }

    pub fn reach(&self) -> f32 {
        self.flange.max(self.flat / ROOT_3_HALF)
    }
}
