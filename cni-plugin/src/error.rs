//! What the runtime is told when something fails.

use serde::Serialize;
use warren_ipam::{AllocateError, StoreError};
use warren_net::pod::{Difference, PodError};
use warren_net::{namespace, netlink};
use warren_types::node::ReadError;
use warren_types::run_dir::Unusable;
use warren_types::wishes;

use crate::version::Version;

/// The code of an error. Those below 100 are the specification's, the others are ours: 100 to 109
/// for what failed, 110 and above for what `CHECK` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// The configuration's version is not spoken, or does not have the command.
    IncompatibleVersion = 1,
    /// An environment variable is missing or invalid.
    Environment = 4,
    /// Standard input or output failed.
    Io = 5,
    /// Standard input is no JSON object.
    Decode = 6,
    /// A key of the network configuration is missing or invalid.
    InvalidNetConf = 7,
    /// No agent has described this node yet.
    TryAgainLater = 11,
    /// `STATUS`: an `ADD` would fail now.
    NotAvailable = 50,
    /// `STATUS`: pods are cut off from other nodes, those that run already too.
    CutOff = 51,

    /// All addresses of the node's blocks are in use, or it has no block.
    NoAddress = 100,
    /// `CNI_NETNS` is not a network namespace, not there, or the node's own.
    Namespace = 101,
    /// The kernel refused a link, an address, a route or a parameter.
    Kernel = 102,
    /// The node's run directory holds something that cannot be read, written or understood.
    State = 103,
    /// `ADD` came twice for the same interface of the same container.
    AlreadyAttached = 104,
    /// The plugin has a bug.
    Internal = 105,
    /// The address that is asked for cannot be given to this pod.
    AddressRefused = 106,

    /// Nothing is recorded of the attachment: its address may go to another pod.
    CheckRecordMissing = 110,
    /// The record and `prevResult` say different things.
    CheckResult = 111,
    /// An end of the veth pair is gone.
    CheckInterfaceMissing = 112,
    /// An end of the veth pair has another name.
    CheckInterfaceName = 113,
    /// The two interfaces are not the ends of one veth pair.
    CheckNotPaired = 114,
    /// An end of the veth pair is down.
    CheckInterfaceDown = 115,
    /// An end of the veth pair has another MTU.
    CheckMtu = 116,
    /// An end of the veth pair has another hardware address.
    CheckMac = 117,
    /// The pod lacks its address.
    CheckAddress = 118,
    /// The pod lacks one of its routes.
    CheckPodRoute = 119,
    /// The node lacks the route to the pod.
    CheckHostRoute = 120,
    /// A kernel parameter of the host end has another value.
    CheckSysctl = 121,
    /// The host end lacks the address of the pod's IPv6 next hop.
    CheckNextHop = 122,
}

/// A failure, as the runtime is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// A sentence that names what failed.
    pub msg: String,
    /// More of it, where there is more.
    pub details: Option<String>,
}

