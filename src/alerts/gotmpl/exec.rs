//! Runs nodes over values, within the budgets of `mod.rs`.

use std::collections::BTreeMap;

use super::parse::{Node, Pipeline, Term};
use super::{Answers, DEPTH_MAX, Data, NODES_MAX, OUTPUT_BYTES_MAX, funcs};
use crate::alerts::gotmpl::number::format_g;

/// What templates compute with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    /// A fixed set of fields: an unknown one is an error, not empty.
    Record(BTreeMap<String, Value>),
}

impl Value {
    pub fn truth(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(n) => *n != 0,
            Value::Float(n) => *n != 0.0,
            Value::Text(t) => !t.is_empty(),
            Value::List(l) => !l.is_empty(),
            Value::Map(m) => !m.is_empty(),
            Value::Record(_) => true,
        }
    }

    /// As Go's `%v` prints it.
    pub fn print(&self) -> String {
        match self {
            Value::Nil => "<no value>".into(),
            Value::Bool(b) => b.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Float(n) => format_g(*n),
            Value::Text(t) => t.clone(),
            Value::List(l) => format!("[{}]", l.iter().map(Value::print).collect::<Vec<_>>().join(" ")),
            Value::Map(m) | Value::Record(m) => {
                let pairs: Vec<String> = m.iter().map(|(k, v)| format!("{k}:{}", v.print())).collect();
                format!("map[{}]", pairs.join(" "))
            }
        }
    }
}

/// Why an expansion stopped.
#[derive(Debug, PartialEq)]
pub enum Stop {
    Error(String),
    Query(String),
    Break,
    Continue,
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Error(message)
    }
}

pub struct Machine<'a> {
    pub data: &'a Data<'a>,
    pub answers: &'a Answers,
    defines: &'a BTreeMap<String, Vec<Node>>,
    out: String,
    nodes: usize,
    depth: usize,
    variables: Vec<(String, Value)>,
}

pub fn run(
    nodes: &[Node],
    defines: &BTreeMap<String, Vec<Node>>,
    data: &Data<'_>,
    answers: &Answers,
) -> Result<String, Stop> {
    let text = |v: &str| Value::Text(v.into());
    let labels = Value::Map(data.labels.iter().map(|(k, v)| (k.to_string(), text(v))).collect());
    let external = Value::Map(data.external_labels.iter().map(|(k, v)| (k.clone(), text(v))).collect());
    let root = Value::Record(BTreeMap::from([
        ("Labels".to_string(), labels.clone()),
        ("ExternalLabels".to_string(), external.clone()),
        ("ExternalURL".to_string(), text(data.external_url)),
        ("Value".to_string(), Value::Float(data.value)),
    ]));
    // What Prometheus puts before every template.
    let variables = vec![
        (String::new(), root.clone()),
        ("labels".to_string(), labels),
        ("externalLabels".to_string(), external),
        ("externalURL".to_string(), text(data.external_url)),
        ("value".to_string(), Value::Float(data.value)),
    ];
    let mut machine = Machine { data, answers, defines, out: String::new(), nodes: 0, depth: 0, variables };
    machine.walk(nodes, &root)?;
    Ok(machine.out)
}

