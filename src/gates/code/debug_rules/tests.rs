//! Each language: what is a leftover, with its place and function, and what only looks like one.

use super::*;
use crate::gates::code::debug_places::{Aim, places};
use crate::gates::code::syntax::{Source, parse};

/// Hits as `line:column call (function)`, all counted from 1.
fn check(path: &str, source: &str, expect: &[&str]) {
    let (kind, text) = (Source::of(path).unwrap(), source.as_bytes());
    let parsed = parse(kind, text).unwrap();
    let mut at = [Aim::Prints, Aim::Focus].map(|aim| places(kind, aim, text, &[])).concat();
    at.sort_unstable();
    let got: Vec<String> = find(&parsed, text, &at)
        .into_iter()
        .map(|h| format!("{}:{} {} ({})", h.row + 1, h.column + 1, h.call, h.function.unwrap_or("-".into())))
        .collect();
    assert_eq!(got, expect, "{path}\n{source}\n{}", parsed.tree.root_node().to_sexp());
}

#[test]
fn javascript_calls_not_look_alikes() {
    check("a.js", "function applyCoupon(c) {\n  console.log(c)\n}\n", &["2:3 console.log (applyCoupon)"]);
    check(
        "a.js",
        "const f = () => { console['table'](1); debugger }",
        &["1:19 console.table (f)", "1:40 debugger (f)"],
    );
    check("a.js", "class A { total() { window.console.debug(1) } }", &["1:21 console.debug (total)"]);
    check("a.js", "app.get('/', (q, s) => { console?.dir(q) })", &["1:26 console.dir (a callback of app.get)"]);
    check("a.js", "load().then(console.log)", &["1:13 console.log (-)"]);
    check("a.jsx", "const A = () => <a onClick={() => console.log(1)}>console.log(2)</a>", &["1:35 console.log (A)"]);
    check("a.js", "const log = opts.log || console.log", &["1:25 console.log (-)"]);
    check(
        "a.js",
        "console.log = () => {}; g(console.info.bind(console))",
        &["1:1 console.log (-)", "1:27 console.info (-)"],
    );
    check("a.js", "console.log.apply(console, arguments)", &["1:1 console.log (-)"]);
    check("a.ts", "export function f<T>(x: T): void { console.trace(x as unknown) }", &["1:36 console.trace (f)"]);
    for clean in [
        "// console.log(1)\n/* debugger */ const s = 'console.log(1); debugger'",
        "const t = `console.log(${1})`",
        "const re = /console\\.log(1)/",
        "logger.console.log(1); my.debugger = 1; x.debugger()",
        "function f(console) { console.log(1) }",
        "const f = ({ console }) => { console.log(1) }",
        "const f = console => console.log(1)",
        "import { console } from './fake'; console.log(1)",
        "import { fake as console } from './fake'; console.log(1)",
        "const console = makeConsole(); console.log(1)",
        "fitted(1); it('x', () => {}); describe.skip('x')",
    ] {
        check("a.js", clean, &[]);
    }
}

#[test]
fn a_shadow_ends_with_its_scope() {
    check("a.js", "import { console as c } from 'x'; console.log(1)", &["1:35 console.log (-)"]);
    check("a.py", "class A:\n    def print(self):\n        pass\nprint(1)\n", &["4:1 print (-)"]);
    check("a.js", "function f(console) {\n  console.log(1)\n}\nconsole.log(2)\n", &["4:1 console.log (-)"]);
    check("a.js", "const console = require('console')\nconsole.log(2)\n", &["2:1 console.log (-)"]);
}

#[test]
fn focused_tests() {
    check(
        "a.test.js",
        "it.only('x', () => {}); test.only.each([1])('y', f)",
        &["1:1 it.only (-)", "1:25 test.only.each (-)"],
    );
    check(
        "a.spec.ts",
        "fdescribe('x', () => { fit('y', () => {}) })",
        &["1:1 fdescribe (-)", "1:24 fit (a callback of fdescribe)"],
    );
    check(
        "a_spec.rb",
        "fdescribe 'x' do\n  it 'y', focus: true do\n  end\nend\n",
        &["1:1 fdescribe (-)", "2:3 it with focus (-)"],
    );
}

