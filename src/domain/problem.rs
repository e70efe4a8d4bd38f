//! One thing wrong with the user's input. Rooms return problems by path; `config/explain.rs` finds file, line, column.

use std::fmt;

/// `path` is the key as written in the file, dots between the parts: `channel.oncall.via.webhook.url`.
/// `message` is a lowercase sentence fragment; `hint` says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: Vec<String>,
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn at(path: impl IntoIterator<Item = impl Into<String>>, message: impl Into<String>) -> Problem {
        Problem { path: path.into_iter().map(Into::into).collect(), message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem seen from a table further out: rooms say `url`, the caller prepends `channel.oncall.via.webhook`.
    pub fn under(mut self, parents: &[&str]) -> Problem {
        self.path.splice(0..0, parents.iter().map(|p| p.to_string()));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}
