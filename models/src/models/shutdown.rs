//! Models of the end of a pool.

use super::*;

const CLOSING: u32 = 1;

fn is_closing(pool: &Pool) -> bool {
    pool.life.flags.load(Acquire) & CLOSING != 0
}

/// Locks and unlocks the lane: whoever held it before has published.
fn pass_through_the_lane(pool: &Pool, me: Participant) {
    drop(pool.ring().hold(me, pool).expect("nobody stalls in a model"));
}

/// The end of a pool against a worker that goes to sleep: it sees the flag or is woken.
#[test]
fn nobody_sleeps_through_the_end_of_the_pool() {
    model(|| {
        let pool = Pool::new(1, 1);
        let mut worker = Worker::settled(W1, &pool);
        let sleeper = spawn(&pool, move |pool| worker.next_unless(pool, || is_closing(pool)).is_none());
        pool.life.flags.fetch_or(CLOSING, Release);
        pool.new_epoch();
        assert!(sleeper.join().unwrap());
    });
}

/// Closing against a submit and a worker that leaves: what was accepted is run, and what comes later is refused. A submitter that
/// looked at the flag before it was set may publish after the worker has seen it set, so the worker's last look must follow a
/// pass through the lane.
#[test]
fn what_was_accepted_is_run_before_the_end() {
    model(|| {
        let pool = Pool::new(1, 0);
        let worker = spawn(&pool, |pool| {
            let leaves = is_closing(pool);
            if leaves {
                pass_through_the_lane(pool, W1);
            }
            (leaves, pool.drain(W1))
        });
        let submitter = spawn(&pool, |pool| {
            let mut hold = pool.ring().hold(S1, pool).unwrap();
            usize::from(!is_closing(pool) && publish_in(&mut hold, S1, Request::default()).is_some())
        });
        pool.life.flags.fetch_or(CLOSING, Release);
        let accepted = submitter.join().unwrap();
        let (has_left, ran) = worker.join().unwrap();
        // One that stayed comes by later.
        let ran = if has_left { ran } else { ran + pool.drain(W1) };
        assert_eq!(ran, accepted);
    });
}
