//! The shop's repository, made on the spot with git: sources with one forgotten `console.log`, tests with a coverage
//! report, a pipeline, an encrypted production environment, alert rules, a smoke list, a changelog and a tag. The gates
//! read it like any other.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::gates::facts::git::as_author;

pub const VERSION: &str = "1.4.0";

const CART: &str = "import { applyCoupon } from './coupon.js';\n\nexport function total(items, coupon) {\n  const sum = items.reduce((cents, item) => cents + item.priceCents * item.count, 0);\n  return applyCoupon(sum, coupon);\n}\n";
const COUPON_FORGOTTEN: &str = "export function applyCoupon(cents, coupon) {\n  if (!coupon) return cents;\n  console.log('coupon', coupon);\n  return Math.round(cents * (1 - coupon.percent / 100));\n}\n";
const COUPON: &str = "export function applyCoupon(cents, coupon) {\n  if (!coupon) return cents;\n  return Math.round(cents * (1 - coupon.percent / 100));\n}\n";
const TEST: &str = "import assert from 'node:assert';\nimport test from 'node:test';\nimport { total } from '../src/cart.js';\n\ntest('a coupon lowers the total', () => {\n  assert.equal(total([{ priceCents: 1000, count: 2 }], { percent: 10 }), 1800);\n});\n";
const PACKAGE: &str = "{\n  \"name\": \"tea-shop\",\n  \"version\": \"1.4.0\",\n  \"type\": \"module\",\n  \"scripts\": { \"test\": \"c8 --reporter=lcov node --test\", \"build\": \"node build.js\" }\n}\n";
const PIPELINE: &str = "name: pipeline\non:\n  push:\n    branches: [main]\n    tags: ['v*']\n  pull_request:\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683\n      - run: npm ci\n      - run: npm run build\n  test:\n    needs: [build]\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683\n      - run: npm ci\n      - run: npm test\n  deploy:\n    needs: [test]\n    if: startsWith(github.ref, 'refs/tags/v')\n    environment: production\n    runs-on: ubuntu-latest\n    permissions: { contents: read }\n    steps:\n      - run: ./deploy.sh\n";
const ROLLBACK: &str = "# Rollback\n\nTrigger: error ratio above 5 % for 5 minutes. Owner: the on-call engineer. Takes about one minute.\n\n1. `./deploy.sh v1.3.2`\n2. Watch `/version` until it says 1.3.2.\n\nData: no migration in 1.4.0, nothing to undo.\n";

const COMPOSE: &str = r#"services:
  shop:
    image: registry.example/tea-shop:1.4.0
    ports: ["80:3000"]
    restart: unless-stopped
    healthcheck:
      test: ["CMD", "wget", "-qO-", "http://127.0.0.1:3000/health"]
      interval: 10s
      timeout: 3s
      retries: 3
"#;
const ALERTS: &str = r#"groups:
  - name: shop
    rules:
      - alert: HighErrorRate
        expr: sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m])) > 0.05
        for: 2m
        labels: { severity: page }
        annotations: { summary: "More than 5 % of the answers are errors" }
      - alert: HighCpu
        expr: 100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))) > 80
        for: 5m
        labels: { severity: page }
        annotations: { summary: "The CPU is busier than 80 %" }
      - alert: MemoryFull
        expr: 100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes) > 90
        for: 5m
        labels: { severity: page }
        annotations: { summary: "Less than a tenth of the memory is left" }
      - alert: OrdersPileUp
        expr: queue_depth > 40 and deriv(queue_depth[10m]) > 0
        for: 5m
        labels: { severity: page }
        annotations: { summary: "Orders wait to be shipped, and more of them every minute" }
"#;

const SMOKE: &str = r#"# Asked right after a deploy, and on staging before it: hypercare smoke run --url https://staging.tea.example
limit = "1m"

[[item]]
name = "the shop is up"
request = "GET /health"
json = { status = "pass" }
within = "1s"
retry = "10s"

