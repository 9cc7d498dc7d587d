//! Following the Nodes: one list, then a watch, for as long as the agent runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_nodes};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::cluster::{Cluster, Member};
use super::condition::Observed;
use super::{kubeadm, settle, words};
use crate::config::Config;
use crate::datastore::{Contact, State};

/// How long one watch lasts before it is begun anew where it stood, in seconds. A connection that is
/// dead without a word is found after this.
pub const TIMEOUT_SECONDS: u32 = 120;

/// How long to wait before a new list where a watch cannot even begin, at least: the list of a large
/// cluster is dear.
const LIST_AGAIN: Duration = Duration::from_secs(5);

/// How often kubeadm's ConfigMap is asked for until there is an answer.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// How long the API server may take to answer it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known, and whom to tell.
pub struct Watch {
    name: String,
    configs: watch::Receiver<Arc<Config>>,
    states: watch::Sender<Arc<State>>,
    observed: watch::Sender<Option<Observed>>,
    clusters: watch::Sender<Option<Arc<Cluster>>>,
    /// None while the API server has never said anything.
    cluster: Option<Cluster>,
    /// Whether it has listed the nodes since the start.
    listed: bool,
    /// A list on its way: it takes the place of what is known when it is whole.
    listing: Option<Listing>,
    contact: Contact,
    /// `Ok` once kubeadm's ConfigMap has named a pool since the start, or is gone but had named one
    /// before; else why it cannot be read, where it cannot.
    kubeadm: Result<(), Option<String>>,
}

#[derive(Default)]
struct Listing {
    nodes: BTreeMap<String, Member>,
    own: Option<Observed>,
}

impl Watch {
    /// Begins with what was `saved`.
    pub fn new(
        name: &str,
        saved: Option<Cluster>,
        configs: watch::Receiver<Arc<Config>>,
        observed: watch::Sender<Option<Observed>>,
        clusters: watch::Sender<Option<Arc<Cluster>>>,
    ) -> (Self, watch::Receiver<Arc<State>>) {
        let contact =
            Contact { since: Timestamp::now(), problem: Some("it has not answered yet".into()) };
        let kubeadm = Err(None);
        let config = configs.borrow().clone();
        let state = state(&config, name, saved.as_ref(), &kubeadm, &contact);
        let (states, receiver) = watch::channel(Arc::new(state));
        let watch = Self {
            name: name.to_owned(),
            configs,
            states,
            observed,
            clusters,
            cluster: saved,
            listed: false,
            listing: None,
            contact,
            kubeadm,
        };
        (watch, receiver)
    }

