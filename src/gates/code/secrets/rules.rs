//! Tokens that say what they are: one row a format, by the provider's own prefix. Add a format by adding one row.
//!
//! Sources: the providers' documentation of their token formats, and GitHub's list of secret scanning patterns.

mod others;

use super::checks::Check;
use super::shape::Class::{self, Alnum, Base64, Crypt, Digit, Dotted, Hex, Tilde, Upper32, Word};
use super::shape::Part::{self, Run, Text};
use super::shape::exactly;
use crate::domain::verdict::Severity::{self, Critical, High, Low, Medium};

/// A kind of token.
#[derive(Debug)]
pub(super) struct Rule {
    pub id: &'static str,
    /// Who can revoke it.
    pub provider: &'static str,
    pub severity: Severity,
    /// Each with what follows it.
    pub shapes: &'static [Shape],
    pub check: Check,
    /// So many of a class stand before the prefix and belong to the token.
    pub before: Option<(Class, usize, usize)>,
    /// Bits per character of what stands behind the prefix: less is a placeholder.
    pub entropy_min: f64,
}

pub(super) type Shape = (&'static str, &'static [Part]);

const fn rule(id: &'static str, provider: &'static str, severity: Severity, shapes: &'static [Shape]) -> Rule {
    Rule { id, provider, severity, shapes, check: Check::None, before: None, entropy_min: 3.0 }
}

const fn checked(rule: Rule, check: Check) -> Rule {
    Rule { check, ..rule }
}

const fn behind(rule: Rule, before: (Class, usize, usize)) -> Rule {
    Rule { before: Some(before), ..rule }
}

const fn loose(rule: Rule, entropy_min: f64) -> Rule {
    Rule { entropy_min, ..rule }
}

const GITHUB: &[Part] = &[exactly(Alnum, 36)];
const AWS_ID: &[Part] = &[exactly(Upper32, 16)];
const HEX32: &[Part] = &[exactly(Hex, 32)];
const HEX40: &[Part] = &[exactly(Hex, 40)];
const HEX64: &[Part] = &[exactly(Hex, 64)];
const STRIPE: &[Part] = &[Run(Alnum, 16, 247)];
const GITLAB: &[Part] = &[Run(Dotted, 20, 300)];
const SLACK: &[Part] = &[Run(Digit, 9, 14), Text("-"), Run(Word, 20, 120)];
const WEBHOOK_TEAM: &[Part] = &[Run(Alnum, 8, 14), Text("/B"), Run(Alnum, 8, 14), Text("/"), exactly(Alnum, 24)];
const DISCORD_HOOK: &[Part] = &[Run(Digit, 17, 20), Text("/"), Run(Word, 60, 80)];

/// Every format.
pub(super) fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().chain(others::OTHERS)
}

