//! More formats, of the providers that fewer know: the same rows as in `rules.rs`.

use super::{HEX32, HEX40, HEX64, Rule, behind, checked, loose, rule};
use crate::domain::verdict::Severity::{Critical, High, Low};
use crate::gates::code::secrets::checks::Check;
use crate::gates::code::secrets::shape::Class::{Alnum, Base64, Digit, Hex, Word};
use crate::gates::code::secrets::shape::Part::{Run, Text};
use crate::gates::code::secrets::shape::{Part, exactly};

const UUID: &[Part] = &[
    exactly(Hex, 8),
    Text("-"),
    exactly(Hex, 4),
    Text("-"),
    exactly(Hex, 4),
    Text("-"),
    exactly(Hex, 4),
    Text("-"),
    exactly(Hex, 12),
];

/// The rest of a user's number in base64, a time and a signature.
const DISCORD_BOT: &[Part] = &[Run(Word, 20, 26), Text("."), exactly(Word, 6), Text("."), Run(Word, 27, 40)];

/// In the order of the providers' names.
pub(super) const OTHERS: &[Rule] = &[
    rule("adafruit-key", "Adafruit IO", High, &[("aio_", &[exactly(Alnum, 28)])]),
    rule("aiven-password", "Aiven", High, &[("AVNS_", &[exactly(Word, 19)])]),
    rule("airtable-token", "Airtable", Critical, &[("pat", &[exactly(Alnum, 14), Text("."), exactly(Hex, 64)])]),
    rule("alibaba-key", "Alibaba Cloud", High, &[("LTAI", &[Run(Alnum, 16, 20)])]),
    rule(
        "artifactory-key",
        "JFrog",
        Critical,
        &[("AKCp", &[Run(Alnum, 60, 80)]), ("cmVmdGtu", &[Run(Base64, 50, 60)])],
    ),
    behind(rule("azure-devops-token", "Azure DevOps", Critical, &[("AZDO", &[exactly(Alnum, 4)])]), (Alnum, 76, 76)),
    behind(rule("azure-search-key", "Azure", Critical, &[("AzSe", &[exactly(Alnum, 6)])]), (Alnum, 42, 42)),
    rule("bitbucket-app-password", "Bitbucket", Critical, &[("ATBB", &[exactly(Alnum, 32)])]),
    rule("bitbucket-token", "Bitbucket", Critical, &[("ATCTT3", &[Run(Word, 100, 250), Text("="), exactly(Hex, 8)])]),
    rule(
        "braintree-token",
        "Braintree",
        Critical,
        &[("access_token$production$", &[exactly(Alnum, 16), Text("$"), exactly(Hex, 32)])],
    ),
    rule("buildkite-token", "Buildkite", Critical, &[("bkua_", HEX40), ("bkct_", &[Run(Alnum, 30, 80)])]),
    rule(
        "circleci-token",
        "CircleCI",
        Critical,
        &[
            ("CCIPAT_", &[exactly(Alnum, 22), Text("_"), exactly(Alnum, 40)]),
            ("CCIPRJ_", &[exactly(Alnum, 22), Text("_"), exactly(Alnum, 40)]),
        ],
    ),
    rule("clickup-token", "ClickUp", High, &[("pk_", &[Run(Digit, 6, 9), Text("_"), exactly(Alnum, 32)])]),
    rule(
        "cloudflare-origin-key",
        "Cloudflare",
        Critical,
        &[("v1.0-", &[Run(Hex, 20, 64), Text("-"), exactly(Hex, 146)])],
    ),
    rule("clojars-token", "Clojars", High, &[("CLOJARS_", &[exactly(Alnum, 60)])]),
    rule("contentful-token", "Contentful", High, &[("CFPAT-", &[exactly(Word, 43)])]),
    rule("crates-token", "crates.io", Critical, &[("cio", &[exactly(Alnum, 32)])]),
    rule("deepseek-key", "DeepSeek", High, &[("sk-", HEX32)]),
    rule("dependency-track-key", "Dependency-Track", High, &[("odt_", &[exactly(Alnum, 32)])]),
    checked(
        rule(
            "discord-bot-token",
            "Discord",
            Critical,
            &[
                ("MT", DISCORD_BOT),
                ("Mj", DISCORD_BOT),
                ("Mz", DISCORD_BOT),
                ("ND", DISCORD_BOT),
                ("NT", DISCORD_BOT),
                ("Nj", DISCORD_BOT),
                ("Nz", DISCORD_BOT),
                ("OD", DISCORD_BOT),
                ("OT", DISCORD_BOT),
            ],
        ),
        Check::Snowflake,
    ),
    rule(
        "doppler-service-token",
        "Doppler",
        Critical,
        &[("dp.sa.", &[Run(Alnum, 40, 44)]), ("dp.scim.", &[Run(Alnum, 40, 44)]), ("dp.audit.", &[Run(Alnum, 40, 44)])],
    ),
    rule("duffel-token", "Duffel", High, &[("duffel_live_", &[exactly(Word, 43)])]),
    rule("easypost-test-key", "EasyPost", Low, &[("EZTK", &[exactly(Alnum, 54)])]),
    rule("elastic-token", "Elastic", Critical, &[("essu_", &[Run(Base64, 50, 200)])]),
    rule("elevenlabs-key", "ElevenLabs", High, &[("sk_", &[exactly(Hex, 48)])]),
    rule("frameio-token", "Frame.io", High, &[("fio-u-", &[exactly(Word, 64)])]),
    rule("grafana-api-key", "Grafana", Critical, &[("eyJrIjoi", &[Run(Base64, 70, 400)])]),
    rule("groq-key", "Groq", Critical, &[("gsk_", &[exactly(Alnum, 52)])]),
    rule("heroku-api-key", "Heroku", Critical, &[("HRKU-", UUID)]),
    rule("hubspot-token", "HubSpot", Critical, &[("pat-na1-", UUID), ("pat-eu1-", UUID), ("pat-na2-", UUID)]),
    rule("jina-key", "Jina", High, &[("jina_", &[exactly(Alnum, 60)])]),
    rule("langfuse-key", "Langfuse", High, &[("sk-lf-", UUID)]),
    rule(
        "langsmith-key",
        "LangSmith",
        High,
        &[
            ("lsv2_pt_", &[exactly(Hex, 32), Text("_"), exactly(Hex, 10)]),
            ("lsv2_sk_", &[exactly(Hex, 32), Text("_"), exactly(Hex, 10)]),
        ],
    ),
    rule("launchdarkly-key", "LaunchDarkly", High, &[("sdk-", UUID)]),
    behind(loose(rule("mailchimp-key", "Mailchimp", Critical, &[("-us", &[Run(Digit, 1, 2)])]), 0.0), (Hex, 32, 32)),
    rule("mailersend-token", "MailerSend", High, &[("mlsn.", HEX64)]),
    rule("mailgun-private-key", "Mailgun", Critical, &[("key-", HEX32)]),
    behind(loose(rule("maxmind-key", "MaxMind", High, &[("_mmk", &[])]), 0.0), (Word, 36, 36)),
    rule("mongodb-atlas-secret", "MongoDB Atlas", Critical, &[("mdb_sa_sk_", &[exactly(Word, 40)])]),
    rule("neon-password", "Neon", Critical, &[("npg_", &[Run(Alnum, 12, 20)])]),
    rule("newrelic-query-key", "New Relic", High, &[("NRIQ-", &[exactly(Word, 32)]), ("NRAA-", &[exactly(Hex, 27)])]),
    rule("notion-secret", "Notion", Critical, &[("secret_", &[exactly(Alnum, 43)])]),
    rule("octopus-key", "Octopus Deploy", High, &[("API-", &[exactly(Alnum, 26)])]),
    rule("onepassword-token", "1Password", Critical, &[("ops_eyJ", &[Run(Base64, 200, 2000)])]),
    rule("openrouter-key", "OpenRouter", Critical, &[("sk-or-v1-", HEX64)]),
    rule("pinecone-key", "Pinecone", High, &[("pcsk_", &[Run(Word, 60, 75)])]),
    rule("razorpay-key", "Razorpay", High, &[("rzp_live_", &[exactly(Alnum, 14)])]),
    rule("segment-token", "Segment", High, &[("sgp_", &[exactly(Alnum, 64)])]),
    rule(
        "sourcegraph-token",
        "Sourcegraph",
        Critical,
        &[("sgp_", HEX40), ("sgp_", &[exactly(Hex, 16), Text("_"), exactly(Hex, 40)]), ("slk_", HEX64)],
    ),
    rule("tavily-key", "Tavily", High, &[("tvly-", &[exactly(Alnum, 32)])]),
    rule(
        "teams-connector",
        "Microsoft Teams",
        High,
        &[(
            "outlook.office.com/webhook/",
            &[exactly(Word, 36), Text("@"), exactly(Word, 36), Text("/IncomingWebhook/"), exactly(Hex, 32)],
        )],
    ),
    rule("telnyx-key", "Telnyx", High, &[("KEY0", &[exactly(Hex, 31), Text("_"), exactly(Alnum, 22)])]),
    rule("tencent-key", "Tencent Cloud", High, &[("AKID", &[exactly(Alnum, 32)])]),
    rule("thunderstore-token", "Thunderstore", High, &[("tss_", &[exactly(Alnum, 36)])]),
    rule("twilio-api-key", "Twilio", High, &[("SK", HEX32)]),
    rule("twitch-stream-key", "Twitch", High, &[("live_", &[Run(Digit, 7, 12), Text("_"), exactly(Alnum, 30)])]),
    rule("typeform-token", "Typeform", High, &[("tfp_", &[Run(Word, 44, 64)])]),
    rule("vault-short-token", "HashiCorp Vault", Critical, &[("hvs.", &[exactly(Alnum, 24)])]),
    rule("weights-and-biases-key", "Weights & Biases", High, &[("wandb_v1_", &[Run(Word, 40, 90)])]),
];
