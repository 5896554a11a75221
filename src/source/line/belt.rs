//! The belt.
//!
//! Owns: what the belt looks like without light: weave, stripes, wear, dirt and scratches. Does not own: the part on it.
//!
//! Invariant: every pixel's reflectance is above 0 and below 1.

use super::number::{floor, length, mix, ramp};
use super::random::{Random, hash, noise};
use super::{HEIGHT, Pixel, WIDTH};

/// Reflectances of belts: black rubber, green PVC, blue polyurethane, grey PVC; linear, by eye from photos of such belts.
const COLOURS: [Pixel; 4] = [
    [0.075, 0.075, 0.078],
    [0.065, 0.140, 0.105],
    [0.075, 0.115, 0.190],
    [0.190, 0.192, 0.190],
];

/// Length of a belt in pixels: four frames, which keeps a line near 1 MB.
const LENGTH: usize = 4 * WIDTH;

/// A belt: one for each line, of which every frame shows a stretch.
#[derive(Clone, Debug)]
pub struct Belt {
    colour: Pixel,
    /// `[HEIGHT, LENGTH]`: wear, weave, ribs and grain, as a factor on the colour.
    levels: Vec<f32>,
}

/// How a belt is made.
struct Make {
    seed: u32,
    /// Distance of the ribs across the belt, in pixels.
    rib: f32,
    /// Distance of the threads of the weave.
    weave: f32,
}

impl Belt {
    pub fn new(random: &mut Random) -> Belt {
        let base = COLOURS[random.below(COLOURS.len())];
        let make = Make {
            seed: random.bits() as u32,
            rib: random.between(36.0, 70.0),
            weave: random.between(3.0, 5.0),
        };
        let places = (0..HEIGHT).flat_map(|y| (0..LENGTH).map(move |x| (x as f32, y as f32)));
        Belt {
            colour: base.map(|level| level * random.between(0.85, 1.2)),
            levels: places.map(|(x, y)| make.level(x, y)).collect(),
        }
    }

    /// The reflectance of a stretch of the belt.
    pub fn draw(&self, random: &mut Random) -> Vec<Pixel> {
        let start = random.below(LENGTH - WIDTH);
        let mut pixels = Vec::with_capacity(WIDTH * HEIGHT);
        for (y, row) in self.levels.chunks_exact(LENGTH).enumerate() {
            let stripe = stripe_at(y as f32);
            let colour = self.colour.map(|c| mix(c, 0.42, stripe));
            let stretch = &row[start..start + WIDTH];
            pixels.extend(
                stretch
                    .iter()
                    .map(|level| colour.map(|c| bounded(c * level))),
            );
        }
        add_specks(&mut pixels, random);
        add_scratches(&mut pixels, random);
        pixels
    }
}

impl Make {
    /// Wear, weave, ribs and grain of a place, around 1.
    fn level(&self, u: f32, v: f32) -> f32 {
        let wear = noise(self.seed, u / 46.0, v / 30.0) - 0.5;
        let streak = noise(self.seed ^ 1, u / 80.0, v / 3.0) - 0.5;
        let (warp, weft) = (triangle(u / self.weave), triangle(v / self.weave));
        let grain = hash(self.seed ^ 2, u as i32, v as i32) - 0.5;
        let level = 1.0 + 0.45 * wear + 0.22 * streak + 0.22 * (warp * weft) + 0.32 * grain;
        level * self.rib_at(u)
    }

    /// Ribs across the belt: a dark line with a bright side.
    fn rib_at(&self, u: f32) -> f32 {
        let within = u - self.rib * floor(u / self.rib) as f32;
        let dark = 1.0 - ramp(0.0, 2.5, (within - 3.0).abs());
        let bright = 1.0 - ramp(0.0, 2.0, (within - 6.5).abs());
        1.0 - 0.4 * dark + 0.3 * bright
    }
}

