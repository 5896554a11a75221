//! Light: what shines on the belt, and what the camera makes of it.
//!
//! Owns: the settings of a scene that are not the part.
//!
//! Invariant: two lights with the same seed see the same parts in the same poses on the same belt.

/// Light and camera. Levels are linear, and 1 fills the camera's range with white. The presets were chosen on contact sheets,
/// where parts can still be named by eye, and by `fieldhead demo`, which prints what a head of ten day samples a class makes of
/// either light, and what twelve corrections win back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Light {
    /// Level of the lamp for red, green and blue.
    pub lamp: [f32; 3],
    /// Level of the light that comes from everywhere, and that fills the shadows, for red, green and blue.
    pub fill: [f32; 3],
    /// How high the lamp stands: the tangent of its elevation. Below 1 a shadow is longer than its part is high.
    pub elevation: f32,
    /// Share of the lamp that the far side of the frame loses, from 0 to 1.
    pub gradient: f32,
    /// Share of the lamp that a shadow takes, from 0 to 1.
    pub shadow: f32,
    /// Brightness of the lamp's reflection in the metal; 1 is a polished part.
    pub gloss: f32,
    /// Deviation of the sensor's noise at white, of 1.
    pub noise: f32,
    /// The most defocus, as the deviation of a blur in pixels; a frame draws between half of it and all.
    pub blur_px: f32,
}

impl Light {
    /// Neutral and even, from above: what the samples are taken in.
    pub fn day() -> Light {
        Light {
            lamp: [0.50, 0.50, 0.50],
            fill: [0.27, 0.28, 0.29],
            elevation: 1.7,
            gradient: 0.15,
            shadow: 0.7,
            gloss: 0.6,
            noise: 0.012,
            blur_px: 0.6,
        }
    }

    /// A weak, warm lamp and nothing beside it: the picture is dark and yellow, and its noise shows.
    pub fn evening() -> Light {
        Light {
            lamp: [0.12, 0.06, 0.02],
            fill: [0.010, 0.008, 0.008],
            noise: 0.03,
            ..Light::day()
        }
    }
}
