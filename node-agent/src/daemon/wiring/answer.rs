//! Answers to an operator.

use std::time::{Duration, Instant};

use warren_types::control::{Request, Response};
use warren_types::status::{Ipam, Status};

use super::super::report;
use super::Agent;

/// A dataplane that has not turned for so long is stuck: it turns by itself every minute.
const DATAPLANE_PATIENCE: Duration = Duration::from_secs(150);

impl Agent {
    /// Answers an operator.
    pub async fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Status => {
                let peers = self.speaker.peers().await;
                let bfd = self.bfd.snapshot().await;
                let report = self.reports.borrow().clone();
                let mut reasons = self.problems(&report);
                let ipam = self.ipam().unwrap_or_else(|error| {
                    reasons.push(format!("the pods' addresses cannot be read: {error}"));
                    Ipam::default()
                });
                reasons.extend(self.readiness.bgp(&peers, Instant::now()));
                Response::Status(Box::new(Status {
                    node: report::node(&self.identity, &self.snapshot, &report),
                    ready: reasons.is_empty(),
                    reasons,
                    peers: report::peers(&peers, &self.snapshot.peers, &bfd),
                    routes: report::counts(&report),
                    ipam,
                    datastore: Some(self.datastore.status()),
                    bfd: Some(report::bfd(&bfd)),
                }))
            }
            // The loop has taken it: it is answered when every part has ended.
            Request::Shutdown => Response::Done,
            Request::Routes => Response::Routes(report::routes(&self.reports.borrow())),
            Request::Live => {
                let turned = self.reports.borrow().turned.elapsed();
                let stuck = turned > DATAPLANE_PATIENCE;
                Response::Live(
                    stuck
                        .then(|| format!("the dataplane has not turned for {} s", turned.as_secs()))
                        .into_iter()
                        .collect(),
                )
            }
        }
    }
}
