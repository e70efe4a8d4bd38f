//! The gate over small repositories: each verdict, what is suppressed, what a bundler drops, what must not come out.

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::{sweep, testing};

fn run_with(files: &[(&str, &str)], facts: &[(&'static str, &str)], config: &Config) -> Outcome {
    let (_dir, repo) = testing::repo(files);
    let facts = testing::facts(facts);
    let (_, found) = sweep::alone(&repo, Looking::new(&repo, &facts, config));
    judge(&gather(&repo, found, &facts, config))
}

fn run(files: &[(&str, &str)]) -> Outcome {
    run_with(files, &[("logger", "winston")], &Config::default())
}

/// Verdict, then `file:line:column rule` of every finding (in brackets when suppressed).
fn check(files: &[(&str, &str)], verdict: Verdict, expect: &[&str]) -> Outcome {
    let outcome = run(files);
    let got: Vec<String> = outcome
        .findings
        .iter()
        .map(|f| {
            let (file, line, column) = (f.file.as_deref().unwrap(), f.line.unwrap(), f.column.unwrap());
            let row = format!("{file}:{line}:{column} {}", f.rule);
            if f.suppressed.is_some() { format!("[{row}]") } else { row }
        })
        .collect();
    assert_eq!((outcome.verdict, got.iter().map(String::as_str).collect::<Vec<_>>()), (verdict, expect.to_vec()));
    outcome
}

#[test]
fn good_code_passes_with_its_denominator() {
    let outcome = check(
        &[
            ("src/a.js", "// console.log(1)\nlogger.info('console.log')\nconsole.error(e)\n"),
            ("src/a.test.js", "console.log(1)\ndebugger\n"),
            ("scripts/x.js", "console.log(1)\n"),
            ("bin/x.js", "console.log(1)\n"),
            ("vite.config.js", "console.log(1)\n"),
            ("src/A.stories.tsx", "console.log(1)\n"),
            ("node_modules/a/a.js", "debugger\n"),
        ],
        Verdict::Pass,
        &[],
    );
    assert_eq!((outcome.covered, outcome.known, outcome.tier), (Some(2), Some(2), Some(Tier::E1)));
}

#[test]
fn leftovers_fail_with_place_function_and_hint() {
    let outcome = check(
        &[
            ("src/a.js", "function applyCoupon() {\n  console.log('é', x); console.log(1)\n}\n"),
            ("b.py", "breakpoint()\n"),
        ],
        Verdict::Fail,
        &["b.py:1:1 debugger", "src/a.js:2:3 console", "src/a.js:2:24 console"],
    );
    assert_eq!(outcome.summary, "3 leftovers in 2 files");
    assert_eq!(outcome.findings[1].message, "console.log in applyCoupon");
    assert_eq!((outcome.value, outcome.threshold), (Some(3.into()), Some(0.into())));
    assert!(
        outcome.hint.unwrap().starts_with("b.py:1 debugger at top level".replace("debugger", "breakpoint").as_str())
    );
}

#[test]
fn prints_warn_only_beside_a_logger() {
    let go: &[(&str, &str)] = &[("a.go", "package a\nfunc F() { fmt.Println(1) }\n")];
    check(go, Verdict::Warn, &["a.go:2:12 print"]);
    assert_eq!(run_with(go, &[], &Config::default()).verdict, Verdict::Pass);
    let allow = Config { allow: vec!["fmt.Println".into()], ..Config::default() };
    assert_eq!(run_with(go, &[("logger", "zap")], &allow).verdict, Verdict::Pass);
}

#[test]
fn a_program_may_print_but_not_stop() {
    check(&[("bin/a.js", "console.log(1)\ndebugger\n")], Verdict::Fail, &["bin/a.js:2:1 debugger"]);
    let manifest = r#"{"bin": {"shop": "./lib/main.js"}}"#;
    check(&[("package.json", manifest), ("lib/main.js", "console.log(1)\n")], Verdict::Pass, &[]);
}

#[test]
fn focused_tests_warn() {
    let outcome =
        check(&[("a.js", "f()\n"), ("a.test.js", "it.only('x', f)\n")], Verdict::Warn, &["a.test.js:1:1 focused-test"]);
    assert_eq!(outcome.summary, "1 focused test in 1 file");
}

#[test]
fn suppressions_are_listed_and_need_a_reason() {
    check(
        &[(
            "a.js",
            concat!(
                "console.log(1) // hypercare:allow code.leftover_debug -- banner\n",
                "// eslint-disable-next-line no-console\n",
                "console.log(2)\n",
                "console.log(3) // eslint-disable-line no-console -- banner\n",
            ),
        )],
        Verdict::Pass,
        &["[a.js:1:1 console]", "[a.js:3:1 console]", "[a.js:4:1 console]"],
    );
    let file = "/* eslint-disable no-console */\nconsole.log(1)\n/* eslint-enable */\nconsole.log(2)\n";
    check(&[("a.js", file)], Verdict::Fail, &["[a.js:2:1 console]", "a.js:4:1 console"]);
    check(&[("a.py", "print(1)  # noqa: T201\n")], Verdict::Pass, &["[a.py:1:1 print]"]);
    let outcome = run(&[("a.js", "console.log(1) // hypercare:allow code.leftover_debug\n")]);
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(outcome.findings[0].message.contains("gives no reason"), "{}", outcome.findings[0].message);
}

#[test]
fn a_bundler_that_drops_makes_them_notes() {
    let outcome = check(
        &[("vite.config.js", "export default { esbuild: { drop: ['console'] } }\n"), ("src/a.js", "console.log(1)\n")],
        Verdict::Pass,
        &["src/a.js:1:1 console"],
    );
    assert_eq!(outcome.findings[0].severity, Severity::Info);
    check(
        &[
            ("vite.config.js", "export default { esbuild: { drop: ['console'] } }\n"),
            ("src/a.js", "debugger\n"),
            ("server/a.js", "console.log(1)\n"),
        ],
        Verdict::Fail,
        &["server/a.js:1:1 console", "src/a.js:1:1 debugger"],
    );
}

#[test]
fn cannot_tell() {
    let outcome = run(&[("README.md", "console.log(1)\n")]);
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Skip, Some("no-source")));
    for (files, reason) in [
        (&[("scripts/a.js", "f()\n")][..], "nothing-to-inspect"),
        (&[("Program.kt", "class A {}\n")], "nothing-to-inspect"),
        (&[("a.js", "f()\n"), ("b.js", "%%% ]]] console.log((((( {{{{ %%% <<<\n")], "unparsable"),
    ] {
        let outcome = run(files);
        assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some(reason)), "{files:?}");
    }
}