/// What a surface can throw back: never nothing, never all.
fn bounded(reflectance: f32) -> f32 {
    reflectance.clamp(0.004, 0.9)
}

/// From -1 to 1 and back, once for each whole number.
fn triangle(x: f32) -> f32 {
    4.0 * (x - floor(x) as f32 - 0.5).abs() - 1.0
}

/// Two painted guide lines along the belt, at a twelfth from its edges; the paint is worn to a third.
fn stripe_at(y: f32) -> f32 {
    let from_edge = y.min(HEIGHT as f32 - 1.0 - y);
    0.33 * (1.0 - ramp(1.5, 3.0, (from_edge - HEIGHT as f32 / 12.0).abs()))
}

/// Dirt: dark drops and bright chips, and now and then an oil stain.
fn add_specks(pixels: &mut [Pixel], random: &mut Random) {
    for _ in 0..24 + random.below(30) {
        let (x, y) = place(random);
        let size = random.between(0.5, 2.4);
        let factor = if random.chance(0.6) {
            random.between(0.2, 0.6)
        } else {
            random.between(1.5, 3.5)
        };
        let (dx, dy) = (random.between(-3.0, 3.0), random.between(-3.0, 3.0));
        add_line(pixels, [x, y], [x + dx, y + dy], size, 1.0, factor);
    }
    for _ in 0..random.below(3) {
        let (x, y) = place(random);
        let (size, factor) = (random.between(10.0, 28.0), random.between(0.55, 0.8));
        let to = [
            x + random.between(-30.0, 30.0),
            y + random.between(-10.0, 10.0),
        ];
        add_line(pixels, [x, y], to, size, 9.0, factor);
    }
}

fn add_scratches(pixels: &mut [Pixel], random: &mut Random) {
    for _ in 0..4 + random.below(9) {
        let (x, y) = place(random);
        // Things are dragged along the belt more than across.
        let to = [
            x + random.between(-90.0, 90.0),
            y + random.between(-22.0, 22.0),
        ];
        let factor = if random.chance(0.7) {
            random.between(1.2, 1.9)
        } else {
            random.between(0.5, 0.8)
        };
        add_line(pixels, [x, y], to, random.between(0.2, 0.7), 0.8, factor);
    }
}

fn place(random: &mut Random) -> (f32, f32) {
    (
        random.between(0.0, WIDTH as f32),
        random.between(0.0, HEIGHT as f32),
    )
}

/// Multiplies what is within `radius` of a line, with an edge this soft.
fn add_line(
    pixels: &mut [Pixel],
    from: [f32; 2],
    to: [f32; 2],
    radius: f32,
    soft: f32,
    factor: f32,
) {
    let reach = radius + soft + 1.0;
    let bounds = |a: f32, b: f32, end: usize| {
        let low = (a.min(b) - reach).max(0.0) as usize;
        low.min(end)..((a.max(b) + reach).max(0.0) as usize).min(end)
    };
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let square = (dx * dx + dy * dy).max(1e-6);
    for row in bounds(from[1], to[1], HEIGHT) {
        for column in bounds(from[0], to[0], WIDTH) {
            let (x, y) = (column as f32 - from[0], row as f32 - from[1]);
            let along = ((x * dx + y * dy) / square).clamp(0.0, 1.0);
            let off = length(x - along * dx, y - along * dy);
            let cover = 1.0 - ramp(radius - soft, radius + soft, off);
            if cover > 0.0 {
                let pixel = &mut pixels[row * WIDTH + column];
                *pixel = pixel.map(|c| bounded(c * mix(1.0, factor, cover)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflectances_are_between_0_and_1() {
        let mut random = Random::new(5);
        for _ in 0..8 {
            let pixels = Belt::new(&mut random).draw(&mut random);
            assert_eq!(pixels.len(), WIDTH * HEIGHT);
            assert!(pixels.iter().flatten().all(|c| *c > 0.0 && *c < 1.0));
        }
    }
}
