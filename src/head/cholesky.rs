//! A Cholesky factor that grows, shrinks, and follows rank-one changes.
//!
//! Owns: `A = L Lᵀ` for a symmetric positive definite `A`, with `L` kept row by row. Every change costs O(n²); a factorization costs
//! O(n³). Formulas: Golub and Van Loan, Matrix Computations, 4th edition, 6.5.4.

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

    fn row(&self, i: usize) -> &[f64] {
        &self.packed[i * (i + 1) / 2..][..=i]
    }

    fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.packed[i * (i + 1) / 2..][..=i]
    }

    /// Borders the matrix with one more row: `border` against the rows there are, `corner` on the diagonal. `None`, and the factor
    /// is as it was, when too many digits cancel: factor the matrix again.
    pub fn append(&mut self, border: &[f64], corner: f64) -> Option<()> {
        let mut row = border.to_vec();
        self.solve_lower(&mut row);
        let rest = corner - row.iter().map(|x| x * x).sum::<f64>();
        if !(rest > CANCELLED * corner && rest.is_finite()) {
            return None;
        }
        row.push(rest.sqrt());
        self.packed.extend(row);
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
        self.update_from(index, &mut struck);
    }

    /// `A + x xᵀ`.
    pub fn update(&mut self, x: &[f64]) {
        self.update_from(0, &mut x.to_vec());
    }

    fn update_from(&mut self, start: usize, x: &mut [f64]) {
        for k in 0..x.len() {
            let diagonal = self.row(start + k)[start + k];
            let radius = diagonal.hypot(x[k]);
            let (c, s) = (radius / diagonal, x[k] / diagonal);
            self.row_mut(start + k)[start + k] = radius;
            for (i, x) in x.iter_mut().enumerate().skip(k + 1) {
                let entry = &mut self.row_mut(start + i)[start + k];
                *entry = (*entry + s * *x) / c;
                *x = c * *x - s * *entry;
            }
        }
    }

    /// `A - x xᵀ`. `None`, and the factor is spoiled, when that is not positive definite or too many digits cancel: factor the
    /// matrix again.
    pub fn downdate(&mut self, x: &[f64]) -> Option<()> {
        let mut x = x.to_vec();
        for k in 0..x.len() {
            let diagonal = self.row(k)[k];
            let square = (diagonal - x[k]) * (diagonal + x[k]);
            if !(square > CANCELLED * diagonal * diagonal && square.is_finite()) {
                return None;
            }
            let radius = square.sqrt();
            let (c, s) = (radius / diagonal, x[k] / diagonal);
            self.row_mut(k)[k] = radius;
            for (i, x) in x.iter_mut().enumerate().skip(k + 1) {
                let entry = &mut self.row_mut(i)[k];
                *entry = (*entry - s * *x) / c;
                *x = c * *x - s * *entry;
            }
        }
        Some(())
    }

    /// Solves `L y = x` in place.
    fn solve_lower(&self, x: &mut [f64]) {
        for i in 0..self.n {
            let row = self.row(i);
            let known: f64 = dot(&row[..i], &x[..i]);
            x[i] = (x[i] - known) / row[i];
        }
    }

    /// Solves `A y = x` in place.
    pub fn solve(&self, x: &mut [f64]) {
        self.solve_lower(x);
        for i in (0..self.n).rev() {
            let row = self.row(i);
            x[i] /= row[i];
            let value = x[i];
            for (x, &entry) in x[..i].iter_mut().zip(row) {
                *x -= value * entry;
            }
        }
    }
}

/// Inner product with partial sums in a fixed order.
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
        let border: Vec<f64> = (0..11).map(|j| whole[(11, j)]).collect();
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
        let x: Vec<f64> = (0..9).map(|i| (i as f64).sin()).collect();
        let start = Cholesky::new(&matrix(9)).unwrap();
        let mut factor = start.clone();
        factor.update(&x);
        let updated = Mat::from_fn(9, 9, |i, j| matrix(9)[(i, j)] + x[i] * x[j]);
        close(&factor, &Cholesky::new(&updated).unwrap());
        factor.downdate(&x).unwrap();
        close(&factor, &start);
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        assert!(Cholesky::new(&Mat::from_fn(3, 3, |_, _| 1.0)).is_none());
        let mut one = Cholesky::new(&matrix(3)).unwrap();
        assert!(one.append(&[1.0, 1.0, 1.0], 0.1).is_none());
        assert!(one.downdate(&[9.0, 0.0, 0.0]).is_none());
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
