//! Models of the mutex between processes: exclusion, no lost wake, and the takeover from a dead owner.

use super::*;

/// Adds one, in a way that shows when two do it at a time or the later one does not see the earlier one's write.
fn add_one(pool: &Pool, me: Participant) -> bool {
    let guard = ShmMutex(&pool.head.mutex).lock(me, pool).unwrap();
    let count = pool.head.tail.load(Relaxed);
    pool.head.tail.store(count + 1, Relaxed);
    guard.taken_over
}

/// Three contend: each holds it alone, sees what the last owner wrote, and nobody is left asleep.
#[test]
fn owners_exclude_each_other() {
    model(|| {
        let pool = Pool::new(1, 0);
        let others = [S2, W1].map(|me| spawn(&pool, move |pool| assert!(!add_one(pool, me))));
        assert!(!add_one(&pool, S1));
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(pool.head.tail.load(Relaxed), 3);
        assert_eq!(ShmMutex(&pool.head.mutex).owner(), None);
    });
}

/// Two lock it twice each: a waiter that was woken and overtaken still gets its turn.
#[test]
fn an_overtaken_waiter_gets_its_turn() {
    model(|| {
        let pool = Pool::new(1, 0);
        let other = spawn(&pool, |pool| {
            add_one(pool, S2);
            add_one(pool, S2);
        });
        add_one(&pool, S1);
        add_one(&pool, S1);
        other.join().unwrap();
        assert_eq!(pool.head.tail.load(Relaxed), 4);
    });
}

/// Locks it, writes, and ends without unlocking.
fn die_holding(pool: &Pool, me: Participant) {
    let guard = ShmMutex(&pool.head.mutex).lock(me, pool).unwrap();
    pool.head.tail.store(pool.head.tail.load(Relaxed) + 1, Relaxed);
    std::mem::forget(guard);
    pool.die(me);
}

/// For a reaper: whether the mutex was the dead participant's, and is unlocked now.
fn take_from_the_dead(pool: &Pool, dead: Participant) -> bool {
    let _byte = pool.reaper_byte.lock().unwrap();
    let guard = ShmMutex(&pool.head.mutex).take_from(dead, REAPER);
    guard.is_some_and(|guard| guard.taken_over)
}

/// A waiter whose time slice ends looks for proof of the owner's death. One of waiter and reaper takes over, not both; that one
/// learns that what the mutex guards may be half done, and both see what the dead owner wrote.
#[test]
fn a_waiter_takes_over_from_a_dead_owner() {
    model(|| {
        let pool = Pool::new(1, 0);
        let waiter = spawn(&pool, |pool| add_one(pool, S1));
        die_holding(&pool, S2);
        time_slice_ends(&pool.head.mutex);
        let taken = take_from_the_dead(&pool, S2);
        assert!(taken != waiter.join().unwrap());
        assert_eq!(pool.head.tail.load(Relaxed), 2);
        assert_eq!(ShmMutex(&pool.head.mutex).owner(), None);
    });
}

/// Two waiters and a reaper behind a dead owner: one of the three takes over, and the waiters follow as after any owner.
#[test]
fn one_of_two_waiters_takes_over() {
    crowded_model(|| {
        let pool = Pool::new(1, 0);
        die_holding(&pool, S2);
        let waiters = [S1, W1].map(|me| spawn(&pool, move |pool| add_one(pool, me)));
        time_slice_ends(&pool.head.mutex);
        let taken = take_from_the_dead(&pool, S2);
        let taken_over = waiters.map(|waiter| waiter.join().unwrap());
        assert_eq!([taken, taken_over[0], taken_over[1]].iter().filter(|&&taken| taken).count(), 1);
        assert_eq!(pool.head.tail.load(Relaxed), 3);
        assert_eq!(ShmMutex(&pool.head.mutex).owner(), None);
    });
}

/// A reaper leaves a mutex alone that its dead participant does not hold.
#[test]
fn a_reaper_robs_nobody_who_lives() {
    model(|| {
        let pool = Pool::new(1, 0);
        pool.die(S2);
        let owner = spawn(&pool, |pool| assert!(!add_one(pool, S1)));
        assert!(!pool.take_lane_from(S2));
        owner.join().unwrap();
        assert_eq!(ShmMutex(&pool.head.mutex).owner(), None);
    });
}
