use super::*;

const WHOLE: &str = "
node: {name: node1, address: 192.168.0.176}
runDir: /run/warren
datastore: file
asNumber: 64512
listenPort: 179
pools:
- cidr: 172.16.0.0/16
  blockSize: 26
  encapsulation: IPIP
  natOutgoing: true
blocks: [172.16.52.128/26]
peers:
- {address: 192.168.0.146, asNumber: 64512}
";

fn read(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    Config::read(&path).map_err(|e| e.to_string())
}

#[test]
fn the_documented_example_is_read() {
    let config = read(WHOLE).unwrap();
    assert_eq!(config.node.name.as_deref(), Some("node1"));
    assert_eq!(config.blocks, ["172.16.52.128/26".parse().unwrap()]);
    assert_eq!(config.peers[0].port, 179);
    assert_eq!(config.hold_time_seconds, 90);
    assert_eq!(config.route_protocol, 12);
    assert_eq!((config.ipam, config.metrics), (IpamConfig::default(), None));
}

#[test]
fn addresses_can_be_kept_back() {
    let more = "ipam: {coolDownSeconds: 30, lowWater: 4, reserved: [172.16.52.130, fd00::/120]}\n\
                metrics: {listen: 0.0.0.0:9091}\n";
    let config = read(&format!("{WHOLE}{more}")).unwrap();
    assert_eq!((config.ipam.cool_down_seconds, config.ipam.low_water), (30, 4));
    assert_eq!(config.ipam.reserved[0], "172.16.52.130/32".parse().unwrap());
    assert_eq!(config.metrics.unwrap().listen.port(), 9091);
}

#[test]
fn bfd_is_as_the_peer_has_it_else_as_the_node_has_it_else_the_default() {
    let node = "bfd: {receiveIntervalMilliseconds: 50, detectMultiplier: 5}\nlistenPort";
    let peer = "asNumber: 64512, bfd: {enabled: true, detectMultiplier: 9, multihop: true}}";
    let text = WHOLE.replacen("listenPort", node, 1).replacen("asNumber: 64512}", peer, 1);
    let config = read(&text).unwrap();
    let bfd = config.bfd.with(config.peers[0].bfd.as_ref());
    assert_eq!((bfd.enabled, bfd.multihop), (Some(true), Some(true)));
    let timing = bfd.timing();
    assert_eq!(timing.desired_min_tx.as_micros(), 300_000);
    assert_eq!(timing.required_min_rx.as_micros(), 50_000);
    assert_eq!(timing.detect_mult.get(), 9);
    assert_eq!(config.bfd.with(None).timing().detect_mult.get(), 5);
}

