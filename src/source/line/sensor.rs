//! The camera: levels of light to bytes.
//!
//! Owns: defocus, noise, and the tone curve. Invariant: the result has three bytes for each pixel.

use super::light::Light;
use super::random::Random;
use super::{HEIGHT, Pixel, WIDTH};
use crate::preprocess::Image;

/// Share of the noise that is there without light: read noise, as against shot noise, whose variance grows with the level.
const READ_SHARE: f32 = 0.08;

/// Takes the picture.
pub fn expose(mut levels: Vec<Pixel>, light: &Light, random: &mut Random) -> Image {
    let blur = light.blur_px * random.between(0.5, 1.0);
    defocus(&mut levels, blur);
    let mut rgb = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for pixel in &levels {
        for (level, normal) in pixel.iter().zip(random.normals()) {
            let deviation = light.noise * (READ_SHARE * READ_SHARE + level).sqrt();
            let noisy = (level + deviation * normal).max(0.0);
            // A square root stands for the tone curve; sRGB's own is near it.
            rgb.push((255.0 * noisy.sqrt() + 0.5) as u8);
        }
    }
    Image {
        width: WIDTH as u32,
        height: HEIGHT as u32,
        rgb,
    }
}

/// Blurs with passes of [w, 1 - 2w, w] in both directions; each pass adds a variance of 2w, and w = 1/4 is its limit.
fn defocus(levels: &mut [Pixel], deviation: f32) {
    let variance = deviation * deviation;
    let passes = (2.0 * variance).ceil().max(1.0);
    let side = variance / passes / 2.0;
    for _ in 0..passes as usize {
        for row in levels.chunks_exact_mut(WIDTH) {
            let mut last = row[0];
            for x in 1..WIDTH - 1 {
                let here = row[x];
                row[x] = weighted(last, here, row[x + 1], side);
                last = here;
            }
        }
        let mut above = levels[..WIDTH].to_vec();
        for y in 1..HEIGHT - 1 {
            for (x, above) in above.iter_mut().enumerate() {
                let at = y * WIDTH + x;
                let here = levels[at];
                levels[at] = weighted(*above, here, levels[at + WIDTH], side);
                *above = here;
            }
        }
    }
}

fn weighted(last: Pixel, here: Pixel, next: Pixel, side: f32) -> Pixel {
    std::array::from_fn(|c| here[c] + side * (last[c] + next[c] - 2.0 * here[c]))
}
