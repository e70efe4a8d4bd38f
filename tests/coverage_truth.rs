//! Coverage reports beside what their writers print: coverage.py, c8, nyc, lcov and gcovr run here, on programs written
//! for it, and each report must give the very lines that its writer counts. Cut anywhere, it must be refused; with a byte
//! changed, it must be refused or say the same.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use hypercare::gates::import::kind::{Content, Kind};

/// Covered and total.
type Figure = (u64, u64);

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The first two numbers that `pattern` finds in what a writer prints.
fn printed(said: &str, pattern: &str) -> Figure {
    let pattern = regex::Regex::new(pattern).unwrap();
    let found = pattern.captures(said).unwrap_or_else(|| panic!("no {pattern} in {said}"));
    (found[1].parse().unwrap(), found[2].parse().unwrap())
}

fn read(kind: Kind, text: &str) -> Option<Figure> {
    match kind.read(text) {
        Ok(Content::Coverage { covered, total, .. }) => Some((covered, total)),
        _ => None,
    }
}

/// `counted`: the report counts its own lines, so that a byte that changes the figure shows.
fn check(folder: &Path, kind: Kind, report: &str, writer: Figure, counted: bool) {
    let text = std::fs::read_to_string(folder.join(report)).unwrap();
    assert_eq!(read(kind, &text), Some(writer), "{report}\n{text}");
    assert!(writer.0 > 0 && writer.0 < writer.1, "{report} shows nothing: {writer:?}");

    let whole = text.trim_end().len();
    for cut in (1..20).map(|i| whole * i / 20) {
        // Between two records nothing shows; the gate counts what is then missing as uncovered.
        let ends = kind == Kind::Lcov && text[..cut].trim_end().ends_with("end_of_record");
        assert!(ends || read(kind, &text[..cut]).is_none(), "{report} cut at {cut} of {whole}: {}", &text[..cut]);
    }

    let share = |(covered, total): Figure| covered as f64 / total as f64;
    for at in (0..whole).step_by(1 + whole / 500).filter(|_| counted) {
        for to in [text.as_bytes()[at] ^ 1, b' '] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = to;
            let changed = String::from_utf8(bytes).unwrap();
            if let Some(figure) = read(kind, &changed) {
                let off = (share(figure) - share(writer)).abs();
                let around = &changed[at.saturating_sub(80)..(at + 40).min(whole)];
                assert!(off < 0.001, "{report}: {figure:?} instead of {writer:?} with byte {at} changed: {around}");
            }
        }
    }
}

const SHOP_PY: &str = "\"\"\"A shop.\"\"\"\nimport sys\n\n\ndef total(cents, percent):\n    if percent > 100:\n        raise ValueError(\n            \"too much\"\n        )\n    if not percent: return cents\n    return cents - cents * percent // 100\n\n\ndef debug(value):  # pragma: no cover\n    print(value)\n\n\nclass Cart:\n    kind = \"plain\"\n\n    def add(self):\n        return [x for x in (1, 2)]\n";

#[test]
fn coverage_py_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let never = "def never():\n    return 1\n";
    write(folder, &[("shop/__init__.py", ""), ("shop/cart.py", SHOP_PY), ("shop/never.py", never)]);
    write(folder, &[("run.py", "from shop.cart import total\ntotal(100, 10)\n")]);
    let coverage =
        |args: &[&str]| run(Command::new(support::python()).args(["-m", "coverage"]).args(args).current_dir(folder));
    for branch in [false, true] {
        let mut args = vec!["run", "--source=shop"];
        args.extend(branch.then_some("--branch"));
        args.push("run.py");
        coverage(&args);
        let (total, missed) = printed(&coverage(&["report"]), r"TOTAL\s+(\d+)\s+(\d+)");
        let writer = (total - missed, total);
        for (format, kind, report) in [
            ("xml", Kind::Cobertura, "coverage.xml"),
            ("json", Kind::CoveragePy, "coverage.json"),
            ("lcov", Kind::Lcov, "coverage.lcov"),
        ] {
            coverage(&[format, "-q"]);
            check(folder, kind, report, writer, true);
        }
    }
}

