//! One live line per running gate, on a terminal only, gone when the gate has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::output;
use crate::gates::context::Progress;

/// Nothing is drawn when stderr is no terminal, or with `-q`.
pub fn lines(quiet: bool) -> Progress {
    if quiet || !output::is_live() {
        return Arc::new(|_, _| {});
    }
    let all = MultiProgress::new();
    let style = ProgressStyle::with_template("  {spinner} {prefix:28} {wide_msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bars: Mutex<BTreeMap<String, ProgressBar>> = Mutex::default();
    Arc::new(move |gate, what| {
        let mut bars = bars.lock().unwrap_or_else(|e| e.into_inner());
        if what.is_empty() {
            if let Some(bar) = bars.remove(gate) {
                bar.finish_and_clear();
                all.remove(&bar);
            }
            return;
        }
        let bar = bars.entry(gate.to_string()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix(gate.to_string()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        bar.set_message(output::clean_line(what));
    })
}
