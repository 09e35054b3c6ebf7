//! A linear map between the tokens of two prompts: which source token's attention an edited token
//! reads, and how much of it. A square matrix, since both prompts are padded to one length.

/// `n x n`, row = source token, column = edited token (the orientation of the paper's `M`).
#[derive(Debug, Clone, PartialEq)]
pub struct TokenMap {
    n: usize,
    weights: Vec<f32>, // [source, edited]
}

impl TokenMap {
    pub fn zero(n: usize) -> Self {
        Self {
            n,
            weights: vec![0.0; n * n],
        }
    }

    pub fn identity(n: usize) -> Self {
        Self::diagonal(&vec![1.0; n])
    }

    pub fn diagonal(factors: &[f32]) -> Self {
        let mut map = Self::zero(factors.len());
        for (i, &f) in factors.iter().enumerate() {
            map.set(i, i, f);
        }
        map
    }

    /// Tokens of a prompt, padded.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Row-major `[source, edited]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    pub fn get(&self, source: usize, edited: usize) -> f32 {
        self.weights[source * self.n + edited]
    }

    pub fn set(&mut self, source: usize, edited: usize, weight: f32) {
        self.weights[source * self.n + edited] = weight;
    }

    /// The source tokens an edited token reads, with their weights.
    pub fn column(&self, edited: usize) -> Vec<(usize, f32)> {
        (0..self.n)
            .map(|s| (s, self.get(s, edited)))
            .filter(|(_, w)| *w != 0.0)
            .collect()
    }

    /// `B . diag(factors)`: each edited token's column times a factor.
    pub fn scale_columns(mut self, factors: &[f32]) -> Self {
        assert_eq!(factors.len(), self.n, "a factor per token");
        for row in self.weights.chunks_mut(self.n) {
            for (w, f) in row.iter_mut().zip(factors) {
                *w *= f;
            }
        }
        self
    }

    /// `self . next`: what an edit of an edit reads of the first source.
    pub fn then(&self, next: &Self) -> Self {
        assert_eq!(self.n, next.n, "maps between prompts of one length");
        let mut product = Self::zero(self.n);
        for i in 0..self.n {
            let row = &mut product.weights[i * self.n..(i + 1) * self.n];
            for (k, &weight) in self.weights[i * self.n..(i + 1) * self.n]
                .iter()
                .enumerate()
            {
                // Token maps are mostly zeros.
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

    pub fn is_zero(&self) -> bool {
        self.weights.iter().all(|w| *w == 0.0)
    }

    /// Whether every token reads the one in its own place.
    pub fn is_identity(&self) -> bool {
        self.as_diagonal()
            .is_some_and(|diagonal| diagonal.iter().all(|x| *x == 1.0))
    }

    /// The diagonal, where there is nothing beside it.
    pub fn as_diagonal(&self) -> Option<Vec<f32>> {
        let beside =
            (0..self.n * self.n).any(|i| i / self.n != i % self.n && self.weights[i] != 0.0);
        (!beside).then(|| (0..self.n).map(|i| self.get(i, i)).collect())
    }
}