const CART_JS: &str = "'use strict';\n\nfunction total(cents, percent) {\n  if (!percent) return cents;\n  const off = (cents * percent) / 100; const more = 1;\n  return percent > 100\n    ? 0\n    : cents - off * more;\n}\n\n/* istanbul ignore next */\n/* c8 ignore next 3 */\nfunction debug(x) {\n  console.log(x);\n}\n\nfunction never() {\n  return debug(2);\n}\n\nmodule.exports = { total, never };\n";

#[test]
fn istanbul_and_c8_say_the_same() {
    let modules = support::root().join("target/test-node/node_modules");
    for tool in ["nyc", "c8"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let never = "module.exports = () => {\n  return 1;\n};\n";
        write(folder, &[("package.json", "{}"), ("src/cart.js", CART_JS), ("src/never.js", never)]);
        write(folder, &[("run.js", "require('./src/cart').total(100, 10);\n")]);
        let mut command = Command::new(modules.join(".bin").join(tool));
        command.args(["--all", "--include", "src/**", "--report-dir", "out", "-r", "text-summary"]);
        for reporter in ["lcovonly", "cobertura", "clover", "json", "json-summary"] {
            command.args(["-r", reporter]);
        }
        let said = run(command.args(["node", "run.js"]).current_dir(folder));
        let writer = printed(&said, r"Lines\s*:\s*[\d.]+% \( (\d+)/(\d+) \)");
        for (kind, report, counted) in [
            (Kind::Lcov, "out/lcov.info", true),
            (Kind::Cobertura, "out/cobertura-coverage.xml", true),
            (Kind::Clover, "out/clover.xml", false),
            (Kind::Istanbul, "out/coverage-final.json", false),
            (Kind::IstanbulSummary, "out/coverage-summary.json", true),
        ] {
            check(folder, kind, report, writer, counted);
        }
    }
}

const UTIL_H: &str = "static inline int clamp(int v, int lo, int hi) {\n  if (v < lo)\n    return lo;\n  if (v > hi)\n    return hi;\n  return v;\n}\n";
const CART_C: &str = "#include \"util.h\"\n#include <stdlib.h>\nint total(int cents, int percent) {\n  percent = clamp(percent, 0, 100);\n  if (percent == 0)\n    return cents;\n  return cents - cents * percent / 100;\n}\nint check(int *p) {\n  if (!p)\n    abort(); /* LCOV_EXCL_LINE */\n  switch (*p) {\n  case 1:\n    return 10;\n  default:\n    return 0;\n  }\n}\n";
const MAIN_C: &str = "int total(int, int);\nint check(int *);\nint main(void) {\n  int one = 1;\n  return total(1000, 10) == 900 && check(&one) == 10 ? 0 : 1;\n}\n";

#[test]
fn lcov_and_gcovr_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let never = "int never(int a) {\n  int i, s = 0;\n  for (i = 0; i < a; i++)\n    s += i;\n  return s;\n}\n";
    write(folder, &[("util.h", UTIL_H), ("cart.c", CART_C), ("main.c", MAIN_C), ("never.c", never)]);
    let tool = |name: &str, args: &[&str]| run(Command::new(name).args(args).current_dir(folder));
    tool("gcc", &["--coverage", "-O0", "-o", "app", "cart.c", "main.c", "never.c"]);
    run(&mut Command::new(folder.join("app")));

    // What geninfo captures has no count of its own; what lcov writes from it has.
    let branches = ["--rc", "lcov_branch_coverage=1"];
    tool("lcov", &[&["--capture", "--directory", ".", "--output-file", "raw.info"], &branches[..]].concat());
    tool("lcov", &[&["--add-tracefile", "raw.info", "--output-file", "lcov.info"], &branches[..]].concat());
    for (report, counted) in [("raw.info", false), ("lcov.info", true)] {
        let writer = printed(&tool("lcov", &["--summary", report]), r"lines[.]+: [\d.]+% \((\d+) of (\d+) lines\)");
        check(folder, Kind::Lcov, report, writer, counted);
    }

    let (total, covered) = printed(&tool("gcovr", &["-r", "."]), r"TOTAL\s+(\d+)\s+(\d+)");
    tool("gcovr", &["-r", ".", "--xml", "cobertura.xml"]);
    check(folder, Kind::Cobertura, "cobertura.xml", (covered, total), true);
}
