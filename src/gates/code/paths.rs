//! A path in a report, found in the repository. Reports name files as the machine that ran the tests saw them: absolute,
//! relative to a package, to a `<source>` root, or with another system's separators.

use std::collections::BTreeMap;

/// The repository's files, by base name.
pub struct Index<'r> {
    by_name: BTreeMap<&'r str, Vec<&'r str>>,
}

impl<'r> Index<'r> {
    pub fn new(paths: impl Iterator<Item = &'r str>) -> Index<'r> {
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for path in paths {
            by_name.entry(base(path)).or_default().push(path);
        }
        Index { by_name }
    }

    /// The file that `path` means. `report` is the report's own path, `roots` its source folders.
    /// In this order: relative to the report's folder or one above it; the longest file that the (absolute) path ends
    /// with; the only file that ends with the (relative) path. `None` when nothing fits, or two files do.
    pub fn resolve(&self, path: &str, report: &str, roots: &[String]) -> Option<&'r str> {
        let path = path.trim_start_matches("./");
        let same_name = self.by_name.get(base(path))?;
        let rooted: Vec<String> = roots
            .iter()
            .filter(|_| !is_absolute(path))
            .map(|r| format!("{}/{path}", r.trim_end_matches('/')))
            .collect();
        let candidates = || rooted.iter().map(String::as_str).chain([path]);

        for candidate in candidates().filter(|c| !is_absolute(c)) {
            let candidate = candidate.trim_start_matches("./");
            let mut folder = report;
            while let Some((above, _)) = folder.rsplit_once('/') {
                let joined = format!("{above}/{candidate}");
                if let Some(found) = same_name.iter().find(|f| **f == joined) {
                    return Some(found);
                }
                folder = above;
            }
            if let Some(found) = same_name.iter().find(|f| **f == candidate) {
                return Some(found);
            }
        }
        for candidate in candidates().filter(|c| is_absolute(c)) {
            let longest = same_name.iter().filter(|f| ends_with_path(candidate, f)).max_by_key(|f| f.len());
            if let Some(found) = longest {
                return Some(found);
            }
        }
        let mut ending = same_name.iter().filter(|f| ends_with_path(f, path));
        match (ending.next(), ending.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }
}

/// Files of the system, of a package manager or of a run time are nobody's product: neither found nor missed.
pub fn is_foreign(path: &str) -> bool {
    path.starts_with("/usr/")
        || path.starts_with("node:")
        || ["/node_modules/", "/site-packages/", "/dist-packages/", "/.cargo/registry/", "/rustc/", "/go/pkg/mod/"]
            .iter()
            .any(|f| format!("/{path}").contains(f))
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.as_bytes().get(1) == Some(&b':')
}

/// Does `long` end with the whole segments of `short`?
fn ends_with_path(long: &str, short: &str) -> bool {
    long.strip_suffix(short).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], path: &str, report: &str, roots: &[&str], expect: Option<&str>) {
        let roots: Vec<String> = roots.iter().map(|r| r.to_string()).collect();
        assert_eq!(Index::new(files.iter().copied()).resolve(path, report, &roots), expect, "{path} in {report}");
    }

    #[test]
    fn finds_what_is_meant() {
        let files = [
            "src/cart.js",
            "packages/a/src/index.js",
            "packages/b/src/index.js",
            "shop/__init__.py",
            "tests/__init__.py",
        ];
        check(&files, "src/cart.js", "coverage/lcov.info", &[], Some("src/cart.js"));
        check(&files, "./src/cart.js", "lcov.info", &[], Some("src/cart.js"));
        check(&files, "/ci/build/1/shop/src/cart.js", "lcov.info", &[], Some("src/cart.js"));
        check(&files, "C:/build/src/cart.js", "lcov.info", &[], Some("src/cart.js"));
        check(&files, "src/index.js", "packages/b/coverage/lcov.info", &[], Some("packages/b/src/index.js"));
        check(&files, "__init__.py", "coverage.xml", &["/ci/repo/shop"], Some("shop/__init__.py"));
        check(&files, "cart.js", "coverage.xml", &["src"], Some("src/cart.js"));
    }

    #[test]
    fn refuses_to_guess() {
        let files = ["packages/a/src/index.js", "packages/b/src/index.js", "src/cart.js"];
        check(&files, "src/index.js", "lcov.info", &[], None);
        check(&files, "lib/cart.js", "lcov.info", &[], None);
        check(&files, "/elsewhere/lib/cart.js", "lcov.info", &[], None);
        check(&files, "art.js", "lcov.info", &[], None);
    }

    #[test]
    fn knows_foreign_files() {
        assert!(is_foreign("/usr/include/c++/12/vector") && is_foreign("node_modules/a/b.js"));
        assert!(!is_foreign("src/usr/a.js"));
    }
}
