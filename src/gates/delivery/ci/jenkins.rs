//! A Jenkinsfile as a job graph: a job is a stage. Declarative and scripted pipelines alike are read as blocks
//! (`groovy.rs`): stages in their order, parallel ones side by side, `sh` and its kin, functions of the same file looked
//! into. What a shared library does stands elsewhere: such a stage is opaque. Jenkins itself, not this file, says which
//! branches and pull requests are built; a multibranch project builds both, and that is assumed.

use std::collections::{BTreeMap, BTreeSet};

use super::commands::{Command, Work, commands};
use super::groovy::{self, Arg, Node};
use super::model::{Around, Job, Pipeline, Runs, Source};
use crate::domain::verdict::{Finding, Severity};

/// Functions that call functions.
const CALLS_MAX: usize = 6;
/// More stages than this come from functions that call each other.
const JOBS_MAX: usize = 300;

/// Steps of Jenkins and words of Groovy that neither build nor test nor deploy.
const HARMLESS: [&str; 74] = [
    "echo",
    "print",
    "println",
    "checkout",
    "git",
    "archiveArtifacts",
    "archive",
    "junit",
    "stash",
    "unstash",
    "deleteDir",
    "cleanWs",
    "error",
    "emailext",
    "mail",
    "slackSend",
    "sleep",
    "milestone",
    "properties",
    "recordIssues",
    "publishHTML",
    "tool",
    "library",
    "input",
    "fileExists",
    "readFile",
    "writeFile",
    "readJSON",
    "readYaml",
    "return",
    "def",
    "final",
    "String",
    "boolean",
    "int",
    "void",
    "import",
    "if",
    "else",
    "for",
    "while",
    "try",
    "catch",
    "finally",
    "switch",
    "case",
    "break",
    "throw",
    "agent",
    "options",
    "environment",
    "triggers",
    "parameters",
    "tools",
    "label",
    "post",
    "when",
    "expression",
    "branch",
    "buildDiscarder",
    "timestamps",
    "ansiColor",
    "disableConcurrentBuilds",
    "retry",
    "fingerprint",
    "step",
    "discoverReferenceBuild",
    "publishCoverage",
    "cobertura",
    "jacoco",
    "currentBuild",
    "env",
    "node",
    "assert",
];

pub fn pipeline(file: &Source, around: Around<'_>) -> Pipeline {
    let mut out = Pipeline::new("Jenkins", "a stage after: [");
    out.files.push(file.path.clone());
    let nodes = groovy::parse(&file.text);
    let mut reader = Reader { file, around, functions: BTreeMap::new(), out, unknown: Vec::new() };
    for node in &nodes {
        reader.learn(node);
    }
    let start = Place { job: None, before: BTreeSet::new(), excuse: None, limits: Limits::default(), calls: 0 };
    reader.sequence(&nodes, &start);
    reader.finish()
}

struct Reader<'r> {
    file: &'r Source,
    around: Around<'r>,
    functions: BTreeMap<String, Vec<Node>>,
    out: Pipeline,
    /// Calls of names that this file does not explain, outside of any stage.
    unknown: Vec<(String, u32)>,
}

/// Where in the file a statement stands.
#[derive(Clone)]
struct Place {
    /// The stage around, by its index.
    job: Option<usize>,
    /// Stages that have ended before.
    before: BTreeSet<String>,
    /// Why a failure here goes unnoticed.
    excuse: Option<String>,
    limits: Limits,
    calls: usize,
}

#[derive(Clone, Default)]
struct Limits {
    restricted: bool,
    not_pull_request: bool,
    only_pull_request: bool,
    always: bool,
    never: bool,
}

