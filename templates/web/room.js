// Swaps in what is new when hypercare says that something changed. Without it the page reloads by itself.
(() => {
  "use strict";
  const main = document.querySelector("main");
  const root = document.documentElement;
  // After this long without an answer the page says that it is old.
  const LOST_AFTER_MS = 15000;
  // Changes come in bursts: one look a second is enough for an eye.
  const PAUSE_MS = 1000;
  let heard = Date.now();
  let busy = false;
  let again = false;

  const address = () => {
    const url = new URL(location.href);
    url.searchParams.set("fragment", "1");
    return url;
  };

  // What the reader had opened stays open.
  const opened = () => [...main.querySelectorAll("details")].map((d) => d.open);

  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const answer = await fetch(address(), { headers: { accept: "text/html" } });
      if (answer.ok) {
        const html = await answer.text();
        const open = opened();
        main.innerHTML = html;
        main.querySelectorAll("details").forEach((d, i) => { d.open = Boolean(open[i]); });
        heard = Date.now();
        root.classList.remove("old");
      }
    } catch {
      // Said by the banner below.
    }
    setTimeout(() => {
      busy = false;
      if (again) {
        again = false;
        refresh();
      }
    }, PAUSE_MS);
  }

  const events = new EventSource("/api/hc/v1/events");
  events.addEventListener("change", refresh);
  events.addEventListener("open", refresh);
  // Clocks and ages go on when nothing is written, and a lost event is made up for.
  setInterval(refresh, 5000);
  setInterval(() => root.classList.toggle("old", Date.now() - heard > LOST_AFTER_MS), 1000);
})();
