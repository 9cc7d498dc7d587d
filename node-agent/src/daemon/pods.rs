//! What the agent knows of this node's pods: what their plugin tells, and how many addresses are left.

use std::time::Duration;

use ipnetwork::IpNetwork;
use tokio::sync::mpsc;
use tracing::{info, warn};
use warren_ipam::{Space, Store, StoreError};
use warren_types::pool::Pool;
use warren_types::report::Report;
use warren_types::run_dir::RunDir;
use warren_types::status::{Ipam, Low};

use super::metrics::Metrics;
use super::{addresses, plugin};
use crate::config::{Config, IpamConfig};

/// The pods of this node, as far as the agent looks at them.
pub struct Pods {
    store: Store,
    commands: mpsc::Receiver<Report>,
    metrics: Metrics,
    low: Vec<Low>,
}

impl Pods {
    /// Listens for what the plugin tells, and serves metrics where they are wanted.
    ///
    /// # Errors
    /// A socket cannot be made.
    pub async fn start(config: &Config, run_dir: &RunDir) -> anyhow::Result<Self> {
        let metrics = Metrics::new();
        if let Some(config) = &config.metrics {
            metrics.serve(config.listen).await?;
        }
        let commands = plugin::listen(run_dir)?;
        Ok(Self { store: Store::new(run_dir), commands, metrics, low: Vec::new() })
    }

    /// Waits until the plugin has told something. Cancel safe. None: it will never again.
    pub async fn heard(&mut self) -> Option<Report> {
        self.commands.recv().await
    }

    /// Counts what the plugin did.
    pub fn count(&self, report: &Report) {
        self.metrics.count(report);
    }

    /// How much of the node's blocks is in use, and whether that is too much.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn usage(
        &self,
        settings: &IpamConfig,
        pools: &[Pool],
        blocks: &[IpNetwork],
    ) -> Result<Ipam, StoreError> {
        let reserved = addresses::reserved(pools, blocks, &settings.reserved);
        let space = Space { blocks, reserved: &reserved };
        let cool_down = Duration::from_secs(settings.cool_down_seconds);
        let blocks = self.store.usage(space, cool_down)?;
        Ok(Ipam { low: addresses::low(&blocks, settings.low_water), blocks })
    }

    /// Takes how much is in use now, and says so when few addresses are left, while pods can still
    /// start.
    pub fn watch(&mut self, now: Ipam) {
        self.metrics.addresses(&now);
        let families = |low: &[Low]| low.iter().map(|l| l.family.clone()).collect::<Vec<_>>();
        if families(&now.low) != families(&self.low) {
            for low in &now.low {
                warn!("{low}: this node wants another block");
            }
            if now.low.is_empty() {
                info!("there are addresses enough again");
            }
        }
        self.low = now.low;
    }
}
