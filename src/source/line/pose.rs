//! Pose: where a part lies in the frame, and how.
//!
//! Owns: the map from the frame to the part. Invariant: the part and its outline are inside the frame.

use super::number::{cosine, sine};
use super::random::Random;
use super::{HEIGHT, WIDTH};

/// Pixels of the frame for one of a part at scale 1: parts are drawn around 100 wide, and shown over half of the frame's height.
const SIZE: f32 = 1.2;

/// Half of what one axis of the picture may be longer than the other.
const ASPECT: f32 = 0.04;

/// Change of scale in each direction for a pixel: a camera that leans by some degrees.
const TILT: f32 = 3e-4;

/// How much larger aspect and tilt make a part at most: 1.04 · 1.07, the latter for the corner of a part that reaches 110 pixels.
const GROWTH: f32 = 1.115;

/// Pixels kept free between a part and the edge of the frame.
const MARGIN: f32 = 5.0;

/// Position, rotation, scale, and a slight tilt of the camera.
#[derive(Clone, Debug)]
pub struct Pose {
    pub center: [f32; 2],
    pub scale: f32,
    /// Radius in pixels of a circle that holds the part.
    pub reach: f32,
    rotation: [f32; 2],
    mirrored: f32,
    /// Half of what one axis is longer than the other.
    aspect: f32,
    /// Change of scale for each pixel to the right and down.
    tilt: [f32; 2],
}

impl Pose {
    /// A pose for a part of this reach, in pixels at scale 1.
    pub fn draw(reach: f32, random: &mut Random) -> Pose {
        let scale = SIZE * random.between(0.75, 1.25);
        let turn = random.unit();
        let aspect = random.between(-ASPECT, ASPECT);
        let tilt = [random.between(-TILT, TILT), random.between(-TILT, TILT)];
        let mirrored = if random.chance(0.5) { -1.0 } else { 1.0 };
        let reach = reach * scale * GROWTH;
        let room_x = (WIDTH as f32 * 0.5 - reach - MARGIN).max(0.0);
        let room_y = (HEIGHT as f32 * 0.5 - reach - MARGIN).max(0.0);
        Pose {
            center: [
                WIDTH as f32 * 0.5 + random.between(-room_x, room_x),
                HEIGHT as f32 * 0.5 + random.between(-room_y, room_y),
            ],
            scale,
            reach,
            rotation: [cosine(turn), sine(turn)],
            mirrored,
            aspect,
            tilt,
        }
    }

    /// The point of the part that is seen at a point of the frame.
    pub fn local(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = (x - self.center[0], y - self.center[1]);
        let depth = (1.0 + self.tilt[0] * x + self.tilt[1] * y) / self.scale;
        let (x, y) = (
            x * depth * (1.0 + self.aspect),
            y * depth * (1.0 - self.aspect),
        );
        let [cos, sin] = self.rotation;
        (cos * x + sin * y, (cos * y - sin * x) * self.mirrored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_of_the_frame_is_beyond_the_reach_of_the_part() {
        let mut random = Random::new(11);
        for _ in 0..2_000 {
            let reach = random.between(40.0, 68.0);
            let pose = Pose::draw(reach, &mut random);
            let (right, bottom) = (WIDTH as f32, HEIGHT as f32);
            for step in 0..=40 {
                let t = step as f32 / 40.0;
                for (x, y) in [
                    (t * right, 0.0),
                    (t * right, bottom),
                    (0.0, t * bottom),
                    (right, t * bottom),
                ] {
                    let (u, v) = pose.local(x, y);
                    assert!((u * u + v * v).sqrt() > reach, "{pose:?} at {x} {y}");
                }
            }
        }
    }
}