/// In the order of the providers' names.
const RULES: &[Rule] = &[
    loose(
        checked(rule("age-secret-key", "age", Critical, &[("AGE-SECRET-KEY-1", &[exactly(Alnum, 58)])]), Check::Bech32),
        3.5,
    ),
    rule("anthropic-key", "Anthropic", Critical, &[("sk-ant-", &[Run(Word, 24, 120)])]),
    rule("atlassian-token", "Atlassian", Critical, &[("ATATT3", &[Run(Word, 100, 250), Text("="), exactly(Hex, 8)])]),
    rule(
        "aws-access-key",
        "AWS",
        High,
        &[("AKIA", AWS_ID), ("ASIA", AWS_ID), ("A3T", &[exactly(Upper32, 17)]), ("ABIA", AWS_ID), ("ACCA", AWS_ID)],
    ),
    rule("aws-bedrock-key", "AWS", Critical, &[("ABSK", &[Run(Base64, 109, 269)])]),
    rule("azure-storage-key", "Azure", Critical, &[("AccountKey=", &[exactly(Base64, 88)])]),
    behind(
        rule(
            "azure-app-secret",
            "Microsoft Entra",
            Critical,
            &[("8Q~", &[Run(Tilde, 31, 34)]), ("7Q~", &[Run(Tilde, 31, 34)])],
        ),
        (Tilde, 3, 3),
    ),
    rule(
        "cloudinary-url",
        "Cloudinary",
        Critical,
        &[("cloudinary://", &[Run(Digit, 10, 20), Text(":"), Run(Word, 20, 40), Text("@")])],
    ),
    rule(
        "databricks-token",
        "Databricks",
        Critical,
        &[("dapi", HEX32), ("dapi", &[exactly(Hex, 32), Text("-"), exactly(Digit, 1)])],
    ),
    rule("digitalocean-token", "DigitalOcean", Critical, &[("dop_v1_", HEX64), ("doo_v1_", HEX64), ("dor_v1_", HEX64)]),
    rule(
        "discord-webhook",
        "Discord",
        High,
        &[("https://discord.com/api/webhooks/", DISCORD_HOOK), ("https://discordapp.com/api/webhooks/", DISCORD_HOOK)],
    ),
    rule(
        "docker-token",
        "Docker Hub",
        Critical,
        &[("dckr_pat_", &[Run(Word, 27, 32)]), ("dckr_oat_", &[Run(Word, 32, 40)])],
    ),
    rule(
        "doppler-token",
        "Doppler",
        Critical,
        &[("dp.pt.", &[Run(Alnum, 40, 44)]), ("dp.st.", &[Run(Dotted, 40, 80)]), ("dp.ct.", &[Run(Alnum, 40, 44)])],
    ),
    rule("dropbox-token", "Dropbox", Critical, &[("sl.", &[Run(Word, 130, 1500)])]),
    rule(
        "dynatrace-token",
        "Dynatrace",
        Critical,
        &[
            ("dt0c01.", &[exactly(Alnum, 24), Text("."), exactly(Alnum, 64)]),
            ("dt0s16.", &[exactly(Alnum, 8), Text("."), exactly(Alnum, 64)]),
        ],
    ),
    rule("easypost-key", "EasyPost", Critical, &[("EZAK", &[exactly(Alnum, 54)])]),
    rule(
        "facebook-token",
        "Meta",
        High,
        &[
            ("EAACEdEose0cBA", &[Run(Alnum, 20, 300)]),
            ("EAAB", &[Run(Alnum, 100, 300)]),
            ("EAAG", &[Run(Alnum, 100, 300)]),
        ],
    ),
    rule("figma-token", "Figma", Critical, &[("figd_", &[Run(Word, 38, 44)])]),
    rule(
        "flutterwave-key",
        "Flutterwave",
        Critical,
        &[("FLWSECK-", &[exactly(Hex, 32), Text("-X")]), ("FLWSECK_LIVE-", &[exactly(Hex, 32), Text("-X")])],
    ),
    rule("fly-token", "Fly.io", Critical, &[("fo1_", &[exactly(Word, 43)]), ("FlyV1 fm2_", &[Run(Base64, 100, 2000)])]),
    rule("gcp-api-key", "Google Cloud", High, &[("AIza", &[exactly(Word, 35)])]),
    rule("google-oauth-secret", "Google", Critical, &[("GOCSPX-", &[exactly(Word, 28)])]),
    rule("google-oauth-token", "Google", Medium, &[("ya29.", &[Run(Word, 40, 500)])]),
    checked(
        rule(
            "github-token",
            "GitHub",
            Critical,
            &[("ghp_", GITHUB), ("gho_", GITHUB), ("ghu_", GITHUB), ("ghs_", GITHUB), ("ghr_", GITHUB)],
        ),
        Check::GithubCrc,
    ),
    rule(
        "github-fine-grained-token",
        "GitHub",
        Critical,
        &[("github_pat_", &[exactly(Alnum, 22), Text("_"), exactly(Alnum, 59)])],
    ),
    rule(
        "gitlab-token",
        "GitLab",
        Critical,
        &[
            ("glpat-", GITLAB),
            ("gldt-", GITLAB),
            ("glptt-", HEX40),
            ("glrt-", GITLAB),
            ("glcbt-", GITLAB),
            ("glft-", GITLAB),
            ("glsoat-", GITLAB),
            ("glagent-", &[Run(Word, 50, 60)]),
            ("gloas-", HEX64),
            ("GR1348941", &[exactly(Word, 20)]),
        ],
    ),
    checked(
        rule("grafana-token", "Grafana", Critical, &[("glsa_", &[exactly(Alnum, 32), Text("_"), exactly(Hex, 8)])]),
        Check::GrafanaCrc,
    ),
    rule("grafana-cloud-token", "Grafana", Critical, &[("glc_", &[Run(Base64, 32, 400)])]),
    rule("heroku-key", "Heroku", Critical, &[("HRKU-AA", &[exactly(Word, 58)])]),
    rule(
        "huggingface-token",
        "Hugging Face",
        Critical,
        &[("hf_", &[exactly(Alnum, 34)]), ("api_org_", &[exactly(Alnum, 34)])],
    ),
    rule("infracost-key", "Infracost", High, &[("ico-", &[exactly(Alnum, 32)])]),
    rule("intra42-secret", "42", High, &[("s-s4t2ud-", HEX64), ("s-s4t2af-", HEX64)]),
    checked(
        rule(
            "jwt",
            "whoever signed it",
            Medium,
            &[("eyJ", &[Run(Word, 14, 2000), Text(".eyJ"), Run(Word, 7, 8000), Text("."), Run(Word, 10, 1000)])],
        ),
        Check::Jwt,
    ),
    rule("linear-key", "Linear", Critical, &[("lin_api_", &[exactly(Alnum, 40)]), ("lin_oauth_", HEX64)]),
    rule("mapbox-token", "Mapbox", High, &[("sk.eyJ", &[Run(Word, 60, 200), Text("."), exactly(Word, 22)])]),
    rule("netlify-token", "Netlify", Critical, &[("nfp_", &[exactly(Alnum, 36)])]),
    rule(
        "newrelic-key",
        "New Relic",
        Critical,
        &[("NRAK-", &[exactly(Alnum, 27)]), ("NRII-", &[Run(Word, 32, 36)]), ("NRRA-", &[exactly(Alnum, 42)])],
    ),
    rule("newrelic-browser-key", "New Relic", Low, &[("NRJS-", &[exactly(Hex, 19)])]),
    rule("notion-token", "Notion", Critical, &[("ntn_", &[exactly(Alnum, 46)])]),
    checked(rule("npm-token", "npm", Critical, &[("npm_", GITHUB)]), Check::GithubCrc),
    rule("nuget-key", "NuGet", Critical, &[("oy2", &[exactly(Alnum, 43)])]),
    rule("nvidia-key", "NVIDIA", Critical, &[("nvapi-", &[Run(Word, 60, 70)])]),
    rule(
        "openai-key",
        "OpenAI",
        Critical,
        &[
            ("sk-", &[exactly(Alnum, 20), Text("T3BlbkFJ"), exactly(Alnum, 20)]),
            ("sk-proj-", &[Run(Word, 40, 200)]),
            ("sk-svcacct-", &[Run(Word, 40, 200)]),
            ("sk-admin-", &[Run(Word, 40, 200)]),
        ],
    ),
    rule("perplexity-key", "Perplexity", Critical, &[("pplx-", &[exactly(Alnum, 48)])]),
    rule(
        "password-hash",
        "whoever has the password",
        Medium,
        &[
            ("$1$", &[Run(Crypt, 1, 8), Text("$"), exactly(Crypt, 22)]),
            ("$apr1$", &[Run(Crypt, 1, 8), Text("$"), exactly(Crypt, 22)]),
            ("{SHA}", &[exactly(Base64, 28)]),
            ("{SSHA}", &[Run(Base64, 32, 64)]),
            ("$2a$", &[exactly(Digit, 2), Text("$"), exactly(Crypt, 53)]),
            ("$2b$", &[exactly(Digit, 2), Text("$"), exactly(Crypt, 53)]),
            ("$2y$", &[exactly(Digit, 2), Text("$"), exactly(Crypt, 53)]),
            ("$5$", &[Run(Crypt, 1, 16), Text("$"), exactly(Crypt, 43)]),
            ("$6$", &[Run(Crypt, 1, 16), Text("$"), exactly(Crypt, 86)]),
        ],
    ),
    rule(
        "planetscale-token",
        "PlanetScale",
        Critical,
        &[
            ("pscale_tkn_", &[Run(Tilde, 32, 64)]),
            ("pscale_oauth_", &[Run(Tilde, 32, 64)]),
            ("pscale_pw_", &[Run(Tilde, 32, 64)]),
        ],
    ),
    rule("posthog-key", "PostHog", High, &[("phx_", &[Run(Alnum, 40, 50)])]),
    rule("postman-key", "Postman", Critical, &[("PMAK-", &[exactly(Hex, 24), Text("-"), exactly(Hex, 34)])]),
    rule("prefect-key", "Prefect", High, &[("pnu_", &[exactly(Alnum, 36)])]),
    rule("pulumi-token", "Pulumi", Critical, &[("pul-", HEX40)]),
    rule("pypi-token", "PyPI", Critical, &[("pypi-AgEIcHlwaS5vcmc", &[Run(Word, 50, 1000)])]),
    rule("testpypi-token", "TestPyPI", Low, &[("pypi-AgENdGVzdC5weXBpLm9yZw", &[Run(Word, 50, 1000)])]),
    rule("readme-key", "ReadMe", High, &[("rdme_", &[exactly(Alnum, 70)])]),
    rule("replicate-token", "Replicate", Critical, &[("r8_", &[exactly(Alnum, 37)])]),
    rule("resend-key", "Resend", Critical, &[("re_", &[exactly(Alnum, 8), Text("_"), exactly(Alnum, 24)])]),
    rule("rubygems-key", "RubyGems", Critical, &[("rubygems_", &[exactly(Hex, 48)])]),
    rule("scalingo-token", "Scalingo", Critical, &[("tk-us-", &[exactly(Word, 48)])]),
    rule("sendgrid-key", "SendGrid", Critical, &[("SG.", &[exactly(Word, 22), Text("."), exactly(Word, 43)])]),
    rule(
        "sendinblue-key",
        "Brevo",
        Critical,
        &[
            ("xkeysib-", &[exactly(Hex, 64), Text("-"), exactly(Alnum, 16)]),
            ("xsmtpsib-", &[exactly(Hex, 64), Text("-"), exactly(Alnum, 16)]),
        ],
    ),
    rule(
        "sentry-token",
        "Sentry",
        High,
        &[("sntrys_eyJ", &[Run(Base64, 80, 400), Text("_"), Run(Base64, 40, 48)]), ("sntryu_", HEX64)],
    ),
    rule(
        "settlemint-token",
        "SettleMint",
        High,
        &[("sm_pat_", &[exactly(Alnum, 16)]), ("sm_aat_", &[exactly(Alnum, 16)]), ("sm_sat_", &[exactly(Alnum, 16)])],
    ),
    rule("shippo-token", "Shippo", Critical, &[("shippo_live_", HEX40)]),
    rule("shippo-test-token", "Shippo", Low, &[("shippo_test_", HEX40)]),
    rule(
        "shopify-token",
        "Shopify",
        Critical,
        &[("shpat_", HEX32), ("shpca_", HEX32), ("shppa_", HEX32), ("shpss_", HEX32)],
    ),
    rule(
        "slack-token",
        "Slack",
        Critical,
        &[
            ("xoxb-", SLACK),
            ("xoxp-", SLACK),
            ("xoxa-", SLACK),
            ("xoxr-", SLACK),
            ("xoxs-", SLACK),
            ("xoxe.xoxp-1-", &[Run(Word, 100, 250)]),
            ("xoxe-1-", &[Run(Word, 100, 250)]),
            ("xapp-1-", &[Run(Alnum, 8, 14), Text("-"), Run(Digit, 9, 15), Text("-"), Run(Hex, 40, 80)]),
        ],
    ),
    rule(
        "slack-webhook",
        "Slack",
        High,
        &[
            ("https://hooks.slack.com/services/T", WEBHOOK_TEAM),
            (
                "https://hooks.slack.com/workflows/T",
                &[
                    Run(Alnum, 8, 14),
                    Text("/A"),
                    Run(Alnum, 8, 14),
                    Text("/"),
                    Run(Alnum, 17, 19),
                    Text("/"),
                    exactly(Alnum, 24),
                ],
            ),
        ],
    ),
    rule("sonar-token", "Sonar", High, &[("squ_", HEX40), ("sqp_", HEX40), ("sqa_", HEX40)]),
    rule(
        "square-token",
        "Square",
        Critical,
        &[("sq0atp-", &[exactly(Word, 22)]), ("sq0csp-", &[exactly(Word, 43)]), ("EAAAE", &[Run(Word, 55, 60)])],
    ),
    rule("stripe-key", "Stripe", Critical, &[("sk_live_", STRIPE), ("rk_live_", STRIPE)]),
    rule("stripe-test-key", "Stripe", Low, &[("sk_test_", STRIPE), ("rk_test_", STRIPE)]),
    rule("stripe-webhook-secret", "Stripe", High, &[("whsec_", &[Run(Base64, 32, 64)])]),
    rule("supabase-token", "Supabase", Critical, &[("sbp_", HEX40), ("sb_secret_", &[Run(Word, 30, 50)])]),
    rule(
        "tailscale-key",
        "Tailscale",
        Critical,
        &[
            ("tskey-auth-", &[Run(Alnum, 10, 20), Text("-"), Run(Alnum, 20, 40)]),
            ("tskey-api-", &[Run(Alnum, 10, 20), Text("-"), Run(Alnum, 20, 40)]),
            ("tskey-client-", &[Run(Alnum, 10, 20), Text("-"), Run(Alnum, 20, 40)]),
        ],
    ),
    rule(
        "teams-webhook",
        "Microsoft Teams",
        High,
        &[(
            ".webhook.office.com/webhookb2/",
            &[exactly(Word, 36), Text("@"), exactly(Word, 36), Text("/IncomingWebhook/"), exactly(Hex, 32)],
        )],
    ),
    behind(rule("telegram-token", "Telegram", Critical, &[(":AA", &[exactly(Word, 33)])]), (Digit, 8, 10)),
    behind(rule("terraform-token", "HashiCorp", Critical, &[(".atlasv1.", &[Run(Word, 60, 70)])]), (Alnum, 14, 14)),
    rule(
        "vault-token",
        "HashiCorp Vault",
        Critical,
        &[("hvs.", &[Run(Word, 90, 120)]), ("hvb.", &[Run(Word, 130, 220)]), ("hvr.", &[Run(Word, 90, 120)])],
    ),
    rule("vercel-blob-token", "Vercel", Critical, &[("vercel_blob_rw_", &[Run(Word, 30, 60)])]),
    rule("xai-key", "xAI", Critical, &[("xai-", &[exactly(Alnum, 80)])]),
    rule("yandex-key", "Yandex", High, &[("AQVN", &[Run(Word, 35, 38)])]),
];
