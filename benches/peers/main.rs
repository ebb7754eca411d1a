//! The whole comparison in one run: what the hardware allows, ours, and the pools that others use, each measured in turns with the others,
//! their answers checked. `cargo bench -p taskring-peers`; with `-- --quick` in less than a minute, with `-- N1 N2` only these targets,
//! with `-- --json FILE` also as a file.
//!
//! `speed.rs` has the empty task in all its ways, the other files of measurements what a pool costs and keeps beside that. The lines of the
//! targets are explained in `report.rs`. A peer that is not installed is one line; the targets that need it are not measured then.
#![allow(dead_code, reason = "each of the two benches uses its own part of these files")]

mod child;
#[path = "../common/mod.rs"]
mod common;
mod foreign;
mod futures;
#[cfg_attr(not(feature = "iceoryx2"), path = "no_iceoryx.rs")]
mod iceoryx;
mod kernel;
mod latency;
mod life;
mod ours;
mod ours_c;
mod payload;
mod queues;
mod report;
mod setup;
mod sockets;
mod speed;
mod submitters;
mod threads;
mod work;

use common::affinity;
use common::limit::Partner;
use foreign::Foreign;
use report::Report;
use setup::Setup;
use speed::Ours;
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    payload::register();
    taskring::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--role", role, ref rest @ ..] => play(role, rest),
        _ => measure(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peers: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What a helper process of this bench does.
fn play(role: &str, args: &[&str]) -> io::Result<()> {
    let cpu = |text: &str| text.parse::<usize>().map_err(io::Error::other);
    match (role, args) {
        ("worker", [name]) => ours::play_worker(name),
        ("framed", [second]) => sockets::play_framed(cpu(second)?)?,
        ("ipc-channel", [second, name]) => sockets::play_ipc_channel(cpu(second)?, (*name).to_owned())?,
        ("shaq", [second, to, from]) => queues::play_shaq(cpu(second)?, Path::new(to), Path::new(from))?,
        ("iceoryx2", [second, name]) => iceoryx::play(cpu(second)?, name)?,
        ("count", [tasks]) => kernel::play_count(tasks.parse().map_err(io::Error::other)?)?,
        ("idle", [workers]) => kernel::play_idle(workers.parse().map_err(io::Error::other)?)?,
        ("bare", []) => life::play_bare(),
        ("submitter", [name, millis]) => submitters::play(name, millis)?,
        _ => return Err(io::Error::other(format!("there is no role {role} {args:?}"))),
    }
    Ok(())
}

fn measure() -> io::Result<()> {
    let setup = Setup::from_args("Targets are N1 to N16", setup::is_target).map_err(io::Error::other)?;
    // Before any pool: the forked partner must hold none of its descriptors.
    let partner = Partner::start()?;
    child::watch();
    let machine = affinity::machine();
    println!("peers: {}{}", affinity::describe(), if setup.quick { "; quick: few and short rounds" } else { "" });
    println!("peers: {machine}");
    let mut report = Report::default();
    empty_tasks(&setup, &mut report, &partner);
    if setup.wants("N5") {
        kernel::system_calls(&setup, &mut report)?;
    }
    if setup.wants("N6") {
        kernel::wake_ups(&setup, &mut report)?;
    }
    if setup.wants("N9") {
        futures::cancelling(&setup, &mut report);
    }
    if setup.wants("N10") {
        life::recovery(&setup, &mut report)?;
    }
    if setup.wants("N11") {
        submitters::measure(&setup, &mut report)?;
    }
    if setup.wants("N12") {
        work::measure(&setup, &mut report);
    }
    if setup.wants("N13") {
        life::memory(&mut report)?;
    }
    if setup.wants("N14") {
        futures::collecting(&setup, &mut report);
    }
    report.sum_up();
    if let Some(file) = &setup.json {
        report.write_json(file, setup.quick, &machine)?;
    }
    Ok(())
}

/// Those that need the pools of `Ours`.
fn empty_tasks(setup: &Setup, report: &mut Report, partner: &Partner) {
    let with_peers = setup.wants_any(&["N1", "N2", "N3", "N4", "N16"]);
    if !with_peers && !setup.wants_any(&["N7", "N8", "N15"]) {
        return;
    }
    let foreign = RefCell::new(if with_peers { Foreign::start(report, setup) } else { Foreign::default() });
    let ours = Ours::new(setup);
    if setup.wants("N1") {
        speed::round_trips(setup, report, &ours, partner, &foreign);
    }
    if setup.wants_any(&["N2", "N4", "N16"]) {
        speed::single(setup, report, &ours, &foreign);
    }
    if setup.wants_any(&["N3", "N4", "N16"]) {
        speed::bulk(setup, report, &ours, &foreign);
    }
    if setup.wants("N7") {
        speed::asleep(setup, report, &ours, partner);
    }
    if setup.wants("N8") {
        payload::measure(setup, report, &ours.rust, &ours.c);
    }
    if setup.wants("N15") {
        latency::under_load(setup, report, &ours.rust);
    }
}
