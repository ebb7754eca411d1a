//! The largest configurations that fit into CI, and a run without each rule.

use super::*;
use stateright::{Checker, Expectation, HasDiscoveries};
use std::time::Instant;

const CI: Machine =
    Machine { slots: 2, submitters: 1, tasks: 1, crashes: 1, stops: 0, attempts: 1, two_reapers: false, without: None };

/// Goes through every state, and prints how many there are.
fn complete(name: &str, machine: Machine) {
    let start = Instant::now();
    let checker = machine.checker().threads(2).spawn_dfs().join();
    let states = checker.unique_state_count();
    println!("{name}: {states} states, depth {}, {:.0?}: {machine:?}", checker.max_depth(), start.elapsed());
    for (property, path) in checker.discoveries() {
        let wanted = machine.property(property).expectation == Expectation::Sometimes;
        assert!(wanted, "{name}: not so: {property}: {:#?}\n{:#?}", path.clone().into_actions(), path.last_state());
    }
    // What must be possible, so that a model in which nothing happens is not taken for a proof.
    for property in machine.properties().iter().filter(|p| p.expectation == Expectation::Sometimes) {
        let can_be = match property.name {
            "a cancelled task was not entered" => machine.submitters * machine.tasks > 1,
            "a task may have run" | "a result is lost" => machine.crashes >= machine.attempts,
            _ => machine.crashes > 0,
        };
        assert!(!can_be || checker.discovery(property.name).is_some(), "{name}: never: {}", property.name);
    }
    assert!(states >= 1_000_000, "{name}: only {states} states");
}

#[test]
fn one_submitter_and_two_deaths() {
    complete("one submitter, two deaths", Machine { crashes: 2, ..CI });
}

#[test]
fn one_submitter_a_death_and_two_reapers_that_race() {
    complete("one submitter, a death, two reapers at a time", Machine { two_reapers: true, ..CI });
}

#[test]
fn one_submitter_a_death_and_a_stop() {
    complete("one submitter, a death and a stop", Machine { crashes: 1, stops: 1, ..CI });
}

#[test]
fn one_submitter_and_a_task_that_may_run_again() {
    complete("one submitter, a death, two attempts", Machine { crashes: 1, attempts: 2, ..CI });
}

#[test]
fn two_submitters() {
    complete("two submitters, no death", Machine { submitters: 2, crashes: 0, ..CI });
}

/// More than CI has time for: `TASKRING_STATERIGHT="submitters=2 crashes=1"` (also `tasks`, `stops`, `attempts`, `slots`, `two_reapers`).
#[test]
fn what_is_asked_for() {
    let Ok(text) = std::env::var("TASKRING_STATERIGHT") else {
        println!("nothing asked for: TASKRING_STATERIGHT is not set");
        return;
    };
    let mut machine = CI;
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=').expect("name=value");
        let value: u8 = value.parse().expect("a small number");
        match name {
            "slots" => machine.slots = value,
            "submitters" => machine.submitters = value,
            "tasks" => machine.tasks = value,
            "crashes" => machine.crashes = value,
            "stops" => machine.stops = value,
            "attempts" => machine.attempts = value,
            "two_reapers" => machine.two_reapers = value != 0,
            _ => panic!("{name} is none of the numbers"),
        }
    }
    complete("as asked", machine);
}

/// Whether a run without `rule` finds that something is wrong, and what.
fn is_missed(rule: Rule, crashes: u8) {
    let machine = Machine { crashes, without: Some(rule), ..CI };
    let checker = machine.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let sometimes = |name: &'static str| machine.property(name).expectation == Expectation::Sometimes;
    let broken: Vec<_> = checker.discoveries().into_keys().filter(|name| !sometimes(name)).collect();
    println!("without {rule:?}: {} states, and not so: {broken:?}", checker.unique_state_count());
    assert!(!broken.is_empty(), "nothing is wrong without {rule:?}");
}

#[test]
fn each_rule_is_missed() {
    is_missed(Rule::LookBeforeSleep, 0);
    is_missed(Rule::LookAtEverySlot, 1);
    is_missed(Rule::WakeAll, 2);
    is_missed(Rule::WakeWaiters, 1);
    is_missed(Rule::Requeue, 1);
    is_missed(Rule::BuryLast, 2);
    is_missed(Rule::TailRepair, 1);
    is_missed(Rule::ReleaseLocks, 1);
    is_missed(Rule::NoteStarted, 1);
}
