//! Go, Ruby, Java, .NET and Elixir: one short reader each.

use std::sync::LazyLock;

use regex::Regex;

use super::{Around, Manifest, Scope, is_for_developers};

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a pattern of ours"));
    };
}

pattern!(GO_REQUIRE, r"^\s*(?:require\s+)?([a-zA-Z0-9.-]+\.[a-z]+/[^\s]+)\s+v");

/// What is only there because something else needs it is marked `// indirect`.
pub fn go_mod(_: &str, text: &str, around: &Around) -> Manifest {
    let (mut manifest, mut replaces) = (Manifest::default(), false);
    for (i, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("module ") {
            manifest.name = Some((name.trim().to_string(), i as u32 + 1));
        }
        replaces |= line.starts_with("replace") || line.starts_with("exclude") || line.starts_with("tool");
        replaces &= !line.starts_with(')');
        if let Some(found) = GO_REQUIRE.captures(line)
            && !line.contains("// indirect")
            && !replaces
        {
            manifest.add(&found[1], i, Scope::Runs);
        }
    }
    let program = around.beside("main.go") || around.below("cmd") || around.runs();
    manifest.library = !program && around.has_source(".go", "_test.go", false);
    if !program && !manifest.library && !around.has_source(".go", "_test.go", true) {
        // A module of tests alone, as people write them for their infrastructure.
        manifest.dependencies.iter_mut().for_each(|d| d.scope = Scope::Develops);
    }
    manifest
}

pattern!(GEM, r#"^\s*gem\s+["']([^"']+)["'](.*)"#);
pattern!(GEMSPEC, r#"\.add_(runtime_|development_)?dependency[\s(]+["']([^"']+)["']"#);
pattern!(SYMBOL, r":([a-z_]+)");

pub fn gemfile(path: &str, text: &str, _: &Around) -> Manifest {
    let gemspec = path.ends_with(".gemspec");
    let mut manifest = Manifest { library: gemspec, ..Manifest::default() };
    // Of each open block: is it for developers?
    let mut blocks: Vec<bool> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let code = line.trim();
        if gemspec {
            if let Some(found) = GEMSPEC.captures(code) {
                let develops = found.get(1).is_some_and(|kind| kind.as_str().starts_with("dev"));
                manifest.add(&found[2], i, if develops { Scope::Develops } else { Scope::Runs });
            }
            continue;
        }
        if let Some(found) = GEM.captures(line) {
            let inline = found[2].contains("group") && only_for_developers(&found[2]);
            let develops = inline || blocks.iter().any(|b| *b);
            manifest.add(&found[1], i, if develops { Scope::Develops } else { Scope::Runs });
        }
        if code.ends_with(" do") || code.contains(" do |") || code.starts_with("if ") || code.starts_with("unless ") {
            blocks.push(code.starts_with("group") && only_for_developers(code));
        } else if code == "end" {
            blocks.pop();
        }
    }
    manifest
}

/// Names groups, and none that runs in production.
fn only_for_developers(text: &str) -> bool {
    let mut groups = SYMBOL.captures_iter(text).map(|c| c[1].to_string()).filter(|g| g != "group" && g != "require");
    groups.next().is_some_and(|g| is_for_developers(&g)) && groups.all(|g| is_for_developers(&g))
}

pattern!(ARTIFACT, r"<artifactId>\s*([^<\s]+)\s*</artifactId>");

pub fn pom(_: &str, text: &str, _: &Around) -> Manifest {
    let mut manifest = Manifest::default();
    let (mut inside, mut managed, mut parent, mut build) = (false, false, false, false);
    let mut current: Option<(String, usize, Scope)> = None;
    for (i, line) in text.lines().enumerate() {
        managed |= line.contains("<dependencyManagement>");
        parent |= line.contains("<parent>");
        build |= line.contains("<plugins>") || line.contains("<plugin>");
        inside |= line.contains("<dependency>");
        if let Some(found) = ARTIFACT.captures(line) {
            if inside && !managed && !build && current.is_none() {
                current = Some((found[1].to_string(), i, Scope::Runs));
            } else if !inside && !parent && !build && manifest.name.is_none() {
                manifest.name = Some((found[1].to_string(), i as u32 + 1));
            }
        }
        if let Some((_, _, scope)) = &mut current {
            if line.contains("<scope>test") || line.contains("<scope>provided") {
                *scope = Scope::Develops;
            } else if line.contains("<optional>true") && *scope == Scope::Runs {
                *scope = Scope::Optional;
            }
        }
        if line.contains("</dependency>") {
            inside = false;
            if let Some((name, at, scope)) = current.take() {
                manifest.add(name, at, scope);
            }
        }
        managed &= !line.contains("</dependencyManagement>");
        parent &= !line.contains("</parent>");
        build &= !(line.contains("</plugins>") || line.contains("</plugin>"));
    }
    manifest
}

pattern!(GRADLE, r#"^\s*([A-Za-z]+)\b.*["'][A-Za-z0-9_.-]+:([A-Za-z0-9_.-]+)(?::[^"']*)?["']"#);

pub fn gradle(_: &str, text: &str, _: &Around) -> Manifest {
    let mut manifest = Manifest::default();
    for (i, line) in text.lines().enumerate() {
        let Some(found) = GRADLE.captures(line) else { continue };
        let configuration = found[1].to_ascii_lowercase();
        if matches!(configuration.as_str(), "classpath" | "id" | "mavenbom") {
            continue;
        }
        let develops = ["test", "developmentonly", "annotationprocessor", "kapt", "jmh"];
        let develops = develops.iter().any(|d| configuration.contains(d));
        manifest.add(&found[2], i, if develops { Scope::Develops } else { Scope::Runs });
    }
    manifest
}

pattern!(NUGET, r#"<(?:PackageReference|FrameworkReference)\s+Include="([^"]+)""#);
pattern!(SDK, r#"<Project\s+Sdk="([^"]+)""#);

pub fn csproj(_: &str, text: &str, _: &Around) -> Manifest {
    let mut manifest = Manifest::default();
    for (i, line) in text.lines().enumerate() {
        for pattern in [&NUGET, &SDK] {
            if let Some(found) = pattern.captures(line) {
                let develops = line.contains("PrivateAssets=\"all\"");
                manifest.add(&found[1], i, if develops { Scope::Develops } else { Scope::Runs });
            }
        }
    }
    manifest
}

pattern!(MIX, r"\{:([a-z_0-9]+),(.*)");

pub fn mix(_: &str, text: &str, _: &Around) -> Manifest {
    let mut manifest = Manifest::default();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with('#')) {
        if let Some(found) = MIX.captures(line) {
            let develops = found[2].contains("only:") && !found[2].contains(":prod");
            manifest.add(&found[1], i, if develops { Scope::Develops } else { Scope::Runs });
        }
    }
    manifest
}
