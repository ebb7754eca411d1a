//! The victims' operations on whole pools: coming and going, making and ending them, and looking after their workers.

use crate::KILL_LIMIT;
use crate::board::{GATE, Note, READY, cells, note};
use crate::operations::{BLOCK, attach, finished, running, second_pool, submit, workers_sleep};
use crate::process_support::common::{SOON, wait_until};
use crate::process_support::{kill, wait_within};
use crate::trace::{begin_window, end_window};
use std::sync::atomic::Ordering::SeqCst;
use taskring::{Executor, StartMethod, inspect};

/// What a row does.
pub fn perform(operation: &str, context: &str) {
    match operation {
        "attach" => {
            begin_window();
            std::mem::forget(attach());
        }
        "detach" => {
            let pool = attach();
            let future = (context != "quiet").then(|| finished(submit(&pool, 1, BLOCK)));
            begin_window();
            drop(pool);
            drop(future);
        }
        "shutdown" => {
            let pool = attach();
            let held = running(&pool, 0);
            let pending = submit(&pool, 1, 1);
            let cancels = context == "cancels";
            if cancels {
                note(1, Note::Cancelling);
            }
            begin_window();
            cells()[GATE].store(1, SeqCst);
            pool.shutdown(true, cancels).expect("shut down");
            std::mem::forget((held, pending));
            end_window();
        }
        "create" => {
            let builder = Executor::builder().capacity(8).payload_max(1 << 20);
            let builder = if context == "with a worker" { builder.workers(1) } else { builder.start(StartMethod::None) };
            begin_window();
            let pool = if context == "named" { builder.create_named(&second_pool()) } else { builder.build() };
            std::mem::forget(pool.expect("a pool"));
        }
        "owner's shutdown" => {
            let pool = Executor::builder().capacity(8).payload_max(1 << 20).workers(1).build().expect("a pool");
            let held = running(&pool, 0);
            let pending = submit(&pool, 1, 1);
            // Its workers go when it is dead, and with them what is pending.
            (0..2).for_each(|id| note(id, Note::Cancelling));
            begin_window();
            cells()[GATE].store(1, SeqCst);
            pool.shutdown(true, context == "cancels").expect("shut down");
            std::mem::forget((held, pending));
        }
        "terminate" => {
            let pool = Executor::builder().capacity(8).payload_max(1 << 20).workers(1).build().expect("a pool");
            let held = running(&pool, 0);
            let pending = submit(&pool, 1, 1);
            (0..2).for_each(|id| note(id, Note::Cancelling));
            begin_window();
            let ended = if context == "by SIGTERM" { pool.terminate_workers() } else { pool.kill_workers() };
            ended.expect("ended");
            pool.shutdown(true, false).expect("shut down");
            std::mem::forget((held, pending));
        }
        "resize" | "pause" => steer(operation, context),
        "replace" => replace(context),
        _ => panic!("no operation {operation:?}"),
    }
}

/// The owner of a pool with a name, whose workers and their next submitter outlive it.
fn steer(operation: &str, context: &str) -> ! {
    let workers = if context == "to fewer" { 2 } else { 1 };
    let pool = Executor::builder().capacity(8).payload_max(1 << 20).workers(workers).create_named(&second_pool());
    let pool = pool.expect("a pool");
    let are_ready = || inspect(&second_pool()).is_ok_and(|view| view.participants.len() == workers + 1);
    wait_until(SOON, || are_ready() && workers_sleep(&second_pool()));
    if context == "ended" {
        pool.pause().expect("paused");
    }
    begin_window();
    match (operation, context) {
        ("resize", _) => pool.resize(3 - workers).expect("another number"),
        (_, "begun") => pool.pause().expect("paused"),
        _ => pool.resume().expect("resumed"),
    }
    std::mem::forget(pool);
    end_window()
}

/// The worker of a pool of the victim's own is killed; the window is that of the pool's supervisor, a thread.
fn replace(context: &str) -> ! {
    let pool = Executor::builder().capacity(8).payload_max(1 << 20).workers(1).build().expect("a pool");
    note(0, Note::Cancelling);
    let held = (context == "running worker").then(|| running(&pool, 0));
    wait_until(SOON, || pool.workers() == 1);
    let before = pool.worker_pids();
    cells()[READY].store(1, SeqCst);
    wait_until(SOON, || cells()[READY].load(SeqCst) == 0);
    before.iter().for_each(|&pid| kill(pid));
    cells()[READY].store(1, SeqCst);
    // The supervisor is stepped all the way.
    let replaced = || pool.worker_pids() != before && pool.worker_pids().len() == 1 && pool.workers() == 1;
    wait_within(8 * KILL_LIMIT, "another worker", replaced);
    std::mem::forget(held);
    end_window()
}
