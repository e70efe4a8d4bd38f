//! Sums and extremes of floats that do not depend on luck: compensated, NaN and infinities as IEEE.

/// A compensated sum (Neumaier 1974); `util/kahansum` of Prometheus.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    pub total: f64,
    pub lost: f64,
}

impl Sum {
    pub fn add(&mut self, value: f64) {
        let next = self.total + value;
        if next.is_infinite() {
            self.lost = 0.0;
        } else if self.total.abs() >= value.abs() {
            self.lost += (self.total - next) + value;
        } else {
            self.lost += (value - next) + self.total;
        }
        self.total = next;
    }
    pub fn value(self) -> f64 {
        self.total + self.lost
    }
    /// Becomes the smaller of both; NaN only when both are.
    pub fn lower(&mut self, value: f64) {
        self.total = lower(self.total, value);
    }
    /// Becomes the larger of both; NaN only when both are.
    pub fn raise(&mut self, value: f64) {
        self.total = higher(self.total, value);
    }
}

/// NaN only when both are.
pub fn lower(best: f64, value: f64) -> f64 {
    if best > value || best.is_nan() { value } else { best }
}

/// NaN only when both are.
pub fn higher(best: f64, value: f64) -> f64 {
    if best < value || best.is_nan() { value } else { best }
}
