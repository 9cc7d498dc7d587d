//! What the agent counts, for Prometheus: `GET /metrics` in the OpenMetrics format.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tracing::error;
use warren_types::report::Report;
use warren_types::status::Ipam;

/// From half a millisecond, less than a pod takes to connect on any machine, doubling to eight
/// seconds, where runtimes lose patience.
const SECONDS: [f64; 15] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048,
    4.096, 8.192,
];

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// The figures. A copy counts into the same ones.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    commands: Family<Labels, Counter>,
    seconds: Histograms,
    phases: Histograms,
    addresses: Family<Labels, Gauge>,
    low: Family<Labels, Gauge>,
    bfd_downs: Family<Labels, Counter>,
}

impl Metrics {
    /// All at their beginning.
    pub fn new() -> Self {
        let histograms = || Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> _);
        let mut metrics = Self {
            registry: Arc::default(),
            commands: Family::default(),
            seconds: histograms(),
            phases: histograms(),
            addresses: Family::default(),
            low: Family::default(),
            bfd_downs: Family::default(),
        };
        let mut registry = Registry::with_prefix("warren");
        registry.register(
            "cni_commands",
            "What the CNI plugin was called for, by command and by the code of its error, 0 for success",
            metrics.commands.clone(),
        );
        registry.register_with_unit(
            "cni_command",
            "How long a command of the CNI plugin took",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            "cni_phase",
            "How long a part of a command of the CNI plugin took",
            Unit::Seconds,
            metrics.phases.clone(),
        );
        registry.register(
            "ipam_addresses",
            "The addresses of each block of this node, by what they are: allocated, cooling or free",
            metrics.addresses.clone(),
        );
        registry.register(
            "ipam_low",
            "1 for a family of which fewer addresses are free than ipam.lowWater",
            metrics.low.clone(),
        );
        registry.register(
            "bfd_downs",
            "How often a BFD session left Up, by peer and by whether that was a failure",
            metrics.bfd_downs.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// Counts what the plugin did.
    pub fn count(&self, report: &Report) {
        let command = || ("command", report.command.to_string());
        self.commands.get_or_create(&vec![command(), ("code", report.code.to_string())]).inc();
        self.seconds.get_or_create(&vec![command()]).observe(seconds(report.total_micros));
        for (phase, micros) in &report.phases {
            let labels = vec![command(), ("phase", phase.as_str().to_owned())];
            self.phases.get_or_create(&labels).observe(seconds(*micros));
        }
    }

    /// Counts a BFD session that has left Up.
    pub fn bfd_down(&self, peer: IpAddr, is_failure: bool) {
        let labels = vec![("peer", peer.to_string()), ("failure", is_failure.to_string())];
        self.bfd_downs.get_or_create(&labels).inc();
    }

    /// Takes the state of the addresses.
    pub fn addresses(&self, ipam: &Ipam) {
        // What is of a block that the node has no more is not shown any longer.
        self.addresses.clear();
        self.low.clear();
        for block in &ipam.blocks {
            for (state, count) in
                [("allocated", block.allocated), ("cooling", block.cooling), ("free", block.free())]
            {
                let labels = vec![("block", block.cidr.to_string()), ("state", state.to_owned())];
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.addresses.get_or_create(&labels).set(count);
            }
        }
        for low in &ipam.low {
            self.low.get_or_create(&vec![("family", low.family.clone())]).set(1);
        }
    }

    /// Serves them.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub async fn serve(&self, listen: SocketAddr) -> anyhow::Result<()> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot serve metrics at {listen}"))?;
        let registry = Arc::clone(&self.registry);
        let router =
            Router::new().route("/metrics", get(move || std::future::ready(page(&registry))));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                error!(%error, "metrics are not served any more");
            }
        });
        Ok(())
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn page(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use warren_types::report::{Command, Phase};
    use warren_types::status::{IpamBlock, Low};

    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        text
    }

    #[test]
    fn each_command_is_counted_with_its_code_and_the_time_of_each_phase() {
        let metrics = Metrics::new();
        for code in [0, 0, 100] {
            let phases = vec![(Phase::Connect, 1_200)];
            let command = Command::Add;
            metrics.count(&Report { command, code, phases, total_micros: 3_000 });
        }
        let text = text(&metrics);
        for line in [
            "warren_cni_commands_total{command=\"ADD\",code=\"0\"} 2\n",
            "warren_cni_commands_total{command=\"ADD\",code=\"100\"} 1\n",
            "warren_cni_command_seconds_count{command=\"ADD\"} 3\n",
            "warren_cni_command_seconds_bucket{le=\"0.002\",command=\"ADD\"} 0\n",
            "warren_cni_command_seconds_bucket{le=\"0.004\",command=\"ADD\"} 3\n",
            "warren_cni_phase_seconds_bucket{le=\"0.002\",command=\"ADD\",phase=\"connect\"} 3\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn bfd_sessions_that_went_down_are_counted_by_peer() {
        let metrics = Metrics::new();
        for is_failure in [true, false, true] {
            metrics.bfd_down([192, 0, 2, 1].into(), is_failure);
        }
        let text = text(&metrics);
        let failures = "warren_bfd_downs_total{peer=\"192.0.2.1\",failure=\"true\"} 2\n";
        assert!(text.contains(failures), "{text}");
    }

    #[test]
    fn addresses_of_a_block_that_went_are_not_shown() {
        let metrics = Metrics::new();
        let block = |cidr: &str| IpamBlock {
            cidr: cidr.parse().unwrap(),
            allocated: 60,
            capacity: 63,
            cooling: 1,
        };
        let low = vec![Low { family: "IPv4".into(), free: 2, low_water: 8 }];
        metrics.addresses(&Ipam { blocks: vec![block("10.0.0.0/26")], low });
        let first = text(&metrics);
        assert!(
            first.contains("ipam_addresses{block=\"10.0.0.0/26\",state=\"free\"} 2"),
            "{first}"
        );
        assert!(first.contains("warren_ipam_low{family=\"IPv4\"} 1"), "{first}");
        metrics.addresses(&Ipam { blocks: vec![block("10.0.1.0/26")], low: Vec::new() });
        let second = text(&metrics);
        assert!(second.contains("10.0.1.0/26") && !second.contains("10.0.0.0/26"), "{second}");
        assert!(!second.contains("IPv4"), "{second}");
    }
}
