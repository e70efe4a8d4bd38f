//! Rules and allow lists as teams write them, and what cannot be read.

use super::*;

fn of(config: &str) -> Gitleaks {
    Gitleaks::read(&|name| if name == ".gitleaks.toml" { config.to_string() } else { String::new() })
}

/// `rule place` of each hit.
fn found(config: &str, path: &str, text: &str) -> Vec<String> {
    let read = of(config);
    assert_eq!(read.problems, Vec::<String>::new());
    let hits = read.find(text.as_bytes(), path);
    hits.iter().map(|h| format!("{} {:?}", h.custom.as_deref().unwrap_or_default(), h.place)).collect()
}

#[test]
fn rules_of_the_teams_own() {
    let shop = "[[rules]]\nid = 'shop-key'\nregex = '''(?i)shop_([a-z]+)_([0-9a-f]{8})\\b'''\n";
    assert_eq!(found(shop, "a.js", "x = 'SHOP_live_00ff00ff'"), ["shop-key 10..14"], "the first group");
    let second = format!("{shop}secretGroup = 2\nentropy = 1.0\nkeywords = ['Shop_']\n");
    assert_eq!(found(&second, "a.js", "x = 'shop_live_00ff00fa'"), ["shop-key 15..23"]);
    assert_eq!(found(&second, "a.js", "x = 'shop_live_00000000'"), Vec::<String>::new(), "its entropy is too low");
    let there = format!("{shop}path = '''(^|/)conf/.*\\.ya?ml$'''\n");
    assert_eq!(found(&there, "a/conf/x.yml", "shop_live_00ff00ff").len(), 1);
    assert_eq!(found(&there, "a/x.yml", "shop_live_00ff00ff").len(), 0);
    let file = "[[rules]]\nid = 'key-file'\npath = '''\\.p12$'''\n";
    assert_eq!(found(file, "keys/a.p12", "anything"), ["key-file 0..0"]);
    let word = format!("{shop}keywords = ['other']\n");
    assert_eq!(found(&word, "a.js", "shop_live_00ff00ff").len(), 0, "without its keyword the pattern is not tried");
}

#[test]
fn allow_lists_by_kind_and_condition() {
    let asked = Asked {
        rule: "github-token",
        path: "fixtures/a.js",
        line: "x = 'abc123' // sample",
        secret: b"abc123",
        matched: b"'abc123'",
        commit: Some("0123456789abcdef"),
    };
    let covers = |list: &str| of(&format!("[[allowlists]]\n{list}\n")).overlooks(&asked).is_some();
    for list in [
        "paths = ['^fixtures/']",
        "regexes = ['^abc']",
        "regexes = [\"^'abc\"]\nregexTarget = 'match'",
        "regexes = ['sample$']\nregexTarget = 'line'",
        "stopwords = ['ABC']",
        "commits = ['0123456789']",
        "condition = 'AND'\npaths = ['^fixtures/']\nregexes = ['^abc']",
        "paths = ['^fixtures/']\ntargetRules = ['github-pat']",
    ] {
        assert!(covers(list), "{list}");
    }
    for list in [
        "paths = ['^src/']",
        "regexes = [\"^'abc\"]",
        "regexes = ['sample']",
        "commits = ['fedcba9876']",
        "condition = 'AND'\npaths = ['^fixtures/']\nregexes = ['^xyz']",
        "paths = ['^fixtures/']\ntargetRules = ['stripe-access-token']",
        "description = 'empty'",
    ] {
        assert!(!covers(list), "{list}");
    }
    assert!(of("[allowlist]\npaths = ['fixtures']\n").overlooks(&asked).is_some(), "the older way to write it");
    assert!(of("[extend]\nuseDefault = true\ndisabledRules = ['github-pat']\n").overlooks(&asked).is_some());
    assert!(of("[extend]\ndisabledRules = ['gitlab-pat']\n").overlooks(&asked).is_none());
    // A list for one of gitleaks' own rules is one for ours; a rule's own list is for that rule.
    assert!(of("[[rules]]\nid='github-pat'\n[[rules.allowlists]]\npaths=['fixtures']\n").overlooks(&asked).is_some());
    let own = "[[rules]]\nid = 'k'\nregex = 'k[0-9]+'\n[rules.allowlist]\nregexes = ['^k1$']\n";
    assert_eq!(found(own, "a", "k1 k2"), ["k 3..5"]);
}

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    for (config, expect) in [
        ("[[rules]]\nid = 'a'\nregex = '('\n", ".gitleaks.toml, rule `a`: its pattern cannot be read: unclosed group"),
        ("[[rules]]\nid = 'a'\nregex = 'x'\nsecretGroup = 1\n", ".gitleaks.toml, rule `a`: its pattern has no group 1"),
        ("[[rules]]\nid = 'a'\nregex = '(?:.{1000}){1000}'\n", ".gitleaks.toml, rule `a`: its pattern is too large"),
        ("[[allowlists]]\npaths = ['*']\n", ".gitleaks.toml, its allow list: its pattern cannot be read: "),
        ("title = 'x'\n[[rules]\n", ".gitleaks.toml:2: "),
        ("[[rules]]\nid = 'a'\nregex = 5\n", ".gitleaks.toml:3: "),
    ] {
        let problems = of(config).problems;
        assert!(problems.len() == 1 && problems[0].starts_with(expect), "{config}: {problems:?}");
    }
    let many: String = (0..=RULES_MAX).map(|n| format!("[[rules]]\nid = 'r{n}'\nregex = 'x{n}'\n")).collect();
    assert!(of(&many).problems[0].contains("more than 500 rules"));
}

#[test]
fn patterns_of_re2() {
    for (pattern, text) in [
        ("[\\w[]{3}", "a[b"),
        ("[]a]+", "]a]"),
        ("[^]a]+", "xyz"),
        ("[[:alnum:]&&x]+", "ab&&"),
        ("[a--z]+", "a-z"),
        ("(?i)ab\\z", "AB"),
        ("\\/x\\-y\\_", "/x-y_"),
        ("[\\x60'\"]", "`"),
    ] {
        let read = compiled(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        assert!(read.is_match(text.as_bytes()), "{pattern} {}", unbracketed(pattern));
    }
}

proptest::proptest! {
    #[test]
    fn any_configuration_is_read(pattern in "[\\[\\]a-c\\-&~^:()|*\\\\]{0,20}", text in "[a-c\\[\\]]{0,20}") {
        let read = of(&format!("[[rules]]\nid = 'a'\nregex = '''{pattern}'''\n"));
        for hit in read.find(text.as_bytes(), "a") {
            proptest::prop_assert!(hit.place.end <= text.len());
        }
    }
}