#[test]
fn the_example_to_start_from_is_read() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agent.yaml");
    assert_eq!(Config::read(&example).unwrap().peers.len(), 2);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = read(&WHOLE.replace("listenPort", "listenport")).unwrap_err();
    assert!(error.contains("listenport"), "{error}");
    assert!(error.contains("line 6"), "{error}");
    let error = read(&WHOLE.replace("blockSize", "blocksize")).unwrap_err();
    assert!(error.contains("blocksize"), "{error}");
    assert!(error.contains("line 9"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_line() {
    let error = read(&WHOLE.replace("192.168.0.146", "192.168.0.1460")).unwrap_err();
    assert!(error.contains("line 14"), "{error}");
    let error = read(&WHOLE.replace("IPIP", "IPinIP")).unwrap_err();
    assert!(error.contains("IPinIP") && error.contains("line 10"), "{error}");
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let cases = [
        ("datastore: file", "datastore: kubernetes", "leave blocks out"),
        ("asNumber: 64512\n", "asNumber: 0\n", "asNumber: 0 is reserved"),
        ("172.16.52.128/26", "172.16.52.130/26", "did you mean 172.16.52.128/26?"),
        ("172.16.52.128/26", "10.0.0.0/26", "lies in none of the pools"),
        ("172.16.52.128/26", "172.16.52.128/26, 172.16.52.0/24", "overlap"),
        ("asNumber: 64512}", "blocks: [172.16.52.128/28]}", "overlap"),
        ("asNumber: 64512}", "blocks: [10.0.0.0/26]}", "lies in none of the pools"),
        ("172.16.0.0/16", "172.16.0.1/16", "did you mean 172.16.0.0/16?"),
        ("blockSize: 26", "blockSize: 33", "use 16 to 32"),
        ("blockSize: 26", "blockSize: 8", "use 16 to 32"),
        ("pools:", "pools:\n- {cidr: 172.16.0.0/16}", "172.16.0.0/16 is there twice"),
        ("IPIP", "VXLAN", "not part of this version"),
        (
            "listenPort: 179",
            "ipam: {reserved: [172.16.52.130/31, 172.16.52.131/31]}",
            "did you mean 172.16.52.130/31?",
        ),
        ("192.168.0.146", "192.168.0.176", "this node's own address"),
        ("listenPort: 179", "holdTimeSeconds: 2", "use 3 or more"),
        (
            "listenPort: 179",
            "gracefulRestart: {longLivedStaleTimeSeconds: 16777216}",
            "gracefulRestart: longLivedStaleTimeSeconds: long-lived stale time 16777216 s is not",
        ),
        (
            "listenPort: 179",
            "gracefulRestart: {enabled: false, longLivedStaleTimeSeconds: 60}",
            "longLivedStaleTimeSeconds: needs gracefulRestart.enabled",
        ),
        (
            "asNumber: 64512}",
            "longLivedStaleTimeSeconds: 16777216}",
            "peers: 192.168.0.146: longLivedStaleTimeSeconds: long-lived stale time 16777216 s",
        ),
        ("listenPort: 179", "routerId: 0.0.0.0", "no BGP identifier"),
        ("listenPort: 179", "bfd: {transmitIntervalMilliseconds: 9}", "use 10 to 60000"),
        ("listenPort: 179", "bfd: {receiveIntervalMilliseconds: 70000}", "use 10 to 60000"),
        ("asNumber: 64512}", "bfd: {detectMultiplier: 1}}", "192.168.0.146: bfd.detectMultiplier"),
        ("listenPort: 179", "routeReflectorClusterId: 0.0.0.0", "is no cluster"),
        ("listenPort: 179", "filters: [{name: a}, {name: a}]", "filters: a is there twice"),
        (
            "listenPort: 179",
            "filters: [{name: a, exportV4: [{action: Reject, matchOperator: In}]}]",
            "filters: a: exportV4[0]: matchOperator: needs a cidr",
        ),
        ("asNumber: 64512}", "filters: [tor]}", "peers: 192.168.0.146: filters: there is no"),
        ("asNumber: 64512}", "localASNumber: 0}", "localASNumber: 0 is reserved"),
        ("asNumber: 64512}", "role: customer}", "role: only a peer of another AS has one"),
        ("asNumber: 64512}", "asNumber: 65000, strictRole: true}", "strictRole: needs a role"),
        ("asNumber: 64512}", "asNumber: 65000, role: boss}", "unknown variant `boss`"),
        ("asNumber: 64512}", "ttlSecurity: 1, multihop: 2}", "exclude each other"),
        (
            "asNumber: 64512}",
            "connectRetryInitialSeconds: 20}",
            "192.168.0.146: connectRetryInitialSeconds: 20 is more than connectRetrySeconds, which is 16",
        ),
        ("asNumber: 64512}", "connectRetryInitialSeconds: 0}", "line 14"),
        (
            "asNumber: 64512}",
            "sendHoldTimeSeconds: 90}",
            "192.168.0.146: sendHoldTimeSeconds: 90 is not allowed with a hold time of 90 s",
        ),
        ("asNumber: 64512}", "maxPrefixes: {limit: 9, warningPercent: 101}}", "100 or less"),
        ("asNumber: 64512}", "sourceAddress: 'fd00::1'}", "is of another family"),
        (
            "asNumber: 64512}",
            "asNumber: 65000, routeReflectorClient: true}",
            "only a peer of the same AS can be a client",
        ),
        (
            "- {address: 192.168.0.146",
            "- {address: 192.168.0.146}\n- {address: 192.168.0.146",
            "there twice",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(WHOLE.contains(from), "{from}");
        let error = read(&WHOLE.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
        assert!(error.contains("config.yaml"), "{error}");
    }
}

#[test]
fn a_pool_may_lie_in_another() {
    for cidr in ["172.16.0.0/12", "172.16.52.0/24"] {
        let nested = format!("pools:\n- {{cidr: {cidr}}}");
        assert_eq!(read(&WHOLE.replacen("pools:", &nested, 1)).unwrap().pools.len(), 2);
    }
}

#[test]
fn with_kubernetes_neither_pools_nor_blocks_nor_peers_are_needed() {
    let config = read("datastore: kubernetes\nstateDir: /var/lib/warren").unwrap();
    assert_eq!(config.datastore, DatastoreKind::Kubernetes);
    assert!(config.pools.is_empty());
    let peers = "datastore: kubernetes\npeers: [{address: 192.168.0.146}]";
    assert!(read(peers).unwrap_err().contains("leave peers out"));
    assert!(read("datastore: file").unwrap_err().contains("pools: there is none"));
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::read(Path::new("/nowhere/agent.yaml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/agent.yaml"), "{error}");
}

#[test]
fn the_configuration_of_the_manifest_is_read_and_its_image_is_of_this_version() {
    #[derive(serde::Deserialize)]
    struct ConfigMap {
        data: std::collections::BTreeMap<String, String>,
    }
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let file = |name| std::fs::read_to_string(deploy.join(name)).unwrap();
    let map: ConfigMap = serde_saphyr::from_str(&file("base/configmap.yaml")).unwrap();
    let config = read(&map.data["agent.yaml"]).unwrap();
    assert_eq!(config.datastore, DatastoreKind::Kubernetes);
    assert_eq!(config.cni.unwrap().conf_dir, Path::new("/etc/cni/net.d"));
    let image = concat!("image: warren.io/warren:", env!("CARGO_PKG_VERSION"));
    for (name, containers) in [("base/daemonset.yaml", 2), ("cleanup.yaml", 1)] {
        let text = file(name);
        let images: Vec<_> = text.lines().filter(|line| line.contains("image: ")).collect();
        assert_eq!(images.len(), containers, "{name}");
        assert!(images.iter().all(|line| line.ends_with(image)), "{name}: {images:?}");
    }
}
