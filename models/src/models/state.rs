//! Models of one slot: the transitions of its state word against each other, and the wait for its end.

use super::*;

/// A lane of one slot that holds one pending task.
fn pending() -> (Arc<Pool>, Ticket) {
    let pool = Pool::new(1, 0);
    let ticket = pool.publish(S1, Request::default()).unwrap();
    (pool, ticket)
}

/// The same, claimed by the first worker.
fn running() -> (Arc<Pool>, Ticket, Claim) {
    let (pool, ticket) = pending();
    let claim = pool.claim(W1).unwrap();
    (pool, ticket, claim)
}

/// Who sees a task done sees its whole result, and it is collected once.
#[test]
fn a_finished_task_shows_its_whole_result() {
    model(|| {
        let (pool, ticket, claim) = running();
        let worker = spawn(&pool, move |pool| {
            pool.slots[0].write_inline(0, b"result");
            pool.slots[0].result_len.store(6, Relaxed);
            assert!(pool.complete(W1, claim));
        });
        let collect = move |pool: &Pool| {
            let slot = pool.slot(ticket);
            if !slot.load().is(Phase::Done) {
                return false;
            }
            assert_eq!(slot.result_len.load(Relaxed), 6);
            let mut bytes = [0; 6];
            slot.read_inline(0, &mut bytes);
            assert_eq!(&bytes, b"result");
            slot.free(ticket.generation).is_ok()
        };
        let other = spawn(&pool, collect);
        let mine = collect(&pool);
        worker.join().unwrap();
        let others = other.join().unwrap();
        assert!(!(mine && others), "collected twice");
        assert!(mine || others || collect(&pool));
    });
}

/// Who waits for a task with a futex wait on the low half of its state word is woken by its completion, also when the task was
/// claimed between the flag and the wait.
#[test]
fn a_waiter_is_woken_by_the_completion() {
    model(|| {
        let (pool, ticket) = pending();
        let worker = spawn(&pool, |pool| {
            let claim = pool.claim(W1).expect("a waiter's flag does not hide a task");
            assert!(pool.complete(W1, claim));
        });
        assert!(pool.wait(ticket).is(Phase::Done));
        worker.join().unwrap();
    });
}

/// The same for two that wait for one task.
#[test]
fn two_waiters_are_woken_by_the_completion() {
    crowded_model(|| {
        let (pool, ticket, claim) = running();
        let other = spawn(&pool, move |pool| assert!(pool.wait(ticket).is(Phase::Done)));
        let worker = spawn(&pool, move |pool| assert!(pool.complete(W1, claim)));
        assert!(pool.wait(ticket).is(Phase::Done));
        other.join().unwrap();
        worker.join().unwrap();
    });
}

/// Who waits for a pending task is woken by its cancellation.
#[test]
fn a_waiter_is_woken_by_a_cancel() {
    model(|| {
        let (pool, ticket) = pending();
        let other = spawn(&pool, move |pool| {
            assert!(pool.wake_waiter(0, pool.slot(ticket).cancel(ticket.generation, S2)));
        });
        assert!(pool.wait(ticket).is(Phase::Cancelled));
        other.join().unwrap();
    });
}

/// A flag that is set between a worker's look and its claim does not keep the worker from the task.
#[test]
fn a_flag_does_not_stop_a_claim() {
    model(|| {
        let (pool, ticket) = pending();
        let other = spawn(&pool, move |pool| pool.slot(ticket).flag(ticket.generation, Flag::Waiter).unwrap());
        let claim = pool.claim(W1);
        other.join().unwrap();
        assert!(claim.is_some());
        let end = pool.slots[0].load();
        assert!(end.is_run_by(W1, 0) && end.has(Flag::Waiter));
    });
}

