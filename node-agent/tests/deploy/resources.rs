//! What the agent needs in a large cluster: two hundred peers with a route each, and a list of Nodes as
//! long as a page of the API server's, each of the size that kubelet makes it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde_json::{Value, json};

use super::confined::pod;
use crate::kubernetes::server::{Server, node};
use crate::kubernetes::{CERTIFICATE, kubeconfig};
use crate::running::{Namespace, run};

const PEERS: u8 = 200;

/// How many Nodes the agent takes at a time. Those that are no peers have no agent.
const PAGE: u16 = 500;

/// The type of that message.
const KEEPALIVE: u8 = 4;

const CONFIG: &str = "
datastore: kubernetes
pools: [{cidr: 10.244.0.0/16, blockSize: 24, encapsulation: None}]
";

/// A Node in the size that kubelet makes it: the fifty largest images, each by tag and by digest, and
/// who manages which of its fields.
fn large(name: &str, address: Ipv4Addr, block: &str) -> Value {
    let mut node = node(name, &address.to_string(), block);
    let repository = "registry.example.com/a-team/a-program-of-theirs";
    let images = (0..50).map(|number| {
        let digest = format!("{repository}@sha256:{number:064}");
        json!({"names": [digest, format!("{repository}:v1.{number}.0")], "sizeBytes": 123_456_789})
    });
    node["status"]["images"] = images.collect();
    let fields =
        (0..40).map(|n| (format!("f:example.com/annotation-of-some-length-{n}"), json!({})));
    node["metadata"]["managedFields"] = json!([{
        "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:annotations": fields.collect::<serde_json::Map<_, _>>()}},
    }]);
    node
}

fn address(number: u8) -> Ipv4Addr {
    [10, 77, 1, number].into()
}

/// Messages of BGP (RFC 4271, 4) from the node of this number, whose block is told.
fn messages(number: u8) -> Vec<u8> {
    let message = |kind: u8, body: &[u8]| {
        let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
        [&[0xff; 16], &length[..], &[kind], body].concat()
    };
    let me = address(number).octets();
    let open = [&[4], &64512u16.to_be_bytes()[..], &90u16.to_be_bytes(), &me, &[0]].concat();
    let attributes =
        [&[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4][..], &me, &[0x40, 5, 4, 0, 0, 0, 100]].concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    let update = [&[0, 0], &length[..], &attributes, &[24, 10, 244, number]].concat();
    [message(1, &open), message(KEEPALIVE, &[]), message(2, &update), message(2, &[0; 4])].concat()
}

/// The other nodes, all at one listener: each says what it has to say and answers each KEEPALIVE.
fn speak(listener: &TcpListener) {
    for mut connection in listener.incoming().flatten() {
        let Ok(SocketAddr::V4(this)) = connection.local_addr() else { continue };
        let [.., number] = this.ip().octets();
        std::thread::spawn(move || -> io::Result<()> {
            connection.write_all(&messages(number))?;
            loop {
                let mut header = [0; 19];
                connection.read_exact(&mut header)?;
                let length = u16::from_be_bytes([header[16], header[17]]);
                let mut body = vec![0; usize::from(length).saturating_sub(header.len())];
                connection.read_exact(&mut body)?;
                if header[18] == KEEPALIVE {
                    connection.write_all(&header)?;
                }
            }
        });
    }
}

/// A field of `/proc/PID/status`, in KiB.
fn status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim_end_matches("kB").trim().parse().unwrap()
}

/// How much of a processor's time it has had, in hundredths of a second.
fn time(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    // utime and stime of proc_pid_stat(5), whose third field is the first here.
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn mebibytes(quantity: &Value) -> u64 {
    quantity.as_str().unwrap().strip_suffix("Mi").unwrap().parse().unwrap()
}

#[test]
fn the_agent_of_a_large_cluster_has_the_memory_that_the_manifest_asks_for() {
    let (namespace, others) = (Namespace::new(), Namespace::new());
    std::fs::write(namespace.path("ca.pem"), CERTIFICATE).unwrap();
    std::fs::write(namespace.path("kubeconfig"), kubeconfig("token: one")).unwrap();
    let name = |number: u8| format!("node{number}");
    let nodes = (1..=PEERS)
        .map(|number| large(&name(number), address(number), &format!("10.244.{number}.0/24")));
    let further = (u16::from(PEERS)..PAGE).map(|number| {
        let mut node = large(&format!("windows{number}"), Ipv4Addr::UNSPECIFIED, "10.245.0.0/24");
        node["metadata"]["labels"] = json!({"kubernetes.io/os": "windows"});
        node
    });
    let _server = Server::start(&namespace, "one", nodes.chain(further).collect());
    namespace.within(|| {
        run(&format!("ip link add mesh0 type veth peer name mesh1 netns {}", others.file()));
        run("ip address add 10.77.1.1/16 dev mesh0");
        run("ip link set mesh0 up");
    });
    others.within(|| {
        run("ip link set mesh1 up");
        for number in 2..=PEERS {
            run(&format!("ip address add {}/16 dev mesh1", address(number)));
        }
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 179)).unwrap();
        // It ends with the process.
        std::thread::spawn(move || speak(&listener));
    });
    let state_dir = namespace.path("state");
    let running = namespace.start(&format!("{CONFIG}stateDir: {}\n", state_dir.display()));
    running.eventually("all routes", |status| status["routes"]["programmed"] == PEERS);
    running.eventually("readiness", |status| status["ready"] == true);
    let asked = running.ask(&["status"]);
    assert_eq!(asked.0, Some(0));

    let resources = &pod("warren.yaml")["containers"][0]["resources"];
    let (requested, limit) =
        (mebibytes(&resources["requests"]["memory"]), mebibytes(&resources["limits"]["memory"]));
    let (most, own) = (status(running.pid(), "VmHWM"), status(running.pid(), "RssAnon"));
    let time = time(running.pid());
    println!(
        "{PEERS} peers, {PAGE} nodes: at most {most} KiB resident, {own} KiB of its own in the end, {time} cs of CPU"
    );
    assert!(own / 1024 < requested, "{own} KiB of its own, {requested} MiB are asked for");
    assert!(most / 1024 * 2 < limit, "{most} KiB at most, {limit} MiB are the limit");
}
