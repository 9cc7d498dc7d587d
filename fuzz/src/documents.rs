//! What people, runtimes and the two programs write for one another.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use warren_ipam::record::Record;
use warren_types::control::{Request, Response};
use warren_types::node::NodeDescription;

use crate::config::Config;
use crate::netconf::Document;

/// The agent's configuration file: an error is a sentence that names the file.
pub(crate) fn agent_config(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Err(error) = Config::from_text(text, "the file".to_owned()) {
        assert!(error.to_string().starts_with("the file: "), "{error}");
    }
}

/// What the runtime gives the plugin.
pub(crate) fn cni_netconf(octets: &[u8]) {
    let Ok(mut document) = Document::parse(octets) else { return };
    if document.version().is_ok() {
        drop(document.into_netconf());
    }
}

/// A record of an address, and the names of records.
pub(crate) fn ipam_record(octets: &[u8]) {
    if let Ok(record) = Record::parse(octets) {
        reads_as_it_was_written(&record);
    }
}

/// What the agent tells the plugin.
pub(crate) fn node_description(octets: &[u8]) {
    if let Ok(node) = serde_json::from_slice::<NodeDescription>(octets) {
        reads_as_it_was_written(&node);
    }
}

/// What an operator's command asks the agent, and the agent's answers.
pub(crate) fn control(octets: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(octets) {
        reads_as_it_was_written(&request);
    }
    if let Ok(response) = serde_json::from_slice::<Response>(octets) {
        reads_as_it_was_written(&response);
    }
}

fn reads_as_it_was_written<T: Debug + PartialEq + Serialize + DeserializeOwned>(value: &T) {
    let text = serde_json::to_vec(value);
    let again = text.and_then(|text| serde_json::from_slice::<T>(&text));
    assert_eq!(again.as_ref().ok(), Some(value));
}
