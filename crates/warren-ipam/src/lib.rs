//! Which pod has which address of the node's blocks.
//!
//! The state is a directory on a tmpfs, used by the plugin's short-lived processes and read by the
//! agent. It dies with the pods at a reboot, so nothing leaks and nothing is synced to a disk.
//!
//! ```text
//! <runDir>/ipam/lock                                             held while an address is chosen
//! <runDir>/ipam/addresses/<address>@<container>@<ifname>@<host>  one per address in use
//! <runDir>/ipam/freed/<nanoseconds>@<address>                    one per address that was in use
//! ```
//!
//! The **name** of a record is the index: one `readdir` answers who has which address and which
//! host interface belongs to whom. The content ([`Record`]) is for people and for `CHECK`; an
//! address stays in use however its record's content was damaged.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`owner`] | who can have an address: a container and one of its interfaces |
//! | [`record`] | what is written down of an attachment |
//! | [`mac`] | hardware addresses |
//! | [`name`] | the names of the files above |
//! | [`pick`] | which address is next: a pure function |
//! | [`store`] | the directory |
//!
//! # Who waits for whom
//! Two kinds of lock, both `flock`s, so both end with the process that holds them:
//! - `ipam/lock` is held by [`Store::allocate`] from reading the directories to the appearance of the
//!   new record, some ten system calls, by [`Store::release`] for its `rename`, and by
//!   [`Store::while_unclaimed`].
//! - Each record is locked by whoever works on its attachment: by the `ADD` from before the record
//!   appears until the pod is connected, by the `DEL` from before the veth pair goes until the
//!   address is free. So an `ADD` that replaces the leftover of the same pod never meets a `DEL` of
//!   that leftover half-way, and neither can take away what the other has just made.
//!
//! Nobody waits for a record's lock while holding `ipam/lock`, hence no deadlock. Readers take no lock
//! at all.
//!
//! # Why a kill at any instruction does no harm
//! `allocate` writes the record into a file without a name (`O_TMPFILE`), links it to its name, and
//! removes the address's marker in `freed`:
//! - killed before the link: nothing is there, the kernel reclaims the nameless file;
//! - killed between link and removal: the address is in use, and a marker of an address in use is
//!   ignored, then removed by the next `allocate`;
//! - killed later, with the pod half connected: the record stands and names all there is to remove, so
//!   the runtime's `DEL`, a `GC`, or the next `ADD` of the same pod cleans up.
//!
//! `release` is one `rename` of the record into `freed`, where its name no longer counts as use: it
//! has happened or it has not. The veth pair is removed before: killed between the two, the address
//! stays reserved and the runtime's next `DEL` finds the record.
//!
//! Of two markers of one address the later one counts; they can only tell the order of reuse wrongly,
//! never whether an address is free.

pub mod mac;
pub mod name;
pub mod owner;
pub mod pick;
pub mod record;
pub mod store;

pub use mac::MacAddress;
pub use owner::{Owner, OwnerError};
pub use pick::Space;
pub use record::{Pod, Record};
pub use store::{AllocateError, Claim, Entry, Held, Listing, Store, StoreError};
