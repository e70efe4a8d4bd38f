//! CertExpiring: the certificate ends soon, so its renewal has already failed.
//!
//! Less than a quarter of its lifetime left: warning; less than a tenth, or than 3 d: critical. Fixed days alone would be
//! wrong: lifetimes fall to 47 d by 2029. Where the lifetime is not known, 14 d stand for the quarter.

use std::time::Duration;

use super::{BuiltIn, Subject, Variant, own};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "CertExpiring",
    what: "certificate's time left",
    unit: Unit::Seconds,
    below: true,
    window: None,
    on_missing: OnMissing::Hold,
    summary: "the certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
    description: "Automatic renewal should have replaced it by now: look at the ACME client or the certificate's owner.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    const DAY: f64 = 86_400.0;
    if !(subject.exists)("probe_ssl_earliest_cert_expiry") {
        return Vec::new();
    }
    let left = format!("({} - time())", own(subject, "probe_ssl_earliest_cert_expiry"));
    let lifetime = own(subject, "probe_ssl_leaf_lifetime_seconds");
    let variant = |expr, severity, limit| Variant { expr, severity, wait: Duration::ZERO, limit };
    vec![
        variant(
            format!("{left} < 0.25 * {lifetime} or ({left} < {} unless {lifetime})", 14.0 * DAY),
            "warning",
            f64::NAN,
        ),
        variant(format!("{left} < 0.1 * {lifetime} or {left} < {}", 3.0 * DAY), "critical", 3.0 * DAY),
    ]
}