[[item]]
name = "this very release answers"
request = "GET /version"
release = true

[[item]]
name = "the home page renders"
request = "GET /"
body = ["Teapots, cups, kettles"]
assets = true

[[item]]
name = "the catalogue is there"
request = "GET /api/products"
json = { "items[0].name" = "Teapot", items = { length_min = 4 } }

[[item]]
name = "the confirmation mail arrives"
owner = "tea-team"
steps = "order a cup with the test card, look into the shared mailbox"
"#;
/// What the shop answers; guests buy without an account.
const OPENAPI: &str = r#"openapi: 3.1.0
info: { title: Tea shop, version: 1.4.0 }
security: []
components:
  securitySchemes:
    support: { type: http, scheme: bearer }
paths:
  /:
    get: { responses: { "200": { description: The home page } } }
  /api/products:
    get:
      responses:
        "200":
          description: What is in stock
          content:
            application/json:
              schema:
                type: object
                properties:
                  items:
                    type: array
                    items:
                      type: object
                      properties:
                        id: { type: integer }
                        name: { type: string }
                        price_cents: { type: integer }
  /api/checkout:
    post:
      responses:
        "200": { description: An order }
        "503": { description: The till is closed }
"#;
/// What the suite on staging left behind.
const STAGING_TESTS: &str = "<testsuite name=\"staging\" tests=\"3\" failures=\"0\"><testcase classname=\"shop\" name=\"the catalogue lists what is in stock\" time=\"0.2\"/><testcase classname=\"shop\" name=\"checkout takes an order, in the sandbox\" time=\"0.9\"/><testcase classname=\"shop\" name=\"checkout refuses a coupon that has ended\" time=\"0.4\"/></testsuite>\n";

/// The coverage report `c8` wrote for the sources above: every line hit once the forgotten line is gone.
fn lcov(coupon_lines: u32) -> String {
    let record = |file: &str, lines: u32| {
        let hits: String = (1..=lines).map(|n| format!("DA:{n},1\n")).collect();
        format!("SF:src/{file}\n{hits}LF:{lines}\nLH:{lines}\nend_of_record\n")
    };
    format!("{}{}", record("cart.js", 6), record("coupon.js", coupon_lines))
}

pub struct Repository {
    pub root: PathBuf,
}

impl Repository {
    /// Writes and commits the shop as a hurried team leaves it. `today` dates the changelog.
    pub fn create(root: &Path, today: &str) -> anyhow::Result<Repository> {
        let repo = Repository { root: root.to_path_buf() };
        std::fs::create_dir_all(root)?;
        let changelog = format!(
            "# Changelog\n\nAll notable changes to the tea shop. Keep a Changelog 1.1, SemVer 2.0.0.\n\n## [1.4.0] - {today}\n\n### Added\n\n- Coupons at checkout.\n\n### Fixed\n\n- Prices with a comma no longer round down.\n\n## [1.3.2] - 2026-09-30\n\n### Fixed\n\n- Order confirmation names the delivery day.\n"
        );
        repo.git(&["init", "--quiet", "--initial-branch=main"])?;
        for (path, text) in [
            ("package.json", PACKAGE),
            ("src/cart.js", CART),
            ("src/coupon.js", COUPON_FORGOTTEN),
            ("test/cart.test.js", TEST),
            (".github/workflows/pipeline.yml", PIPELINE),
            (".env.example", "PAYMENT_URL=\nPAYMENT_KEY=\n"),
            (".env.production", ENV_PRODUCTION),
            (".gitignore", "node_modules\ncoverage\ntest-results\n.env\n"),
            ("ROLLBACK.md", ROLLBACK),
            ("compose.yaml", COMPOSE),
            ("monitoring/alerts.yml", ALERTS),
            ("smoke.toml", SMOKE),
            ("openapi.yaml", OPENAPI),
            ("CHANGELOG.md", &changelog),
        ] {
            repo.write(path, text)?;
        }
        repo.git(&["add", "--all"])?;
        repo.commit("Release 1.4.0")?;
        repo.write("coverage/lcov.info", &lcov(5))?;
        repo.test_on_staging()?;
        repo.git(&["tag", "--annotate", "v1.4.0", "--message", "v1.4.0"])?;
        Ok(repo)
    }