impl Limits {
    /// From the words of a condition: `when { branch 'main' }`, `if (env.BRANCH_NAME == 'main')`.
    fn of(words: &str) -> Limits {
        let lower = words.to_ascii_lowercase();
        let has = |w: &str| lower.contains(w);
        let not = has("not ") || has("! ") || has("!=");
        let change_request = has("changerequest") || has("change_id") || has("isprbuild") || has("ispr");
        let branch = has("branch") || has("tag_name") || has("buildingtag") || has("tag ") || has("job_base_name");
        Limits {
            restricted: branch || has("params.") || (change_request && not),
            not_pull_request: (branch && !change_request && !not) || (change_request && not),
            only_pull_request: change_request && !not,
            always: false,
            never: has("expression false") || has("expression { false"),
        }
    }
    fn and(&self, other: &Limits) -> Limits {
        Limits {
            restricted: self.restricted || other.restricted,
            not_pull_request: self.not_pull_request || other.not_pull_request,
            only_pull_request: self.only_pull_request || other.only_pull_request,
            always: self.always || other.always,
            never: self.never || other.never,
        }
    }
}

impl Reader<'_> {
    /// Functions of the file, by name: `def build(x) { … }`, `void ship() { … }`, `def call = { … }`.
    fn learn(&mut self, node: &Node) {
        let typed = matches!(
            node.name.as_str(),
            "def" | "void" | "String" | "boolean" | "Boolean" | "Object" | "private" | "int"
        );
        if node.has_block
            && typed
            && let Some(Arg::Word(name)) =
                node.args.iter().find(|a| matches!(a, Arg::Word(w) if w != "static" && w != "def"))
        {
            self.functions.insert(name.clone(), node.children.clone());
        }
    }

    /// Statements one after the other. Gives the stages that have ended by then.
    fn sequence(&mut self, nodes: &[Node], place: &Place) -> BTreeSet<String> {
        let mut place = place.clone();
        let mut old_style: Option<usize> = None;
        for (index, node) in nodes.iter().enumerate() {
            // Scripted pipelines of old: `stage 'x'` holds for what follows.
            if node.name == "stage" && !node.has_block && node.text(None).is_some() {
                if let Some(open) = old_style.take() {
                    place.before.insert(self.out.jobs[open].id.clone());
                }
                let opened = self.open(node, &place);
                (old_style, place.job) = (opened, opened);
                continue;
            }
            let next = nodes.get(index + 1);
            place.before = self.statement(node, next, &place);
        }
        if let Some(open) = old_style {
            place.before.insert(self.out.jobs[open].id.clone());
        }
        place.before
    }

    fn statement(&mut self, node: &Node, next: Option<&Node>, place: &Place) -> BTreeSet<String> {
        let keep = place.before.clone();
        match node.name.as_str() {
            "stage" if node.has_block => return self.stage(node, place),
            "parallel" => return self.parallel(node, place),
            "sh" | "bat" | "powershell" | "pwsh" | "isUnix" => self.shell(node, place),
            "build" if node.text(None).is_some() => {
                let what = format!("the job {}", node.text(None).unwrap_or_default());
                self.opaque(what, node.line, place);
            }
            "when" | "agent" | "options" | "environment" | "parameters" | "tools" | "triggers" => {}
            "post" => {
                for part in &node.children {
                    let always =
                        matches!(part.name.as_str(), "always" | "cleanup" | "failure" | "unsuccessful" | "unstable");
                    let limits = Limits { always: place.limits.always || always, ..place.limits.clone() };
                    self.sequence(&part.children, &Place { limits, ..place.clone() });
                }
            }
            "catchError" | "warnError" => {
                let excuse = place.excuse.clone().or(Some(node.name.clone()));
                return self.sequence(&node.children, &Place { excuse, ..place.clone() });
            }
            "try" => {
                let catches = next.filter(|n| n.name == "catch");
                let rethrows = catches.is_none_or(|c| {
                    let words = c.words();
                    ["throw", "error", "FAILURE", "FAILED", "UNSTABLE"].iter().any(|w| words.contains(w))
                });
                let excuse = place.excuse.clone().or((!rethrows).then(|| "try/catch".to_string()));
                return self.sequence(&node.children, &Place { excuse, ..place.clone() });
            }
            "if" | "else" | "switch" => {
                let words: String = node
                    .args
                    .iter()
                    .map(|a| match a {
                        Arg::Text { text, .. } | Arg::Word(text) => format!("{text} "),
                    })
                    .collect();
                let limits = place.limits.and(&if node.name == "if" { Limits::of(&words) } else { Limits::default() });
                let inner = Place { limits, ..place.clone() };
                // `if (x) sh 'y'` without braces.
                if !node.has_block {
                    self.inline(node, &inner);
                }
                return self.sequence(&node.children, &inner);
            }
            "def" | "void" | "String" | "boolean" | "Boolean" | "Object" | "private" | "int" if node.has_block => {}
            name if self.functions.contains_key(name) && place.calls < CALLS_MAX => {
                let body = self.functions[name].clone();
                return self.sequence(&body, &Place { calls: place.calls + 1, ..place.clone() });
            }
            name => {
                self.inline(node, place);
                if node.has_block {
                    return self.sequence(&node.children, place);
                }
                let call = matches!(node.args.first(), Some(Arg::Word(open)) if open == "(")
                    && name.chars().all(|c| c.is_alphanumeric() || c == '_');
                if call && !HARMLESS.contains(&name) {
                    self.opaque(format!("{name}, which this file does not define"), node.line, place);
                }
            }
        }
        keep
    }

    /// Commands inside a longer statement: `x = sh(…)`, `docker.build('a').push()`, `if (c) sh 'y'`.
    fn inline(&mut self, node: &Node, place: &Place) {
        if let Some(at) = node.args.iter().position(|a| matches!(a, Arg::Word(w) if w == "sh" || w == "bat")) {
            let inner =
                Node { name: "sh".into(), line: node.line, args: node.args[at + 1..].to_vec(), ..Node::default() };
            self.shell(&inner, place);
        }
        let names: Vec<&str> = std::iter::once(node.name.as_str())
            .chain(node.args.iter().filter_map(|a| match a {
                Arg::Word(w) => Some(w.as_str()),
                Arg::Text { .. } => None,
            }))
            .collect();
        if names.iter().any(|n| n.ends_with("docker.build")) {
            self.add("docker build", Work::Build, node.line, place);
        }
        if names.iter().any(|n| n.ends_with(".push")) && self.file.text.contains("docker.") {
            self.add("docker push", Work::Publish, node.line, place);
        }
    }

    fn stage(&mut self, node: &Node, place: &Place) -> BTreeSet<String> {
        let mut limits = place.limits.clone();
        for when in node.children.iter().filter(|c| c.name == "when") {
            limits = limits.and(&Limits::of(&when.words()));
        }
        let asks = node.children.iter().any(|c| c.name == "input");
        limits.restricted |= asks;
        let inner = Place { limits, ..place.clone() };
        let first = self.out.jobs.len();
        let Some(job) = self.open(node, &inner) else { return place.before.clone() };
        let ended = self.sequence(&node.children, &Place { job: Some(job), ..inner });
        // A stage of stages is done when they are.
        let mut out = ended;
        out.extend(self.out.jobs[first..].iter().map(|j| j.id.clone()));
        out
    }

    fn parallel(&mut self, node: &Node, place: &Place) -> BTreeSet<String> {
        let mut ended = place.before.clone();
        for branch in &node.children {
            let body = if branch.name == "stage" { std::slice::from_ref(branch) } else { &branch.children[..] };
            ended.extend(self.sequence(body, place));
        }
        ended
    }

    /// A new stage.
    fn open(&mut self, node: &Node, place: &Place) -> Option<usize> {
        if self.out.jobs.len() >= JOBS_MAX {
            return None;
        }
        let name = node.text(None).unwrap_or("stage").to_string();
        let taken = self.out.jobs.iter().filter(|j| j.name == name).count();
        let id = if taken == 0 { name.clone() } else { format!("{name} {}", taken + 1) };
        let limits = &place.limits;
        self.out.jobs.push(Job {
            id,
            name,
            file: self.file.path.clone(),
            line: node.line,
            needs: place.before.clone(),
            runs: Runs {
                on_pull_request: !limits.not_pull_request && !limits.never,
                on_default_branch: !limits.only_pull_request && !limits.never,
            },
            neutralised: limits.never.then(|| "when: false".to_string()),
            restricted: limits.restricted,
            ..Job::default()
        });
        Some(self.out.jobs.len() - 1)
    }

    /// The stage to write to; a pipeline without stages is one.
    fn job(&mut self, line: u32, place: &Place) -> usize {
        if let Some(job) = place.job {
            return job;
        }
        if let Some(job) = self.out.jobs.iter().position(|j| j.id == "pipeline") {
            return job;
        }
        self.out.jobs.push(Job {
            id: "pipeline".into(),
            name: "pipeline".into(),
            file: self.file.path.clone(),
            line,
            needs: place.before.clone(),
            runs: Runs::BOTH,
            restricted: place.limits.restricted,
            ..Job::default()
        });
        self.out.jobs.len() - 1
    }

    fn shell(&mut self, node: &Node, place: &Place) {
        let script =
            node.text(Some("script")).or_else(|| node.text(None).filter(|_| node.text(Some("label")).is_none()));
        let Some(script) = script else {
            if node.name != "isUnix" && !node.args.is_empty() {
                self.opaque("a command that is put together as it runs".to_string(), node.line, place);
            }
            return;
        };
        if let Some(field) = stranger_fills(node, script) {
            let message =
                format!("${{{field}}} is pasted into a script by Groovy: whoever opens a pull request chooses it");
            self.out.dangers.push(
                Finding::new("script-injection", Severity::High, message)
                    .at(&self.file.path, node.line, 1)
                    .fix("write the script in single quotes, so that the shell reads the variable")
                    .identified_by(&["script-injection", &self.file.path, field]),
            );
        }
        let swallowed = node.flag("returnStatus").then(|| "returnStatus: true".to_string());
        for command in commands(script, "", self.around.indirect) {
            let neutralised = command.neutralised.clone().or(place.excuse.clone()).or(swallowed.clone());
            self.push(Command { neutralised, ..command }, node.line, place);
        }
    }

    fn add(&mut self, text: &str, work: Work, line: u32, place: &Place) {
        let neutralised = place.excuse.clone();
        self.push(Command { work, text: text.into(), neutralised, restricted: false }, line, place);
    }

    fn push(&mut self, command: Command, line: u32, place: &Place) {
        let job = self.job(line, place);
        let regardless = place.limits.always && matches!(command.work, Work::Deploy | Work::Publish);
        let neutralised = command.neutralised.or(regardless.then(|| "post: always".to_string()));
        let restricted = command.restricted || place.limits.restricted;
        self.out.jobs[job].commands.push((line, Command { neutralised, restricted, ..command }));
    }

    fn opaque(&mut self, what: String, line: u32, place: &Place) {
        match place.job {
            Some(job) => {
                self.out.jobs[job].opaque.get_or_insert(what);
            }
            None => self.unknown.push((what, line)),
        }
    }

    fn finish(mut self) -> Pipeline {
        // A stage of which something was understood is judged by that.
        for job in &mut self.out.jobs {
            if !job.commands.is_empty() {
                job.opaque = None;
            }
        }
        // Stages that only hold others, or only send mail, keep their places in the chain.
        if self.out.jobs.is_empty()
            && let Some((what, line)) = self.unknown.first()
        {
            self.out.jobs.push(Job {
                id: "pipeline".into(),
                name: "pipeline".into(),
                file: self.file.path.clone(),
                line: *line,
                opaque: Some(what.clone()),
                runs: Runs::BOTH,
                ..Job::default()
            });
        }
        self.out
    }
}

/// Fields that Jenkins fills from a pull request.
const STRANGERS: [&str; 6] = [
    "CHANGE_TITLE",
    "CHANGE_BRANCH",
    "CHANGE_AUTHOR_DISPLAY_NAME",
    "CHANGE_AUTHOR_EMAIL",
    "CHANGE_AUTHOR",
    "ghprbPullTitle",
];

fn stranger_fills(node: &Node, script: &str) -> Option<&'static str> {
    let fills = node.args.iter().any(|a| matches!(a, Arg::Text { text, fills: true } if text == script));
    let pasted =
        |field: &&&str| script.contains(&format!("${{{field}}}")) || script.contains(&format!("${{env.{field}}}"));
    STRANGERS.iter().find(pasted).copied().filter(|_| fills)
}
