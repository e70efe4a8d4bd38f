//! What a .NET project is, by its `.csproj`: a program for a terminal may print; a server has a logger. Knows no rule.

use crate::gates::context::Repo;

/// Project files are small.
const BYTES_MAX: u64 = 512 * 1024;

/// One project: all that lies in its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// Empty, or with a `/` at its end.
    folder: String,
    /// Runs in a terminal, and serves nobody.
    pub console: bool,
    /// Has `ILogger`: a server, or one that names a logging package.
    pub logger: bool,
}

/// All projects of a repository, the deepest folder first.
#[derive(Debug, Clone, Default)]
pub struct Projects(Vec<Project>);

impl Projects {
    pub fn read(repo: &Repo) -> Projects {
        let mut out = Vec::new();
        for file in repo.files.iter().filter(|file| file.path.ends_with(".csproj")) {
            let folder = file.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            out.push(project(folder, &repo.read_text(&file.path, BYTES_MAX).unwrap_or_default()));
        }
        out.sort_by_key(|project| std::cmp::Reverse(project.folder.len()));
        Projects(out)
    }

    /// The one that compiles the file.
    pub fn of(&self, path: &str) -> Option<&Project> {
        self.0.iter().find(|project| path.starts_with(&project.folder))
    }
}

fn project(folder: String, text: &str) -> Project {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let server = has(&["Microsoft.NET.Sdk.Web", "Microsoft.NET.Sdk.Worker", "Microsoft.AspNetCore", "Azure.Functions"]);
    let packages = ["Serilog", "NLog", "log4net", "Microsoft.Extensions.Logging", "Microsoft.Extensions.Hosting"];
    let console = has(&["<OutputType>Exe<"]) && !server;
    Project { folder, console, logger: server || packages.iter().any(|p| text.contains(&format!("Include=\"{p}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    #[test]
    fn projects_by_folder() {
        let (_dir, repo) = testing::repo(&[
            ("src/Web/Web.csproj", "<Project Sdk=\"Microsoft.NET.Sdk.Web\">\n<OutputType>Exe</OutputType></Project>"),
            ("tool/tool.csproj", "<Project><PropertyGroup><OutputType> Exe </OutputType></PropertyGroup></Project>"),
            (
                "src/Lib.csproj",
                "<Project><ItemGroup><PackageReference Include=\"Serilog.Sinks.File\"/></ItemGroup></Project>",
            ),
        ]);
        let projects = Projects::read(&repo);
        let of = |path: &str| projects.of(path).map(|p| (p.console, p.logger));
        assert_eq!(of("src/Web/Program.cs"), Some((false, true)));
        assert_eq!(of("tool/Program.cs"), Some((true, false)));
        assert_eq!(of("src/A.cs"), Some((false, true)));
        assert_eq!(of("other/A.cs"), None);
    }
}
