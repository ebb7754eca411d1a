//! Curves, not points: what a pool does as one thing grows, beside the peers that make it mean something, in turns, every answer checked.
//! `cargo bench -p taskring-peers --bench curves`; with `-- --quick` in about a minute, with `-- payload window` only these curves, with
//! `-- --json FILE` also as a file, of which `docs/plots/plot.py` makes the plots.
//!
//! Everything that is measured comes from the files beside `../main.rs`; here are only the steps along each curve. Started without `--bench`
//! it takes two points of each.
#![allow(dead_code, reason = "each of the two benches uses its own part of these files")]

#[path = "../child.rs"]
mod child;
#[path = "../../common/mod.rs"]
mod common;
#[path = "../foreign.rs"]
mod foreign;
#[path = "../futures.rs"]
mod futures;
#[cfg_attr(feature = "iceoryx2", path = "../iceoryx.rs")]
#[cfg_attr(not(feature = "iceoryx2"), path = "../no_iceoryx.rs")]
mod iceoryx;
#[path = "../kernel.rs"]
mod kernel;
#[path = "../latency.rs"]
mod latency;
#[path = "../life.rs"]
mod life;
#[path = "../ours.rs"]
mod ours;
#[path = "../ours_c.rs"]
mod ours_c;
#[path = "../payload.rs"]
mod payload;
#[path = "../queues.rs"]
mod queues;
#[path = "../report.rs"]
mod report;
#[path = "../setup.rs"]
mod setup;
#[path = "../sockets.rs"]
mod sockets;
#[path = "../speed.rs"]
mod speed;
#[path = "../submitters.rs"]
mod submitters;
#[path = "../threads.rs"]
mod threads;
#[path = "../work.rs"]
mod work;

mod crowds;
mod deaths;
mod due;
mod many;
mod plan;
mod quiet;
mod sheet;
mod sizes;
mod steps;

use common::limit::Partner;
use plan::Plan;
use sheet::Sheet;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// A curve measures itself and puts its tables on the sheet.
type Curve = fn(&Plan, &mut Sheet) -> io::Result<()>;

const CURVES: [(&str, Curve); 9] = [
    ("payload", sizes::payload),
    ("window", steps::window),
    ("length", steps::length),
    ("workers", crowds::workers),
    ("submitters", crowds::submitters),
    ("latency", due::latency),
    ("cancel", many::cancel),
    ("recovery", deaths::recovery),
    ("idle", quiet::idle),
];

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
            eprintln!("curves: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What a helper process of this bench does.
fn play(role: &str, args: &[&str]) -> io::Result<()> {
    let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
    match (role, args) {
        ("framed", [second]) => sockets::play_framed(number(second)?)?,
        ("framed-work", [second]) => steps::play_framed_work(number(second)?)?,
        ("shaq", [second, to, from]) => queues::play_shaq(number(second)?, Path::new(to), Path::new(from))?,
        ("idle", [workers]) => kernel::play_idle(number(workers)?)?,
        ("bare", []) => life::play_bare(),
        ("submitter", [name, millis]) => submitters::play(name, millis)?,
        _ => return Err(io::Error::other(format!("there is no role {role} {args:?}"))),
    }
    Ok(())
}

fn measure() -> io::Result<()> {
    let names: Vec<&str> = CURVES.iter().map(|(name, _)| *name).collect();
    // Before any pool: the forked partner must hold none of its descriptors.
    let plan = Plan::new(Partner::start()?, &names).map_err(io::Error::other)?;
    child::watch();
    let mut sheet = Sheet::new(&plan);
    for (name, curve) in CURVES.into_iter().filter(|(name, _)| plan.wants(name)) {
        child::step(name);
        curve(&plan, &mut sheet)?;
    }
    match &plan.setup.json {
        Some(file) => sheet.write_json(file),
        None => Ok(()),
    }
}
