//! What a description is for, by its path: the product in production, a developer's machine, a test, an example.

/// Only [`Purpose::Product`] is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    Product,
    Development,
    Test,
    Example,
    Vendored,
}

impl Purpose {
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Product => "product",
            Purpose::Development => "development",
            Purpose::Test => "test",
            Purpose::Example => "example",
            Purpose::Vendored => "vendored",
        }
    }

    /// By the names of the folders and of the file.
    pub fn of_path(path: &str) -> Purpose {
        let mut segments: Vec<String> = path.split('/').map(str::to_ascii_lowercase).collect();
        let name = segments.pop().unwrap_or_default();
        let folders: Vec<&str> = segments.iter().map(|s| s.trim_matches(['_', '.'])).collect();
        let any = |words: &[&str]| {
            folders.iter().any(|f| words.contains(f) || words.contains(&"testdata") && f.starts_with("testdata"))
        };
        let parts: Vec<&str> = name.split(['.', '-', '_']).collect();
        if any(&["node_modules", "vendor", "third_party", "third-party", "site-packages"]) {
            Purpose::Vendored
        } else if any(&["example", "examples", "sample", "samples", "demo", "docs", "doc", "archived", "tutorial"])
            || parts.iter().any(|p| matches!(*p, "example" | "sample" | "dist" | "tmpl" | "j2"))
        {
            Purpose::Example
        } else if any(&[
            "test",
            "tests",
            "testdata",
            "e2e",
            "spec",
            "specs",
            "fixtures",
            "integration",
            "integration-test",
            "integration-tests",
            "e2etests",
            "cypress",
            "playwright",
            "bench",
            "benchmark",
            "benchmarks",
        ]) || parts.iter().any(|p| matches!(*p, "test" | "tests" | "testing" | "e2e" | "ci" | "bench"))
        {
            Purpose::Test
        } else if any(&[
            "dev",
            "development",
            "local",
            "devcontainer",
            "ddev",
            "github",
            "gitlab",
            "hack",
            "minikube",
            "kind",
            "vscode",
            "gitpod",
            "workstation",
        ]) || parts.iter().any(|p| {
            matches!(*p, "dev" | "development" | "local" | "debug" | "override" | "develop" | "devcontainer" | "tools")
        }) {
            Purpose::Development
        } else {
            Purpose::Product
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell() {
        for (path, expect) in [
            ("docker-compose.yml", Purpose::Product),
            ("deploy/production/docker-compose.prod.yml", Purpose::Product),
            ("docker-compose.override.yml", Purpose::Development),
            ("compose.dev.yaml", Purpose::Development),
            (".devcontainer/Dockerfile", Purpose::Development),
            ("Dockerfile.dev", Purpose::Development),
            ("docker/Dockerfile.debian", Purpose::Product),
            ("k8s/overlays/dev/patch.yaml", Purpose::Development),
            ("k8s/device-api.yaml", Purpose::Product),
            ("examples/k8s/app.yaml", Purpose::Example),
            (".examples/compose.yaml", Purpose::Example),
            ("docker-compose.example.yml", Purpose::Example),
            ("tests/docker-compose.yml", Purpose::Test),
            ("docker-compose.test.yml", Purpose::Test),
            ("k8s/latest.yaml", Purpose::Product),
            ("node_modules/x/Dockerfile", Purpose::Vendored),
        ] {
            assert_eq!(Purpose::of_path(path), expect, "{path}");
        }
    }
}
