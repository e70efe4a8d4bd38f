//! Small questions to a syntax tree, the same in every language: arguments, names, the function around a place.

use tree_sitter::Node;

use crate::gates::code::syntax;

/// One parsed file.
pub struct Source<'s> {
    pub path: &'s str,
    pub text: &'s [u8],
}

impl<'s> Source<'s> {
    pub fn text(&self, node: Node<'_>) -> &'s str {
        syntax::text(node, self.text)
    }
}

pub fn line(node: Node<'_>) -> u32 {
    node.start_position().row as u32 + 1
}

pub fn field<'t>(node: Node<'t>, name: &str) -> Option<Node<'t>> {
    node.child_by_field_name(name)
}

/// Named children but comments.
pub fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|n| !n.kind().contains("comment")).collect()
}

pub fn child_of<'t>(node: Node<'t>, kind: &str) -> Option<Node<'t>> {
    children(node).into_iter().find(|n| n.kind() == kind)
}

/// The arguments of a call.
pub fn arguments<'t>(call: Node<'t>) -> Vec<Node<'t>> {
    field(call, "arguments").map(children).unwrap_or_default()
}

/// The innermost ancestor, the node itself left out, for which `is` holds.
pub fn above<'t>(node: Node<'t>, is: impl Fn(Node<'t>) -> bool) -> Option<Node<'t>> {
    let mut here = node.parent();
    while let Some(node) = here {
        if is(node) {
            return Some(node);
        }
        here = node.parent();
    }
    None
}
