//! Inner products of feature rows: the arithmetic that heads stand on.
//!
//! Invariant: blocks are cut by size and never by the number of threads, so results do not depend on it.

use crate::backbone::gang::Gang;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::reborrow::ReborrowMut;
use faer::traits::ComplexField;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use pulp::Simd;
use rayon::prelude::*;
use std::array;

/// Samples whose Gram matrix is one piece of work, and the columns (of a large product the rows) of a rectangle that are: small enough
/// to share between the cores of a board, large enough for the matrix product to reach its speed.
const TRIANGLE: usize = 512;
const BLOCK: usize = 256;
/// Vectors that are one piece of work of [`inner_products`], and the columns of a tile of results that stay in registers.
const PIECE: usize = 64;
const TILE: usize = 5;
/// Features or samples widened to f64 at a time, so that a large set is never in memory twice.
const CHUNK: usize = 256;

/// Defines a function compiled for the widest vectors that this processor has. Its arguments live for `'a`; what it calls is compiled
/// likewise if it is `#[inline(always)]`. Results are the same to the bit on every machine, since the compiler may not reorder sums of
/// floats. A closure would not do: one of some lines stays a function of its own, compiled for the least of processors.
macro_rules! vectorized {
    ($(#[$doc:meta])* $vis:vis fn $name:ident<'a>($($input:ident: $type:ty),+ $(,)?) -> $output:ty $body:block) => {
        $(#[$doc])*
        $vis fn $name<'a>($($input: $type),+) -> $output {
            struct Work<'a> {
                $($input: $type),+
            }
            impl<'a> pulp::WithSimd for Work<'a> {
                type Output = $output;
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) -> $output {
                    let Work { $($input),+ } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Work { $($input),+ })
        }
    };
}
pub(crate) use vectorized;

vectorized! {
    /// Inner product in f64. Partial sums in a fixed order let the compiler use its vectors.
    pub fn dot<'a>(a: &'a [f32], b: &'a [f32]) -> f64 {
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
}

/// Rows `[n, width]` as the matrix `width x n` that faer sees in the same memory.
pub fn columns(rows: &[f32], width: usize) -> MatRef<'_, f32> {
    MatRef::from_column_major_slice(rows, width, rows.len() / width.max(1))
}

/// Sum in f64.
pub fn sum(numbers: &[f32]) -> f32 {
    numbers.iter().map(|&x| f64::from(x)).sum::<f64>() as f32
}

/// `A b` for `b [columns of A, k]`, column by column, as the result is. Its rows are shared out.
pub fn product(gang: &mut Gang<'_>, a: MatRef<'_, f32>, b: &[f32]) -> Vec<f32> {
    let b = columns(b, a.ncols());
    let mut out = vec![0.0; a.nrows() * b.ncols()];
    let whole = MatMut::from_column_major_slice_mut(&mut out, a.nrows(), b.ncols());
    let mut blocks: Vec<_> = column_blocks(whole.transpose_mut())
        .into_iter()
        .map(MatMut::transpose_mut)
        .enumerate()
        .collect();
    gang.share(&mut blocks, |(index, out)| {
        let a = a.subrows(*index * BLOCK, out.nrows());
        matmul(out.rb_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    });
    out
}

/// Inner products of vectors with the columns of `b [length, k]`: `[vectors, k]`, column by column. The vectors are shared out.
///
/// With few columns this is bound by reading the vectors, which a general product does again for every four columns, and packs
/// beforehand; here each is read once.
pub fn inner_products(gang: &mut Gang<'_>, vectors: &[&[f32]], b: &[f32]) -> Vec<f32> {
    let length = vectors.first().map_or(0, |vector| vector.len());
    let b: Vec<&[f32]> = b.chunks_exact(length.max(1)).collect();
    let mut out = vec![0.0; vectors.len() * b.len()];
    let piece = |vectors| InnerProducts {
        vectors,
        b: &b,
        out: Vec::with_capacity(b.len()),
    };
    let mut pieces: Vec<InnerProducts<'_>> = vectors.chunks(PIECE).map(piece).collect();
    for column in out.chunks_exact_mut(vectors.len().max(1)) {
        for (piece, part) in pieces.iter_mut().zip(column.chunks_mut(PIECE)) {
            piece.out.push(part);
        }
    }
    gang.share(&mut pieces, |piece| pulp::Arch::new().dispatch(piece));
    out
}

/// One piece of [`inner_products`].
struct InnerProducts<'a> {
    vectors: &'a [&'a [f32]],
    b: &'a [&'a [f32]],
    /// Of these vectors, by column.
    out: Vec<&'a mut [f32]>,
}

