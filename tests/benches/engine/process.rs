//! A server's process as `/proc` tells of it: CPU time, memory; ended with its handle.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Result;

/// What Linux counts CPU time in, whatever the kernel's own tick is.
const TICKS_A_SECOND: f64 = 100.0;
const MIB: f64 = 1024.0;

pub struct Process(Child);

impl Process {
    /// `None` when there is no such program.
    pub fn start(command: &mut Command) -> Result<Option<Process>> {
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => Ok(Some(Process(child))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", command.get_program().display()).into()),
        }
    }

    /// Seconds of all its threads so far, user and system.
    pub fn cpu(&self) -> Result<f64> {
        let text = self.read("stat")?;
        // The second field is the program's name in brackets, which may hold anything.
        let after = text.rsplit(')').next().unwrap_or("");
        let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
        Ok(ticks / TICKS_A_SECOND)
    }

    /// MiB now.
    pub fn memory(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// MiB at most, since the start or [`Process::forget_peak`].
    pub fn memory_peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    pub fn forget_peak(&self) -> Result<()> {
        Ok(std::fs::write(self.path("clear_refs"), "5")?)
    }

    /// Waits until less than a tenth of a core is used for three seconds, two minutes at most.
    pub async fn settled(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_millis(250);
        let (started, mut quiet) = (Instant::now(), Duration::ZERO);
        while quiet < Duration::from_secs(3) && started.elapsed() < Duration::from_secs(120) {
            let before = self.cpu()?;
            tokio::time::sleep(LOOK).await;
            let busy = self.cpu()? - before > 0.1 * LOOK.as_secs_f64();
            quiet = if busy { Duration::ZERO } else { quiet + LOOK };
        }
        Ok(())
    }

    /// As an operator ends it, in half a minute at most; killed after that.
    pub async fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        for _ in 0..300 {
            if asked.is_err() || self.0.try_wait()?.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    pub fn ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0.id())
    }

    fn read(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.path(file))?)
    }

    fn status(&self, key: &str) -> Result<f64> {
        let text = self.read("status")?;
        let line = text.lines().find_map(|l| l.strip_prefix(key)).ok_or("a server has ended")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / MIB)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
