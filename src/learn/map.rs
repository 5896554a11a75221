//! A flat picture of samples: their first two principal components. Pure and deterministic.

use crate::head::gram::dot;
use crate::random::SplitMix64;

/// Directions searched together: two are wanted, the others make the search settle sooner.
const DIRECTIONS: usize = 6;
/// Rounds of the search. Where the second and the seventh component differ by a fifth in their variance, the error shrinks to
/// `1.2^−24`, a hundredth of a point's size; where they do not, one direction is as good as the other.
const ROUNDS: usize = 24;

/// Where each row stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Coordinates along the first and the second component, in the features' unit.
    pub points: Vec<[f64; 2]>,
    /// Share of the variance along each, 0 to 1.
    pub explained: [f64; 2],
}

/// Principal components of rows of one width, by subspace iteration (Halko, Martinsson and Tropp, Finding structure with randomness,
/// 2011). The sign of a component is that of its largest coordinate. Without rows, or where all are alike, every point is at the origin.
pub fn map(rows: &[Vec<f32>]) -> Map {
    let width = rows.first().map_or(0, Vec::len);
    let rows = centered(rows, width);
    let total: f64 = rows.iter().map(|row| dot(row, row)).sum();
    let mut random = SplitMix64::new(0);
    let mut number = || (random.below(2_000_001) as f64 / 1e6 - 1.0) as f32;
    let mut directions: Vec<Vec<f32>> = (0..DIRECTIONS.min(width))
        .map(|_| (0..width).map(|_| number()).collect())
        .collect();
    orthonormalize(&mut directions);
    for _ in 0..ROUNDS {
        directions = directions
            .iter()
            .map(|direction| step(&rows, direction))
            .collect();
        orthonormalize(&mut directions);
    }
    let along =
        |direction: &Vec<f32>| -> Vec<f64> { rows.iter().map(|row| dot(row, direction)).collect() };
    let mut components: Vec<Vec<f64>> = directions.iter().map(along).collect();
    components.sort_by(|a, b| square(b).total_cmp(&square(a)));
    components.resize(2, vec![0.0; rows.len()]);
    for component in &mut components {
        let largest = component
            .iter()
            .copied()
            .fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
        if largest < 0.0 {
            component.iter_mut().for_each(|x| *x = -*x);
        }
    }
    let share = |component: &[f64]| {
        if total > 0.0 {
            square(component) / total
        } else {
            0.0
        }
    };
    Map {
        explained: [share(&components[0]), share(&components[1])],
        points: components[0]
            .iter()
            .zip(&components[1])
            .map(|(&x, &y)| [x, y])
            .collect(),
    }
}

fn square(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum()
}

/// The rows less their mean.
fn centered(rows: &[Vec<f32>], width: usize) -> Vec<Vec<f32>> {
    let mut mean = vec![0.0f64; width];
    for row in rows {
        for (mean, &x) in mean.iter_mut().zip(row) {
            *mean += f64::from(x) / rows.len() as f64;
        }
    }
    let less = |row: &Vec<f32>| {
        let pairs = row.iter().zip(&mean);
        pairs
            .map(|(&x, mean)| (f64::from(x) - mean) as f32)
            .collect()
    };
    rows.iter().map(less).collect()
}

/// `Xᵀ X` times a direction.
fn step(rows: &[Vec<f32>], direction: &[f32]) -> Vec<f32> {
    let mut sum = vec![0.0f32; direction.len()];
    for row in rows {
        let along = dot(row, direction) as f32;
        for (sum, &x) in sum.iter_mut().zip(row) {
            *sum += along * x;
        }
    }
    sum
}

/// Gram and Schmidt's way, twice over. A direction of which only rounding is left, for want of further ones, becomes zero.
fn orthonormalize(directions: &mut [Vec<f32>]) {
    for at in 0..directions.len() {
        let (before, rest) = directions.split_at_mut(at);
        let Some(direction) = rest.first_mut() else {
            return;
        };
        normalize(direction, 0.0);
        for _ in 0..2 {
            for other in before.iter() {
                let along = dot(direction, other) as f32;
                for (x, &y) in direction.iter_mut().zip(other) {
                    *x -= along * y;
                }
            }
            // Of a length of one, this much may be rounding.
            normalize(direction, 1e-5);
        }
    }
}

/// Makes a direction's length one, or zero where it is not above `least`.
fn normalize(direction: &mut [f32], least: f64) {
    let length = dot(direction, direction).sqrt();
    let scale = if length > least { 1.0 / length } else { 0.0 };
    direction.iter_mut().for_each(|x| *x *= scale as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 60 rows of 30 numbers: the corners of rectangles with sides along two directions, which are their principal components.
    fn rectangles() -> Vec<Vec<f32>> {
        let corner = |i: usize| {
            let size = 1.0 + (i / 4) as f32;
            let a = if i % 4 < 2 { size } else { -size };
            let b = if i.is_multiple_of(2) {
                0.5 * size
            } else {
                -0.5 * size
            };
            let of = move |at: usize| match at {
                3 => 0.6 * a + 5.0,
                4 => 0.8 * a,
                20 => b,
                _ => 1.0,
            };
            (0..30).map(of).collect()
        };
        (0..60).map(corner).collect()
    }

    #[test]
    fn the_map_lies_along_the_two_widest_directions() {
        let map = map(&rectangles());
        for (i, [x, y]) in map.points.iter().enumerate() {
            let size = 1.0 + (i / 4) as f64;
            assert!((x.abs() - size).abs() < 1e-3, "{x} {size}");
            assert!((y.abs() - 0.5 * size).abs() < 1e-3, "{y} {size}");
        }
        assert!((map.explained[0] - 0.8).abs() < 1e-4 && (map.explained[1] - 0.2).abs() < 1e-4);
    }

    #[test]
    fn nothing_to_map_is_no_error() {
        assert_eq!(map(&[]).points, Vec::<[f64; 2]>::new());
        let alike = map(&vec![vec![1.0, 2.0]; 3]);
        assert_eq!(alike.points, vec![[0.0, 0.0]; 3]);
        assert_eq!(alike.explained, [0.0, 0.0]);
        assert_eq!(map(&[vec![1.0], vec![3.0]]).points.len(), 2);
    }

    #[test]
    fn the_same_rows_give_the_same_map_in_any_place() {
        let mut rows = rectangles();
        // One largest coordinate, or its sign would be anybody's.
        rows[0][3] += 3.0;
        let mut turned = rows.clone();
        turned.reverse();
        let (one, mut other) = (map(&rows).points, map(&turned).points);
        other.reverse();
        for (a, b) in one.iter().zip(&other) {
            assert!((a[0] - b[0]).abs() < 1e-3 && (a[1] - b[1]).abs() < 1e-3);
        }
    }
}
