//! SemVer 2.0.0: parse and precedence (rules 9 to 11). Also accepts what people write around it: a leading `v`, and
//! nothing else; `1.2` is not a version.

use std::cmp::Ordering;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    /// Dot-separated identifiers after `-`; empty for a release.
    pub pre: Vec<Identifier>,
    /// After `+`; no part in precedence.
    pub build: String,
}

/// One pre-release identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identifier {
    Numeric(u64),
    Text(String),
}

impl Version {
    /// `None` unless the text is a SemVer version, with or without a leading `v`.
    pub fn parse(text: &str) -> Option<Version> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (rest, build) = match text.split_once('+') {
            Some((rest, build)) => (rest, identifiers(build, false)?.join(".")),
            None => (text, String::new()),
        };
        let (core, pre) = match rest.split_once('-') {
            Some((core, pre)) => (core, identifiers(pre, true)?),
            None => (rest, Vec::new()),
        };
        let mut numbers = core.split('.').map(number);
        let version = Version {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next()??,
            pre: pre
                .into_iter()
                .map(|p| number(p).map_or_else(|| Identifier::Text(p.into()), Identifier::Numeric))
                .collect(),
            build,
        };
        numbers.next().is_none().then_some(version)
    }

    pub fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    /// Precedence (rule 11): like `Ord`, but two versions that differ in build metadata only are equal.
    pub fn precedence(&self, other: &Version) -> Ordering {
        let core = |v: &Version| (v.major, v.minor, v.patch);
        core(self).cmp(&core(other)).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        })
    }

    /// The next release after `self` by patch; a pre-release becomes its release.
    pub fn next(&self) -> Version {
        let patch = if self.is_prerelease() { self.patch } else { self.patch + 1 };
        Version { patch, pre: Vec::new(), build: String::new(), ..self.clone() }
    }
}

impl Ord for Identifier {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Identifier::Numeric(a), Identifier::Numeric(b)) => a.cmp(b),
            (Identifier::Numeric(_), Identifier::Text(_)) => Ordering::Less,
            (Identifier::Text(_), Identifier::Numeric(_)) => Ordering::Greater,
            (Identifier::Text(a), Identifier::Text(b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for Identifier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (i, id) in self.pre.iter().enumerate() {
            f.write_str(if i == 0 { "-" } else { "." })?;
            match id {
                Identifier::Numeric(n) => write!(f, "{n}")?,
                Identifier::Text(t) => f.write_str(t)?,
            }
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

/// Digits without a leading zero, within u64.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn identifiers(text: &str, strict: bool) -> Option<Vec<&str>> {
    let parts: Vec<&str> = text.split('.').collect();
    let fine = |p: &&str| {
        let word = !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        // A pre-release number must not start with zero (rule 9) nor leave our integers.
        let numeric = p.bytes().all(|b| b.is_ascii_digit());
        word && !(strict && numeric && number(p).is_none())
    };
    parts.iter().all(fine).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text} did not parse"))
    }

    #[test]
    fn the_precedence_table_of_the_specification() {
        let ladder = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.1.0",
            "2.0.0",
            "10.0.0",
        ];
        for (i, a) in ladder.iter().enumerate() {
            for (j, b) in ladder.iter().enumerate() {
                assert_eq!(v(a).precedence(&v(b)), i.cmp(&j), "{a} against {b}");
            }
        }
        assert_eq!(v("1.0.0+a").precedence(&v("1.0.0+b")), Ordering::Equal);
    }

    #[test]
    fn what_is_not_a_version() {
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+",
            "V1.2.3",
            "vv1.2.3",
            "1.2.3-ä",
            " 1.2.3",
            "99999999999999999999.0.0",
        ] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        for good in ["0.0.0", "v1.2.3", "1.2.3-0", "1.2.3--", "1.2.3-x-y.7+001.sha", "1.2.3-0a"] {
            assert!(Version::parse(good).is_some(), "{good}");
        }
        assert_eq!(v("1.2.3-rc.1").next().to_string(), "1.2.3");
        assert_eq!(v("1.2.3").next().to_string(), "1.2.4");
    }

    fn any_version() -> impl Strategy<Value = Version> {
        let id = prop_oneof![(0u64..50).prop_map(|n| n.to_string()), "[a-zA-Z-][0-9a-zA-Z-]{0,3}",];
        let pre = proptest::collection::vec(id, 0..4);
        (0u64..4, 0u64..4, 0u64..4, pre).prop_map(|(major, minor, patch, pre)| {
            let pre = if pre.is_empty() { String::new() } else { format!("-{}", pre.join(".")) };
            v(&format!("{major}.{minor}.{patch}{pre}"))
        })
    }

    proptest! {
        #[test]
        fn printing_parses_back(a in any_version()) {
            prop_assert_eq!(v(&a.to_string()), a);
        }

        #[test]
        fn precedence_is_a_total_order(a in any_version(), b in any_version(), c in any_version()) {
            prop_assert_eq!(a.precedence(&b), b.precedence(&a).reverse());
            if a.precedence(&b).is_le() && b.precedence(&c).is_le() {
                prop_assert!(a.precedence(&c).is_le());
            }
            // Without build metadata, equal in precedence means equal.
            prop_assert_eq!(a.precedence(&b).is_eq(), a == b);
        }

        #[test]
        fn a_prerelease_comes_before_its_release(a in any_version()) {
            let release = Version { pre: vec![], ..a.clone() };
            let expect = if a.is_prerelease() { Ordering::Less } else { Ordering::Equal };
            prop_assert_eq!(a.precedence(&release), expect);
            prop_assert!(a.next().precedence(&a).is_gt());
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = Version::parse(&text);
        }
    }
}