    /// Follows the API server; `heard` tells of every successful answer of it. It ends with the
    /// agent.
    pub async fn run(mut self, client: Client, mut heard: watch::Receiver<()>) {
        let mut nodes = events(&client, Duration::ZERO);
        let mut ask = tokio::time::interval_at(Instant::now() + ASK_AGAIN, ASK_AGAIN);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let news = tokio::select! {
                Some(event) = nodes.next() => {
                    if event.as_ref().is_err_and(is_gone) {
                        nodes = events(&client, LIST_AGAIN);
                    }
                    let listed = matches!(event, Ok(Event::InitDone));
                    let news = self.take(event);
                    // Before anybody hears of blocks that lie in no pool yet.
                    if listed && self.wants_subnets() {
                        self.ask_kubeadm(&client).await;
                    }
                    news
                }
                Ok(()) = heard.changed() => self.in_touch(),
                _ = ask.tick(), if self.listed && self.wants_subnets() => {
                    self.ask_kubeadm(&client).await;
                    true
                }
                changed = self.configs.changed() => match changed {
                    Ok(()) => true,
                    Err(_) => return,
                },
            };
            if news {
                self.publish();
            }
        }
    }

    /// Takes an event, and says whether anything that matters is new: every kubelet writes its Node
    /// every few minutes, and what follows from all of them is not worked out each time.
    fn take(&mut self, event: Result<Event<Node>, watcher::Error>) -> bool {
        match event {
            Err(error) => self.out_of_touch(&error),
            Ok(Event::Init) => {
                self.listing = Some(Listing::default());
                false
            }
            Ok(Event::InitApply(node)) => {
                let listing = self.listing.get_or_insert_default();
                let name = node.name_any();
                if name == self.name {
                    listing.own = Some(Observed::from(&node));
                }
                listing.nodes.insert(name, Member::from(&node));
                false
            }
            Ok(Event::InitDone) => {
                let listing = self.listing.take().unwrap_or_default();
                info!(nodes = listing.nodes.len(), "the API server has listed the nodes");
                self.observe(listing.own);
                self.listed = true;
                self.cluster.get_or_insert_default().nodes = listing.nodes;
                true
            }
            Ok(Event::Apply(node)) => {
                let name = node.name_any();
                if name == self.name {
                    self.observe(Some(Observed::from(&node)));
                }
                let member = Member::from(&node);
                let nodes = &mut self.cluster.get_or_insert_default().nodes;
                let news = nodes.get(&name) != Some(&member);
                nodes.insert(name, member);
                news
            }
            Ok(Event::Delete(node)) => {
                let name = node.name_any();
                if name == self.name {
                    self.observe(None);
                }
                self.cluster.get_or_insert_default().nodes.remove(&name).is_some()
            }
        }
    }

    fn observe(&self, observed: Option<Observed>) {
        self.observed.send_if_modified(|known| {
            let changed = *known != observed;
            *known = observed;
            changed
        });
    }

    fn in_touch(&mut self) -> bool {
        let news = self.contact.problem.is_some();
        if news {
            info!("the API server answers");
            self.contact = Contact { since: Timestamp::now(), problem: None };
        }
        news
    }

    fn out_of_touch(&mut self, error: &watcher::Error) -> bool {
        let problem = words::watch(error);
        let news = self.contact.problem.as_ref() != Some(&problem);
        if news {
            warn!(error = problem, "out of touch with the API server; what it said last holds");
        }
        if self.contact.problem.is_none() {
            self.contact.since = Timestamp::now();
        }
        self.contact.problem = Some(problem);
        news
    }

    fn wants_subnets(&self) -> bool {
        self.kubeadm.is_err() && self.configs.borrow().pools.is_empty()
    }

    /// A pod CIDR stays as it is for a cluster's life: one answer is enough, and what is known of it
    /// outlives the ConfigMap.
    async fn ask_kubeadm(&mut self, client: &Client) {
        let answer = tokio::time::timeout(PATIENCE, kubeadm::pod_subnets(client)).await;
        self.kubeadm = match answer {
            Ok(Ok(subnets)) => {
                let cluster = self.cluster.get_or_insert_default();
                if let Some(subnets) = subnets {
                    cluster.pod_subnets = subnets;
                }
                if cluster.pod_subnets.is_empty() { Err(None) } else { Ok(()) }
            }
            Ok(Err(error)) => Err(Some(format!("{error:#}"))),
            Err(_) => Err(Some("no answer in time".to_owned())),
        };
        if let Err(Some(error)) = &self.kubeadm {
            warn!(error, "cannot read kube-system/kubeadm-config");
        }
    }

    /// Tells of what is new, if anything is.
    fn publish(&mut self) {
        let config = self.configs.borrow_and_update().clone();
        let state = state(&config, &self.name, self.cluster.as_ref(), &self.kubeadm, &self.contact);
        self.states.send_if_modified(|known| {
            let changed = **known != state;
            if changed {
                *known = Arc::new(state);
            }
            changed
        });
        self.clusters.send_if_modified(|saved| {
            let changed = saved.as_deref() != self.cluster.as_ref();
            if changed {
                *saved = self.cluster.clone().map(Arc::new);
            }
            changed
        });
    }
}

fn state(
    config: &Config,
    name: &str,
    cluster: Option<&Cluster>,
    kubeadm: &Result<(), Option<String>>,
    contact: &Contact,
) -> State {
    let nothing = Cluster::default();
    let mut snapshot = settle::snapshot(config, name, cluster.unwrap_or(&nothing));
    match (cluster, &contact.problem, kubeadm) {
        // Whatever is missing follows from this.
        (None, problem, _) => {
            let why = problem.as_deref().unwrap_or("the list of nodes is on its way");
            snapshot.problems = vec![format!("nothing is known of the cluster yet: {why}")];
        }
        (Some(_), _, Err(Some(why))) if snapshot.pools.is_empty() => {
            snapshot.problems.push(format!("kube-system/kubeadm-config cannot be read: {why}"));
        }
        _ => {}
    }
    State { snapshot, contact: contact.clone() }
}

/// The nodes and what becomes of them, beginning after `delay`; it never ends by itself.
fn events(
    client: &Client,
    delay: Duration,
) -> BoxStream<'static, Result<Event<Node>, watcher::Error>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let config = watcher::Config::default().timeout(TIMEOUT_SECONDS);
    stream::once(tokio::time::sleep(delay))
        .flat_map(move |()| watch_nodes(nodes.clone(), config.clone()).default_backoff())
        .boxed()
}

/// Whether a watch cannot begin where it should, as the server has forgotten the time since. It may
/// refuse the watch, or end it with this as its first event. The watcher itself would list again, but
/// in the second case only after as long as it had come to wait for a server that was away.
fn is_gone(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        watcher::Error::WatchError(status) => status,
        _ => return false,
    };
    status.code == 410
}