/// Cancel against claim: exactly one of them has the task.
#[test]
fn a_task_is_cancelled_or_claimed() {
    model(|| {
        let (pool, ticket) = pending();
        let other = spawn(&pool, move |pool| pool.slot(ticket).cancel(ticket.generation, S1).is_ok());
        let claimed = pool.claim(W1).is_some();
        let cancelled = other.join().unwrap();
        assert!(claimed != cancelled);
        let end = pool.slots[0].load();
        assert!(if claimed { end.is_run_by(W1, 0) } else { end.is(Phase::Cancelled) });
        assert_eq!(pool.claim(W2), None);
    });
}

/// Asking a running task to stop, against its completion: the request is told to the worker, or it comes too late and says so.
#[test]
fn a_request_to_stop_is_seen_or_too_late() {
    model(|| {
        let (pool, ticket, claim) = running();
        let other = spawn(&pool, move |pool| pool.slot(ticket).flag(ticket.generation, Flag::Cancel));
        assert!(pool.slots[0].cancel(0, S1).is_err(), "a running task is not cancelled");
        let before = pool.slots[0].complete(W1, claim.state.generation()).unwrap();
        match other.join().unwrap() {
            Ok(_) => assert!(before.has(Flag::Cancel)),
            Err(end) => assert!(end.is(Phase::Done) && !before.has(Flag::Cancel)),
        }
        assert!(pool.slots[0].load().is(Phase::Done));
    });
}

/// Condemning a task against its completion: the one or the other decides how it ends, and of a condemned one that is for its worker's reaper.
#[test]
fn a_task_is_condemned_or_completed() {
    model(|| {
        let (pool, ticket, claim) = running();
        let waiter = spawn(&pool, move |pool| pool.wait(ticket));
        let other = spawn(&pool, move |pool| pool.slot(ticket).condemn(pool.slot(ticket).load(), W1, ticket.generation));
        let completed = pool.complete(W1, claim);
        let condemned = other.join().unwrap().is_ok();
        assert!(condemned != completed);
        if condemned {
            let slot = pool.slot(ticket);
            assert!(slot.load().is_condemned_with(W1, ticket.generation), "its worker has left it as it was");
            assert!(!pool.requeue(W1, claim), "it does not run again");
            assert!(pool.wake_waiter(ticket.slot, slot.end_condemned(W1, ticket.generation)));
        }
        let end = waiter.join().unwrap();
        assert!(end.is(if condemned { Phase::Cancelled } else { Phase::Done }));
    });
}

/// Detaching a task against its completion: the slot is freed exactly once, by the one or by the other.
#[test]
fn a_detached_task_is_freed_once() {
    model(|| {
        let (pool, ticket, claim) = running();
        let other = spawn(&pool, move |pool| assert!(pool.complete(W1, claim)));
        let slot = pool.slot(ticket);
        if let Err(finished) = slot.flag(ticket.generation, Flag::Detached) {
            slot.give_back(finished);
        }
        other.join().unwrap();
        assert_eq!(slot.load(), State(0).freed());
    });
}

/// Whoever still holds the name of a task that was collected does nothing to the next task in its slot, whatever has become of that
/// one and though the same worker runs it.
#[test]
fn a_stale_name_touches_no_later_task() {
    model(|| {
        let (pool, old, claim) = running();
        assert!(pool.complete(W1, claim));
        let stale = spawn(&pool, move |pool| {
            let slot = pool.slot(old);
            let freed = slot.free(old.generation).is_ok();
            assert!(slot.flag(old.generation, Flag::Cancel).is_err());
            assert!(slot.cancel(old.generation, S1).is_err());
            assert!(slot.claim(State(0).published(), W2).is_err());
            assert!(slot.complete(W1, old.generation).is_err());
            assert!(slot.cancel_unstarted(W1, old.generation).is_err());
            assert!(slot.condemn(State(0).published().claimed(W1), W1, old.generation).is_err());
            assert!(!freed || slot.free(old.generation).is_err());
            freed
        });
        let freed = pool.slot(old).free(old.generation).is_ok();
        let next = pool.publish(S1, Request::default()).unwrap();
        let claim = pool.claim(W1).unwrap();
        assert!(pool.complete(W1, claim));
        assert!(freed != stale.join().unwrap(), "collected exactly once");
        assert_eq!(next.generation, 1);
        assert_eq!(pool.slot(next).load(), State(0).freed().published().claimed(W1).completed());
    });
}

