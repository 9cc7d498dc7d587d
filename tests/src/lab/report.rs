//! What one needs to see when a scenario fails.

use std::fmt::Write as _;
use std::fs;

use anyhow::Result;

use super::Lab;
use super::command::tail;
use super::node::Node;

impl Lab {
    /// The state of every node, as an operator would look at it.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for node in self.nodes() {
            let _ = writeln!(text, "==== {} ({})", node.name(), node.network());
            for (title, content) in sections(&node) {
                let content = content.unwrap_or_else(|e| format!("({e:#})"));
                let _ = writeln!(text, "-- {title}\n{}", content.trim_end());
            }
        }
        text
    }
}

fn sections(node: &Node) -> Vec<(&'static str, Result<String>)> {
    let mut sections = vec![
        ("ip -br address", node.run("ip", &["-br", "address"]).map(|o| o.stdout)),
        ("ip -br link", node.run("ip", &["-br", "link"]).map(|o| o.stdout)),
        ("ip -d route", node.run("ip", &["-d", "route"]).map(|o| o.stdout)),
    ];
    if let Ok(log) = fs::read_to_string(node.agent_log()) {
        sections.push(("agent status", node.agent(&["status"]).map(|o| o.stdout + &o.stderr)));
        sections.push(("the end of the agent's log", Ok(tail(&log, 30))));
    }
    if let Ok(log) = fs::read_to_string(node.directory().join("bird.log")) {
        sections.push(("birdc show protocols all", node.birdc(&["show", "protocols", "all"])));
        sections.push(("the end of BIRD's log", Ok(tail(&log, 30))));
    }
    sections
}
