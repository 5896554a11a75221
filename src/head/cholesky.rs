//! A Cholesky factor that grows, shrinks, and follows rank-one changes.
//!
//! Owns: `A = L Lᵀ` for a symmetric positive definite `A`, with `L` kept row by row. Every change costs O(n²); a factorization costs
//! O(n³).

use super::gram::vectorized;
use faer::{Mat, Side};

/// What may be left of a pivot by a subtraction: six of sixteen digits.
pub const CANCELLED: f64 = 1e-10;

/// A lower triangular factor. Row `i` has `i + 1` numbers and begins at `i (i + 1) / 2`.
#[derive(Clone, Debug)]
pub struct Cholesky {
    packed: Vec<f64>,
    n: usize,
}

impl Cholesky {
    /// Factors the matrix; `None` when it is not positive definite.
    pub fn new(matrix: &Mat<f64>) -> Option<Cholesky> {
        let factor = matrix.llt(Side::Lower).ok()?;
        let lower = factor.L();
        let n = matrix.nrows();
        let mut packed = Vec::with_capacity(n * (n + 1) / 2);
        for i in 0..n {
            packed.extend((0..=i).map(|j| lower[(i, j)]));
        }
        Cholesky { packed, n }.checked()
    }

    fn checked(self) -> Option<Cholesky> {
        let fine =
            self.packed.iter().all(|x| x.is_finite()) && (0..self.n).all(|i| self.row(i)[i] > 0.0);
        fine.then_some(self)
    }

    #[inline(always)]
    fn row(&self, i: usize) -> &[f64] {
        &self.packed[i * (i + 1) / 2..][..=i]
    }

    /// Borders the matrix with one more row: `half = L⁻¹b` for the row `b` against the rows there are, `corner` on the diagonal.
    /// `None`, and the factor is as it was, when too many digits cancel: factor the matrix again.
    pub fn append(&mut self, half: &[f64], corner: f64) -> Option<()> {
        let rest = corner - dot(half, half);
        if !(rest > CANCELLED * corner && rest.is_finite()) {
            return None;
        }
        self.packed.extend(half);
        self.packed.push(rest.sqrt());
        self.n += 1;
        Some(())
    }

    /// Strikes row and column `index` out of the matrix.
    pub fn remove(&mut self, index: usize) {
        let mut struck = Vec::with_capacity(self.n - index);
        let mut packed = Vec::with_capacity((self.n - 1) * self.n / 2);
        for i in (0..self.n).filter(|&i| i != index) {
            let row = self.row(i);
            packed.extend(
                row.iter()
                    .enumerate()
                    .filter(|&(j, _)| j != index)
                    .map(|(_, &x)| x),
            );
            if i > index {
                struck.push(row[index]);
            }
        }
        self.packed = packed;
        self.n -= 1;
        // What the struck column held moves back into the block behind it.
        half_solve_from(self, index, &mut struck);
        let turn = turn(&struck, 1.0).unwrap_or_default();
        self.apply(index, &turn);
    }

    /// `A + x xᵀ`, for `half = L⁻¹x`. `None`, and the factor is as it was, when that is not finite.
    pub fn update(&mut self, half: &[f64]) -> Option<()> {
        self.apply(0, &turn(half, 1.0)?);
        Some(())
    }

    /// `A - x xᵀ`, for `half = L⁻¹x`. `None`, and the factor is as it was, when that is not positive definite or too many digits
    /// cancel.
    pub fn downdate(&mut self, half: &[f64]) -> Option<()> {
        self.apply(0, &turn(half, -1.0)?);
        Some(())
    }

    /// Multiplies the block from row and column `start` on by the factor of a [`turn`]. Every row is read and written once, from its
    /// end, and several at a time, so that one does not wait for the sum of another.
    fn apply(&mut self, start: usize, turn: &[Step]) {
        const ROWS: usize = 8;
        let mut rest = &mut self.packed[start * (start + 1) / 2..];
        let mut first = 0;
        while first + ROWS <= turn.len() {
            rest = apply_to::<ROWS>(rest, start, first, turn);
            first += ROWS;
        }
        for row in first..turn.len() {
            rest = apply_to::<1>(rest, start, row, turn);
        }
    }

    /// Solves `L y = x` in place.
    pub fn half_solve(&self, x: &mut [f64]) {
        half_solve_from(self, 0, x);
    }

    /// Solves `Lᵀ y = x` in place.
    pub fn finish_solve(&self, x: &mut [f64]) {
        solve_transposed(self, x);
    }

    /// Solves `A y = x` in place.
    pub fn solve(&self, x: &mut [f64]) {
        self.half_solve(x);
        self.finish_solve(x);
    }
}

/// One column of the factor of `I ± p pᵀ`: its diagonal, what the entry of row `i` below is over `pᵢ`, and its own `p`.
struct Step {
    diagonal: f64,
    below: f64,
    p: f64,
}

/// The Cholesky factor of `I + sign p pᵀ`. With `tⱼ = 1 + sign Σ_{i≤j} pᵢ²` it is `√(tⱼ / tⱼ₋₁)` on the diagonal and
/// `sign pᵢ pⱼ / √(tⱼ tⱼ₋₁)` below (Gill, Golub, Murray and Saunders, Methods for Modifying Matrix Factorizations, 1974). `None` when
/// too many digits cancel.
fn turn(p: &[f64], sign: f64) -> Option<Vec<Step>> {
    let mut before = 1.0;
    let steps = p.iter().map(|&p| {
        let after: f64 = before + sign * p * p;
        if !(after > CANCELLED && after.is_finite()) {
            return None;
        }
        let step = Step {
            diagonal: (after / before).sqrt(),
            below: sign * p / (after * before).sqrt(),
            p,
        };
        before = after;
        Some(step)
    });
    steps.collect()
}

