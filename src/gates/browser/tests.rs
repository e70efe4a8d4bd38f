//! With the real Chromium of the machine: what a page may reach, what it tells, and that nothing is left of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::*;

/// One page, and a record of what was asked.
struct Shop(&'static str, std::sync::Mutex<Vec<String>>);

impl Interceptor for Shop {
    fn answer<'a>(&'a self, asked: Asked) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            self.1.lock().unwrap().push(format!("{} {}", asked.kind, asked.url));
            if asked.kind != "Document" {
                return Reply::Fail("BlockedByClient");
            }
            let headers = vec![("content-type".to_string(), "text/html".to_string())];
            Reply::Answer { status: 200, headers, body: Bytes::from_static(self.0.as_bytes()) }
        })
    }
}

const PAGE: &str = r#"<!doctype html><title>Shop</title><p id=p>tea</p><script>
  fetch('http://elsewhere.invalid/x').catch(() => document.getElementById('p').textContent = 'no network');
  try { new WebSocket('ws://127.0.0.1:1/x') } catch (e) {}
  console.error('a complaint');
  setTimeout(() => { throw new TypeError('thrown') });
  setTimeout(() => alert('a dialog'), 50);
</script>"#;

#[tokio::test]
async fn a_page_reaches_nothing_but_the_interceptor_and_tells_what_went_wrong() {
    let browser = Browser::start(&Browser::find(None).expect("chromium: run tests/setup.sh")).await.unwrap();
    assert!(browser.version().contains("Chrome"), "{}", browser.version());
    let shop = Arc::new(Shop(PAGE, Default::default()));
    let page = browser.page(shop.clone()).await.unwrap();
    let url = "http://shop.invalid/".parse().unwrap();
    assert!(page.open_url(&url, Duration::from_secs(20)).await.unwrap());
    let text = page.evaluate("document.body.innerText.trim()").await.unwrap();
    assert_eq!(text, "no network");
    assert!(page.errors()[0].contains("TypeError: thrown"), "{:?}", page.errors());
    assert_eq!((page.console()[0].as_str(), page.calls()), ("a complaint", 1));
    assert_eq!(page.dialogs(), ["a dialog"]);
    assert_eq!(&page.screenshot().await.unwrap()[1..4], b"PNG");
    let asked = shop.1.lock().unwrap().clone();
    assert_eq!(asked[..2], ["Document http://shop.invalid/", "XHR http://elsewhere.invalid/x"], "{asked:?}");
    let looped = page.evaluate("for (;;) {}").await;
    assert!(looped.is_err(), "a page that never lets go is let go: {looped:?}");
}

#[tokio::test]
async fn what_is_no_browser_is_told_in_time() {
    assert!(matches!(Browser::find(Some(Path::new("/nowhere/chromium"))), Err(BrowserError::Start(..))));
    let error = Browser::start(Path::new("/bin/true")).await.err().unwrap();
    assert!(matches!(&error, BrowserError::Start(_, why) if why.contains("ended")), "{error}");
}
