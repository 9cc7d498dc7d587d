//! Where a cluster runs: on the running kernel, with Kubernetes' own programs.
//!
//! No virtual machine: emulated, a cluster does not come to life within minutes (decision 0006). So
//! what a cluster's scenarios need of the kernel is what any has, and `tunl0` is not among it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Stage, expect_root, groups, isolation, run_script, source_root};

/// The environment variable with the directory that `tests/cluster/build` filled.
const PROGRAMS: &str = "WARREN_CLUSTER_PROGRAMS";

/// The environment variable with the directory of programs of another version.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The directory for the container image, in the checkout.
const IMAGES: &str = "target/cluster";

/// Where a cluster's files are. It lies on a tmpfs, and every node sees it at the same place.
pub(crate) const DIRECTORY: &str = "/run/warren-lab/cluster";

/// What was made for clusters before this process came to be.
#[derive(Debug)]
pub(crate) struct Parts {
    /// What `tests/cluster/build` made.
    pub(crate) programs: PathBuf,
    /// Programs that take precedence, if there are some.
    pub(crate) assets: Option<PathBuf>,
    /// The archive with this checkout's container image.
    pub(crate) image: PathBuf,
    /// The control group for the nodes' groups.
    pub(crate) group: String,
}

/// As [`super::enter`], for clusters: makes this process one that can make them, on the running kernel.
///
/// # Errors
/// What is missing and cannot be set up, in a sentence.
pub fn enter() -> Result<()> {
    if Stage::current()? == Stage::Isolated {
        isolation::settle()?;
        return groups::show();
    }
    expect_root()?;
    run_script(&mut Command::new(source_root().join("scripts/packages")))?;
    let programs = build_programs()?;
    build_image()?;
    // A machine that has ipip has tunl0 in every namespace from now on, and not from when the first
    // agent asks for it: what a node was like before can be compared with what it is like after.
    let _ = Command::new("modprobe").args(["--quiet", "ipip"]).output();

    let give_group = groups::reserve()?;
    let path = std::env::var("PATH").unwrap_or_default();
    isolation::restart(|command| {
        give_group(command);
        command
            .env("PATH", format!("{DIRECTORY}/assets:{DIRECTORY}/programs/bin:{path}"))
            .env(PROGRAMS, programs);
    })
}

/// What [`enter`] has set up.
///
/// # Errors
/// When this process has not come from there.
pub(crate) fn parts() -> Result<Parts> {
    let of = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
    Ok(Parts {
        programs: of(PROGRAMS)?.into(),
        assets: std::env::var_os(ASSETS).map(PathBuf::from),
        image: source_root().join(IMAGES).join(format!("warren-{}.tar", architecture())),
        group: groups::group()?,
    })
}

/// Has Kubernetes' programs made, or looked after; the directory.
fn build_programs() -> Result<PathBuf> {
    let script = source_root().join("tests/cluster/build");
    let output = Command::new(&script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed; what it said stands above", script.display());
    // What belongs in front of PATH; the last of it is its own.
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let bin = PathBuf::from(path.rsplit(':').next().unwrap_or_default());
    let programs = bin.parent().with_context(|| format!("{} printed {path}", script.display()))?;
    Ok(programs.to_owned())
}

/// Has the container image made of what this checkout is now.
fn build_image() -> Result<()> {
    let mut command = Command::new(source_root().join("scripts/image"));
    command.args(["--profile", "dev", "--to", IMAGES, architecture()]);
    // What cargo tells the tests it runs would have the cargo in there build anew what is built.
    for (name, _) in std::env::vars() {
        let tells = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if tells.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    eprintln!("building the container image; from nothing this takes a minute or two");
    run_script(&mut command)
}

/// This machine's architecture, as Debian and container images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_that_is_missing_where_others_are_to_be_taken_from_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("cluster");
        let refused = |assets: &str| {
            let output = Command::new(source_root().join("tests/cluster/build"))
                .arg(&made)
                .env(ASSETS, assets)
                .output()
                .unwrap();
            assert!(!output.status.success(), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let assets = directory.path().to_str().unwrap();
        for program in ["kube-apiserver", "etcd", "kubectl"] {
            let said = refused(assets);
            assert!(said.contains(&format!("no program {program} in {assets}")), "{said}");
            let file = directory.path().join(program);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
        assert!(refused("assets").contains("give the whole path"));
        assert!(!made.exists(), "nothing was to be made");
    }
}
