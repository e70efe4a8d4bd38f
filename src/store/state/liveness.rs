//! When the daemon was alive, and the instance's own key.

use super::{Result, State};
use crate::domain::clock::Timestamp;

impl State {
    /// Upserts this boot's last sign of life.
    pub async fn beat(&self, _boot: &str, _at: Timestamp) -> Result<()> {
        unimplemented!()
    }
    /// Last sign of life of any earlier boot, and whether it shut down cleanly.
    pub async fn last_beat(&self) -> Result<Option<(Timestamp, bool)>> {
        unimplemented!()
    }
    /// 32 random bytes, hex, made at first use: for author hashes and signed links.
    pub async fn instance_key(&self) -> Result<crate::domain::secret::Revealed> {
        unimplemented!()
    }
}
