//! Inner products of feature rows: the arithmetic that both heads stand on.
//!
//! Invariant: blocks are cut by size and never by the number of threads, so results do not depend on it.

use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Columns of a Gram matrix computed as one piece of work: small enough to share between the cores of a board, large enough for
/// the matrix product to reach its speed.
const BLOCK: usize = 128;

/// Inner product in f64. Partial sums in a fixed order let the compiler use its vectors.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let (heads_a, heads_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (tail_a, tail_b) = (heads_a.remainder(), heads_b.remainder());
    let mut sums = [0.0f64; LANES];
    for (a, b) in heads_a.zip(heads_b) {
        for lane in 0..LANES {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let tail: f64 = tail_a
        .iter()
        .zip(tail_b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum();
    sums.iter().sum::<f64>() + tail
}

/// Rows `[n, width]` as the matrix `width x n` that faer sees in the same memory.
pub fn columns(rows: &[f32], width: usize) -> MatRef<'_, f32> {
    MatRef::from_column_major_slice(rows, width, rows.len() / width.max(1))
}

/// The Gram matrix `X Xᵀ` of rows `[n, width]`, both triangles, in f32.
pub fn gram_f32(rows: &[f32], width: usize) -> Mat<f32> {
    let x = columns(rows, width);
    gram(x, 1.0)
}

/// The Gram matrix in f64.
pub fn gram_f64(rows: &[f32], width: usize) -> Mat<f64> {
    let x = columns(rows, width);
    let wide = Mat::from_fn(width, x.ncols(), |i, j| f64::from(x[(i, j)]));
    gram(wide.as_ref(), 1.0)
}

/// The other side, `Xᵀ X`, `width x width`, in f64.
pub fn covariance_f64(rows: &[f32], width: usize) -> Mat<f64> {
    let x = columns(rows, width);
    let wide = Mat::from_fn(x.ncols(), width, |i, j| f64::from(x[(j, i)]));
    gram(wide.as_ref(), 1.0)
}

/// `Aᵀ A`: the blocks below the diagonal are computed, those above copied.
fn gram<T: ComplexField + Copy + Send + Sync>(a: MatRef<'_, T>, one: T) -> Mat<T> {
    let n = a.ncols();
    let mut product = Mat::<T>::zeros(n, n);
    let blocks: Vec<MatMut<'_, T>> = column_blocks(product.as_mut());
    blocks.into_par_iter().enumerate().for_each(|(index, out)| {
        let first = index * BLOCK;
        let width = out.ncols();
        let below = out.subrows_mut(first, n - first);
        matmul(
            below,
            Accum::Replace,
            a.subcols(first, n - first).transpose(),
            a.subcols(first, width),
            one,
            Par::Seq,
        );
    });
    for j in 0..n {
        for i in 0..j {
            product[(i, j)] = product[(j, i)];
        }
    }
    product
}

fn column_blocks<T>(mut matrix: MatMut<'_, T>) -> Vec<MatMut<'_, T>> {
    let mut blocks = Vec::new();
    while matrix.ncols() > BLOCK {
        let (block, rest) = matrix.split_at_col_mut(BLOCK);
        blocks.push(block);
        matrix = rest;
    }
    blocks.push(matrix);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_what_the_inner_products_say() {
        let (n, width) = (150, 21);
        let rows: Vec<f32> = (0..n * width)
            .map(|i| ((i * 37 % 101) as f32) - 50.0)
            .collect();
        let row = |i: usize| &rows[i * width..(i + 1) * width];
        let (narrow, wide) = (gram_f32(&rows, width), gram_f64(&rows, width));
        for (i, j) in [(0, 0), (3, 140), (140, 3), (149, 149), (127, 128)] {
            assert_eq!(wide[(i, j)], dot(row(i), row(j)));
            assert!((f64::from(narrow[(i, j)]) - wide[(i, j)]).abs() < 1.0);
        }
        let other = covariance_f64(&rows, width);
        let by_hand: f64 = (0..n).map(|i| f64::from(row(i)[2] * row(i)[20])).sum();
        assert_eq!((other.nrows(), other[(2, 20)]), (width, by_hand));
    }
}