    /// The fix: the forgotten line goes, the tag moves to the commit that will be released.
    pub fn mend(&self) -> anyhow::Result<()> {
        self.write("src/coupon.js", COUPON)?;
        self.git(&["add", "--all"])?;
        self.commit("Remove a forgotten console.log")?;
        self.write("coverage/lcov.info", &lcov(4))?;
        self.move_tag()
    }

    /// The tag follows the commit that will be released; nothing was published yet.
    pub fn move_tag(&self) -> anyhow::Result<()> {
        self.test_on_staging()?;
        self.git(&["tag", "--delete", "v1.4.0"])?;
        self.git(&["tag", "--annotate", "v1.4.0", "--message", "v1.4.0"]).map(drop)
    }

    /// The report of the staging suite, bound to the commit that it ran on.
    fn test_on_staging(&self) -> anyhow::Result<()> {
        self.write("test-results/staging.xml", STAGING_TESTS)?;
        self.write("test-results/staging.xml.hc.json", &format!("{{\"commit\": \"{}\"}}\n", self.head()?))
    }

    pub fn head(&self) -> anyhow::Result<String> {
        self.git(&["rev-parse", "HEAD"]).map(|t| t.trim().to_string())
    }

    /// Commits everything in the work tree (waivers, for instance).
    pub fn commit_all(&self, message: &str) -> anyhow::Result<()> {
        self.git(&["add", "--all"])?;
        self.commit(message)
    }

    fn commit(&self, message: &str) -> anyhow::Result<()> {
        self.git(&["commit", "--quiet", "--message", message]).map(drop)
    }

    fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let full = self.root.join(path);
        std::fs::create_dir_all(full.parent().unwrap_or(&self.root))?;
        std::fs::write(&full, text).with_context(|| format!("writing {}", full.display()))
    }

    fn git(&self, args: &[&str]) -> anyhow::Result<String> {
        as_author(&self.root, ("Tea Shop", "team@tea.example"), args).context("the demo makes a repository")
    }
}

/// As `dotenvx encrypt` leaves it: values sealed for a public key, the private key elsewhere.
const ENV_PRODUCTION: &str = "#/-------------------[DOTENV_PUBLIC_KEY]--------------------/\n#/            public-key encryption for .env files          /\n#/----------------------------------------------------------/\nDOTENV_PUBLIC_KEY_PRODUCTION=\"03f8b376234c4f2f0445f392a12e80f3a84b4b0d1e0c3df85c494e45812653c22a\"\nPAYMENT_URL=\"encrypted:BKVNyhglMLsdbRMs3tYjey7ZHj9yH8sZcRdElNZJPJ1cNGC+MSAeaf7aoO7ouZl/XHwpmf2v5ZMlPNZUr0361xQnoK6z/ukjL4ryIR+e5JHFsQvstVY7/B5vk0J+y8j+KVXlzY5G3I7Ut8J2TSpaTXZ3BvhdhpACSta9o0Ab6cjL\"\nPAYMENT_KEY=\"encrypted:BMzJNfbNH2EiauFTOK4aNABNM7oNJGrATIGxuvI+O/nu9fefK0k0r4f1UgtpuUsNmC6Fu1W2cqhyY3rNdGb8tg4Oj/GEY7DksropcDR08GSsaPcA9bArPcZm9FveqizK7c0rUVdBDk3uSvKzT0MKBzRH3mNsDoBslXumhNZDH7Xq10JNCeFdAkxYSPI9\"\n";
