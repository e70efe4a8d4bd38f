//! Routers that hang below each other, as the files of one language say, and the routes that come of it. A router that
//! nothing certain leads to still has its routes, marked as uncertain; what cannot be read is named, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use super::template::{self, Style};
use super::{Route, Unread};

/// A router, by the scope that knows its name (a file, a package) and that name.
pub type Key = (String, String);

/// One router, or a function's parameter that will be one.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// The application itself: nothing lies above it.
    pub root: bool,
    /// Certainly a router: somebody made one. A parameter may be anything until a router is handed over.
    pub router: bool,
    pub prefix: String,
    pub items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Route {
        method: String,
        path: String,
        line: u32,
        file: String,
        source: &'static str,
    },
    Mount {
        /// `None`: a prefix that is no literal, so that all below is uncertain.
        prefix: Option<String>,
        /// The prefix stands instead of the router's own (Flask).
        instead: bool,
        /// What hangs there. `None`: it could not be followed.
        child: Option<Key>,
        line: u32,
        file: String,
    },
}

/// What one language's paths look like.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    pub style: Style,
    /// `/users` and `/users/` are two.
    pub slash: bool,
}

#[derive(Debug, Default)]
pub struct Graph {
    pub nodes: BTreeMap<Key, Node>,
    pub unread: Vec<Unread>,
}

/// Routers below routers; deeper is a circle.
const DEPTH_MAX: usize = 16;
/// Of one language. More is generated.
const ROUTES_MAX: usize = 20_000;

impl Graph {
    pub fn node(&mut self, key: Key) -> &mut Node {
        self.nodes.entry(key).or_default()
    }

    pub fn unread(&mut self, file: &str, line: u32, why: impl Into<String>) {
        self.unread.push(Unread { file: file.to_string(), line, why: why.into() });
    }

    /// All routes: those below an application, then those of routers that hang nowhere.
    pub fn routes(self, dialect: Dialect) -> (Vec<Route>, Vec<Unread>) {
        let mut walk =
            Walk { nodes: &self.nodes, dialect, out: BTreeSet::new(), seen: BTreeSet::new(), unread: self.unread };
        let hanging: BTreeSet<&Key> =
            self.nodes.values().filter(|n| n.router).flat_map(|n| &n.items).filter_map(child).collect();
        // An application below another is a part of it.
        for (key, _) in self.nodes.iter().filter(|(key, node)| node.root && !hanging.contains(key)) {
            walk.below(key, "", None, true, 0);
        }
        // First those that nothing known holds, so that their prefixes count for what hangs below them.
        for above_all in [true, false] {
            for (key, node) in &self.nodes {
                if node.router && !walk.seen.contains(key) && above_all != hanging.contains(key) {
                    walk.below(key, "", None, false, 0);
                }
            }
        }
        (walk.out.into_iter().collect(), walk.unread)
    }
}

fn child(item: &Item) -> Option<&Key> {
    match item {
        Item::Mount { child, .. } => child.as_ref(),
        Item::Route { .. } => None,
    }
}

struct Walk<'g> {
    nodes: &'g BTreeMap<Key, Node>,
    dialect: Dialect,
    out: BTreeSet<Route>,
    seen: BTreeSet<Key>,
    unread: Vec<Unread>,
}

impl Walk<'_> {
    fn below(&mut self, key: &Key, prefix: &str, instead: Option<&str>, certain: bool, depth: usize) {
        let Some(node) = self.nodes.get(key).filter(|_| depth < DEPTH_MAX && self.out.len() < ROUTES_MAX) else {
            return;
        };
        self.seen.insert(key.clone());
        let own = instead.unwrap_or(&node.prefix);
        let prefix = if own.is_empty() { prefix.to_string() } else { template::join(prefix, own, false) };
        for item in &node.items {
            match item {
                Item::Route { method, path, line, file, source } => {
                    let whole = if path.is_empty() && !prefix.is_empty() {
                        prefix.clone()
                    } else {
                        template::join(&prefix, path, self.dialect.slash)
                    };
                    self.out.insert(Route::new(method, &whole, self.dialect.style, file, *line, source, certain));
                }
                Item::Mount { prefix: more, instead, child, line, file } => {
                    let Some(child) = child.as_ref().filter(|c| self.nodes.contains_key(*c)) else {
                        let why = "a router hangs here that cannot be followed".to_string();
                        self.unread.push(Unread { file: file.clone(), line: *line, why });
                        continue;
                    };
                    let certain = certain && more.is_some();
                    let more = more.as_deref().unwrap_or_default();
                    if *instead {
                        self.below(child, &prefix, Some(more), certain, depth + 1);
                    } else {
                        let here = if more.is_empty() { prefix.clone() } else { template::join(&prefix, more, false) };
                        self.below(child, &here, None, certain, depth + 1);
                    }
                }
            }
        }
    }
}
