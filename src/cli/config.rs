//! `hypercare config check|schema|example|show`, and [`Global::config`]: how every command gets its configuration.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::config::explain::{self, Diagnostic, Located};
use crate::config::{self, Invalid, Loaded, Secrets};
use crate::domain::units::count;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare config example > hypercare.toml     start from a commented file
  hypercare config check                        every mistake at once, with its line
  hypercare config show --format json           what applies: merged, with defaults, secrets as references
  hypercare config schema > hypercare.schema.json   for your editor")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say everything that is wrong, with file, line, column and a hint; exit 2 when something is
    Check {
        #[command(flatten)]
        format: FormatArg,
    },
    /// Print the JSON Schema of hypercare.toml
    Schema,
    /// Print a commented hypercare.toml
    Example {
        /// The smallest file that works instead
        #[arg(long)]
        minimal: bool,
    },
    /// Print what applies: merged, with defaults, secrets as references
    Show {
        #[command(flatten)]
        format: FormatArg,
    },
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    match args.what {
        What::Check { format } => return check(global, format),
        What::Schema => output::json(&config::schema())?,
        What::Example { minimal: false } => output::print(config::EXAMPLE)?,
        What::Example { minimal: true } => output::print(config::MINIMAL)?,
        What::Show { format } => {
            let loaded = global.config(Need::File, Secrets::MayBeMissing)?;
            match format.is_json() {
                true => output::json(&Shown {
                    schema: "hypercare.config/v1",
                    hash: &loaded.hash,
                    files: loaded.files.iter().map(|f| f.path.as_path()).collect(),
                    config: loaded.shown(),
                })?,
                false => output::print(&loaded.shown_toml())?,
            }
        }
    }
    Ok(Exit::Yes)
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    hash: &'a str,
    files: Vec<&'a Path>,
    config: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    ok: bool,
    hash: Option<&'a str>,
    files: Vec<&'a Path>,
    problems: Vec<Located<'a>>,
}

fn check(global: &Global, format: FormatArg) -> anyhow::Result<Exit> {
    let path = found(global)?;
    let result = config::load(&path, Secrets::MustResolve);
    let (files, problems, hash) = match &result {
        Ok(loaded) => (&loaded.files, &loaded.warnings, Some(loaded.hash.as_str())),
        Err(invalid) => (&invalid.files, &invalid.diagnostics, None),
    };
    let exit = if result.is_ok() { Exit::Yes } else { Exit::Usage };
    if format.is_json() {
        output::json(&Report {
            schema: "hypercare.config-check/v1",
            ok: result.is_ok(),
            hash,
            files: files.iter().map(|f| f.path.as_path()).collect(),
            problems: problems.iter().map(|d| explain::locate(d, files)).collect(),
        })?;
        return Ok(exit);
    }
    let mut out = Out::stdout();
    for problem in problems {
        out.line(explain::pretty(problem, files, output::width()))?;
        out.line("")?;
    }
    match &result {
        Ok(loaded) => {
            let c = &loaded.config;
            let parts = [
                (c.service.len(), "service"),
                (c.metric.len(), "metric source"),
                (c.feedback.len(), "feedback source"),
                (c.channel.len(), "channel"),
                (c.route.len(), "route"),
            ];
            let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(*n, what)).collect();
            out.line(format!(
                "{} {} {}",
                output::paint(Tone::Pass, "✔ ok"),
                output::clean_line(&path.display().to_string()),
                output::paint(Tone::Soft, parts.join(", ")),
            ))?;
        }
        Err(invalid) => out.line(format!("{} {}", output::paint(Tone::Fail, "✘"), sum(invalid)))?,
    }
    out.flush()?;
    Ok(exit)
}

fn sum(invalid: &Invalid) -> String {
    count(invalid.diagnostics.iter().filter(|d| d.level == explain::Level::Error).count(), "problem")
}

/// Can a command do without a file?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    File,
    /// Without a file the defaults apply; a file that was named must still exist.
    Nothing,
}

impl Global {
    /// The configuration of `--config`, `HYPERCARE_CONFIG` or `./hypercare.toml`. Problems go to stderr with their
    /// lines, and the command ends with exit code 2. Warnings go to stderr unless `-q`.
    pub fn config(&self, need: Need, secrets: Secrets) -> anyhow::Result<Loaded> {
        let path = match (found(self), need) {
            (Ok(path), _) => path,
            (Err(_), Need::Nothing) => return Ok(Loaded::defaults()),
            (Err(e), Need::File) => return Err(e.into()),
        };
        match config::load(&path, secrets) {
            Ok(loaded) => {
                if !self.flags.quiet {
                    show(&loaded.warnings, &loaded.files)?;
                }
                Ok(loaded)
            }
            Err(invalid) => {
                show(&invalid.diagnostics, &invalid.files)?;
                let message = format!("{} in {}", sum(&invalid), path.display());
                Err(Failure::new(Exit::Usage, message).into())
            }
        }
    }
}

fn found(global: &Global) -> Result<PathBuf, Failure> {
    match &global.flags.config {
        Some(path) => Ok(path.clone()),
        None if Path::new(config::DEFAULT_FILE).exists() => Ok(config::DEFAULT_FILE.into()),
        None => Err(Failure::new(Exit::Usage, format!("there is no {} here", config::DEFAULT_FILE))
            .hint("`hypercare init` writes one, `hypercare config example` prints one, --config names another")),
    }
}

fn show(diagnostics: &[Diagnostic], files: &[config::dom::SourceFile]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut err = anstream::stderr();
    for diagnostic in diagnostics {
        writeln!(err, "{}\n", explain::pretty(diagnostic, files, output::width()))?;
    }
    Ok(())
}