#[test]
fn python() {
    check(
        "a.py",
        "def f(x):\n    import pdb; pdb.set_trace()\n    breakpoint()\n    print(x)\n",
        &["2:5 import pdb (f)", "2:17 pdb.set_trace (f)", "3:5 breakpoint (f)", "4:5 print (f)"],
    );
    check("a.py", "def breakpoint():\n    pass\nbreakpoint()\n", &[]);
    check(
        "a.py",
        "from ipdb import set_trace as s\nimport os, pudb as p\n",
        &["1:1 import of ipdb (-)", "2:1 import os, pudb as p (-)"],
    );
    check(
        "a.py",
        "print(1, file=log)\nprint(2, file=sys.stderr)\npprint(3)\npprint.pprint(4)\n",
        &["2:1 print (-)", "4:1 pprint.pprint (-)"],
    );
    check("a.py", "# breakpoint()\ns = 'print(1)'\nself.print(1)\ndebug.breakpoint()\n", &[]);
    check(
        "a.py",
        "if __name__ == '__main__':\n    print(1)\n    breakpoint()\n",
        &["2:5 print (-)", "3:5 breakpoint (-)"],
    );
}

#[test]
fn go_rust_java() {
    check(
        "a.go",
        "package a\nfunc F() {\n\tfmt.Println(1)\n\tspew.Dump(2)\n\truntime.Breakpoint()\n\tlog.Println(3)\n}\n",
        &["3:2 fmt.Println (F)", "4:2 spew.Dump (F)", "5:2 runtime.Breakpoint (F)"],
    );
    check(
        "a.rs",
        "fn f() { let x = dbg!(1); vec![std::dbg!(2)]; todo!() }\n#[cfg(test)]\nmod tests { fn g() { dbg!(3); } }\n#[test]\nfn t() { todo!() }\n",
        &["1:18 dbg! (f)", "1:37 dbg! (f)", "1:47 todo! (f)"],
    );
    check("a.rs", "/// dbg!(x)\nfn f() { debug!(1); let s = \"todo!()\"; todo(); }", &[]);
    check(
        "A.java",
        "class A { void f() { try { g(); } catch (E e) { e.printStackTrace(); System.out.println(1); } } }",
        &["1:49 printStackTrace (f)", "1:70 System.out.println (f)"],
    );
    check(
        "A.java",
        "class A { void f(E e, W w) { e.printStackTrace(w); out.println(1); /* System.out.println */ } }",
        &[],
    );
}

#[test]
fn code_for_tests_under_a_longer_condition() {
    check("a.rs", "#[cfg(all(test, not(loom)))]\nmod tests { fn g() { todo!() } }", &[]);
    check("a.rs", "#[cfg(any(unix, test))]\nmod a { fn g() { todo!() } }", &[]);
    check("a.rs", "#[cfg(docsrs)]\nmacro_rules! a { () => { fn g() { todo!() } } }", &[]);
    check("a.rs", "#[cfg(not(test))]\nmod a { fn g() { todo!() } }", &["2:18 todo! (g)"]);
}

#[test]
fn helpers_that_dump_are_no_leftovers() {
    let class = "<?php\nclass A { function dump() { dump($this); } function ddBody() { dd($this); } function go() { dd(1); } }\n";
    check("a.php", class, &["2:93 dd (go)"]);
}

#[test]
fn ruby_and_php() {
    check(
        "a.rb",
        "def f(x)\n  binding.pry\n  byebug if x\n  puts x\nend\n",
        &["2:3 binding.pry (f)", "3:3 byebug (f)", "4:3 puts (f)"],
    );
    check("a.rb", "# binding.pry\ns = 'byebug'\nbinding.local_variables\nio.puts 1\nbyebug = 1\n", &[]);
    check(
        "a.php",
        "<?php\nfunction f($x) { var_dump($x); \\dd($x); xdebug_break(); print_r($x, true); print_r($x); }\n",
        &["2:18 var_dump (f)", "2:32 dd (f)", "2:41 xdebug_break (f)", "2:76 print_r (f)"],
    );
    check(
        "a.php",
        "<?php\n// dd($x)\n$a->dump(); A::dd(); $s = 'var_dump($x)';\nfunction dump($x) {}\ndump(1);\n",
        &[],
    );
}
