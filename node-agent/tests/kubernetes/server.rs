//! An API server behind a TCP port, as far as an agent needs one: Nodes, a watch, status patches, and
//! a token that somebody has to bring.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::running::Namespace;

/// Where it listens: the address of the namespace's other end.
pub const ADDRESS: &str = "192.168.0.146:6443";

/// A running server; its thread ends with the process.
pub struct Server(Arc<Mutex<Inside>>);

struct Inside {
    token: String,
    nodes: Vec<Value>,
    watches: Vec<TcpStream>,
    requests: Vec<String>,
}

impl Server {
    /// Listens in the namespace; it lets in who brings `token`.
    pub fn start(namespace: &Namespace, token: &str, nodes: Vec<Value>) -> Self {
        let inside =
            Inside { token: token.to_owned(), nodes, watches: Vec::new(), requests: Vec::new() };
        let server = Self(Arc::new(Mutex::new(inside)));
        let listener = namespace.within(|| TcpListener::bind(ADDRESS)).unwrap();
        let inside = Arc::clone(&server.0);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                answer(connection, &mut inside.lock().unwrap());
            }
        });
        server
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    /// Lets in who brings `token` and nobody else, and ends the watches of the others.
    pub fn expect(&self, token: &str) {
        let mut inside = self.inside();
        token.clone_into(&mut inside.token);
        inside.watches.clear();
    }

    /// What the Node says of its network; null where it says nothing.
    pub fn condition(&self, node: &str) -> Value {
        let inside = self.inside();
        let node = inside.nodes.iter().find(|there| there["metadata"]["name"] == node).unwrap();
        node["status"]["conditions"][0].clone()
    }

    /// The requests so far, those in vain with their answer: `GET /api/v1/nodes`, `WATCH …`, `401 GET …`.
    pub fn requests(&self) -> Vec<String> {
        self.inside().requests.clone()
    }
}

/// One request a connection is enough.
fn answer(connection: TcpStream, inside: &mut Inside) {
    let mut reader = BufReader::new(&connection);
    let (mut first, mut length, mut token) = (String::new(), 0, String::new());
    if reader.read_line(&mut first).is_err() {
        return;
    }
    for line in reader.by_ref().lines() {
        let line = line.unwrap_or_default();
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                value.trim_start_matches("Bearer ").clone_into(&mut token);
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let mut words = first.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if token != inside.token {
        inside.requests.push(format!("401 {method} {path}"));
        return whole(
            &connection,
            401,
            &json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
            }),
        );
    }
    let watches = query.contains("watch=true");
    inside.requests.push(format!("{} {path}", if watches { "WATCH" } else { method }));
    match path.strip_prefix("/api/v1/nodes") {
        Some("") if watches => {
            let head =
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
            if (&connection).write_all(head).is_ok() {
                inside.watches.push(connection);
            }
        }
        Some("") => whole(
            &connection,
            200,
            &json!({
                "kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
                "items": inside.nodes,
            }),
        ),
        Some(rest) => {
            let name = rest.trim_matches('/').trim_end_matches("/status");
            let node = inside.nodes.iter_mut().find(|node| node["metadata"]["name"] == name);
            match node {
                Some(node) => {
                    if method == "PATCH" {
                        let patch: Value = serde_json::from_slice(&body).unwrap();
                        node["status"]["conditions"] = patch["status"]["conditions"].clone();
                    }
                    whole(&connection, 200, node);
                }
                None => whole(&connection, 404, &not_found()),
            }
        }
        None => whole(&connection, 404, &not_found()),
    }
}

fn not_found() -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "not found", "reason": "NotFound", "code": 404,
    })
}

fn whole(mut connection: &TcpStream, code: u16, body: &Value) {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} so\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    // Who asked may be gone.
    let _ = connection.write_all(format!("{head}{body}").as_bytes());
}

/// A Node as kubelet and the controller manager make it.
pub fn node(name: &str, address: &str, pod_cidr: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "resourceVersion": "1"},
        "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    })
}
