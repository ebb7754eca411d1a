//! Pools of a submitter's own: without a name, with options drawn as those of the others are, and ended in every way.

use crate::deeds::{Deed, act, complete, plain_order};
use crate::features::{Feature, complain, drawn};
use crate::journal::{Event, note};
use crate::nemesis::{pidfd, send};
use crate::options::{Plan, code};
use crate::submit::{Open, Submitter, Visit};
use crate::verdicts::{OWN, Patience, Waited, verdict, wrong};
use crate::{ROLE, several, styles};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, OnWorkerDeath, Retry, SubmitOptions};

/// A prime, for their turns.
pub const SORTS: u64 = 13;

/// One of them.
pub fn some(by: &mut Submitter<'_>, sort: u64) {
    match sort {
        0 | 1 => visited(by),
        2 | 3 => styles::multi(by, sort == 2),
        4 => styles::closures(by),
        5 => styles::contexts(by),
        6 => styles::promises(by),
        7 => broken(by),
        8 | 9 => left_behind(by, sort == 8),
        _ => ended(by, sort),
    }
}

/// The name that a pool would have: it says what the pool is told.
pub fn name(by: &mut Submitter<'_>, may_be_threads: bool) -> String {
    // Not by a fork of this process, which has threads.
    let method = [0, 1, 3, 4][by.random.below(if may_be_threads { 4 } else { 2 }) as usize];
    format!("{OWN}{}-{}", std::process::id(), code(&mut by.random, method))
}

/// Kills one of the pool's own workers, as the nemesis kills those of others.
pub fn kill_one(pool: &Executor, by: &mut Submitter<'_>) {
    let pids = pool.worker_pids();
    let Some(&pid) = pids.get(by.random.below(pids.len().max(1) as u64) as usize) else { return };
    if pid != std::process::id()
        && let Some(process) = pidfd(pid)
    {
        send(&process, libc::SIGKILL);
    }
}

/// A visit as to the other pools.
fn visited(by: &mut Submitter<'_>) {
    let name = name(by, true);
    let plan = Plan::of(&name);
    // The nemesis may have left no descriptor or no room.
    let Ok(pool) = plan.builder().build() else { return };
    plan.note_drawn();
    let rounds = by.random.below(400);
    let mut visit = Visit::new(by, &pool, &name);
    several::nested(&mut visit);
    for _ in 0..rounds {
        visit.turn();
        if visit.by.random.below(128) == 0 && !plan.has_threads() {
            kill_one(&pool, visit.by);
        }
        if visit.is_over {
            break;
        }
    }
    visit.end();
    if let Err(e) = pool.shutdown(true, by.random.below(2) == 0) {
        complain(&format!("the shutdown of an own pool: {e}"));
    }
}

/// Submits some short and some longer tasks.
fn fill(by: &mut Submitter<'_>, pool: &Executor, name: &str, count: u64) -> Vec<Open> {
    let plan = Plan::of(name);
    let mut all = Vec::new();
    for _ in 0..count {
        let task = by.numbers(1);
        let order = match by.random.below(30) {
            // One that only the end of its worker ends in time.
            0 => complete(task, Deed::Poll, name, &plan),
            1..10 => complete(task, Deed::Nap(by.random.below(5000) as u16), name, &plan),
            _ => plain_order(&mut by.random, task, name, &plan),
        };
        let deed = order.1;
        let (options, may_repeat) = match deed {
            Deed::Poll => (plan.once(false), false),
            _ => plan.repeating(&mut by.random, false),
        };
        if may_repeat {
            note(task, Event::Repeatable);
        }
        note(task, Event::Intended);
        match pool.submit_with(&options, act, order) {
            Ok(future) => {
                note(task, Event::Accepted);
                all.push(Open { task, deed, asked: false, future });
            }
            Err(_) => note(task, Event::Refused),
        }
    }
    all
}