/// The collector frees a slot with a store, the publisher fills it with another: nobody who holds the name of the collected task, nor a worker
/// that saw it pending, can put a word between the two.
#[test]
fn nobody_comes_between_collecting_and_publishing() {
    model(|| {
        let (pool, old, claim) = running();
        let seen = claim.state;
        let stale = spawn(&pool, move |pool| {
            let slot = pool.slot(old);
            let flagged = slot.flag(old.generation, Flag::Waiter).is_ok();
            assert!(slot.cancel(old.generation, S1).is_err());
            assert!(slot.claim(State(0).published(), W2).is_err());
            flagged
        });
        let before = pool.slot(old).complete(W1, seen.generation()).unwrap();
        pool.slot(old).give_back(pool.slot(old).load());
        let next = pool.publish(S1, Request::default()).unwrap();
        assert_eq!(stale.join().unwrap(), before.has(Flag::Waiter));
        assert_eq!((next.generation, pool.slot(next).load()), (1, State(0).freed().published()));
    });
}

/// A waiter of a task that ended and was collected by another thread does not sleep on through the next task in its slot, though
/// that one has the same phase and a waiter of its own.
#[test]
fn nobody_sleeps_on_through_a_reuse() {
    model(|| {
        let (pool, ticket, claim) = running();
        let other = spawn(&pool, move |pool| {
            pool.complete_and_free(W1, claim);
            let next = pool.publish(S1, Request::default()).unwrap();
            pool.claim(W1).unwrap();
            pool.slot(next).flag(next.generation, Flag::Waiter).unwrap();
        });
        let end = pool.wait(ticket);
        assert!(end.is(Phase::Done) || end.generation() == 1);
        other.join().unwrap();
    });
}

/// The worker of a task that failed puts it back, while somebody cancels it. Either it is cancelled, and nobody runs it again, or it was asked to stop before it
/// was put back, and ends.
#[test]
fn a_task_that_is_cancelled_is_not_put_back() {
    model(|| {
        let (pool, ticket, claim) = running();
        let generation = claim.state.generation();
        let worker = spawn(&pool, move |pool| {
            let slot = &pool.slots[claim.slot];
            let is_back = slot.put_back(W1, generation).is_ok();
            assert!(is_back || slot.complete(W1, generation).is_ok(), "it is ours until one of the two");
            // Another attempt, if it is not cancelled by now.
            let again = is_back.then(|| pool.claim_any(W1)).flatten();
            again.inspect(|&claim| assert!(pool.complete(W1, claim)));
            (is_back, again.is_some())
        });
        let cancelled = pool.slot(ticket).cancel_or_ask(ticket.generation, S1);
        let (is_back, ran_again) = worker.join().unwrap();
        let end = pool.slot(ticket).load();
        match cancelled {
            Ok(_) => assert!(is_back && !ran_again && end.is(Phase::Cancelled)),
            Err(found) if found.is(Phase::Running) => assert!(end.is(Phase::Done) && end.has(Flag::Cancel)),
            Err(found) => assert!(found.is(Phase::Done) && end == found),
        }
    });
}

/// The same for who ends the pool: of a task that it did not cancel the attempt that ran is the last one.
#[test]
fn a_task_that_is_to_end_is_not_put_back() {
    model(|| {
        let (pool, ticket, claim) = running();
        let worker = spawn(&pool, move |pool| {
            let slot = &pool.slots[claim.slot];
            slot.put_back(W1, 0).is_ok() || slot.complete(W1, 0).is_err()
        });
        let cancelled = pool.slot(ticket).cancel_or_let_end(ticket.generation, S1).is_ok();
        assert_eq!(worker.join().unwrap(), cancelled, "it is put back and then cancelled, or it ends");
        assert_eq!(pool.slot(ticket).load().is(Phase::Cancelled), cancelled);
    });
}
