//! `make lab`: the demo's nodes, with a shell. `lab -c COMMANDS` runs these in place of it.

use std::io::{self, IsTerminal, Write};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, ensure};
use tests::data_centre::DataCentre;
use tests::environment::{Input, built, enter};
use tests::lab::Lab;

fn main() {
    match run() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            std::process::exit(1);
        }
    }
}

fn run() -> Result<ExitStatus> {
    let commands = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => None,
        [flag, commands] if flag == "-c" => Some(commands.clone()),
        _ => return Err(anyhow::anyhow!("usage: lab [-c COMMANDS]")),
    };
    ensure!(
        commands.is_some() || io::stdin().is_terminal(),
        "a shell needs a terminal; without one, say what to run: make lab RUN='on node1 ip route'"
    );
    enter(if commands.is_some() { Input::None } else { Input::Terminal })?;
    let lab = Lab::new()?;
    let centre = DataCentre::build(&lab, |step| eprintln!("... {step}"))?;

    let file = lab.directory().join("bashrc");
    std::fs::write(&file, shell_start(&lab, &centre)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut shell = Command::new("bash");
    match commands {
        None => shell.arg("--rcfile").arg(&file),
        Some(commands) => shell.env("BASH_ENV", &file).arg("-c").arg(commands),
    };
    shell.status().context("cannot run bash")
}

/// What the shell knows: a function that goes to a node or a pod, and how to use it.
fn shell_start(lab: &Lab, centre: &DataCentre) -> Result<String> {
    let programs = built("agent")?;
    let programs = programs.parent().unwrap_or(&programs).display();
    let pods: Vec<_> = centre
        .pods
        .iter()
        .map(|pod| format!("{}.{} ({})", pod.node().name(), pod.name(), pod.address()))
        .collect();
    let directory = lab.directory().display();
    let prefix = lab.namespace("");
    Ok(format!(
        r#"PATH="{programs}:$PATH"
# on NODE COMMAND, or on NODE.POD COMMAND: runs it there.
on() {{
    WARREN_RUN_DIR="{directory}/${{1%%.*}}/run" nsenter --net="/run/netns/{prefix}$1" -- "${{@:2}}"
}}
export -f on
[ -n "$PS1" ] || return 0
PS1='lab# '
cat <<'EOF'

Nodes: node1, node2, node3. Pods: {pods}.
  on node1 agent status              what node1's agent says of itself
  on node1 ip route                  node1's routes
  on node1.web-0 ping {example}     from a pod to another node's
  on node1 tcpdump -ni enp1s0        what passes node1's NIC
Logs and configurations are in {directory}. The shell's end is the lab's end.
EOF
"#,
        pods = pods.join(", "),
        example = centre.pods.last().map(|pod| pod.address().to_string()).unwrap_or_default(),
    ))
}
