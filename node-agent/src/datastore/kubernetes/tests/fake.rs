//! An API server in this process: Nodes, their watch, status patches and kubeadm's ConfigMap, as far
//! as the datastore asks for them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::datastore::kubernetes::client::hearing;

/// Far more events than any test lets wait.
const WAITING_EVENTS: usize = 1000;

/// A handle on it; clones are of the same server.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    version: u64,
    nodes: BTreeMap<String, Value>,
    watches: Vec<Sender<Bytes>>,
    cluster_configuration: Option<String>,
    trouble: Trouble,
    requests: Vec<String>,
    watched_from: Vec<String>,
    patches: Vec<Value>,
}

/// What is wrong with it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Trouble {
    #[default]
    None,
    /// Nobody listens at its port.
    Away,
    /// It answers every request with this status.
    Refuses(u16),
    /// It answers writes so, and only them.
    RefusesWrites(u16),
    /// It has forgotten the versions that watches ask for, until the next list.
    Forgot,
}

impl Fake {
    /// A client of it, and what tells of successful answers.
    pub fn client(&self) -> (Client, watch::Receiver<()>) {
        let (heard, hearing_of) = watch::channel(());
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { fake.answer(request).await }
        });
        (Client::new(service.map_response(hearing(heard)), "default"), hearing_of)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    /// Sets what is wrong with it. An API server that goes away ends its watches.
    pub fn set(&self, trouble: Trouble) {
        let mut inside = self.inside();
        inside.trouble = trouble;
        if trouble == Trouble::Away {
            inside.watches.clear();
        }
    }

    /// Ends every watch, as a server or a proxy in between does at any time.
    pub fn disconnect(&self) {
        self.inside().watches.clear();
    }

    /// Adds a Node, or changes it.
    pub fn put(&self, node: Value) {
        self.inside().put(node);
    }

    /// Deletes a Node.
    pub fn delete(&self, name: &str) {
        let mut inside = self.inside();
        let node = inside.nodes.remove(name).unwrap();
        inside.tell("DELETED", node);
    }

    /// Deletes a Node while nobody watches, and forgets that it did.
    pub fn delete_unseen(&self, name: &str) {
        self.inside().nodes.remove(name).unwrap();
    }

    /// Tells watches how far they have come, and nothing else.
    pub fn bookmark(&self) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {}, "spec": {}});
        self.inside().tell("BOOKMARK", node);
    }

    /// Has every watch answered with 410 Gone.
    pub fn expire(&self) {
        let gone = status(410);
        let line = json!({"type": "ERROR", "object": gone});
        self.inside().send(&line);
        self.disconnect();
    }

    /// kubeadm's ClusterConfiguration.
    pub fn kubeadm(&self, text: &str) {
        self.inside().cluster_configuration = Some(text.to_owned());
    }

    /// The requests so far: method and path, `watch` for a watch.
    pub fn requests(&self) -> Vec<String> {
        self.inside().requests.clone()
    }

    /// The version that each watch was to begin after.
    pub fn watched_from(&self) -> Vec<String> {
        self.inside().watched_from.clone()
    }

    /// The condition of each status patch so far.
    pub fn patches(&self) -> Vec<Value> {
        self.inside().patches.clone()
    }

    async fn answer(
        &self,
        request: Request<Body>,
    ) -> io::Result<Response<UnsyncBoxBody<Bytes, Infallible>>> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let watches = query.contains("watch=true");
        let body = request.into_body().collect_bytes().await.unwrap();
        let mut inside = self.inside();
        inside.requests.push(format!("{method} {path}{}", if watches { " watch" } else { "" }));
        let refusal = match inside.trouble {
            Trouble::Away => return Err(io::ErrorKind::ConnectionRefused.into()),
            Trouble::Refuses(code) => Some(code),
            Trouble::RefusesWrites(code) if method == Method::PATCH => Some(code),
            Trouble::Forgot if watches => Some(410),
            _ => None,
        };
        if let Some(code) = refusal {
            return Ok(whole(code, status(code)));
        }
        Ok(match (method, path.as_str()) {
            (Method::GET, "/api/v1/nodes") if watches => {
                assert!(query.contains("allowWatchBookmarks=true"), "{query}");
                let mut pairs = query.split('&');
                let from = pairs.find_map(|pair| pair.strip_prefix("resourceVersion="));
                inside.watched_from.push(from.unwrap().to_owned());
                let (sender, body) = Channel::new(WAITING_EVENTS);
                inside.watches.push(sender);
                Response::new(body.boxed_unsync())
            }
            (Method::GET, "/api/v1/nodes") => {
                if inside.trouble == Trouble::Forgot {
                    inside.trouble = Trouble::None;
                }
                whole(200, inside.list())
            }
            (Method::GET, "/api/v1/namespaces/kube-system/configmaps/kubeadm-config") => {
                match &inside.cluster_configuration {
                    Some(text) => {
                        whole(200, json!({"metadata": {}, "data": {"ClusterConfiguration": text}}))
                    }
                    None => whole(404, status(404)),
                }
            }
            (Method::PATCH, path) => {
                let name = path.strip_prefix("/api/v1/nodes/").unwrap();
                let name = name.strip_suffix("/status").unwrap().to_owned();
                let patch: Value = serde_json::from_slice(&body).unwrap();
                let condition = patch["status"]["conditions"][0].clone();
                inside.patches.push(condition.clone());
                let mut node = inside.nodes[&name].clone();
                node["status"]["conditions"] = json!([condition]);
                whole(200, inside.put(node))
            }
            (method, path) => panic!("nobody should ask for {method} {path}"),
        })
    }
}

impl Inside {
    fn list(&self) -> Value {
        let version = self.version.to_string();
        let items: Vec<_> = self.nodes.values().collect();
        json!({
            "apiVersion": "v1", "kind": "NodeList",
            "metadata": {"resourceVersion": version}, "items": items,
        })
    }

    fn put(&mut self, node: Value) -> Value {
        let name = node["metadata"]["name"].as_str().unwrap().to_owned();
        let kind = if self.nodes.contains_key(&name) { "MODIFIED" } else { "ADDED" };
        let node = self.tell(kind, node);
        self.nodes.insert(name, node.clone());
        node
    }

    fn tell(&mut self, kind: &str, mut node: Value) -> Value {
        self.version += 1;
        node["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.send(&json!({"type": kind, "object": node}));
        node
    }

    fn send(&mut self, event: &Value) {
        let line = Bytes::from(format!("{event}\n"));
        self.watches.retain_mut(|watch| watch.try_send(Frame::data(line.clone())).is_ok());
    }
}

fn status(code: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "message": format!("refused with {code}"), "reason": format!("Reason{code}"), "metadata": {},
    })
}

fn whole(code: u16, body: Value) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    Response::builder()
        .status(StatusCode::from_u16(code).unwrap())
        .body(Full::from(body.to_string()).boxed_unsync())
        .unwrap()
}

/// A Node as kubelet and the controller manager make it.
pub fn node(name: &str, address: &str, pod_cidr: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
        "status": {"addresses": [
            {"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address},
        ]},
    })
}
