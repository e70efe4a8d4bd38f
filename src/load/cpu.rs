//! What the generator itself costs, so that a tired generator is not mistaken for a slow server.

/// CPU time of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub user_s: f64,
    pub system_s: f64,
}

impl Cpu {
    pub fn since(self, before: Cpu) -> Cpu {
        Cpu { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }
    pub fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }
}

/// Linux reports process times to user space in hundredths of a second on every architecture (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// `None` where /proc does not tell.
pub fn own() -> Option<Cpu> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name may hold anything: fields are counted after its closing bracket. proc_pid_stat(5): 14, 15.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok().map(|ticks| ticks / TICKS_PER_SECOND);
    Some(Cpu { user_s: next()?, system_s: next()? })
}
