//! How the operator's command asks the agent: one JSON line each way over the
//! [agent's socket](crate::run_dir::RunDir::agent_socket).

use serde::{Deserialize, Serialize};

use crate::status::{Route, Status};

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// The [`Status`].
    Status,
    /// The routes that the agent keeps, in the order of their destinations.
    Routes,
    /// Whether the agent's loops turn.
    Live,
    /// To take leave of the peers and end.
    Shutdown,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Routes`].
    Routes(Vec<Route>),
    /// To [`Request::Live`]: what stands still, empty when all is well.
    Live(Vec<String>),
    /// To [`Request::Shutdown`]: the peers are told. The agent ends at the SIGTERM that follows.
    Done,
    /// The request was not understood, or could not be answered.
    Error(String),
}
