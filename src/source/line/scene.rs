//! The scene: a part on the belt in the light, as levels of light at the camera's lens.
//!
//! Owns: drawing a part's relief into the frame, its shadow, and the light on both. Does not own: what the sensor does to it.
//!
//! Invariant: what is drawn at random here does not depend on the [`Light`], so that two lights show the same scene.

use super::light::Light;
use super::metal::{Lit, Metal, unit};
use super::number::{cosine, mix, sine};
use super::parts::{Part, Shape};
use super::pose::Pose;
use super::random::Random;
use super::shadow::Shadow;
use super::{HEIGHT, Pixel, WIDTH};

/// A part, made and laid down.
#[derive(Clone, Debug)]
pub struct Piece {
    shape: Shape,
    metal: Metal,
    pose: Pose,
}

impl Piece {
    pub fn draw(part: Part, random: &mut Random) -> Piece {
        let shape = Shape::make(part, random);
        Piece {
            metal: Metal::draw(random),
            pose: Pose::draw(shape.reach(), random),
            shape,
        }
    }

    /// The rows and columns that hold the piece.
    fn bounds(&self) -> [std::ops::Range<usize>; 2] {
        let range = |center: f32, end: usize| {
            let low = (center - self.pose.reach).max(1.0) as usize;
            low..((center + self.pose.reach) as usize + 1).min(end - 1)
        };
        [
            range(self.pose.center[1], HEIGHT),
            range(self.pose.center[0], WIDTH),
        ]
    }
}

/// Where the lamp is in this frame.
#[derive(Clone, Debug)]
pub struct Lamp {
    /// Toward the lamp on the belt, of length 1.
    toward: [f32; 2],
}

impl Lamp {
    pub fn draw(random: &mut Random) -> Lamp {
        let turn = random.unit();
        Lamp {
            toward: [cosine(turn), sine(turn)],
        }
    }

    /// The share of the lamp that a place gets, before shadows.
    fn share(&self, light: &Light, x: usize, y: usize) -> f32 {
        let (u, v) = (
            x as f32 / 120.0 - WIDTH as f32 / 240.0,
            y as f32 / 120.0 - HEIGHT as f32 / 240.0,
        );
        let along = u * self.toward[0] + v * self.toward[1];
        let far = (0.5 - 0.33 * along).clamp(0.0, 1.0);
        1.0 - light.gradient * far
    }
}

/// The relief of a piece in the frame: how much of a pixel it covers, and how high it is there, in pixels.
struct Layer {
    cover: Vec<f32>,
    height: Vec<f32>,
}

impl Layer {
    fn empty() -> Layer {
        Layer {
            cover: vec![0.0; WIDTH * HEIGHT],
            height: vec![0.0; WIDTH * HEIGHT],
        }
    }

    fn of(piece: &Piece) -> Layer {
        let mut layer = Layer::empty();
        let [rows, columns] = piece.bounds();
        for row in rows {
            for column in columns.clone() {
                let (x, y) = piece.pose.local(column as f32, row as f32);
                let relief = piece.shape.relief(x, y);
                let cover = (0.5 - relief.distance * piece.pose.scale).clamp(0.0, 1.0);
                let at = row * WIDTH + column;
                layer.cover[at] = cover;
                layer.height[at] = cover * relief.height * piece.pose.scale;
            }
        }
        layer
    }

    /// The direction that the surface faces.
    fn normal(&self, at: usize) -> [f32; 3] {
        // The sides of a part are steep, but a pixel shows no more of them than its top edge.
        let slope = |next: usize, last: usize| {
            (0.5 * (self.height[last] - self.height[next])).clamp(-2.0, 2.0)
        };
        unit([slope(at + 1, at - 1), slope(at + WIDTH, at - WIDTH), 1.0])
    }
}

/// Lights the belt and what lies on it.
pub fn render(belt: &[Pixel], piece: Option<&Piece>, lamp: &Lamp, light: &Light) -> Vec<Pixel> {
    let layer = piece.map_or_else(Layer::empty, Layer::of);
    let shadow = Shadow::cast(&layer.height, lamp.toward, light.elevation);
    let lamp_at = unit([lamp.toward[0], lamp.toward[1], light.elevation]);
    let mut pixels = Vec::with_capacity(WIDTH * HEIGHT);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let at = y * WIDTH + x;
            let share = lamp.share(light, x, y);
            let open = 1.0 - light.shadow * shadow.at(x, y);
            let direct = light.lamp.map(|level| level * share * open);
            let (below, cover) = (belt[at], layer.cover[at]);
            // The belt faces up; the room above it is darkened where a part is near.
            let near = 1.0 - 0.45 * shadow.contact(x, y);
            let mut pixel = [0.0; 3];
            for c in 0..3 {
                let level = direct[c] * lamp_at[2] + light.fill[c] * near;
                pixel[c] = below[c] * level;
            }
            if let Some(piece) = piece.filter(|_| cover > 0.0) {
                let (u, v) = piece.pose.local(x as f32, y as f32);
                let lit = Lit {
                    normal: layer.normal(at),
                    lamp: lamp_at,
                    direct,
                    fill: light.fill,
                    gloss: light.gloss,
                };
                let metal = piece.metal.shade(u, v, &lit);
                for c in 0..3 {
                    pixel[c] = mix(pixel[c], metal[c], cover);
                }
            }
            pixels.push(pixel);
        }
    }
    pixels
}
