//! What Azure's ready-made tasks do, by name and inputs. Pure.

use serde_json::Value as Json;

use super::commands::{Command, Work, commands};
use super::indirect::Indirect;

/// Tasks that put something where users are, by the beginning of their names.
const DEPLOYS: [&str; 15] = [
    "azurewebapp",
    "azurermwebappdeployment",
    "azurefunctionapp",
    "azurestaticwebapp",
    "azurecontainerapps",
    "azurespringcloud",
    "azurefilecopy",
    "azureresourcemanagertemplatedeployment",
    "azurecloudpowershelldeployment",
    "servicefabricdeploy",
    "iiswebappdeploymentonmachinegroup",
    "sqlazuredacpacdeployment",
    "copyfilesoverssh",
    "ftpupload",
    "ssh",
];
/// Tasks that hand something out.
const PUBLISHES: [&str; 5] =
    ["githubrelease", "nugetcommand:push", "npm:publish", "universalpackages", "publishvsextension"];

/// The work of `NAME@VERSION` with these inputs.
pub fn work(task: &str, inputs: &Json, indirect: &Indirect) -> Vec<Command> {
    let name = task.split('@').next().unwrap_or(task).to_ascii_lowercase();
    let input = |key: &str| {
        let found = inputs.as_object().and_then(|m| m.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)));
        found.and_then(|(_, v)| v.as_str()).unwrap_or_default()
    };
    let one = |work: Work| vec![Command { work, text: task.to_string(), neutralised: None, restricted: false }];
    let shell = |text: String| commands(&text, "", indirect);
    match name.as_str() {
        "bash" | "powershell" | "cmdline" | "azurecli" | "azurepowershell" | "shellscript" | "batchscript"
        | "pythonscript" => {
            let inline = ["script", "inlineScript", "inline"].map(input).join("\n");
            let file = ["filePath", "scriptPath", "filename"].map(input).into_iter().find(|p| !p.is_empty());
            let run = match (name.as_str(), file) {
                ("pythonscript", Some(path)) => format!("python {path}"),
                (_, Some(path)) => path.to_string(),
                _ => String::new(),
            };
            shell(format!("{inline}\n{run}"))
        }
        "dotnetcorecli" => match input("command") {
            "push" => one(Work::Publish),
            "custom" => shell(format!("dotnet {} {}", input("custom"), input("arguments"))),
            other => shell(format!("dotnet {other}")),
        },
        "npm" => match input("command") {
            "publish" => one(Work::Publish),
            "custom" => shell(format!("npm {}", input("customCommand"))),
            "" | "install" => shell("npm install".into()),
            other => shell(format!("npm {other}")),
        },
        "yarn" => shell(format!("yarn {}", input("arguments"))),
        "maven" => {
            let goals = input("goals");
            shell(format!("mvn -B {}", if goals.is_empty() { "package" } else { goals }))
        }
        "gradle" => {
            let tasks = input("tasks");
            shell(format!("./gradlew -q {}", if tasks.is_empty() { "build" } else { tasks }))
        }
        "vstest" | "visualstudiotest" => one(Work::Test),
        "msbuild" | "vsbuild" | "xcode" | "cmake" | "go" if name != "go" => one(Work::Build),
        "go" => shell(format!("go {} {}", input("command"), input("arguments"))),
        "make" => shell(format!("make {}", input("args"))),
        "docker" => match input("command").to_ascii_lowercase().as_str() {
            "build" => one(Work::Build),
            "push" => one(Work::Publish),
            // The default builds and pushes.
            "" | "buildandpush" => [one(Work::Build), one(Work::Publish)].concat(),
            _ => Vec::new(),
        },
        "nugetcommand" if input("command") == "push" => one(Work::Publish),
        "kubernetesmanifest" if matches!(input("action"), "" | "deploy" | "promote") => one(Work::Deploy),
        "kubernetes" if matches!(input("command"), "apply" | "set" | "replace") => one(Work::Deploy),
        "helmdeploy" if matches!(input("command"), "install" | "upgrade") => one(Work::Deploy),
        _ if name.starts_with("terraform") && input("command") == "apply" => one(Work::Deploy),
        _ if DEPLOYS.iter().any(|d| name.starts_with(d)) => one(Work::Deploy),
        _ if PUBLISHES.iter().any(|p| name.starts_with(p)) => one(Work::Publish),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_inputs() {
        let check = |task: &str, inputs: Json, expect: &[Work]| {
            let got: Vec<Work> = work(task, &inputs, &Indirect::default()).into_iter().map(|c| c.work).collect();
            assert_eq!(got, expect, "{task} {inputs}");
        };
        let json = |text: &str| serde_json::from_str(text).unwrap();
        check("DotNetCoreCLI@2", json(r#"{"command": "test"}"#), &[Work::Test, Work::Build]);
        check("DotNetCoreCLI@2", json(r#"{"command": "push"}"#), &[Work::Publish]);
        check("Npm@1", json(r#"{"command": "custom", "customCommand": "run test"}"#), &[Work::Test]);
        check("Maven@4", json("{}"), &[Work::Test, Work::Build]);
        check("AzureWebApp@1", json("{}"), &[Work::Deploy]);
        check("Docker@2", json("{}"), &[Work::Build, Work::Publish]);
        check("Bash@3", json(r#"{"targetType": "inline", "script": "set -e\npytest"}"#), &[Work::Test]);
        check("PublishBuildArtifacts@1", json("{}"), &[]);
        check("AzureCLI@2", json(r#"{"inlineScript": "az webapp up"}"#), &[Work::Deploy]);
    }
}
