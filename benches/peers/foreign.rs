//! Peers in other languages: C++ programs that are compiled here when the bench starts, and one Python script.
//!
//! Each is a helper process. At its start it says what it can measure (`can PART NAME COUNT`) and what not (`cannot NAME: why`), then `ready`.
//! An order is `NAME<tab>COUNT`; the answer is the name, a tab and nanoseconds for each task, or `failed` and why. It has checked the
//! answers of the tasks by then.

use crate::child::Helper;
use crate::report::Report;
use crate::setup::{Setup, Turns};
use std::cell::RefCell;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sources beside this file.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cpp");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers.py");
/// Where the programs are compiled to.
const PROGRAMS: &str = env!("CARGO_TARGET_TMPDIR");

/// What is compiled: the peer's name, its source, and what the compiler needs beside it.
const COMPILED: [(&str, &str, &[&str]); 3] = [
    ("Boost.Interprocess", "boost_queue.cpp", &["-lrt"]),
    ("oneTBB", "tbb_group.cpp", &["-ltbb"]),
    ("std::async", "std_async.cpp", &[]),
];

/// Something that one of the helpers can measure.
struct Offer {
    helper: usize,
    part: String,
    name: String,
    /// Tasks in a round of a whole run; a quick one has a quarter.
    count: u64,
}

/// The helpers that are here.
#[derive(Default)]
pub struct Foreign {
    helpers: Vec<Helper>,
    offers: Vec<Offer>,
}

impl Foreign {
    /// Compiles and starts what can be had. What cannot is one line of the report.
    pub fn start(report: &mut Report, setup: &Setup) -> Foreign {
        let mut foreign = Foreign::default();
        for (peer, source, libraries) in COMPILED {
            match compile(source, libraries) {
                Ok(program) => {
                    let mut command = Command::new(program);
                    command.args([setup.first.to_string(), setup.second.to_string()]);
                    foreign.add(report, peer, command);
                }
                Err(why) => report.absent(peer, &why.to_string()),
            }
        }
        foreign.add(report, "Python's pools", python(SCRIPT));
        foreign
    }

    /// One helper alone.
    pub fn only(report: &mut Report, peer: &str, command: Command) -> Foreign {
        let mut foreign = Foreign::default();
        foreign.add(report, peer, command);
        foreign
    }

    fn add(&mut self, report: &mut Report, peer: &str, mut command: Command) {
        // A group of its own, with whatever it starts.
        command.process_group(0);
        let started = Helper::start(peer, command).and_then(|helper| self.listen(report, helper));
        if let Err(why) = started {
            report.absent(peer, &why.to_string());
        }
    }

    /// What a new helper offers; each is tried once with a few tasks, so that none fails later in the middle of the others.
    fn listen(&mut self, report: &mut Report, mut helper: Helper) -> io::Result<()> {
        let mut offered = Vec::new();
        loop {
            let line = helper.answer()?;
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["can", part, name, count] => {
                    let count = count.parse().map_err(io::Error::other)?;
                    let helper = self.helpers.len();
                    offered.push(Offer { helper, part: part.to_owned(), name: name.to_owned(), count });
                }
                ["cannot", name, why] => report.absent(name, why),
                ["ready"] => break,
                _ => return Err(io::Error::other(format!("it says {line:?}"))),
            }
        }
        for offer in offered {
            match measure(&mut helper, &offer.name, offer.count.min(100)) {
                Ok(_) => self.offers.push(offer),
                Err(why) => report.absent(&offer.name, &why.to_string()),
            }
        }
        signal(&helper, libc::SIGSTOP);
        self.helpers.push(helper);
        Ok(())
    }

    /// Everything that belongs to a part of the bench takes turns with the rest of it.
    pub fn add_all<'a>(foreign: &'a RefCell<Foreign>, turns: &mut Turns<'a>, setup: &Setup, part: &str) {
        for (index, offer) in foreign.borrow().offers.iter().enumerate().filter(|(_, offer)| offer.part == part) {
            let count = setup.pick(offer.count, (offer.count / 4).max(1));
            turns.round(&offer.name, move || {
                let mut foreign = foreign.borrow_mut();
                let Foreign { helpers, offers } = &mut *foreign;
                let Offer { helper, name, .. } = &offers[index];
                let helper = &mut helpers[*helper];
                signal(helper, libc::SIGCONT);
                let found = measure(helper, name, count);
                signal(helper, libc::SIGSTOP);
                found.unwrap_or_else(|why| panic!("{name} failed after it had worked: {why}"))
            });
        }
    }
}

impl Drop for Foreign {
    /// They end at the end of their input, which one that stands still does not see.
    fn drop(&mut self) {
        self.helpers.iter().for_each(|helper| signal(helper, libc::SIGCONT));
    }
}

/// Lets a helper and what it has started go on or stand still: some pools poll while they have nothing to do, and would take the CPUs from the others in
/// their rounds.
fn signal(helper: &Helper, signal: i32) {
    // SAFETY: two integers; the group is that of a child that was not waited for.
    let sent = unsafe { libc::kill(-helper.pid().cast_signed(), signal) };
    assert_eq!(sent, 0, "a living helper");
}

/// A script for `$TASKRING_PYTHON` or `python3`.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(std::env::var("TASKRING_PYTHON").unwrap_or_else(|_| "python3".to_owned()));
    command.arg(script);
    command
}

fn measure(helper: &mut Helper, name: &str, count: u64) -> io::Result<f64> {
    helper.order(&format!("{name}\t{count}"))?;
    let line = helper.answer()?;
    match line.split_once('\t') {
        Some((said, ns)) if said == name => ns.parse().map_err(io::Error::other),
        Some(("failed", why)) => Err(io::Error::other(why.to_owned())),
        _ => Err(io::Error::other(format!("it says {line:?}"))),
    }
}

/// The compiled program of a source file; compiled anew when the source is younger.
fn compile(source: &str, libraries: &[&str]) -> io::Result<PathBuf> {
    let program = Path::new(PROGRAMS).join(source.trim_end_matches(".cpp"));
    let source = Path::new(SOURCES).join(source);
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified());
    let newest = changed(&source)?.max(changed(&Path::new(SOURCES).join("peer.hpp"))?);
    if changed(&program).is_ok_and(|compiled| compiled >= newest) {
        return Ok(program);
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut command = Command::new(&compiler);
    command.args(["-O2", "-std=c++17", "-pthread", "-o"]).arg(&program).arg(&source).args(libraries);
    crate::child::step("the C++ compiler");
    let done = command.output().map_err(|e| io::Error::new(e.kind(), format!("{compiler}: {e}")))?;
    if done.status.success() {
        return Ok(program);
    }
    let text = String::from_utf8_lossy(&done.stderr);
    let reason =
        text.lines().find(|line| line.contains("error") || line.contains("cannot find")).unwrap_or("it does not compile");
    // Without the place in the source, which is ours and says nothing of what is missing.
    let reason = reason.rsplit_once("error: ").map_or(reason, |(_, what)| what);
    Err(io::Error::other(reason.trim().to_owned()))
}