/// Multiplies the `N` rows at the front of `packed`, the first of which is row `first` of the block that begins at `start`. Gives
/// the rows behind them.
fn apply_to<'a, const N: usize>(
    mut packed: &'a mut [f64],
    start: usize,
    first: usize,
    turn: &[Step],
) -> &'a mut [f64] {
    let mut sums = [0.0; N];
    let mut rows: [&mut [f64]; N] = std::array::from_fn(|r| {
        let (row, rest) = std::mem::take(&mut packed).split_at_mut(start + first + r + 1);
        packed = rest;
        let (left, own) = row[start..].split_at_mut(first);
        for (entry, step) in own.iter_mut().zip(&turn[first..]).rev() {
            let old = *entry;
            *entry = step.diagonal * old + step.below * sums[r];
            sums[r] += step.p * old;
        }
        left
    });
    for (j, step) in turn[..first].iter().enumerate().rev() {
        for (row, sum) in rows.iter_mut().zip(&mut sums) {
            let old = row[j];
            row[j] = step.diagonal * old + step.below * *sum;
            *sum += step.p * old;
        }
    }
    packed
}

/// Inner product with partial sums in a fixed order.
#[inline(always)]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (heads_a, heads_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail = heads_a.remainder().iter().zip(heads_b.remainder());
    let tail: f64 = tail.map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in heads_a.zip(heads_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + tail
}

vectorized! {
    /// Solves `L y = x` in place, with the block of `L` from row and column `start` on.
    fn half_solve_from<'a>(factor: &'a Cholesky, start: usize, x: &'a mut [f64]) -> () {
        for i in 0..x.len() {
            let row = &factor.row(start + i)[start..];
            let known = dot(&row[..i], &x[..i]);
            x[i] = (x[i] - known) / row[i];
        }
    }
}

vectorized! {
    /// Solves `Lᵀ y = x` in place.
    fn solve_transposed<'a>(factor: &'a Cholesky, x: &'a mut [f64]) -> () {
        for i in (0..factor.n).rev() {
            let row = factor.row(i);
            x[i] /= row[i];
            let value = x[i];
            for (x, &entry) in x[..i].iter_mut().zip(row) {
                *x -= value * entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(n: usize) -> Mat<f64> {
        Mat::from_fn(n, n, |i, j| {
            if i == j {
                3.0 + i as f64
            } else {
                1.0 / (1.0 + i.abs_diff(j) as f64)
            }
        })
    }

    fn close(a: &Cholesky, b: &Cholesky) {
        assert_eq!(a.n, b.n);
        for (x, y) in a.packed.iter().zip(&b.packed) {
            assert!((x - y).abs() < 1e-12, "{x} {y}");
        }
    }

    #[test]
    fn appending_and_removing_equal_a_new_factorization() {
        let whole = matrix(12);
        let mut grown = Cholesky::new(&matrix(11)).unwrap();
        let mut border: Vec<f64> = (0..11).map(|j| whole[(11, j)]).collect();
        grown.half_solve(&mut border);
        grown.append(&border, whole[(11, 11)]).unwrap();
        close(&grown, &Cholesky::new(&whole).unwrap());
        for index in [0, 5, 11] {
            let keep: Vec<usize> = (0..12).filter(|&i| i != index).collect();
            let smaller = Mat::from_fn(11, 11, |i, j| whole[(keep[i], keep[j])]);
            let mut factor = Cholesky::new(&whole).unwrap();
            factor.remove(index);
            close(&factor, &Cholesky::new(&smaller).unwrap());
        }
    }

    #[test]
    fn an_update_and_its_downdate_cancel() {
        let n = 19;
        let x: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        let start = Cholesky::new(&matrix(n)).unwrap();
        let mut factor = start.clone();
        let mut half = x.clone();
        factor.half_solve(&mut half);
        factor.update(&half).unwrap();
        let updated = Mat::from_fn(n, n, |i, j| matrix(n)[(i, j)] + x[i] * x[j]);
        close(&factor, &Cholesky::new(&updated).unwrap());
        let mut half = x.clone();
        factor.half_solve(&mut half);
        factor.downdate(&half).unwrap();
        close(&factor, &start);
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        assert!(Cholesky::new(&Mat::from_fn(3, 3, |_, _| 1.0)).is_none());
        let mut one = Cholesky::new(&matrix(3)).unwrap();
        assert!(one.append(&[1.0, 1.0, 1.0], 3.0).is_none());
        let before = one.clone();
        assert!(one.downdate(&[0.1, 2.0, 0.0]).is_none());
        assert!(one.update(&[f64::INFINITY, 0.0, 0.0]).is_none());
        close(&one, &before);
    }

    #[test]
    fn solving_gives_the_solution() {
        let a = matrix(7);
        let mut x: Vec<f64> = (0..7).map(|i| i as f64 - 2.0).collect();
        let right = x.clone();
        Cholesky::new(&a).unwrap().solve(&mut x);
        for i in 0..7 {
            let back: f64 = (0..7).map(|j| a[(i, j)] * x[j]).sum();
            assert!((back - right[i]).abs() < 1e-12);
        }
    }
}
