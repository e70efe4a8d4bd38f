//! A program that the configuration names, run for what it prints: bounded in time and size, killed when nobody waits any
//! more. Only under `--allow-exec`; whoever calls has asked for that. Its errors go nowhere: they may show secrets.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// What it prints, at most `bytes_max` bytes of it. The words of an error fit behind the program's name.
pub async fn printed(argv: &[String], folder: &Path, time: Duration, bytes_max: u64) -> Result<Vec<u8>, String> {
    let (program, arguments) = argv.split_first().ok_or("names no program")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|_| "could not be started")?;
    let out = child.stdout.take().ok_or("has no output")?;
    let work = async {
        let mut bytes = Vec::new();
        out.take(bytes_max).read_to_end(&mut bytes).await?;
        // One that has more to say is ended by its closed pipe.
        Ok::<_, std::io::Error>((bytes, child.wait().await?))
    };
    let (bytes, status) = tokio::time::timeout(time, work)
        .await
        .map_err(|_| format!("did not end within {} s", time.as_secs()))?
        .map_err(|_| "could not be read")?;
    match status.success() || bytes.len() as u64 == bytes_max {
        true => Ok(bytes),
        false => Err(format!("ended with {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, time: Duration) -> Result<String, String> {
        let argv = ["sh", "-c", script].map(String::from);
        printed(&argv, Path::new("/"), time, 1000).await.map(|b| String::from_utf8_lossy(&b).into_owned())
    }

    #[tokio::test]
    async fn output_is_taken_within_bounds() {
        let second = Duration::from_secs(1);
        assert_eq!(sh("pwd; echo told >&2", second).await.as_deref(), Ok("/\n"));
        assert_eq!(sh("yes", Duration::from_secs(20)).await.map(|t| t.len()), Ok(1000));
        assert_eq!(sh("sleep 20", second).await, Err("did not end within 1 s".into()));
        assert_eq!(sh("exit 3", second).await, Err("ended with exit status: 3".into()));
        assert_eq!(printed(&[], Path::new("/"), second, 1).await, Err("names no program".into()));
        assert!(printed(&["/no/such".into()], Path::new("/"), second, 1).await.is_err());
    }
}
