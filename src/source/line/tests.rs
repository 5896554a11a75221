//! What the simulated line promises: the same bytes for a seed, parts in sight, an evening darker than the day.

use super::*;
use sha2::{Digest, Sha256};

const LIGHTS: [fn() -> Light; 2] = [Light::day, Light::evening];

fn mean_level(image: &Image) -> f64 {
    image.rgb.iter().map(|b| f64::from(*b)).sum::<f64>() / image.rgb.len() as f64
}

fn sha256(image: &Image) -> String {
    let digest = Sha256::digest(&image.rgb);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_frame_is_320_by_240_rgb() {
    let (_, image) = Line::new(9, Light::day()).next();
    assert_eq!((image.width, image.height), (320, 240));
    assert_eq!(image.rgb.len(), 320 * 240 * 3);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for light in LIGHTS {
        let (mut a, mut b) = (Line::new(4, light()), Line::new(4, light()));
        for _ in 0..3 {
            assert_eq!(a.next(), b.next());
        }
    }
}

#[test]
fn different_seeds_and_different_frames_differ() {
    let mut line = Line::new(1, Light::day());
    let first = line.frame(Part::Gear);
    assert_ne!(first, line.frame(Part::Gear));
    assert_ne!(first, Line::new(2, Light::day()).frame(Part::Gear));
}

/// The bytes that every machine must give. They change only when the drawing is changed on purpose; measurements on the line
/// then have to be taken again.
#[test]
fn the_first_frames_of_seed_1_are_the_committed_ones() {
    let drawn = LIGHTS.map(|light| sha256(&Line::new(1, light()).next().1));
    assert_eq!(
        drawn,
        [
            "f594e64df68a8c76d7376b7122158823d5be99ef5c375eaf575b843711699ff1",
            "8866413e07fcd9e3ac82d5f36ae0ec0694f51a8570010c6402abc1e14ef7cbb9"
        ]
    );
}

#[test]
fn every_part_is_inside_the_frame_and_differs_from_the_empty_belt() {
    for light in LIGHTS {
        // Without noise the frames differ by the part and its shadow alone.
        let still = Light {
            noise: 0.0,
            shadow: 0.0,
            ..light()
        };
        for part in Part::ALL {
            let line = Line::new(part as u64, still);
            let with = line.clone().draw(Some(part));
            let without = line.clone().draw(None);
            let changed = |x: usize, y: usize| {
                let at = 3 * (y * WIDTH + x);
                let (a, b) = (&with.rgb[at..at + 3], &without.rgb[at..at + 3]);
                a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 8)
            };
            let places = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
            let count = places.filter(|(x, y)| changed(*x, *y)).count();
            assert!((600..40_000).contains(&count), "{part:?}: {count} pixels");
            let top_and_bottom = (0..WIDTH).any(|x| changed(x, 0) || changed(x, HEIGHT - 1));
            let sides = (0..HEIGHT).any(|y| changed(0, y) || changed(WIDTH - 1, y));
            assert!(!top_and_bottom && !sides, "{part:?} reaches the edge");
        }
    }
}

#[test]
fn labels_are_distinct_and_can_be_labels() {
    let labels = Part::ALL.map(Part::label);
    for (i, label) in labels.iter().enumerate() {
        assert_eq!(crate::label::check(label), Ok(()));
        assert!(!labels[..i].contains(label), "{label}");
    }
}

#[test]
fn every_kind_comes_down_the_line() {
    let mut line = Line::new(3, Light::day());
    let seen: Vec<Part> = (0..60).map(|_| line.next().0).collect();
    assert!(Part::ALL.iter().all(|part| seen.contains(part)), "{seen:?}");
}

#[test]
fn evening_is_darker_than_day_and_shows_the_same_parts() {
    let (mut day, mut evening) = (Line::new(5, Light::day()), Line::new(5, Light::evening()));
    for _ in 0..6 {
        let ((part, bright), (same, dark)) = (day.next(), evening.next());
        assert_eq!(part, same);
        assert!(mean_level(&dark) < 0.75 * mean_level(&bright));
    }
}
