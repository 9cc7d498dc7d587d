//! The lab: a small data centre on one machine, with the real programs in it.
//!
//! A scenario is a function that is given a [`lab::Lab`] and reads like what it checks. The lab's
//! parts, from the machine inwards:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`environment`] | where everything runs: packages, a kernel with ipip, namespaces that die with the test |
//! | [`lab`] | nodes and the switch between them, agents, pods, BIRD, traffic, captures |
//! | [`data_centre`] | what the demo shows, and what `make lab` opens a shell in |
//! | [`cluster`] | a Kubernetes cluster, for scenarios of its own |
//! | [`wire`], [`speakers`] | our BGP speaker and another one at the two ends of a cable |
//! | [`trial`] | a scenario as a test: its lab is made and ended, and what it was like is told when it fails |
//!
//! ```text
//!  the test executable ── no ipip in the kernel? ──> the same executable in a virtual machine
//!        │
//!        └─> its own pid, mount, network, host name namespaces (unshare)
//!              └─> one lab per scenario (Nx): a switch namespace with a bridge
//!                    └─> one namespace per node (Nx), joined to the bridge by enp1s0
//!                          ├─ one agent or BIRD
//!                          └─ one namespace per pod (Nx)
//! ```

pub mod cluster;
pub mod data_centre;
pub mod environment;
pub mod lab;
pub mod speakers;
pub mod trial;
pub mod wire;
