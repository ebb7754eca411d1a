//! The fault table of `docs/faults.md`, row by row, as far as no other test file has the row. A test's number is its row's.

#[path = "../cc_support/mod.rs"]
mod cc_support;
#[path = "../process_support/mod.rs"]
mod process_support;

mod cgroups;
mod condemned;
mod ends;
mod inside;
#[cfg(feature = "raw-sync")]
mod lane_mutex;
mod locks;
mod namespaces;
mod phases;
mod programs;
mod recovery;
mod retried;
mod seats;
mod steps;
mod stopped;
mod support;
mod wakes;

use process_support::{Role, Test};

fn main() {
    taskring::init();
    let roles: [&[Role]; 10] = [
        condemned::ROLES,
        ends::ROLES,
        inside::ROLES,
        locks::ROLES,
        namespaces::ROLES,
        recovery::ROLES,
        retried::ROLES,
        seats::ROLES,
        stopped::ROLES,
        support::ROLES,
    ];
    let tests: [&[Test]; 13] = [
        wakes::TESTS,
        locks::TESTS,
        phases::TESTS,
        recovery::TESTS,
        stopped::TESTS,
        seats::TESTS,
        namespaces::TESTS,
        cgroups::TESTS,
        ends::TESTS,
        inside::TESTS,
        programs::TESTS,
        condemned::TESTS,
        retried::TESTS,
    ];
    #[allow(unused_mut, reason = "with the feature there are more")]
    let (mut roles, mut tests) = (roles.concat(), tests.concat());
    #[cfg(feature = "raw-sync")]
    {
        roles.extend(lane_mutex::ROLES);
        tests.extend(lane_mutex::TESTS);
    }
    process_support::main(&roles, &tests);
}
