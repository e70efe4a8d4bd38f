//! A made-up day of a small web product, the same on every machine: histograms, counters of many paces, constants, gauges
//! with few decimals and with all. Each bench uses its own part.
#![allow(dead_code)]

use hypercare::domain::metric::{Labels, NAME};

pub const SECONDS_A_ROUND: f64 = 15.0;
/// Rounds of a day.
pub const ROUNDS: usize = 5_760;

const LE: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
const HANDLERS: [&str; 10] = [
    "/",
    "/login",
    "/logout",
    "/basket",
    "/checkout",
    "/search",
    "/api/tea",
    "/api/tea/:id",
    "/api/orders",
    "/api/account",
];
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
const CODES: [(&str, f64); 5] = [("200", 0.93), ("201", 0.04), ("404", 0.02), ("429", 0.005), ("500", 0.005)];
const MODES: [(&str, f64); 8] = [
    ("idle", 0.78),
    ("user", 0.12),
    ("system", 0.05),
    ("iowait", 0.03),
    ("softirq", 0.01),
    ("steal", 0.01),
    ("nice", 0.0),
    ("irq", 0.0),
];

/// How many of each kind a host shows.
pub struct Mix {
    /// Of 14 series each.
    pub histograms: usize,
    /// Of five series each, one a code.
    pub handlers: usize,
    /// Of eight series each, one a mode.
    pub cpus: usize,
    pub busy_counters: usize,
    pub rare_counters: usize,
    pub constants: usize,
    pub byte_gauges: usize,
    pub load_gauges: usize,
    pub ratio_gauges: usize,
    pub ones: usize,
}

/// 1,000 series.
pub const WHOLE: Mix = Mix {
    histograms: 30,
    handlers: 10,
    cpus: 8,
    busy_counters: 120,
    rare_counters: 66,
    constants: 150,
    byte_gauges: 60,
    load_gauges: 40,
    ratio_gauges: 20,
    ones: 10,
};

/// 209 series.
pub const SMALL: Mix = Mix {
    histograms: 6,
    handlers: 0,
    cpus: 0,
    busy_counters: 40,
    rare_counters: 15,
    constants: 40,
    byte_gauges: 15,
    load_gauges: 10,
    ratio_gauges: 5,
    ones: 0,
};

pub type Line = (Labels, Vec<f64>);

/// The first `rounds` of host number `nth`; a metric's series stand side by side.
pub fn host(nth: usize, rounds: usize, mix: &Mix) -> Vec<Line> {
    let noise = Noise(7 + ((nth as u64) << 32));
    let mut host = Host { instance: format!("host-{nth}:9100"), rounds, noise, lines: Vec::new() };
    host.web(mix);
    host.machine(mix);
    host.gauges(mix);
    host.lines
}

struct Host {
    instance: String,
    rounds: usize,
    noise: Noise,
    lines: Vec<Line>,
}

impl Host {
    fn web(&mut self, mix: &Mix) {
        for nth in 0..mix.histograms {
            self.histogram(HANDLERS[nth / METHODS.len()], METHODS[nth % METHODS.len()]);
        }
        for handler in &HANDLERS[..mix.handlers] {
            let pace = (1.0 + 1.3 * self.noise.normal()).exp();
            for (code, share) in CODES {
                let labels = [("handler", *handler), ("code", code)];
                self.counter("http_requests_total", &labels, 0.0, |n, i| {
                    n.poisson(pace * share * SECONDS_A_ROUND * season(i))
                });
            }
        }
    }

    /// Times spread log-normally, as latencies are; the logistic curve stands in for the normal one.
    fn histogram(&mut self, handler: &str, method: &str) {
        let pace = (1.6 * self.noise.normal()).exp() * if method == "GET" { 1.0 } else { 0.2 };
        let (middle, spread) = (-3.6 + 0.6 * self.noise.normal(), 0.5 + 0.6 * self.noise.next());
        let below = |le: &str| match le.parse::<f64>() {
            Ok(le) if le.is_finite() => 1.0 / (1.0 + (-1.702 * (le.ln() - middle) / spread).exp()),
            _ => 1.0,
        };
        let mut share = 0.0;
        let parts = LE.map(|le| below(le) - std::mem::replace(&mut share, below(le)));
        let mean = (middle + spread * spread / 2.0).exp();
        let mut buckets = vec![Vec::with_capacity(self.rounds); LE.len()];
        let mut sums = Vec::with_capacity(self.rounds);
        let mut so_far = [0.0; LE.len()];
        let mut sum = 0.0;
        for i in 0..self.rounds {
            let mut all = 0.0;
            for (k, part) in parts.iter().enumerate() {
                all += self.noise.poisson(pace * part * SECONDS_A_ROUND * season(i));
                so_far[k] += all;
                buckets[k].push(so_far[k]);
            }
            sum += all * mean * (0.5 + self.noise.next());
            sums.push(sum);
        }
        let counts = buckets[LE.len() - 1].clone();
        let on = [("handler", handler), ("method", method)];
        for (le, values) in LE.iter().zip(buckets) {
            self.push("http_request_duration_seconds_bucket", &[on[0], on[1], ("le", le)], values);
        }
        self.push("http_request_duration_seconds_sum", &on, sums);
        self.push("http_request_duration_seconds_count", &on, counts);
    }

