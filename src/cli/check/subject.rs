//! What `check`, `announce` and `waive` are about: one service, its repository and URL, its store.

use std::path::{Path, PathBuf};

use url::Url;

use crate::cli::{Exit, Failure};
use crate::config::Loaded;
use crate::domain::service::ServiceConfig;

/// The flags that choose it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Which {
    /// The service; not needed when the configuration has one
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Repository folder that the static gates read [default: the service's repo, else this folder if it is one]
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// What the gates probe [default: the service's url]
    #[arg(long, value_name = "URL")]
    pub url: Option<Url>,
}

#[derive(Debug, Clone)]
pub struct Subject {
    pub service: String,
    pub service_config: ServiceConfig,
    /// Not yet looked at.
    pub repo: Option<PathBuf>,
    pub url: Option<Url>,
}

/// Works without a configuration: the service is then called after the repository's folder, else after the URL's host.
pub fn choose(loaded: &Loaded, which: &Which) -> Result<Subject, Failure> {
    let services = &loaded.config.service;
    let known = services.keys().cloned().collect::<Vec<_>>().join(", ");
    let named = match &which.service {
        Some(name) if services.contains_key(name) => Some(name.clone()),
        Some(name) if !services.is_empty() => {
            let message = format!("there is no service `{name}` in the configuration");
            return Err(Failure::new(Exit::Usage, message).hint(format!("it has: {known}")));
        }
        Some(name) => Some(name.clone()),
        None => loaded.config.only_service().map(String::from),
    };
    if named.is_none() && services.len() > 1 {
        let message = "the configuration has several services";
        return Err(Failure::new(Exit::Usage, message).hint(format!("name one with --service: {known}")));
    }
    let service_config = named.as_ref().and_then(|n| services.get(n)).cloned().unwrap_or_default();
    let repo = which.repo.clone().or_else(|| service_config.repo.clone()).or_else(|| {
        let here = Path::new(".");
        let looks_like_one = loaded.files.is_empty() && (which.url.is_none() || in_work_tree(here));
        looks_like_one.then(|| here.to_path_buf())
    });
    let url = which.url.clone();
    let service = named.unwrap_or_else(|| {
        let folder = repo.as_ref().and_then(|r| r.canonicalize().ok());
        let folder = folder.as_ref().and_then(|r| r.file_name()).map(|n| n.to_string_lossy().into_owned());
        let host = url.as_ref().and_then(Url::host_str).map(String::from);
        folder.or(host).map(|n| name(&n)).filter(|n| !n.is_empty()).unwrap_or_else(|| "service".into())
    });
    Ok(Subject { service, service_config, repo, url })
}

fn in_work_tree(dir: &Path) -> bool {
    dir.canonicalize().is_ok_and(|d| d.ancestors().any(|a| a.join(".git").exists()))
}

/// A name fit for a configuration key: `My Shop!` → `my-shop`.
pub fn name(text: &str) -> String {
    let words: String =
        text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    words.split('-').filter(|w| !w.is_empty()).collect::<Vec<_>>().join("-")
}

/// The store's folder: as written in the configuration, the default one beside the configuration.
pub fn store_dir(loaded: &Loaded) -> PathBuf {
    loaded.store_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secrets, load_text};

    fn loaded(text: &str) -> Loaded {
        let none = |_: &str| None::<String>;
        let _ = none;
        load_text(text, Path::new("conf/hypercare.toml"), Secrets::MayBeMissing, &crate::config::expand::ProcessEnv)
            .unwrap()
    }

    #[test]
    fn the_only_service_needs_no_name_and_several_do() {
        let one = loaded("[service.shop]\nurl = \"https://s.example/\"\n");
        assert_eq!(choose(&one, &Which::default()).unwrap().service, "shop");
        let two = loaded("[service.a]\n[service.b]\n");
        let failure = choose(&two, &Which::default()).unwrap_err();
        assert!(failure.hint.unwrap().contains("a, b"));
        let b = choose(&two, &Which { service: Some("b".into()), ..Which::default() }).unwrap();
        assert_eq!(b.service, "b");
        assert!(choose(&two, &Which { service: Some("c".into()), ..Which::default() }).is_err());
    }

    #[test]
    fn without_a_file_the_folder_or_the_host_gives_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let shop = dir.path().join("My Shop!");
        std::fs::create_dir(&shop).unwrap();
        let named = choose(&Loaded::defaults(), &Which { repo: Some(shop), ..Which::default() }).unwrap();
        assert_eq!(named.service, "my-shop");
    }

    #[test]
    fn the_store_lies_beside_the_configuration() {
        assert_eq!(store_dir(&loaded("")), Path::new("conf/hypercare-data"));
        assert_eq!(store_dir(&loaded("[store]\npath = \"data\"\n")), Path::new("conf/data"));
        assert_eq!(store_dir(&Loaded::defaults()), Path::new("hypercare-data"));
    }
}
