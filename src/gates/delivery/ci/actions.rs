//! What ready-made parts of a pipeline do, by their names: GitHub's actions, Drone's and Woodpecker's images, Bitbucket's
//! pipes, CircleCI's orbs. Known ones by a table, others by the words in their names. Pure.

use super::commands::{Command, Work};

const TABLE: [(&str, Work); 44] = [
    ("mr-smithers-excellent/docker-build-push", Work::Publish),
    ("cypress-io/github-action", Work::Test),
    ("actions-rs/tarpaulin", Work::Test),
    ("pypa/gh-action-pypi-publish", Work::Publish),
    ("softprops/action-gh-release", Work::Publish),
    ("ncipollo/release-action", Work::Publish),
    ("actions/create-release", Work::Publish),
    ("svenstaro/upload-release-action", Work::Publish),
    ("taiki-e/upload-rust-binary-action", Work::Publish),
    ("vedantmgoyal9/winget-releaser", Work::Publish),
    ("changesets/action", Work::Publish),
    ("release-plz/action", Work::Publish),
    ("goreleaser/goreleaser-action", Work::Publish),
    ("cycjimmy/semantic-release-action", Work::Publish),
    ("appleboy/ssh-action", Work::Deploy),
    ("appleboy/scp-action", Work::Deploy),
    ("cloudflare/wrangler-action", Work::Deploy),
    ("cloudflare/pages-action", Work::Deploy),
    ("peaceiris/actions-gh-pages", Work::Deploy),
    ("amondnet/vercel-action", Work::Deploy),
    ("nwtgck/actions-netlify", Work::Deploy),
    ("easingthemes/ssh-deploy", Work::Deploy),
    ("superfly/flyctl-actions", Work::Deploy),
    // Drone and Woodpecker, without the registry and the tag.
    ("plugins/docker", Work::Publish),
    ("plugins/buildx", Work::Publish),
    ("plugins/kaniko", Work::Publish),
    ("plugins/ecr", Work::Publish),
    ("plugins/gcr", Work::Publish),
    ("plugins/gar", Work::Publish),
    ("plugins/acr", Work::Publish),
    ("plugins/npm", Work::Publish),
    ("plugins/pypi", Work::Publish),
    ("plugins/github-release", Work::Publish),
    ("plugins/gitea-release", Work::Publish),
    ("woodpeckerci/plugin-docker-buildx", Work::Publish),
    ("woodpeckerci/plugin-release", Work::Publish),
    ("woodpeckerci/plugin-kaniko", Work::Publish),
    ("woodpeckerci/plugin-s3", Work::Deploy),
    ("plugins/s3", Work::Deploy),
    ("plugins/s3-sync", Work::Deploy),
    ("plugins/gcs", Work::Deploy),
    ("plugins/gh-pages", Work::Deploy),
    ("appleboy/drone-ssh", Work::Deploy),
    ("appleboy/drone-scp", Work::Deploy),
];

/// Names that speak of deploys and releases without making one.
const ONLY_TALK: [&str; 14] = [
    "setup",
    "drafter",
    "deployment-status",
    "deployments",
    "deployment-action",
    "delete-deployment",
    "test-result",
    "test-report",
    "release-notes",
    "release-please",
    "changelog",
    "release-downloader",
    "latest-release",
    "publish-report",
];

/// What a part of this name does. `pushes`: for image builders, whether they push what they build.
pub fn action_work(action: &str, pushes: bool) -> Option<Work> {
    let name = action.split('@').next().unwrap_or(action).to_ascii_lowercase();
    if name.starts_with("docker/build-push-action") || name.starts_with("docker/bake-action") {
        return Some(if pushes { Work::Publish } else { Work::Build });
    }
    if let Some((_, work)) = TABLE.iter().find(|(known, _)| name == *known || name.starts_with(&format!("{known}/"))) {
        return Some(*work);
    }
    if ONLY_TALK.iter().any(|word| name.contains(word)) {
        return None;
    }
    match () {
        _ if name.contains("deploy") => Some(Work::Deploy),
        _ if name.contains("publish") => Some(Work::Publish),
        _ => None,
    }
}

/// An image's name without registry, tag and digest: `docker.io/plugins/docker:20` is `plugins/docker`.
pub fn image_name(image: &str) -> String {
    let image = image.split('@').next().unwrap_or(image);
    let (path, last) = image.rsplit_once('/').unwrap_or(("", image));
    let last = last.split(':').next().unwrap_or(last);
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && !p.contains(['.', ':'])).collect();
    parts.into_iter().chain([last]).collect::<Vec<_>>().join("/")
}

/// As a command of a step.
pub fn command(name: &str, pushes: bool) -> Option<Command> {
    let text: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    action_work(name, pushes).map(|work| Command { work, text, neutralised: None, restricted: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_table_and_by_name() {
        for (name, pushes, expect) in [
            ("actions/deploy-pages@v4", false, Some(Work::Deploy)),
            ("docker/build-push-action@v6", true, Some(Work::Publish)),
            ("docker/build-push-action@v6", false, Some(Work::Build)),
            ("acme/ci/publish_main@0f0f", false, Some(Work::Publish)),
            ("EnricoMi/publish-unit-test-result-action@v2", false, None),
            ("release-drafter/release-drafter@v6", false, None),
            ("actions/checkout@v4", false, None),
            ("aws-actions/amazon-ecs-deploy-task-definition@v2", false, Some(Work::Deploy)),
        ] {
            assert_eq!(action_work(name, pushes), expect, "{name}");
        }
        assert_eq!(image_name("docker.io/plugins/docker:20.1"), "plugins/docker");
        assert_eq!(image_name("localhost:5000/x/y@sha256:00"), "x/y");
        assert_eq!(image_name("golang"), "golang");
    }
}
