//! Our speaker with others: each test has two network namespaces and a cable between them, our BGP
//! speaker at one end and BIRD, FRR, GoBGP or OpenBGPD at the other.
//!
//! [`ROWS`] is the one table of what is shown with whom. What has gone over the wire is read by tshark
//! after each test, which must find nothing wrong with our messages. In the end the table in the README
//! is compared with what was shown.
//!
//! Nothing here needs a tunnel, so it all runs on the kernel that is there.

mod bfd;
mod dissect;
mod dynamic;
mod matrix;
mod meeting;
mod messages;
mod ours;
mod paths;
mod reflection;
mod refresh;
mod restart;
mod roles;
mod security;
mod sessions;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tests::environment::enter_without_tunnel;
use tests::speakers::Kind;
use tests::trial::panic_message;

use meeting::Meeting;

/// A line of the table.
struct Row {
    /// What is shown, in words.
    name: &'static str,
    /// How.
    test: fn(&Meeting) -> Result<()>,
    /// With whom it cannot be shown, and why.
    without: &'static [(Kind, &'static str)],
}

/// A place in the table.
enum Cell {
    /// There is a test.
    Shown(fn(&Meeting) -> Result<()>),
    /// The other speaker cannot do it, for this reason.
    NotTheirs(&'static str),
}

impl Row {
    const fn all(name: &'static str, test: fn(&Meeting) -> Result<()>) -> Self {
        Self { name, test, without: &[] }
    }

    const fn except(self, without: &'static [(Kind, &'static str)]) -> Self {
        Self { without, ..self }
    }

    fn cell(&self, kind: Kind) -> Cell {
        let reason = self.without.iter().find(|(it, _)| *it == kind);
        reason.map_or(Cell::Shown(self.test), |(_, why)| Cell::NotTheirs(why))
    }
}

const ROWS: &[Row] = &[
    Row::all("they connect", sessions::they_connect),
    Row::all("we connect", sessions::we_connect),
    Row::all("iBGP, IPv4 routes both ways", sessions::internal),
    Row::all("eBGP, IPv4 routes both ways", sessions::external),
    Row::all("IPv6 routes both ways", sessions::ipv6),
    Row::all("AS numbers of 4 octets", sessions::four_octets),
    Row::all("they reflect our routes", reflection::by_them),
    Row::all("we reflect their routes", reflection::by_us),
    Row::all("they ask for a route refresh", refresh::refresh)
        .except(&[(Kind::GoBgp, "keeps all that it was sent, and never asks")]),
    Row::all("they ask for a refresh between two marks", refresh::enhanced_refresh)
        .except(&[(Kind::GoBgp, NO_MARKS)]),
    Row::all("they refresh their routes between two marks", refresh::their_refresh).except(&[
        (Kind::Frr, ONLY_ASKED),
        (Kind::GoBgp, NO_MARKS),
        (Kind::OpenBgpd, ONLY_ASKED),
    ]),
    Row::all("they tell us of all their paths (add-path)", paths::of_theirs),
    Row::all("attributes of more than 4096 octets", sessions::long_attributes)
        .except(&[(Kind::GoBgp, NO_LONG), (Kind::OpenBgpd, NO_LONG)]),
    Row::all("roles, and routes for customers only", roles::roles)
        .except(&[(Kind::GoBgp, NO_ROLES)]),
    Row::all("roles that do not go together", roles::wrong_roles)
        .except(&[(Kind::GoBgp, NO_ROLES)]),
    Row::all("hold timers expire on a cut wire", sessions::hold_timer),
    Row::all("they stop at too many prefixes", sessions::their_limit),
    Row::all("they shut down with a message", sessions::their_words),
    Row::all("we stop at too many prefixes", sessions::our_limit),
    Row::all("we shut down with a message", sessions::our_words),
    Row::all("we restart gracefully", restart::of_ours),
    Row::all("they restart gracefully", restart::of_theirs)
        .except(&[(Kind::OpenBgpd, "keeps the routes of those that restart, but asks nobody to")]),
    Row::all("long-lived: they keep our routes", restart::of_ours_for_long)
        .except(&[(Kind::OpenBgpd, NO_LONG_LIVED)]),
    Row::all("long-lived: we keep their routes", restart::of_theirs_for_long)
        .except(&[(Kind::OpenBgpd, NO_LONG_LIVED)]),
    Row::all("TCP MD5: the right password", security::right_password),
    Row::all("TCP MD5: a wrong password", security::wrong_password),
    Row::all("TCP MD5: a missing password", security::missing_password),
    Row::all("GTSM", security::ttl_security),
    Row::all("they are dynamic neighbours of ours", dynamic::neighbors),
    Row::all("BFD", bfd::ends_sessions).except(&[(Kind::GoBgp, NO_BFD), (Kind::OpenBgpd, NO_BFD)]),
    Row::all("we restart gracefully beside BFD", bfd::spares_restarts)
        .except(&[(Kind::GoBgp, NO_BFD), (Kind::OpenBgpd, NO_BFD)]),
];

const NO_MARKS: &str = "has no enhanced route refresh";
const ONLY_ASKED: &str = "sends its marks where it is asked only, and we never ask";
const NO_LONG: &str = "has no extended messages";
const NO_ROLES: &str = "has no roles";
const NO_LONG_LIVED: &str = "has no long-lived graceful restart";
const NO_BFD: &str = "has no BFD";

fn main() {
    let mut arguments = Arguments::from_args();
    // Nearly all of the time is spent waiting for timers.
    arguments.test_threads.get_or_insert(8);
    // A list needs no wire.
    if !arguments.list
        && let Err(error) = enter_without_tunnel(&[])
    {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    let mut trials = Vec::new();
    for row in ROWS {
        for kind in Kind::ALL {
            if let Cell::Shown(test) = row.cell(kind) {
                let name = format!("{}: {}", kind.as_str(), row.name);
                trials.push(Trial::test(name, move || run(row.name, kind, test)));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let is_whole = conclusion.num_filtered_out == 0 && !arguments.list;
    if is_whole && let Err(error) = matrix::settle() {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    conclusion.exit();
}

fn run(row: &'static str, kind: Kind, test: fn(&Meeting) -> Result<()>) -> Result<(), Failed> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let meeting = Meeting::new(kind)?;
        test(&meeting)?;
        meeting.expect_clean()
    }));
    let problem = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(panic) => Some(panic_message(&*panic)),
    };
    matrix::note(row, kind, problem.is_none());
    problem.map_or(Ok(()), |problem| Err(Failed::from(problem)))
}
