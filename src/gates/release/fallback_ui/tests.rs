//! What a page shows under a fault, as verdicts; the browser itself is tested in `tests/fallback_ui.rs`.

use super::judge::of_case;
use super::look::{Case, Fault, Shown};
use super::*;

fn shows(text: &str) -> Case {
    Case { shown: Shown { text: text.into(), url: "http://shop/".into(), ..Shown::default() }, ..Case::default() }
}

fn with(mut case: Case, change: impl FnOnce(&mut Case)) -> Case {
    change(&mut case);
    case
}

#[test]
fn each_way_to_fall_has_its_name() {
    let whole = shows("Our teas of the season\nAssam\nSencha from Uji");
    let falls = |now: Case| -> String {
        of_case(&whole, &now, Fault::ServerError).iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(" ")
    };
    let sorry = |change: fn(&mut Case)| {
        with(shows("Our teas of the season\nSorry, they cannot be shown."), |c| {
            c.shown.alerts = vec!["Sorry, they cannot be shown.".into()];
            c.shown.buttons = vec!["Try again".into()];
            change(c);
        })
    };
    let uncaught = |c: &mut Case| c.errors = vec!["TypeError: teas is undefined".into()];
    assert_eq!(falls(sorry(|_| ())), "");
    assert_eq!(falls(whole.clone()), "", "it does not need what failed");
    assert_eq!(falls(shows("  ")), "Blank");
    assert_eq!(falls(shows("Our teas of the season\nTypeError: teas.map is not a function")), "Raw");
    assert_eq!(falls(shows("{\"type\": \"about:blank\", \"status\": 500}")), "Raw");
    assert_eq!(falls(shows("Our teas of the season\nLoading teas…")), "Spinner");
    assert_eq!(falls(with(shows("Our teas of the season"), |c| c.shown.busy = 1)), "Spinner");
    assert_eq!(falls(shows("Our teas of the season")), "Silent");
    assert_eq!(falls(with(shows("Our teas of the season"), uncaught)), "Unhandled");
    assert_eq!(falls(with(whole.clone(), uncaught)), "Uncaught");
    assert_eq!(falls(sorry(|c| c.shown.buttons.clear())), "NoWayOn");
    assert_eq!(falls(sorry(|c| c.shown.alerts.clear())), "NoRole");
    assert_eq!(falls(sorry(|c| c.errors = vec!["Error: 500".into()])), "Uncaught");
    let noisy = with(whole.clone(), |c| c.errors = vec!["Error: hydration 418".into()]);
    let again = sorry(|c| c.errors = vec!["Error: hydration 425".into()]);
    assert!(of_case(&noisy, &again, Fault::ServerError).is_empty(), "what is thrown on every load is not the fault's");
    let login = with(shows("Please enter name and password"), |c| c.shown.login = true);
    assert!(of_case(&whole, &login, Fault::Unauthorised).is_empty());
}

#[test]
fn settings_out_of_range_are_told() {
    assert!(Config::default().validate().is_empty());
    let wrong =
        Config { pages: vec!["cart".into()], max_pages: 0, timeout_s: 0.0, within_s: f64::NAN, ..Config::default() };
    assert_eq!(wrong.validate().len(), 4);
}

#[test]
fn stack_traces_of_the_usual_runtimes_are_known_and_prose_is_not() {
    for trace in [
        "Traceback (most recent call last):\n  File \"/srv/app.py\", line 3, in shop\n",
        "TypeError: x\n    at load (/srv/app/shop.js:12:3)\n",
        "<pre>URIError: bad<br> &nbsp; &nbsp;at decodeURIComponent (&lt;anonymous&gt;)<br> &nbsp; &nbsp;at decode_param (/srv/layer.js:172:12)</pre>",
        "java.lang.Error\n\tat com.shop.Tea.brew(Tea.java:12)\n",
        "goroutine 7 [running]:",
    ] {
        assert!(errors::has_trace(trace), "{trace}");
    }
    for prose in
        ["Meet us at noon: 12 tables", "The file is at /shop/teas.json", "{\"title\": \"Not Found\", \"status\": 404}"]
    {
        assert!(!errors::has_trace(prose), "{prose}");
    }
}
