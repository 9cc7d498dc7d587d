//! etcd and Kubernetes' own daemons, in this process's namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::audit::{self, Audit};
use super::kubectl::Kubectl;
use super::{CONTROL_PLANE, MOST_NODES, PATIENCE, POD_CIDR, SERVICE_CIDR};
use crate::lab::command::Process;
use crate::lab::wait::eventually;

/// What there is one of in a cluster.
#[derive(Debug)]
pub struct ControlPlane {
    directory: PathBuf,
    kubectl: Kubectl,
    /// None while it is away.
    api_server: Option<Process>,
    /// They end when this is dropped.
    _others: [Process; 3],
}

impl ControlPlane {
    /// Starts it with nothing in its store.
    pub(super) fn start(directory: &Path, kubectl: &Kubectl) -> Result<Self> {
        write_tokens(directory)?;
        audit::write_policy(directory)?;
        let etcd = etcd(directory)?;
        let mut api_server = api_server(directory)?;
        // It takes its data in the meantime.
        for user in users() {
            write_kubeconfig(directory, &user)?;
        }
        expect_answers(kubectl, &mut api_server)?;
        let others = [etcd, controller_manager(directory)?, scheduler(directory)?];
        Ok(Self {
            directory: directory.to_owned(),
            kubectl: kubectl.clone(),
            api_server: Some(api_server),
            _others: others,
        })
    }

    /// Ends the API server at once, as when its machine is gone. Asked to end, it would wait a minute
    /// for its watches.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_api_server(&mut self) -> Result<()> {
        let mut api_server = self.api_server.take().context("the API server does not run")?;
        api_server.end(Signal::SIGKILL).map(drop)
    }

    /// Starts the API server again, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_api_server(&mut self) -> Result<()> {
        let mut api_server = api_server(&self.directory)?;
        expect_answers(&self.kubectl, &mut api_server)?;
        self.api_server = Some(api_server);
        Ok(())
    }

    /// The API server's notes of who asked for what.
    pub fn audit(&self) -> Audit {
        Audit::new(&self.directory)
    }
}

fn expect_answers(kubectl: &Kubectl, api_server: &mut Process) -> Result<()> {
    eventually("the API server is ready", PATIENCE, || {
        // That will not become better.
        if let Err(error) = api_server.check() {
            return Ok(Err(error));
        }
        kubectl.run(&["get", "--raw=/readyz"]).map(|_| Ok(()))
    })?
}

fn etcd(directory: &Path) -> Result<Process> {
    let (clients, peers) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
    let mut command = Command::new("etcd");
    command
        .arg(format!("--data-dir={}", directory.join("etcd").display()))
        .arg(format!("--listen-client-urls={clients}"))
        .arg(format!("--advertise-client-urls={clients}"))
        .arg(format!("--listen-peer-urls={peers}"))
        .arg(format!("--initial-advertise-peer-urls={peers}"))
        .arg(format!("--initial-cluster=default={peers}"))
        .arg("--log-level=warn");
    Process::start(&mut command, &directory.join("etcd.log"))
}

fn api_server(directory: &Path) -> Result<Process> {
    let pki = directory.join("pki");
    // It makes certificate and key itself at its first start. The key also serves for the tokens of
    // service accounts, and the certificate's file holds its authority too.
    let key = pki.join("apiserver.key");
    let mut command = Command::new("kube-apiserver");
    command
        .arg("--etcd-servers=http://127.0.0.1:2379")
        .arg(format!("--advertise-address={CONTROL_PLANE}"))
        .arg("--secure-port=6443")
        .arg(format!("--cert-dir={}", pki.display()))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", key.display()))
        .arg(format!("--service-account-signing-key-file={}", key.display()))
        .arg(format!("--service-cluster-ip-range={SERVICE_CIDR}"))
        .arg(format!("--token-auth-file={}", directory.join("tokens.csv").display()))
        .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"])
        .args(["--allow-privileged=true", "--profiling=false"])
        // Nodes' names are known nowhere.
        .arg("--kubelet-preferred-address-types=InternalIP")
        .args(audit::flags(directory));
    Process::start(&mut command, &directory.join("kube-apiserver.log"))
}

fn controller_manager(directory: &Path) -> Result<Process> {
    let pki = directory.join("pki");
    let mut command = Command::new("kube-controller-manager");
    command
        .arg(format!("--kubeconfig={}", directory.join("controller-manager.conf").display()))
        .args(["--allocate-node-cidrs", "--node-cidr-mask-size=24"])
        .arg(format!("--cluster-cidr={POD_CIDR}"))
        .arg(format!("--service-cluster-ip-range={SERVICE_CIDR}"))
        .arg(format!("--service-account-private-key-file={}", pki.join("apiserver.key").display()))
        .arg(format!("--root-ca-file={}", pki.join("apiserver.crt").display()))
        .arg("--use-service-account-credentials")
        .args(["--leader-elect=false", "--port=0"])
        .arg(format!("--cert-dir={}", directory.join("controller-manager").display()));
    Process::start(&mut command, &directory.join("kube-controller-manager.log"))
}

fn scheduler(directory: &Path) -> Result<Process> {
    let mut command = Command::new("kube-scheduler");
    command
        .arg(format!("--kubeconfig={}", directory.join("scheduler.conf").display()))
        .args(["--leader-elect=false", "--port=0"])
        .arg(format!("--cert-dir={}", directory.join("scheduler").display()));
    Process::start(&mut command, &directory.join("kube-scheduler.log"))
}

/// Whom the API server knows. The bootstrap policy gives these names their rights.
struct User {
    /// Its token, and the name of its kubeconfig.
    token: String,
    /// Who it is.
    name: String,
    group: &'static str,
}

fn users() -> Vec<User> {
    let daemons = [
        ("admin", "admin", "system:masters"),
        ("controller-manager", "system:kube-controller-manager", ""),
        ("scheduler", "system:kube-scheduler", ""),
        ("proxy", "system:kube-proxy", ""),
    ];
    let daemons = daemons.map(|(token, name, group)| (token.to_owned(), name.to_owned(), group));
    let nodes = (1..=MOST_NODES).map(|number| {
        (format!("node{number}"), format!("system:node:node{number}"), "system:nodes")
    });
    let all = daemons.into_iter().chain(nodes);
    all.map(|(token, name, group)| User { token, name, group }).collect()
}

fn write_tokens(directory: &Path) -> Result<()> {
    let lines: String = users()
        .iter()
        .map(|user| format!("{},{},{},\"{}\"\n", user.token, user.name, user.token, user.group))
        .collect();
    fs::write(directory.join("tokens.csv"), lines).context("cannot write tokens.csv")
}

fn write_kubeconfig(directory: &Path, user: &User) -> Result<()> {
    let authority = directory.join("pki/apiserver.crt");
    let text = format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters: [{{name: it, cluster: {{server: 'https://{CONTROL_PLANE}:6443', certificate-authority: {}}}}}]\n\
         users: [{{name: me, user: {{token: {}}}}}]\n\
         contexts: [{{name: mine, context: {{cluster: it, user: me}}}}]\n\
         current-context: mine\n",
        authority.display(),
        user.token,
    );
    let path = directory.join(format!("{}.conf", user.token));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
