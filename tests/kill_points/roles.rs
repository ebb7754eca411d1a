//! The programs around a victim: who keeps the pool, works and submits in it, and who forks the victims and kills them.

use crate::board::{Note, PLACE, Place, note};
use crate::descriptors;
use crate::kept;
use crate::operations::{self, BLOCK, echo};
use crate::oracle;
use crate::process_support::{Role, hear, say};
use crate::scenes::{leaves_a_pool, makes_a_pool};
use crate::trace::{self, At};
use crate::way::Way;
use taskring::{Error, Executor, StartMethod};

pub const ROLES: [Role; 5] =
    [("keeper", keeper), ("worker", worker), ("submitter", submitter), ("other", other), ("tracer", tracer)];

pub const CAPACITY: usize = 8;

/// Owns the pool.
fn keeper(args: &[String]) {
    let workers: usize = args[1].parse().expect("a number");
    let (operation, board) = (&args[2], &args[3]);
    let builder = Executor::builder().capacity(CAPACITY).payload_max(16 << 20);
    let builder = match workers {
        _ if kept::is_meant(operation) => kept::keep(builder, operation, board),
        0 => builder.start(StartMethod::None),
        _ => builder.workers(workers),
    };
    let pool = builder.create_named(&args[0]).expect("a pool");
    say("made");
    while let Some(order) = hear() {
        assert_eq!(order, "count");
        say(&descriptors::own());
    }
    drop(pool);
}

fn worker(args: &[String]) {
    say("works");
    taskring::work(&args[0]).expect("worked to the pool's end");
}

/// Submits what nobody will collect, and waits to be killed.
fn submitter(args: &[String]) {
    let [pool, board] = args else { panic!("{args:?}") };
    PLACE.get_or_init(|| Place { pool: pool.clone(), board: board.clone() });
    let pool = Executor::attach(pool).expect("attached");
    for id in 20..24 {
        let len = if id % 2 == 0 { 1 } else { BLOCK };
        std::mem::forget(pool.submit(echo, (board.clone(), id, vec![id as u8; len])).expect("submitted"));
        note(id, Note::Accepted);
    }
    say("submitted");
    hear();
}

/// Another submitter, with a lane of its own.
fn other(args: &[String]) {
    let [pool, board] = args else { panic!("{args:?}") };
    let pool = Executor::attach(pool).expect("attached");
    say("attached");
    while hear().is_some() {
        let ids = 20..24_u64;
        let submit = |id: u64| pool.submit(echo, (board.clone(), id, vec![id as u8])).expect("submitted");
        let tasks: Vec<_> = ids.clone().map(submit).collect();
        say("submitted");
        hear();
        for (id, task) in ids.zip(tasks) {
            match task.result_timeout(2 * oracle::LIMIT) {
                Ok(bytes) => assert_eq!(bytes, [id as u8]),
                Err(Error::WorkerLost { .. }) => {}
                Err(e) => panic!("task {id}: {e}"),
            }
        }
        say("collected");
    }
}

/// Forks victims, and kills them.
fn tracer(args: &[String]) {
    let [pool, board, operation, context, cpu] = args else { panic!("{args:?}") };
    PLACE.get_or_init(|| Place { pool: pool.clone(), board: board.clone() });
    trace::pin(cpu.parse().expect("a number"));
    trace::adopt_orphans();
    say("ready");
    let (mut calls, mut way) = (Vec::new(), Way::default());
    while let Some(order) = hear() {
        if order == "survey" {
            let own = operations::second_pool();
            let changed = match operation.as_str() {
                other if leaves_a_pool(other) => Some(own.as_str()),
                other if makes_a_pool(other) => None,
                _ => Some(pool.as_str()),
            };
            let found = trace::survey(operation, context, changed);
            let list = |all: &[u64]| all.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
            say(&found.steps.to_string());
            say(&list(&found.changes));
            say(&list(&found.calls));
            say(&list(&found.states));
            say(&found.steps_from_a_call.to_string());
            calls = found.calls.into_iter().zip(found.numbers).collect();
            way = found.way;
            continue;
        }
        let (how, n) = order.split_once(' ').expect("how and where");
        let n = n.parse().expect("a number of instructions");
        let at = if how == "inside" { At::Inside(n) } else { At::Step(n) };
        let victim = trace::bring_to(operation, context, at, &calls, &way);
        let place = victim.place();
        let answer = format!("{} {} {} {}", place.steps, u64::from(place.over), place.instruction, place.pid);
        match how {
            "kill" | "inside" => drop(victim),
            "memory" => victim.kill_and_take_memory(),
            _ => {
                match how {
                    "stop" => victim.stop(),
                    "exec" => victim.divert(trace::become_another),
                    _ => victim.divert(trace::end_thread),
                }
                say(&answer);
                while hear().as_deref() == Some("go on") {
                    victim.go_on();
                }
                drop(victim);
                say("killed");
                continue;
            }
        }
        say(&answer);
    }
}
