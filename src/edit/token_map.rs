//! A linear map between the tokens of two prompts: which source token's attention an edited token
//! reads, and how much of it. Owns the matrix and its arithmetic. It must never know what an edit is.

/// A matrix of `[n, n]` weights: row = source token, column = edited token (the orientation of the paper's
/// `M`). It is square because both prompts are padded to the same length.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenMap {
    n: usize,
    weights: Vec<f32>, // [source, edited]
}

impl TokenMap {
    /// The map of `n` tokens by which no token reads anything.
    pub fn zero(n: usize) -> Self {
        Self {
            n,
            weights: vec![0.0; n * n],
        }
    }

    /// The map of `n` tokens by which each token reads the token at its own index.
    pub fn identity(n: usize) -> Self {
        Self::diagonal(&vec![1.0; n])
    }

    /// The map by which each token reads the token at its own index times a factor.
    pub fn diagonal(factors: &[f32]) -> Self {
        let mut map = Self::zero(factors.len());
        for (i, &f) in factors.iter().enumerate() {
            map.set(i, i, f);
        }
        map
    }

    /// Number of tokens of a padded prompt.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The weights, row-major `[source, edited]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The weight with which an edited token reads a source token.
    ///
    /// # Panics
    ///
    /// An index is out of range.
    pub fn get(&self, source: usize, edited: usize) -> f32 {
        self.weights[source * self.n + edited]
    }

    /// Sets the weight with which an edited token reads a source token.
    ///
    /// # Panics
    ///
    /// An index is out of range.
    pub fn set(&mut self, source: usize, edited: usize, weight: f32) {
        self.weights[source * self.n + edited] = weight;
    }

    /// The source tokens that an edited token reads, with their weights.
    ///
    /// # Panics
    ///
    /// `edited` is out of range.
    pub fn column(&self, edited: usize) -> Vec<(usize, f32)> {
        (0..self.n)
            .map(|s| (s, self.get(s, edited)))
            .filter(|(_, w)| *w != 0.0)
            .collect()
    }

    /// `B . diag(factors)`: the column of each edited token times its factor.
    ///
    /// # Panics
    ///
    /// `factors` does not have one value per token.
    pub fn scale_columns(mut self, factors: &[f32]) -> Self {
        assert_eq!(factors.len(), self.n, "one factor per token");
        for row in self.weights.chunks_mut(self.n) {
            for (w, f) in row.iter_mut().zip(factors) {
                *w *= f;
            }
        }
        self
    }

    /// `self . next`: the tokens of the first source that an edit of an edit reads.
    ///
    /// # Panics
    ///
    /// The maps have different sizes.
    pub fn then(&self, next: &Self) -> Self {
        assert_eq!(self.n, next.n, "maps between prompts of the same length");
        let mut product = Self::zero(self.n);
        for i in 0..self.n {
            let row = &mut product.weights[i * self.n..(i + 1) * self.n];
            for (k, &weight) in self.weights[i * self.n..(i + 1) * self.n]
                .iter()
                .enumerate()
            {
                // Most weights are zero, so skipping them saves most of the time.
                if weight != 0.0 {
                    let through = &next.weights[k * self.n..(k + 1) * self.n];
                    row.iter_mut()
                        .zip(through)
                        .for_each(|(p, w)| *p += weight * w);
                }
            }
        }
        product
    }

    /// Whether no token reads anything.
    pub fn is_zero(&self) -> bool {
        self.weights.iter().all(|w| *w == 0.0)
    }

    /// Whether every token reads exactly the token at its own index.
    pub fn is_identity(&self) -> bool {
        self.as_diagonal()
            .is_some_and(|diagonal| diagonal.iter().all(|x| *x == 1.0))
    }

    /// The diagonal, if all other weights are zero.
    pub fn as_diagonal(&self) -> Option<Vec<f32>> {
        let others =
            (0..self.n * self.n).any(|i| i / self.n != i % self.n && self.weights[i] != 0.0);
        (!others).then(|| (0..self.n).map(|i| self.get(i, i)).collect())
    }
}