    fn machine(&mut self, mix: &Mix) {
        for cpu in 0..mix.cpus {
            let cpu = cpu.to_string();
            for (mode, share) in MODES {
                let from = (self.noise.next() * 1e7).round() / 100.0;
                let labels = [("cpu", cpu.as_str()), ("mode", mode)];
                self.counter("node_cpu_seconds_total", &labels, from, |n, _| {
                    (share * SECONDS_A_ROUND * (1.0 + 0.2 * n.normal()).max(0.0) * 100.0).round() / 100.0
                });
                // Counted in hundredths, as a kernel does.
                for v in self.lines.last_mut().map(|l| &mut l.1).into_iter().flatten() {
                    *v = (*v * 100.0).round() / 100.0;
                }
            }
        }
        for k in 0..mix.busy_counters {
            let pace = 10f64.powf(self.noise.next() * 7.0 - 1.0);
            let from = (self.noise.next() * (1u64 << 40) as f64).floor();
            self.counter(&format!("node_io_{}_total", k / 4), &[("device", &format!("dev{}", k % 4))], from, |n, i| {
                let burst = (0.5 * n.normal()).exp();
                n.poisson(pace * SECONDS_A_ROUND * season(i) * burst)
            });
        }
        for k in 0..mix.rare_counters {
            let pace = 10f64.powf(self.noise.next() * 2.5 - 5.0);
            self.counter(&format!("errors_{}_total", k / 3), &[("kind", &format!("k{}", k % 3))], 0.0, |n, _| {
                n.poisson(pace * SECONDS_A_ROUND)
            });
        }
    }

    fn gauges(&mut self, mix: &Mix) {
        for k in 0..mix.constants {
            let v = match k % 4 {
                0 => 0.0,
                1 => 1.0,
                2 => (self.noise.next() * (1u64 << 34) as f64).floor(),
                _ => (self.noise.next() * 1e4).round() / 100.0,
            };
            self.gauge(&format!("node_const_{}", k / 3), &[("device", &format!("d{}", k % 3))], |_, _, _| v);
        }
        for k in 0..mix.byte_gauges {
            let mut pages = 1048576.0;
            self.gauge(&format!("node_memory_{}_bytes", k / 3), &[("zone", &format!("z{}", k % 3))], |n, _, _| {
                if n.next() < 0.7 {
                    pages = f64::max(pages + (n.next() * 4001.0).floor() - 2000.0, 0.0);
                }
                pages * 4096.0
            });
        }
        for k in 0..mix.load_gauges {
            let (level, mut sway) = (0.5 + 3.5 * self.noise.next(), 0.0);
            let name = if k == 0 { "node_load1".to_string() } else { format!("node_gauge_{k}") };
            self.gauge(&name, &[], |n, i, _| {
                sway = 0.98 * sway + 0.05 * n.normal();
                f64::round((level + sway).abs() * season(i) * 100.0) / 100.0
            });
        }
        for k in 0..mix.ratio_gauges {
            self.gauge(&format!("app_ratio_{k}"), &[], |n, _, _| n.next() * n.next());
        }
        for k in 0..mix.ones {
            self.gauge(&format!("app_{k}_info"), &[("version", &format!("1.{k}.0"))], |_, _, _| 1.0);
        }
    }

    fn counter(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        from: f64,
        mut more: impl FnMut(&mut Noise, usize) -> f64,
    ) {
        self.gauge(name, labels, |n, i, last| last.unwrap_or(from) + more(n, i));
    }

    fn gauge(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        mut next: impl FnMut(&mut Noise, usize, Option<f64>) -> f64,
    ) {
        let mut values = Vec::with_capacity(self.rounds);
        for i in 0..self.rounds {
            let v = next(&mut self.noise, i, values.last().copied());
            values.push(v);
        }
        self.push(name, labels, values);
    }

    fn push(&mut self, name: &str, labels: &[(&str, &str)], values: Vec<f64>) {
        let base = [(NAME, name), ("instance", self.instance.as_str()), ("job", "shop")];
        self.lines.push((Labels::new(base.iter().chain(labels).copied()), values));
    }
}

/// More by day than by night, and a little more at each hour's turn.
fn season(i: usize) -> f64 {
    let day = i as f64 / ROUNDS as f64 * std::f64::consts::TAU;
    (1.0 + 0.6 * (day - 0.3 * std::f64::consts::TAU).sin() + 0.1 * (24.0 * day).sin()).max(0.05)
}

/// splitmix64: the same day on every machine.
struct Noise(u64);

impl Noise {
    /// In `[0, 1)`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mean 0, deviation 1, near enough.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }

    /// Knuth's way for small means, a rounded normal for large ones.
    fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (limit, mut product, mut n) = ((-mean).exp(), self.next(), 0.0);
        while product > limit {
            product *= self.next();
            n += 1.0;
        }
        n
    }
}
