//! Metal: what a part is made of, and how it shines.
//!
//! Owns: the materials, and the colour of a point of a surface.
//!
//! Invariant: a material is drawn without regard to the kind of part, so that its colour never tells the kind.

use super::Pixel;
use super::number::{cosine, mix, ramp, sine};
use super::random::{Random, noise};

/// Reflectances of bare steel, zinc, yellow zinc or brass, and black oxide; linear, near those of CIE tables for polished metal,
/// taken down for a worn surface.
const COLOURS: [Pixel; 4] = [
    [0.46, 0.45, 0.44],
    [0.56, 0.58, 0.60],
    [0.60, 0.47, 0.24],
    [0.16, 0.16, 0.17],
];

/// A surface.
#[derive(Clone, Debug)]
pub struct Metal {
    seed: u32,
    colour: Pixel,
    /// How much of the light is thrown back at an angle like its own, from 0 to 1.
    polish: f32,
    /// Direction and depth of the brushing.
    brush: [f32; 2],
    depth: f32,
    /// Share of the surface under stains, and their colour.
    stains: f32,
    stain: Pixel,
}

/// What a point of a surface is lit with: the directions are of length 1, z toward the camera.
pub struct Lit {
    pub normal: [f32; 3],
    pub lamp: [f32; 3],
    /// Levels of the lamp, its shadow counted in, and of the light from everywhere.
    pub direct: Pixel,
    pub fill: Pixel,
    pub gloss: f32,
}

impl Metal {
    pub fn draw(random: &mut Random) -> Metal {
        let base = COLOURS[random.below(COLOURS.len())];
        let level = random.between(0.8, 1.15);
        let turn = random.unit();
        let rust = random.chance(0.5);
        Metal {
            seed: random.bits() as u32,
            colour: base.map(|c| c * level * random.between(0.96, 1.04)),
            polish: random.between(0.35, 1.0),
            brush: [cosine(turn), sine(turn)],
            depth: random.between(0.02, 0.12),
            stains: random.between(0.0, 0.45),
            stain: if rust {
                [0.75, 0.5, 0.35]
            } else {
                [0.6, 0.6, 0.62]
            },
        }
    }

    /// The light that a point of the part throws to the camera. `x` and `y` are in the part.
    pub fn shade(&self, x: f32, y: f32, lit: &Lit) -> Pixel {
        let normal = self.brushed(x, y, lit.normal);
        let facing = dot(normal, lit.lamp).max(0.0);
        // The camera is straight above: the half vector is lamp + z.
        let half = unit([lit.lamp[0], lit.lamp[1], lit.lamp[2] + 1.0]);
        let near = dot(normal, half).max(0.0);
        let wide = power_8(near);
        let narrow = power_8(power_8(near));
        let gleam = lit.gloss * self.polish * (0.35 * wide * wide + 1.1 * narrow);
        // What a mirror would show: a bright room above that fades to the horizon, and lies a little to one side.
        let up = 2.0 * normal[2] * normal[2] - 1.0;
        let room = 0.35 + 0.75 * ramp(-0.6, 1.0, up) + 0.35 * self.polish * normal[1] * normal[2];
        let stain = self.stain_at(x, y);
        std::array::from_fn(|c| {
            let colour = self.colour[c] * mix(1.0, self.stain[c], stain);
            let matte = colour * (lit.direct[c] * facing + lit.fill[c] * room);
            let mirrored = mix(0.35, colour, 0.6) * (1.0 - 0.6 * stain);
            matte + lit.direct[c] * gleam * mirrored
        })
    }

    /// Brushing tips the surface across its lines.
    fn brushed(&self, x: f32, y: f32, normal: [f32; 3]) -> [f32; 3] {
        let [cos, sin] = self.brush;
        let (along, across) = (cos * x + sin * y, cos * y - sin * x);
        let tip = self.depth * (noise(self.seed, along / 14.0, across / 0.9) - 0.5) * 2.0;
        unit([normal[0] - sin * tip, normal[1] + cos * tip, normal[2]])
    }

    fn stain_at(&self, x: f32, y: f32) -> f32 {
        let coarse = noise(self.seed ^ 1, x / 17.0, y / 17.0);
        let fine = noise(self.seed ^ 2, x / 4.0, y / 4.0);
        let level = 0.65 * coarse + 0.35 * fine;
        ramp(1.0 - self.stains - 0.2, 1.0 - self.stains + 0.15, level)
    }
}

fn power_8(x: f32) -> f32 {
    let square = x * x;
    let fourth = square * square;
    fourth * fourth
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The direction of a vector, its length made 1.
pub fn unit(v: [f32; 3]) -> [f32; 3] {
    let length = dot(v, v).sqrt();
    v.map(|x| x / length)
}
