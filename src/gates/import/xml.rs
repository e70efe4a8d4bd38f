//! XML of strangers, step by step: no entity but the five of the standard, no internal DTD, bounded depth, and an open
//! element at the end of the file is an error.

use std::collections::BTreeMap;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

use super::ImportError;

/// One step through a document. Names come without their namespace prefix.
#[derive(Debug, PartialEq)]
pub enum Step<'a> {
    Open {
        name: &'a str,
        attributes: &'a BTreeMap<String, String>,
    },
    /// Character data between tags; may come in pieces.
    Text(&'a str),
    Close {
        name: &'a str,
    },
}

/// Reports nest six to ten deep.
const DEPTH_MAX: usize = 64;

/// Calls `on` for every step together with the names of the open elements, outermost first. On `Open` and `Close` the
/// path includes the element itself.
pub fn walk(text: &str, mut on: impl FnMut(&[String], Step<'_>) -> Result<(), String>) -> Result<(), ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = quick_xml::Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut elements = 0_u64;
    loop {
        let before = reader.buffer_position() as usize;
        let line = || text.as_bytes()[..before.min(text.len())].iter().filter(|b| **b == b'\n').count() as u32 + 1;
        let malformed = |message: String| ImportError::at(line(), message);
        let event = reader.read_event().map_err(|e| match path.last() {
            // The parser itself complains about a tag that never ends.
            Some(open) if reader.buffer_position() as usize >= text.len() => ImportError::CutShort(format!("<{open}>")),
            _ => ImportError::at(line(), e.to_string()),
        })?;
        match event {
            Event::Start(ref tag) | Event::Empty(ref tag) => {
                elements += 1;
                let (name, attributes) = (tag.local_name().as_ref().to_string(), attributes(tag).map_err(malformed)?);
                path.push(name);
                if path.len() > DEPTH_MAX {
                    return Err(malformed(format!("nested deeper than {DEPTH_MAX}")));
                }
                let name = path.last().cloned().unwrap_or_default();
                on(&path, Step::Open { name: &name, attributes: &attributes }).map_err(malformed)?;
                if matches!(event, Event::Empty(_)) {
                    on(&path, Step::Close { name: &name }).map_err(malformed)?;
                    path.pop();
                }
            }
            Event::End(tag) => {
                let name = tag.local_name().as_ref().to_string();
                on(&path, Step::Close { name: &name }).map_err(malformed)?;
                path.pop();
            }
            Event::Text(text) => on(&path, Step::Text(&text.xml10_content())).map_err(malformed)?,
            Event::CData(text) => on(&path, Step::Text(&text.xml10_content())).map_err(malformed)?,
            Event::DocType(doctype) if doctype.xml10_content().contains('[') => {
                return Err(malformed("a DTD inside the document is refused".into()));
            }
            Event::GeneralRef(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof => break,
        }
    }
    match path.last() {
        Some(open) => Err(ImportError::CutShort(format!("<{open}>"))),
        None if elements == 0 => Err(ImportError::Empty("XML element")),
        None => Ok(()),
    }
}

fn attributes(tag: &BytesStart<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|e| e.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| e.to_string())?;
        out.insert(attribute.key.local_name().as_ref().to_string(), value.into_owned());
    }
    Ok(out)
}

/// The root element's name and attributes, for telling formats apart. `None` when the beginning is not XML.
pub fn root(text: &str) -> Option<(String, BTreeMap<String, String>)> {
    let mut reader = quick_xml::Reader::from_str(text.trim_start_matches('\u{feff}'));
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) | Event::Empty(tag) => {
                return Some((tag.local_name().as_ref().to_string(), attributes(&tag).ok()?));
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<String, ImportError> {
        let mut out = String::new();
        walk(text, |path, step| {
            match step {
                Step::Open { attributes, .. } => out.push_str(&format!("+{}{attributes:?}", path.join("/"))),
                Step::Text(text) => out.push_str(text.trim()),
                Step::Close { name } => out.push_str(&format!("-{name}")),
            }
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn walks_with_the_path() {
        assert_eq!(
            names("<?xml version='1.0'?><a><x:b k='1 &amp; 2'/>t</a>").unwrap(),
            "+a{}+a/b{\"k\": \"1 & 2\"}-bt-a"
        );
        assert_eq!(names("<!DOCTYPE a SYSTEM \"http://example.com/a.dtd\"><a/>").unwrap(), "+a{}-a");
    }

    #[test]
    fn refuses_entities_depth_and_halves() {
        for bad in [
            "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
            "<a k='&x;'/>",
            "<a></b>",
            "<a><b>",
            "<a><b k='",
            "",
            "plain text",
        ] {
            assert!(names(bad).is_err(), "{bad}");
        }
        assert!(names(&"<a>".repeat(1000)).is_err());
        assert_eq!(names("<a><b></b>"), Err(ImportError::CutShort("<a>".into())));
    }
}
