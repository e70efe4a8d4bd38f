//! Does the place where uploads are written outlive the process, and do all replicas see it? As the manifests say.

use serde::Serialize;

use crate::gates::manifests::Manifests;
use crate::gates::manifests::compose::Service;
use crate::gates::manifests::images;
use crate::gates::manifests::platform::Care;
use crate::gates::manifests::pod::Workload;

/// What happens to a file on the local disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeping {
    /// Several processes, each with a disk of its own.
    Replicas { n: i64, who: String },
    /// Gone with the container.
    Nothing { who: String },
    /// One disk that stays.
    Volume { who: String },
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping::Nothing { who: "nothing describes a volume".into() }
    }
}

/// The worst of what the descriptions say about `dir`.
pub fn of(all: &Manifests, dir: &str) -> Keeping {
    let mut found: Vec<Keeping> = Vec::new();
    let cluster = &all.cluster;
    for (position, workload) in cluster.workloads.iter().enumerate().filter(|(_, w)| takes_uploads(w)) {
        let most = cluster
            .autoscaler_of(position)
            .map_or(workload.replicas.map_or(1, |(n, _)| n), |a| a.max.map_or(2, |(n, _)| n));
        let shared =
            !workload.network_volumes.is_empty() || workload.claims.iter().any(|c| cluster.shared_claims.contains(c));
        let who = format!("{}, {}", workload.title(), workload.place);
        found.push(kept(most, shared, mounts(workload, dir), who));
    }
    for service in
        all.compose.iter().flat_map(|f| &f.services).filter(|s| !s.is_supporting() && !s.is_one_shot() && !s.in_profile)
    {
        let who = format!("compose service {}, {}", service.name, service.place);
        // Replicas of one host share its named volumes.
        let mounted = service_mounts(service, dir);
        found.push(kept(service.replicas.map_or(1, |(n, _)| n), mounted, mounted, who));
    }
    let described = !found.is_empty();
    for platform in all.platforms.iter().filter(|p| p.care != Care::Managed || !described) {
        let who = format!("{}, {}", platform.name, platform.place);
        found.push(kept(platform.instances.unwrap_or(1), false, platform.disk, who));
    }
    if found.is_empty() {
        let host = all
            .pm2
            .first()
            .map(|a| &a.place)
            .or(all.units.first().map(|u| &u.place))
            .or(all.programs.first().map(|p| &p.place));
        return host
            .map_or_else(Keeping::default, |place| Keeping::Volume { who: format!("the host's disk, {place}") });
    }
    best_fit(found)
}

/// One workload takes the uploads, and which one is not known: the one with a fitting volume, if there is one.
fn best_fit(found: Vec<Keeping>) -> Keeping {
    let rank = |k: &Keeping| match k {
        Keeping::Volume { .. } => 0,
        Keeping::Replicas { .. } => 1,
        Keeping::Nothing { .. } => 2,
    };
    found.into_iter().min_by_key(rank).unwrap_or_default()
}

fn kept(n: i64, shared: bool, mounted: bool, who: String) -> Keeping {
    match (n > 1 && !shared, mounted || shared) {
        (true, _) => Keeping::Replicas { n, who },
        (false, true) => Keeping::Volume { who },
        (false, false) => Keeping::Nothing { who },
    }
}

/// A server, not a job or a store.
fn takes_uploads(workload: &Workload) -> bool {
    !workload.is_job()
        && !workload.containers.iter().any(|c| images::is_backing(&c.image) || images::is_around(&c.image))
}

fn mounts(workload: &Workload, dir: &str) -> bool {
    let lasting = |volume: &str| !workload.scratch.iter().any(|s| s == volume);
    let any_disk =
        !workload.claims.is_empty() || !workload.host_paths.is_empty() || !workload.network_volumes.is_empty();
    any_disk
        && workload.containers.iter().flat_map(|c| &c.mounts).any(|(volume, path)| lasting(volume) && covers(path, dir))
}

fn service_mounts(service: &Service, dir: &str) -> bool {
    service.volumes.iter().any(|v| v.source.is_some() && !v.tmpfs && covers(&v.target, dir))
}

/// Is `dir`, as the program names it, on the mount? Programs name it relative to a folder we do not know, so the last
/// parts decide; a mount that is called like a store of files fits as well.
fn covers(mount: &str, dir: &str) -> bool {
    let file = mount.rsplit('/').next().is_some_and(|n| n.contains('.') && !n.starts_with('.'));
    let last =
        |p: &str| p.trim_matches(['/', '.', '"', '\'']).rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let (name, wanted) = (last(mount), last(dir));
    let absolute = dir.starts_with('/') && dir.starts_with(mount.trim_end_matches('/'));
    let like = ["upload", "media", "storage", "files", "data", "public"].iter().any(|w| name.contains(w));
    !file && (absolute || (!wanted.is_empty() && name == wanted) || like)
}

/// MinIO that runs beside the product.
pub fn own_store(all: &Manifests) -> Option<String> {
    let is_minio = |image: &str| images::image_name(image) == "minio";
    let services = all.compose.iter().flat_map(|f| &f.services);
    let service = services.filter(|s| s.image.as_deref().is_some_and(is_minio)).map(|s| s.place.to_string()).next();
    service.or_else(|| {
        let workloads = all.cluster.workloads.iter();
        workloads.filter(|w| w.containers.iter().any(|c| is_minio(&c.image))).map(|w| w.place.to_string()).next()
    })
}
