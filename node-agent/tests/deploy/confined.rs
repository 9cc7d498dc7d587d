//! That the containers of the manifests can do what they must with what they are given, and that
//! nothing of it is given without need: each capability and each mount is taken away once, and missed.
//!
//! Each runs in a root of its own, read-only, with the manifest's capabilities and mounts, in the network
//! namespace of a test. Not being static here, the program gets the host's libraries besides.

use std::fs::{File, create_dir_all, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{document, repository};
use crate::kubernetes::server::{Server, node};
use crate::kubernetes::{CERTIFICATE, kubeconfig};
use crate::running::{Namespace, agent, connect_from, wait};

/// Something that a manifest gives a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gift {
    /// A capability.
    Capability(&'static str),
    /// A mount, by its volume.
    Mount(&'static str),
}

use Gift::{Capability, Mount};

/// How it shows that something was not given.
#[derive(Debug, Clone, Copy)]
enum Missed {
    /// The program says all of this.
    Said(&'static [&'static str]),
    /// This is left on the host.
    Left(&'static str),
}

use Missed::{Left, Said};

const INSTALL: [(Gift, Missed); 3] = [
    (Capability("NET_ADMIN"), Said(&["cannot set", "ip_forward to 1", "not permitted"])),
    (Mount("cni-bin"), Said(&["cannot write /opt/cni/bin/warren", "Read-only"])),
    (Mount("proc-sys"), Said(&["cannot read /host/proc/sys/net/ipv4/ip_forward"])),
];

const AGENT: [(Gift, Missed); 7] = [
    (Capability("NET_ADMIN"), Said(&["not permitted"])),
    (Capability("NET_BIND_SERVICE"), Said(&["cannot speak BGP at port 179", "denied"])),
    (Capability("SYS_NICE"), Said(&["BFD has no priority over other processes"])),
    (Mount("config"), Said(&["cannot read the configuration file /etc/warren/agent.yaml"])),
    (Mount("run"), Said(&["cannot listen at /run/warren/agent.sock", "Read-only"])),
    (Mount("state"), Said(&["cannot write /var/lib/warren/cluster.json", "Read-only"])),
    (Mount("cni-conf"), Said(&["cannot write /etc/cni/net.d/10-warren.conflist", "Read-only"])),
];

const CLEANUP: [(Gift, Missed); 5] = [
    (Capability("NET_ADMIN"), Said(&["not permitted"])),
    (Mount("run"), Left("run/warren/footprint.json")),
    (Mount("state"), Left("var/lib/warren/cluster.json")),
    (Mount("cni-conf"), Left("etc/cni/net.d/10-warren.conflist")),
    (Mount("cni-bin"), Left("opt/cni/bin/warren")),
];

/// The pod's description in a file of `deploy`.
pub fn pod(file: &str) -> Value {
    document(file)["spec"]["template"]["spec"].clone()
}

/// One container of a pod.
struct Container {
    pod: Value,
    container: Value,
}

impl Container {
    fn new(file: &str, name: &str) -> Self {
        let pod = pod(file);
        let lists = [&pod["initContainers"], &pod["containers"]];
        let containers: Vec<&Value> =
            lists.into_iter().filter_map(Value::as_array).flatten().collect();
        let container = containers.into_iter().find(|container| container["name"] == name);
        let container = container.unwrap().clone();
        Self { pod, container }
    }

    fn strings(&self, pointer: &str) -> Vec<String> {
        let list = self.container.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    /// All that it is given.
    fn gifts(&self) -> Vec<String> {
        let mounts = self.container["volumeMounts"].as_array().unwrap();
        let mounts = mounts.iter().map(|mount| mount["name"].as_str().unwrap().to_owned());
        self.strings("/securityContext/capabilities/add").into_iter().chain(mounts).collect()
    }

    /// The mounts: what of the host's, where, and whether only to be read.
    fn mounts(&self, node: &Node, without: Option<Gift>) -> Vec<(PathBuf, String, bool)> {
        let mounts = self.container["volumeMounts"].as_array().unwrap().iter();
        let given = mounts.filter(|mount| match without {
            Some(Mount(name)) => mount["name"] != name,
            _ => true,
        });
        given
            .map(|mount| {
                let mut volumes = self.pod["volumes"].as_array().unwrap().iter();
                let volume = volumes.find(|volume| volume["name"] == mount["name"]).unwrap();
                let source = match volume["hostPath"]["path"].as_str() {
                    Some("/proc/sys") => PathBuf::from("/proc/sys"),
                    Some(path) => node.host(path.trim_start_matches('/')),
                    None => node.namespace.path("config-map"),
                };
                let read_only = mount["readOnly"] == true;
                (source, mount["mountPath"].as_str().unwrap().to_owned(), read_only)
            })
            .collect()
    }

    /// Starts it, but for what it is to do without.
    fn start(&self, node: &Node, without: Option<Gift>) -> Started {
        let context = &self.container["securityContext"];
        assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert!(context.get("privileged").is_none());

        let mut root = Root::new(node);
        for (from, to, read_only) in self.mounts(node, without) {
            root.bind(&from, &to, read_only);
        }
        let capabilities = self.strings("/securityContext/capabilities/add");
        let kept: String = capabilities
            .iter()
            .filter(|name| !matches!(without, Some(Capability(taken)) if taken == *name))
            .map(|name| format!(",+{}", name.to_lowercase()))
            .collect();
        root.script.push_str(&format!(
            "mount -o remount,bind,ro .\nexec chroot . /setpriv --no-new-privs --inh-caps=-all \
             --bounding-set=-all{kept} /agent \"$@\"\n"
        ));

        let log = root.directory.with_extension("log");
        let output = File::create(&log).unwrap();
        let child = node.namespace.within(|| {
            let mut command = Command::new("unshare");
            command
                .args(["--mount", "--propagation=private", "sh", "-c", &root.script, "sh"])
                .args(self.strings("/args"))
                .env("NODE_NAME", "node1")
                .env_remove("WARREN_RUN_DIR")
                .stdin(Stdio::null())
                .stderr(output.try_clone().unwrap())
                .stdout(output);
            if self.container["name"] == "agent" {
                command.env("KUBECONFIG", "/etc/warren/kubeconfig");
            }
            command.spawn().unwrap()
        });
        Started { child, log }
    }
}

/// A container's own file system, and the script that enters it.
struct Root {
    directory: PathBuf,
    script: String,
}

impl Root {
    /// One with the programs and what they need besides, not being static here.
    fn new(node: &Node) -> Self {
        let directory = tempfile::tempdir_in(node.namespace.path("")).unwrap().keep();
        let place = directory.display();
        let script = format!("set -e\nmount --bind {place} {place}\ncd {place}\n");
        let mut root = Self { directory, script };
        root.bind(agent().as_ref(), "/agent", true);
        root.bind(&node.namespace.path("plugin"), "/warren", true);
        root.bind("/usr/bin/setpriv".as_ref(), "/setpriv", true);
        for libraries in ["/lib", "/lib64"] {
            if Path::new(libraries).exists() {
                root.bind(libraries.as_ref(), libraries, true);
            }
        }
        // As a runtime gives it to a container that is not privileged.
        root.bind("/proc".as_ref(), "/proc", false);
        root.script.push_str("mount --bind proc/sys proc/sys\nmount -o remount,bind,ro proc/sys\n");
        root
    }

    /// Mounts something of the host's, once the script runs.
    fn bind(&mut self, from: &Path, to: &str, read_only: bool) {
        let to = to.trim_start_matches('/');
        let place = self.directory.join(to);
        if from.is_dir() {
            create_dir_all(&place).unwrap();
        } else {
            create_dir_all(place.parent().unwrap()).unwrap();
            File::create(&place).unwrap();
        }
        self.script.push_str(&format!("mount --bind {} {to}\n", from.display()));
        if read_only {
            self.script.push_str(&format!("mount -o remount,bind,ro {to}\n"));
        }
    }
}

/// A running container; it is killed when this is dropped.
struct Started {
    child: Child,
    log: PathBuf,
}

impl Started {
    fn log(&self) -> String {
        read_to_string(&self.log).unwrap()
    }

    /// Waits for its end.
    fn end(&mut self) -> String {
        self.child.wait().unwrap();
        self.log()
    }

    /// Waits until it shows that something is missed.
    fn misses(&mut self, node: &Node, what: &str, missed: Missed) {
        match missed {
            Said(words) => {
                wait(what, || self.log(), || words.iter().all(|word| self.log().contains(word)))
            }
            Left(file) => {
                let said = self.end();
                assert!(node.host(file).exists(), "{what} was not needed: {said}");
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node with its host's directories and its API server.
struct Node {
    namespace: Namespace,
    server: Server,
}

impl Node {
    fn new() -> Self {
        let namespace = Namespace::new();
        let nodes = vec![
            node("node1", "192.168.0.176", "10.244.0.0/24"),
            node("node2", "192.168.0.146", "10.244.1.0/24"),
        ];
        let server = Server::start(&namespace, "t", nodes);
        let node = Self { namespace, server };
        for directory in ["run/warren", "var/lib/warren", "etc/cni/net.d", "opt/cni/bin"] {
            create_dir_all(node.host(directory)).unwrap();
        }
        let config_map = node.namespace.path("config-map");
        create_dir_all(&config_map).unwrap();
        let manifest = read_to_string(repository("deploy/base/configmap.yaml")).unwrap();
        let manifest: Value = serde_saphyr::from_str(&manifest).unwrap();
        let config = manifest["data"]["agent.yaml"].as_str().unwrap();
        // Not every kernel that this is tested on has ipip.
        let pools = "pools: [{cidr: 10.244.0.0/16, encapsulation: None, natOutgoing: true}]";
        std::fs::write(config_map.join("agent.yaml"), format!("{config}\n{pools}\n")).unwrap();
        std::fs::write(config_map.join("kubeconfig"), kubeconfig("token: t")).unwrap();
        std::fs::write(config_map.join("ca.pem"), CERTIFICATE).unwrap();
        std::fs::write(node.namespace.path("plugin"), "warren 0.1.0 is a CNI plugin").unwrap();
        node.forward("0");
        node
    }

    /// A file of the host's.
    fn host(&self, path: &str) -> PathBuf {
        self.namespace.path("host").join(path)
    }

    fn forward(&self, value: &str) {
        let parameter = "/proc/sys/net/ipv4/ip_forward";
        self.namespace.within(|| std::fs::write(parameter, value)).unwrap();
    }

    fn output(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        let output = self.namespace.within(|| command.args(words).output().unwrap());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Installs, and runs an agent until it has done all that it does to a node.
    fn up(&self) -> Started {
        let said = Container::new("base/daemonset.yaml", "install").start(self, None).end();
        assert!(said.contains("version 0.1.0 installed") && said.contains("set to 1"), "{said}");
        let started = Container::new("base/daemonset.yaml", "agent").start(self, None);
        wait(
            "all that an agent does",
            || started.log(),
            || {
                ["run/warren/node.json", "run/warren/footprint.json", "var/lib/warren/cluster.json"]
                    .iter()
                    .chain(&["etc/cni/net.d/10-warren.conflist"])
                    .all(|file| self.host(file).exists())
                    && self.server.condition("node1")["status"] == "False"
                    && self.output("ip route").contains("blackhole 10.244.0.0/24")
                    && self.output("nft list table ip warren").contains("masquerade")
            },
        );
        self.namespace.within(|| drop(connect_from([192, 168, 0, 146], [192, 168, 0, 176])));
        let log = started.log();
        assert!(
            !log.contains("ERROR") && !log.contains("ermission") && !log.contains("ermitted"),
            "{log}"
        );
        started
    }
}

/// That a container misses each of its gifts, and that there is none besides.
fn needs_all(file: &str, name: &str, gifts: &[(Gift, Missed)], prepare: impl Fn(&Node)) {
    let container = Container::new(file, name);
    let mut named: Vec<_> = gifts
        .iter()
        .map(|(gift, _)| match gift {
            Capability(name) | Mount(name) => (*name).to_owned(),
        })
        .collect();
    let mut given = container.gifts();
    named.sort();
    given.sort();
    assert_eq!(given, named, "what {file} gives to {name}");
    for (gift, missed) in gifts {
        let node = Node::new();
        prepare(&node);
        let mut started = container.start(&node, Some(*gift));
        started.misses(&node, &format!("{name} without {gift:?}"), *missed);
    }
}

#[test]
fn the_init_container_can_do_with_nothing_less() {
    needs_all("base/daemonset.yaml", "install", &INSTALL, |_| {});
}

#[test]
fn the_agents_container_can_do_with_nothing_less() {
    needs_all("base/daemonset.yaml", "agent", &AGENT, |node| node.forward("1"));
}

#[test]
fn the_cleanup_container_can_do_with_nothing_less() {
    needs_all("cleanup.yaml", "cleanup", &CLEANUP, |node| drop(node.up()));
}

#[test]
fn with_what_they_are_given_the_containers_install_run_and_clean_up() {
    let node = Node::new();
    drop(node.up());
    let said = Container::new("cleanup.yaml", "cleanup").start(&node, None).end();
    for gone in
        ["run/warren", "var/lib/warren", "etc/cni/net.d/10-warren.conflist", "opt/cni/bin/warren"]
    {
        assert!(!node.host(gone).exists(), "{gone} is left: {said}");
    }
    assert!(!node.output("ip route").contains("10.244."), "{said}");
    assert!(!node.output("nft list ruleset").contains("warren"), "{said}");
}
