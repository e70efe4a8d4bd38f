//! The JSON Schema of `check --format json`, made from the types themselves. `docs/check.schema.json` is its published
//! copy; a test keeps the two alike, and real output is held against it.

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use crate::domain::verdict::GateRun;

pub fn document() -> Json {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<GateRun>().to_value();
    schema["title"] = "hypercare.check/v1".into();
    schema["properties"]["schema"] = serde_json::json!({"const": crate::gates::SCHEMA});
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::sample::{self, python};

    #[test]
    fn the_published_copy_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check.schema.json");
        let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("INSTA_UPDATE").is_some_and(|v| v == "always") {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "run again with INSTA_UPDATE=always");
    }

    #[test]
    fn real_output_fits_and_other_does_not() {
        let schema = serde_json::to_string(&document()).unwrap();
        let check = format!(
            "import sys, json\nfrom jsonschema import Draft202012Validator as V\ns = json.loads({schema:?})\nV.check_schema(s)\n\
             for e in V(s).iter_errors(json.load(open(sys.argv[1]))): print(e.json_path, e.message)"
        );
        let json = serde_json::to_value(sample::run()).unwrap();
        assert_eq!(python(&check, &json.to_string()), "");
        let mut other = json.clone();
        other["schema"] = "hypercare.other/v1".into();
        other["gates"][0]["verdict"] = "perhaps".into();
        assert!(python(&check, &other.to_string()).contains("perhaps"));
    }
}