#[test]
fn languages_without_a_grammar_lower_the_denominator() {
    let outcome = check(&[("a.js", "f()\n"), ("A.kt", "class A {}\n")], Verdict::Warn, &[]);
    assert_eq!((outcome.covered, outcome.known), (Some(1), Some(2)));
    assert!(outcome.summary.contains("no grammar for 1 Kotlin"), "{}", outcome.summary);
}

#[test]
fn fingerprints_survive_line_shifts_and_tell_twins_apart() {
    let before = run(&[("a.js", "console.log(1)\nconsole.log(1)\n")]);
    let after = run(&[("a.js", "\n\n  console.log(1)\nf()\nconsole.log(1)\n")]);
    let prints = |o: &Outcome| o.findings.iter().map(|f| f.fingerprint.clone()).collect::<Vec<_>>();
    assert_eq!(prints(&before), prints(&after));
    assert_ne!(prints(&before)[0], prints(&before)[1]);
}

#[test]
fn evidence_shows_no_data() {
    let outcome = run(&[("a.js", "console.log('ghp_0123456789', x)\n")]);
    let text = serde_json::to_string(&outcome.evidence[0].content).unwrap();
    assert!(!text.contains("ghp_") && text.contains("console.log('…', x)"), "{text}");
}

#[test]
fn allow_wants_names() {
    assert_eq!(Config::default().validate(), []);
    assert_eq!(Config { allow: vec!["console.log()".into(), "".into()], strict: true }.validate().len(), 2);
}

#[test]
fn csharp_by_its_project() {
    let web = ("src/Shop/Shop.csproj", "<Project Sdk=\"Microsoft.NET.Sdk.Web\"></Project>");
    let tool =
        ("console/console.csproj", "<Project><PropertyGroup><OutputType>Exe</OutputType></PropertyGroup></Project>");
    let cart = "class Cart {\n  void Add() {\n    Console.WriteLine(1);\n  }\n}\n";
    let run = |files: &[(&str, &str)]| run_with(files, &[], &Config::default());
    let outcome = run(&[web, ("src/Shop/Cart.cs", cart)]);
    assert_eq!((outcome.verdict, &*outcome.summary), (Verdict::Warn, "1 print in 1 file"));
    assert_eq!(outcome.findings[0].message, "Console.WriteLine in Add");
    assert!(outcome.findings[0].fix.contains("ILogger"), "{}", outcome.findings[0].fix);
    let stops = cart.replace("Console.WriteLine(1)", "Debugger.Break()");
    assert_eq!(run(&[web, ("src/Shop/Cart.cs", &stops)]).verdict, Verdict::Fail);
    let release = stops.replace("    Debugger", "#if DEBUG\n    Debugger").replace("();\n  }", "();\n#endif\n  }");
    assert_eq!(run(&[web, ("src/Shop/Cart.cs", &release)]).verdict, Verdict::Pass);
    let outcome = run(&[tool, ("console/Program.cs", cart), ("Shop.Tests/CartTests.cs", &stops)]);
    assert_eq!((outcome.verdict, outcome.known), (Verdict::Pass, Some(1)));
    let outcome = run(&[("A.cs", "class A { string s = \"Debugger\n; }"), ("B.cs", "class B { }")]);
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("unparsable")));
}

#[test]
fn programs_may_answer_unless_strict() {
    let files = [
        ("shop/report.py", "import argparse\nprint(1)\n"),
        ("shop/prices.py", "if __name__ == '__main__':\n    print(1)\n"),
        ("bin/shop.js", "console.log(1);\n"),
    ];
    let logger = [("logger", "structlog")];
    assert_eq!(run_with(&files, &logger, &Config::default()).verdict, Verdict::Pass);
    let strict = run_with(&files, &logger, &Config { strict: true, ..Config::default() });
    let places: Vec<_> = strict.findings.iter().map(|f| (f.file.as_deref().unwrap(), f.line.unwrap())).collect();
    assert_eq!(places, [("bin/shop.js", 1), ("shop/prices.py", 2), ("shop/report.py", 2)]);
    assert_eq!(strict.verdict, Verdict::Fail);
}