impl Machine<'_> {
    fn walk(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Stop> {
        let scope = self.variables.len();
        for node in nodes {
            self.nodes += 1;
            if self.nodes > NODES_MAX {
                return Err(Stop::Error(format!("more than {NODES_MAX} steps")));
            }
            self.node(node, dot)?;
            if self.out.len() > OUTPUT_BYTES_MAX {
                return Err(Stop::Error(format!("more than {OUTPUT_BYTES_MAX} bytes of output")));
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), Stop> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Pipe(pipe) => {
                let value = self.pipeline(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.out.push_str(&value.print());
                }
            }
            Node::If(branches, otherwise) => {
                let scope = self.variables.len();
                for (condition, body) in branches {
                    if self.pipeline(condition, dot)?.truth() {
                        self.walk(body, dot)?;
                        self.variables.truncate(scope);
                        return Ok(());
                    }
                }
                self.walk(otherwise, dot)?;
                self.variables.truncate(scope);
            }
            Node::With { pipe, body, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipeline(pipe, dot)?;
                if value.truth() {
                    self.walk(body, &value)?
                } else {
                    self.walk(otherwise, dot)?
                }
                self.variables.truncate(scope);
            }
            Node::Range { pipe, body, otherwise } => self.range(pipe, body, otherwise, dot)?,
            Node::Template { name, argument } => {
                let argument = argument.as_ref().map_or(Ok(Value::Nil), |a| self.pipeline(a, dot))?;
                let defines = self.defines;
                let body = defines.get(name).ok_or_else(|| format!("template {name:?} not defined"))?;
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(Stop::Error("templates call each other too deep".into()));
                }
                // A called template sees only its argument.
                let outer = std::mem::replace(&mut self.variables, vec![(String::new(), argument.clone())]);
                self.walk(body, &argument)?;
                self.variables = outer;
                self.depth -= 1;
            }
            Node::Break => return Err(Stop::Break),
            Node::Continue => return Err(Stop::Continue),
        }
        Ok(())
    }

    fn range(&mut self, pipe: &Pipeline, body: &[Node], otherwise: &[Node], dot: &Value) -> Result<(), Stop> {
        let scope = self.variables.len();
        let bare = Pipeline { variables: Vec::new(), declares: false, commands: pipe.commands.clone() };
        let items: Vec<(Value, Value)> = match self.pipeline(&bare, dot)? {
            Value::List(list) => list.into_iter().enumerate().map(|(i, v)| (Value::Int(i as i64), v)).collect(),
            Value::Map(map) => map.into_iter().map(|(k, v)| (Value::Text(k), v)).collect(),
            Value::Nil => Vec::new(),
            Value::Int(n) => (0..n.clamp(0, NODES_MAX as i64)).map(|i| (Value::Int(i), Value::Int(i))).collect(),
            other => return Err(Stop::Error(format!("range can't iterate over {}", other.print()))),
        };
        if items.is_empty() {
            self.walk(otherwise, dot)?;
        }
        for (key, value) in items {
            match pipe.variables.as_slice() {
                [one] => self.variables.push((one.clone(), value.clone())),
                [k, v, ..] => self.variables.extend([(k.clone(), key), (v.clone(), value.clone())]),
                [] => {}
            }
            let result = self.walk(body, &value);
            self.variables.truncate(scope);
            match result {
                Err(Stop::Break) => break,
                Err(Stop::Continue) | Ok(()) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipe: &Pipeline, dot: &Value) -> Result<Value, Stop> {
        let mut piped: Option<Value> = None;
        for command in &pipe.commands {
            self.nodes += 1;
            if self.nodes > NODES_MAX {
                return Err(Stop::Error(format!("more than {NODES_MAX} steps")));
            }
            piped = Some(self.command(command, dot, piped)?);
        }
        let value = piped.unwrap_or(Value::Nil);
        for name in &pipe.variables {
            if pipe.declares {
                self.variables.push((name.clone(), value.clone()));
            } else {
                let known = self.variables.iter_mut().rev().find(|(n, _)| n == name);
                known.ok_or_else(|| format!("undefined variable ${name}"))?.1 = value.clone();
            }
        }
        Ok(value)
    }

    fn command(&mut self, terms: &[Term], dot: &Value, piped: Option<Value>) -> Result<Value, Stop> {
        let Some((first, rest)) = terms.split_first() else { return Err(Stop::Error("missing command".into())) };
        if let Term::Function(name) = first {
            // `and` and `or` stop at the first argument that decides.
            if matches!(name.as_str(), "and" | "or") {
                let mut value = Value::Nil;
                for term in rest {
                    value = self.term(term, dot)?;
                    if value.truth() == (name == "or") {
                        return Ok(value);
                    }
                }
                return Ok(piped.unwrap_or(value));
            }
            let mut arguments = rest.iter().map(|t| self.term(t, dot)).collect::<Result<Vec<_>, _>>()?;
            arguments.extend(piped);
            return funcs::call(self, name, arguments);
        }
        if !rest.is_empty() || piped.is_some() {
            return Err(Stop::Error("can't give an argument to something that is not a function".into()));
        }
        self.term(first, dot)
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value, Stop> {
        Ok(match term {
            Term::Dot => dot.clone(),
            Term::Field(path) => fields(dot, path)?,
            Term::Variable(name, path) => {
                let known = self.variables.iter().rev().find(|(n, _)| n == name);
                fields(&known.ok_or_else(|| format!("undefined variable ${name}"))?.1, path)?
            }
            Term::Paren(pipe, path) => fields(&self.pipeline(pipe, dot)?, path)?,
            Term::Function(name) => funcs::call(self, name, Vec::new())?,
            Term::Text(text) => Value::Text(text.clone()),
            Term::Int(n) => Value::Int(*n),
            Term::Float(n) => Value::Float(*n),
            Term::Bool(b) => Value::Bool(*b),
            Term::Nil => Value::Nil,
        })
    }
}

/// `value.a.b`. A missing key of a map is the zero value, as Prometheus sets `missingkey=zero`.
fn fields(value: &Value, path: &[String]) -> Result<Value, Stop> {
    let mut value = value.clone();
    for name in path {
        value = match &value {
            Value::Map(map) => map.get(name).cloned().unwrap_or(Value::Text(String::new())),
            Value::Record(map) => map.get(name).cloned().ok_or_else(|| format!("can't evaluate field {name}"))?,
            Value::Nil => return Err(Stop::Error(format!("nil data; no entry for key {name:?}"))),
            other => return Err(Stop::Error(format!("can't evaluate field {name} in {}", other.print()))),
        };
    }
    Ok(value)
}
