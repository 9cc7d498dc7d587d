//! The network configuration that is shipped, `deploy/10-warren.conflist`, against the specification
//! (CNI 1.0.0 and 1.1.0, section 1), and as a runtime makes calls of it (section 3).

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::support::{Call, Node, Sandbox, pod, with_result};

/// Versions of the specification that there are.
const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/10-warren.conflist");
    std::fs::read_to_string(path).unwrap()
}

/// What breaks the specification's rules for a network configuration list; empty: nothing does.
fn violations(text: &str) -> Vec<String> {
    let Ok(Value::Object(list)) = serde_json::from_str(text) else {
        return vec!["it is no JSON object".into()];
    };
    let mut found = Vec::new();
    for (key, value) in &list {
        let is_right = match key.as_str() {
            "cniVersion" => value.as_str().is_some_and(|version| VERSIONS.contains(&version)),
            "cniVersions" => all(value, |version| VERSIONS.contains(&version)),
            "name" => value.as_str().is_some_and(is_name),
            // The specification wants strings, its library takes booleans.
            "disableCheck" | "disableGC" | "loadOnlyInlinedPlugins" => {
                value.is_boolean() || matches!(value.as_str(), Some("true" | "false"))
            }
            "plugins" => value.as_array().is_some_and(|plugins| !plugins.is_empty()),
            _ => false,
        };
        if !is_right {
            found.push(format!("{key}: {value}"));
        }
    }
    let required = ["cniVersion", "name", "plugins"].into_iter();
    found.extend(required.filter(|key| !list.contains_key(*key)).map(|key| format!("no {key}")));
    for plugin in list.get("plugins").and_then(Value::as_array).into_iter().flatten() {
        match plugin.as_object() {
            Some(plugin) => found.extend(plugin_violations(plugin)),
            None => found.push(format!("{plugin} is no object")),
        }
    }
    found
}

fn plugin_violations(plugin: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    if !plugin.contains_key("type") {
        found.push("a plugin has no type".into());
    }
    for (key, value) in plugin {
        let is_right = match key.as_str() {
            // It is the name of an executable.
            "type" => value.as_str().is_some_and(|name| !name.is_empty() && !name.contains('/')),
            "capabilities" => {
                value.as_object().is_some_and(|all| all.values().all(Value::is_boolean))
            }
            "ipMasq" => value.is_boolean(),
            "ipam" => value.get("type").is_some_and(Value::is_string),
            "dns" => value.is_object(),
            // These are the runtime's to add.
            "cniVersion" | "name" | "runtimeConfig" | "args" | "prevResult" => false,
            key => !key.starts_with("cni.dev/"),
        };
        if !is_right {
            found.push(format!("{key} of a plugin: {value}"));
        }
    }
    found
}

fn all(list: &Value, is_right: impl Fn(&str) -> bool) -> bool {
    list.as_array().is_some_and(|all| all.iter().all(|one| one.as_str().is_some_and(&is_right)))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[test]
fn it_is_a_network_configuration_list_and_what_is_none_is_told_from_it() {
    assert_eq!(violations(&shipped()), [""; 0]);
    let with = |pointer: &str, value: Value| {
        let mut list: Value = serde_json::from_str(&shipped()).unwrap();
        *list.pointer_mut(pointer).unwrap() = value;
        violations(&list.to_string())
    };
    for (pointer, value) in [
        ("/cniVersion", json!("1.0")),
        ("/name", json!("a/b")),
        ("/plugins", json!([])),
        ("/plugins/0/type", json!("/opt/cni/bin/warren")),
        ("/plugins/0", json!({"runDir": "/run/warren"})),
        ("/plugins/1/capabilities", json!({"portMappings": "yes"})),
        ("", json!({"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "a"}], "typo": 1})),
        ("", json!([])),
    ] {
        assert_eq!(with(pointer, value.clone()).len(), 1, "{pointer} {value}");
    }
}

#[test]
fn older_containerds_take_its_version_and_the_plugins_are_ours_and_portmap() {
    let list: Value = serde_json::from_str(&shipped()).unwrap();
    // containerd 1.7 and before load a list of 1.1.0, and then fail every ADD.
    assert_eq!(list["cniVersion"], "1.0.0");
    let plugins = list["plugins"].as_array().unwrap();
    let types: Vec<_> = plugins.iter().map(|plugin| plugin["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["warren", "portmap"]);
    assert_eq!(plugins[1]["capabilities"]["portMappings"], true);
}

#[test]
fn the_documentation_shows_it_as_it_is() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plugin.md");
    assert!(std::fs::read_to_string(docs).unwrap().contains(&shipped()));
}

#[test]
fn a_pod_is_connected_by_it_and_portmap_is_handed_the_result() {
    let mut node = Node::new();
    let list: Value = serde_json::from_str(&shipped()).unwrap();
    node.version = "1.0.0";
    // As runtimes derive it: the list's name and version, and the plugin's own keys.
    let mut conf = list["plugins"][0].clone();
    conf["name"] = list["name"].clone();
    let sandbox = Sandbox::new();
    let call = Call { conf, ..pod("nginx", "a", &sandbox) };
    let result = node.call("ADD", &call).ok();
    // What portmap looks for: an address and the interface in the pod that has it.
    let ip = &result["ips"][0];
    let interface = ip["interface"].as_u64().unwrap() as usize;
    assert_eq!(ip["address"], "172.16.52.129/32");
    assert_eq!(result["interfaces"][interface]["sandbox"], sandbox.path());
    assert_eq!(result["cniVersion"], list["cniVersion"]);
    node.call("CHECK", &with_result(&call, &result)).ok();
    node.call("DEL", &with_result(&call, &result)).ok();
    node.assert_nothing_left();
}
