//! systemd units and supervisor programs: INI files whose lines we keep.

use std::collections::BTreeMap;

use super::Place;

/// A section's keys: the last value of each and its line.
type Section = BTreeMap<String, (String, u32)>;

/// A `.service` file, its drop-ins merged by [`drop_ins`].
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    pub place: Place,
    /// `shop.service`.
    pub name: String,
    pub sections: BTreeMap<String, Section>,
}

impl Unit {
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(|(v, _)| v.as_str())
    }
    pub fn line_of(&self, section: &str, key: &str) -> u32 {
        self.sections.get(section).and_then(|s| s.get(key)).map_or(self.place.line, |(_, line)| *line)
    }
}

/// One `[program:x]` of supervisor.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub place: Place,
    pub name: String,
    pub keys: Section,
}

/// Section name, its line, its keys, in the file's order. systemd continues a line after `\`.
fn sections(text: &str) -> Vec<(String, u32, Section)> {
    let mut out: Vec<(String, u32, Section)> = Vec::new();
    let mut continued = false;
    for (i, raw) in text.lines().enumerate() {
        let line = raw.trim();
        let inside = std::mem::replace(&mut continued, line.ends_with('\\'));
        if inside || line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            out.push((name.trim().to_string(), i as u32 + 1, Section::new()));
        } else if let (Some((key, value)), Some((_, _, section))) = (line.split_once('='), out.last_mut()) {
            let value = value.split(" ;").next().unwrap_or(value).trim();
            section.insert(key.trim().to_string(), (value.to_string(), i as u32 + 1));
        }
    }
    out
}

/// `None` when it is no unit of systemd.
pub fn unit(path: &str, text: &str) -> Option<Unit> {
    let found = sections(text);
    let line = found.iter().find(|(name, _, _)| name == "Service")?.1;
    let mut all: BTreeMap<String, Section> = BTreeMap::new();
    for (name, _, keys) in found {
        all.entry(name).or_default().extend(keys);
    }
    let name = match path.rsplit('/').nth(1).and_then(|f| f.strip_suffix(".d")) {
        Some(unit) if path.ends_with(".conf") => unit,
        _ => path.rsplit('/').next().unwrap_or(path),
    };
    Some(Unit { place: Place::new(path, line), name: name.to_string(), sections: all })
}

/// Merges `x.service.d/*.conf` into `x.service`; those without their unit belong to somebody else's package.
pub fn drop_ins(units: &mut Vec<Unit>) {
    let (extra, mut whole): (Vec<Unit>, Vec<Unit>) =
        std::mem::take(units).into_iter().partition(|u| u.place.file.ends_with(".conf"));
    for one in extra {
        if let Some(unit) = whole.iter_mut().find(|u| u.name == one.name) {
            for (section, keys) in one.sections {
                unit.sections.entry(section).or_default().extend(keys);
            }
        }
    }
    *units = whole;
}

/// The programs of a supervisor file.
pub fn programs(path: &str, text: &str) -> Vec<Program> {
    let program = |(name, line, keys): (String, u32, Section)| {
        let name = name.strip_prefix("program:")?.trim().to_string();
        Some(Program { place: Place::new(path, line), name, keys })
    };
    sections(text).into_iter().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_and_their_drop_ins() {
        let text =
            "[Unit]\nDescription=Shop\n[Service]\n# why\nExecStart=/bin/shop \\\n  Restart=no\nRestart=on-failure\n";
        let shop = unit("deploy/shop.service", text).unwrap();
        assert_eq!((shop.get("Service", "Restart"), shop.line_of("Service", "Restart")), (Some("on-failure"), 7));
        let mut units = vec![shop, unit("deploy/shop.service.d/a.conf", "[Service]\nRestart=always\n").unwrap()];
        drop_ins(&mut units);
        assert_eq!((units.len(), units[0].get("Service", "Restart")), (1, Some("always")));
        assert!(unit("a.service", "hello\n").is_none());
    }

    #[test]
    fn programs_of_supervisor() {
        let text = "[supervisord]\nnodaemon=true\n[program:web]\ncommand=web\nautorestart=false ; by hand\n";
        let programs = programs("supervisord.conf", text);
        assert_eq!((programs.len(), programs[0].name.as_str(), programs[0].place.line), (1, "web", 3));
        assert_eq!(programs[0].keys["autorestart"], ("false".to_string(), 5));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]=a-zA-Z:;# \n\\\\]{0,120}") {
            let _ = (unit("a.service", &text), programs("supervisord.conf", &text));
        }
    }
}