/// Its workers are ended while they work, by a signal or at a time limit.
fn ended(by: &mut Submitter<'_>, way: u64) {
    let name = name(by, false);
    let plan = Plan::of(&name);
    let Ok(pool) = plan.builder().build() else { return };
    plan.note_drawn();
    let all = {
        let count = by.random.below(60);
        fill(by, &pool, &name, count)
    };
    std::thread::sleep(Duration::from_micros(by.random.below(3000)));
    let (feature, ending) = match way % 3 {
        0 => (Feature::TerminateWorkers, pool.terminate_workers()),
        1 => (Feature::KillWorkers, pool.kill_workers()),
        _ => {
            let limit = Duration::from_micros(by.random.below(20_000));
            (Feature::ShutdownWithin, pool.shutdown_within(limit).map(drop))
        }
    };
    drawn(feature);
    match ending {
        // The killed may take their time on a busy machine. Whether they are killed, the tasks tell.
        Ok(()) | Err(Error::TimedOut { .. }) => {}
        Err(e) => complain(&format!("the end of an own pool, by {feature:?}: {e}")),
    }
    let refused = pool.submit(act, complete(0, Deed::Square, &name, &plan)).err();
    if !matches!(refused, Some(Error::ShutDown | Error::Broken { .. })) {
        complain(&format!("after its end a pool says {refused:?}"));
    }
    let patience = Patience::with(Waited::In(&name));
    for open in all {
        let event = match verdict(open.task, open.deed, Waited::In(&name), patience.result(&open.future)) {
            Event::Value if open.deed == Deed::Poll => wrong(open.task, "it has outlived its pool's end"),
            event => event,
        };
        note(open.task, event);
    }
    if let Err(e) = pool.shutdown(true, false) {
        complain(&format!("the second shutdown of an own pool: {e}"));
    }
}

/// A worker's death breaks it: what was pending never runs.
fn broken(by: &mut Submitter<'_>) {
    let name = format!("{OWN}{}-0", std::process::id());
    let plan = Plan::of(&name);
    let Ok(pool) = Executor::builder().workers(2).capacity(256).on_worker_death(OnWorkerDeath::BreakPool).build() else {
        return;
    };
    let (mut open, place, count) = (Vec::new(), by.random.below(20), 20 + by.random.below(20));
    for n in 0..count {
        let deed = if n == place { Deed::Exit } else { Deed::Nap(by.random.below(500) as u16) };
        let task = by.numbers(1);
        note(task, Event::Intended);
        match pool.submit(act, complete(task, deed, &name, &plan)) {
            Ok(future) => {
                note(task, Event::Accepted);
                open.push((task, deed, future));
            }
            Err(_) => note(task, Event::Refused),
        }
    }
    let (mut broken, patience) = (0, Patience::with(Waited::In(&name)));
    for (task, deed, future) in open {
        let event = match patience.result(&future) {
            Err(Error::Broken { .. }) => {
                broken += 1;
                Event::Cancelled
            }
            ended => verdict(task, deed, Waited::In(&name), ended),
        };
        note(task, event);
    }
    drawn(Feature::BreakPool);
    // The one that ended its worker was there, or found the pool broken before.
    let begun = Instant::now();
    while !matches!(pool.submit(act, complete(0, Deed::Square, &name, &plan)), Err(Error::Broken { .. })) {
        if begun.elapsed() > Duration::from_secs(20) {
            return complain(&format!("a worker has died, and the pool is not broken ({broken} tasks found it so)"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How long a process may take that leaves a pool behind.
const LEAVE: Duration = Duration::from_secs(30);
const LEFT: u64 = 12;

/// Another process owns it, and ends while tasks are under way, of which nobody hears more.
fn left_behind(by: &mut Submitter<'_>, detach: bool) {
    let first = by.numbers(LEFT);
    (first..first + LEFT).for_each(|task| note(task, Event::Intended));
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, format!("leave {first} {} {}", by.random.below(1 << 60), u8::from(detach))).stdin(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        drawn(if detach { Feature::DetachOnExit } else { Feature::ExitWaitMax });
        if !ends(&mut child) {
            complain("a process that leaves a pool behind does not end");
        }
    }
    (first..first + LEFT).for_each(|task| note(task, Event::Released));
}

fn ends(child: &mut Child) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < LEAVE {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// What that process does.
pub fn leave(by: &mut Submitter<'_>, first: u64, detach: bool) {
    let name = name(by, false);
    let plan = Plan::of(&name);
    let mut builder = plan.builder();
    builder = match detach {
        true => builder.detach_on_exit(true),
        false => builder.exit_wait_max(Duration::from_millis(by.random.below(20))),
    };
    let Ok(pool) = builder.build() else { return };
    let once = SubmitOptions::new().idempotent(false).retry(Retry::never());
    for task in first..first + LEFT {
        let order = complete(task, Deed::Nap(by.random.below(20_000) as u16), &name, &plan);
        if pool.submit_with(&once, act, order).map(taskring::Future::detach).is_ok() {
            note(task, Event::Accepted);
        }
    }
    // As a program that never drops it, and calls `exit`.
    std::mem::forget(pool);
    std::process::exit(0);
}