impl Failure {
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: None }
    }

    pub fn details(self, details: impl Into<String>) -> Self {
        Self { details: Some(details.into()), ..self }
    }

    /// Of several failures of one command the first gives the code, and all are told.
    pub fn all(failures: Vec<Self>) -> Result<(), Self> {
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else { return Ok(()) };
        let others: Vec<_> = failures.map(|other| other.msg).collect();
        if others.is_empty() {
            return Err(first);
        }
        Err(Self { details: Some(format!("besides: {}", others.join("; "))), ..first })
    }

    /// The same failure with another code.
    pub fn with_code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// What is printed.
    pub fn to_json(&self, version: Version) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            cni_version: &'a str,
            code: u32,
            msg: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: Option<&'a str>,
        }
        let wire = Wire {
            cni_version: version.as_str(),
            code: self.code as u32,
            msg: &self.msg,
            details: self.details.as_deref(),
        };
        // Strings and a number: there is nothing that could fail.
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::Missing { .. } => Code::TryAgainLater,
            ReadError::Io { .. } | ReadError::Malformed { .. } | ReadError::TooNew { .. } => {
                Code::State
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<Unusable> for Failure {
    fn from(error: Unusable) -> Self {
        Self::new(Code::State, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(Code::State, error.to_string())
    }
}

impl From<wishes::ReadError> for Failure {
    fn from(error: wishes::ReadError) -> Self {
        Self::new(Code::State, error.to_string())
    }
}

impl From<AllocateError> for Failure {
    fn from(error: AllocateError) -> Self {
        let code = match error {
            AllocateError::Store(error) => return error.into(),
            AllocateError::NoBlock { .. } | AllocateError::Exhausted { .. } => Code::NoAddress,
            AllocateError::TwoOfAFamily(_)
            | AllocateError::Elsewhere { .. }
            | AllocateError::Reserved(_)
            | AllocateError::InUse(_)
            | AllocateError::NoBlockInPools(_) => Code::AddressRefused,
            AllocateError::AlreadyAllocated(_) => Code::AlreadyAttached,
            AllocateError::HostInterfaceTaken(_) => Code::State,
        };
        Self::new(code, error.to_string())
    }
}

impl From<namespace::Error> for Failure {
    fn from(error: namespace::Error) -> Self {
        Self::new(Code::Namespace, format!("CNI_NETNS: {error}"))
    }
}

impl From<netlink::Error> for Failure {
    fn from(error: netlink::Error) -> Self {
        Self::new(Code::Kernel, error.to_string())
    }
}

impl From<PodError> for Failure {
    fn from(error: PodError) -> Self {
        match error {
            PodError::Namespace(error) => error.into(),
            PodError::OwnNamespace { .. } => {
                Self::new(Code::Namespace, format!("CNI_NETNS: {error}"))
            }
            error => Self::new(Code::Kernel, error.to_string()),
        }
    }
}

impl From<Difference> for Failure {
    fn from(difference: Difference) -> Self {
        let code = match difference {
            Difference::Missing { .. } => Code::CheckInterfaceMissing,
            Difference::Renamed { .. } => Code::CheckInterfaceName,
            Difference::NotPaired { .. } => Code::CheckNotPaired,
            Difference::Down { .. } => Code::CheckInterfaceDown,
            Difference::Mtu { .. } => Code::CheckMtu,
            Difference::Mac { .. } => Code::CheckMac,
            Difference::AddressMissing { .. } => Code::CheckAddress,
            Difference::PodRouteMissing { .. } => Code::CheckPodRoute,
            Difference::HostRouteMissing { .. } => Code::CheckHostRoute,
            Difference::Sysctl { .. } => Code::CheckSysctl,
            Difference::NextHopMissing { .. } => Code::CheckNextHop,
        };
        Self::new(code, difference.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_as_the_specification_says() {
        let failure = Failure::new(Code::NoAddress, "no free address in \"x\"");
        assert_eq!(
            failure.to_json(Version::V0_4_0),
            r#"{"cniVersion":"0.4.0","code":100,"msg":"no free address in \"x\""}"#
        );
        assert_eq!(
            failure.details("d").to_json(Version::V1_1_0),
            r#"{"cniVersion":"1.1.0","code":100,"msg":"no free address in \"x\"","details":"d"}"#
        );
    }

    #[test]
    fn of_several_failures_the_first_gives_the_code_and_all_are_told() {
        let failure = |msg: &str, code| Failure::new(code, msg);
        assert_eq!(Failure::all(Vec::new()), Ok(()));
        let one = failure("a", Code::Kernel);
        assert_eq!(Failure::all(vec![one.clone()]), Err(one.clone()));
        let two = Failure::all(vec![one.clone(), failure("b", Code::State)]).unwrap_err();
        assert_eq!(two, one.details("besides: b"));
    }
}