impl pulp::WithSimd for &mut InnerProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // So many accumulators as leave registers for what they accumulate.
        if S::REGISTER_COUNT >= 32 {
            self.by::<S, 4>(simd);
        } else {
            self.by::<S, 2>(simd);
        }
    }
}

impl InnerProducts<'_> {
    #[inline(always)]
    fn by<S: Simd, const ROWS: usize>(&mut self, simd: S) {
        let whole = self.vectors.len() / ROWS * ROWS;
        for first in (0..whole).step_by(ROWS) {
            self.rows::<S, ROWS>(simd, first);
        }
        for first in whole..self.vectors.len() {
            self.rows::<S, 1>(simd, first);
        }
    }

    /// All results of so many vectors, in tiles of nearly equal width.
    #[inline(always)]
    fn rows<S: Simd, const ROWS: usize>(&mut self, simd: S, first: usize) {
        let k = self.b.len();
        let mut column = 0;
        while column < k {
            let left = k - column;
            let width = left.div_ceil(left.div_ceil(TILE));
            match width {
                1 => self.tile::<S, ROWS, 1>(simd, first, column),
                2 => self.tile::<S, ROWS, 2>(simd, first, column),
                3 => self.tile::<S, ROWS, 3>(simd, first, column),
                4 => self.tile::<S, ROWS, 4>(simd, first, column),
                _ => self.tile::<S, ROWS, TILE>(simd, first, column),
            }
            column += width;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const COLUMNS: usize>(
        &mut self,
        simd: S,
        first: usize,
        column: usize,
    ) {
        let vectors: [_; ROWS] = array::from_fn(|i| S::as_simd_f32s(self.vectors[first + i]));
        let b: [_; COLUMNS] = array::from_fn(|j| S::as_simd_f32s(self.b[column + j]));
        let length = b[0].0.len();
        let heads: [_; ROWS] = array::from_fn(|i| &vectors[i].0[..length]);
        let b_heads: [_; COLUMNS] = array::from_fn(|j| &b[j].0[..length]);
        let mut sums = [[simd.splat_f32s(0.0); COLUMNS]; ROWS];
        for at in 0..length {
            let b: [_; COLUMNS] = array::from_fn(|j| b_heads[j][at]);
            for (sums, head) in sums.iter_mut().zip(&heads) {
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = simd.mul_add_f32s(head[at], b, *sum);
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                let tail = vectors[i].1.iter().zip(b[j].1).map(|(x, y)| x * y);
                self.out[column + j][first + i] = simd.reduce_sum_f32s(sum) + tail.sum::<f32>();
            }
        }
    }
}

/// The Gram matrix `X Xᵀ` of rows `[n, width]`, both triangles, in f32.
pub fn gram_f32(rows: &[f32], width: usize) -> Mat<f32> {
    let x = columns(rows, width);
    let mut product = Mat::zeros(x.ncols(), x.ncols());
    add_products(product.as_mut(), x, 1.0);
    mirror(product.as_mut());
    product
}

/// The Gram matrix in f64.
pub fn gram_f64(rows: &[f32], width: usize) -> Mat<f64> {
    let x = columns(rows, width);
    let n = x.ncols();
    let mut product = Mat::zeros(n, n);
    let mut wide = Vec::new();
    for first in (0..width).step_by(CHUNK) {
        let count = CHUNK.min(width - first);
        wide.clear();
        for row in rows.chunks_exact(width) {
            wide.extend(row[first..first + count].iter().map(|&x| f64::from(x)));
        }
        let part = MatRef::from_column_major_slice(&wide, count, n);
        add_products(product.as_mut(), part, 1.0);
    }
    mirror(product.as_mut());
    product
}

/// The other side, `Xᵀ X`, `width x width`, in f64.
pub fn covariance_f64(rows: &[f32], width: usize) -> Mat<f64> {
    let mut product = Mat::zeros(width, width);
    let mut wide = Vec::new();
    for some in rows.chunks(CHUNK * width) {
        wide.clear();
        wide.extend(some.iter().map(|&x| f64::from(x)));
        let part = MatRef::from_column_major_slice(&wide, width, some.len() / width);
        add_products(product.as_mut(), part.transpose(), 1.0);
    }
    mirror(product.as_mut());
    product
}

/// Adds `Aᵀ A` on and below the diagonal: two triangles of half the size, and the rectangle between them.
fn add_products<T>(product: MatMut<'_, T>, a: MatRef<'_, T>, one: T)
where
    T: ComplexField + Copy + Send + Sync,
{
    let n = a.ncols();
    if n <= TRIANGLE {
        let (rows, whole) = (a.transpose(), BlockStructure::Rectangular);
        let lower = BlockStructure::TriangularLower;
        triangular::matmul(
            product,
            lower,
            Accum::Add,
            rows,
            whole,
            a,
            whole,
            one,
            Par::Seq,
        );
        return;
    }
    let half = n / 2;
    let (above, _, between, below) = product.split_at_mut(half, half);
    let (first, last) = a.split_at_col(half);
    let triangles = || {
        rayon::join(
            || add_products(above, first, one),
            || add_products(below, last, one),
        )
    };
    let rectangle = || {
        let blocks = column_blocks(between).into_par_iter().enumerate();
        blocks.for_each(|(index, out)| {
            let some = first.subcols(index * BLOCK, out.ncols());
            matmul(out, Accum::Add, last.transpose(), some, one, Par::Seq);
        });
    };
    rayon::join(triangles, rectangle);
}

/// Copies what is below the diagonal above it, tile by tile: one of both sides is read across its columns.
fn mirror<T: Copy>(mut square: MatMut<'_, T>) {
    const TILE: usize = 16;
    let n = square.ncols();
    for left in (0..n).step_by(TILE) {
        for top in (left..n).step_by(TILE) {
            for j in left..(left + TILE).min(n) {
                for i in top.max(j + 1)..(top + TILE).min(n) {
                    square[(j, i)] = square[(i, j)];
                }
            }
        }
    }
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
    use crate::backbone::gang;

    #[test]
    fn inner_products_of_any_shape_are_those_of_each_pair() {
        let number = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 16.0;
        for (vectors, length, k) in [(0, 7, 3), (1, 1, 1), (3, 7, 6), (130, 37, 10), (67, 64, 16)] {
            let rows: Vec<f32> = (0..vectors * length).map(number).collect();
            let b: Vec<f32> = (0..length * k).map(|i| number(i + 3)).collect();
            let rows: Vec<&[f32]> = rows.chunks_exact(length).collect();
            let all = gang::with(2, |mut gang| inner_products(&mut gang, &rows, &b));
            assert_eq!(all.len(), if vectors == 0 { 0 } else { vectors * k });
            for (column, b) in all.chunks_exact(vectors.max(1)).zip(b.chunks_exact(length)) {
                for (got, row) in column.iter().zip(&rows) {
                    // Sixteenths: exact in f32, in any order.
                    assert_eq!(f64::from(*got), dot(row, b), "{vectors} x {length} x {k}");
                }
            }
        }
    }

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
