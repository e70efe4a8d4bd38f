//! The printed table: ours, each peer's, and the ratio of ours to theirs.

/// Ours, Prometheus', VictoriaMetrics'; `None` for a peer that is not here, or has no such figure.
pub type Figures = [Option<f64>; 3];

pub const NAMES: [&str; 3] = ["hypercare", "prometheus", "victoria-metrics"];

pub struct Table(Vec<String>);

impl Table {
    pub fn titled(title: &str) -> Table {
        let [ours, prometheus, victoria] = NAMES;
        Table(vec![format!("{title:<46}{ours:>10}{prometheus:>12}{:>8}{victoria:>18}{:>8}", "ratio", "ratio")])
    }

    /// With so many digits after the point.
    pub fn row(&mut self, what: &str, digits: usize, [ours, prometheus, victoria]: Figures) {
        let figure = |f: Option<f64>| f.map_or("-".into(), |f| format!("{f:.digits$}"));
        let ratio = |peer: Option<f64>| match (ours, peer) {
            (Some(ours), Some(peer)) if peer > 0.0 => format!("{:.2}", ours / peer),
            _ => "-".into(),
        };
        self.0.push(format!(
            "  {what:<44}{:>10}{:>12}{:>8}{:>18}{:>8}",
            figure(ours),
            figure(prometheus),
            ratio(prometheus),
            figure(victoria),
            ratio(victoria)
        ));
    }

    /// Figures that have no ratio.
    pub fn facts(&mut self, what: &str, figures: [Option<String>; 3]) {
        let [ours, prometheus, victoria] = figures.map(|f| f.unwrap_or("-".into()));
        self.0.push(format!("  {what:<44}{ours:>10}{prometheus:>12}{:>8}{victoria:>18}", ""));
    }

    pub fn print(&self) {
        println!("{}\n", self.0.join("\n"));
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
