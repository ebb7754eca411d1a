//! Models of workers that wait for each other: in a circle one is told, and nobody who is in none.

use super::*;
use crate::circle::{may_wait, say};
use crate::sync::doomed;

/// Changes that a worker makes to say what it waits for, and some more.
const CHANGES: u32 = 6;

/// The worker of seat `seat` is about to wait for task `seat`, which needs the worker that stands there. Whether it is told that this would never end.
fn is_told(pool: &Pool, seat: usize, needs: &'static [usize]) -> bool {
    let me = Participant::new(seat, 1);
    let needs = |task: u64| vec![needs[task as usize]];
    let is_dead = |other: usize| pool.if_dead(Participant::new(other, 1), || ()).is_some();
    let turn = || ShmMutex(&pool.head.mutex).lock(me, pool).ok();
    !may_wait(&pool.records, seat, [&[], &[seat as u64]], needs, is_dead, turn)
}

/// Two wait for each other, however they meet: one of them is told.
#[test]
fn of_two_one_is_told() {
    model(|| {
        let pool = Pool::new(1, 2);
        let other = spawn(&pool, |pool| is_told(pool, 1, &[1, 0]));
        let one = is_told(&pool, 0, &[1, 0]);
        assert!(one != other.join().unwrap());
    });
}

/// The same with three.
#[test]
fn of_three_one_is_told() {
    crowded_model(|| {
        let pool = Pool::new(1, 2);
        let others = [1, 2].map(|seat| spawn(&pool, move |pool| is_told(pool, seat, &[1, 2, 0])));
        let told = u32::from(is_told(&pool, 0, &[1, 2, 0]));
        assert_eq!(others.into_iter().map(|other| u32::from(other.join().unwrap())).sum::<u32>() + told, 1);
    });
}

/// One that waits for two that wait for each other is in no circle: of those two one is told.
#[test]
fn who_waits_for_a_circle_is_not_told() {
    crowded_model(|| {
        let pool = Pool::new(1, 2);
        let two = [1, 2].map(|seat| spawn(&pool, move |pool| is_told(pool, seat, &[1, 2, 1])));
        assert!(!is_told(&pool, 0, &[1, 2, 1]));
        assert!(two.map(|one| one.join().unwrap()).into_iter().filter(|&told| told).count() == 1);
    });
}

/// One says again and again what it waits for, and goes on: what another one reads of it is never half one and half the other, so that one is not told.
#[test]
fn who_goes_on_is_in_no_circle() {
    model(|| {
        let pool = Pool::new(1, 2);
        let other = spawn(&pool, |pool| {
            // Each time one of its tasks goes on: task 3.
            say(&pool.records[1], &[1, 3]);
            say(&pool.records[1], &[3, 1]);
            say(&pool.records[1], &[]);
        });
        let needs = |task: u64| if task == 3 { Vec::new() } else { vec![1 - task as usize] };
        let turn = || ShmMutex(&pool.head.mutex).lock(Participant::new(0, 1), &*pool).ok();
        assert!(may_wait(&pool.records, 0, [&[], &[0]], needs, |_| false, turn));
        other.join().unwrap();
    });
}

/// One of two dies at any point of it. Who lives is told only of one that lived when it looked, and hangs behind none that is dead: whoever is not told waits for
/// a task that the reaper moves.
#[test]
fn who_waits_for_the_dead_is_not_told() {
    for dies_in in 0..CHANGES {
        model(move || {
            let pool = Pool::new(1, 2);
            let other = spawn(&pool, move |pool| {
                let told = doomed(dies_in, u32::MAX, || is_told(pool, 1, &[1, 0]));
                if told.is_none() {
                    let dead = Participant::new(1, 1);
                    pool.die(dead);
                    // Its reaper gives the mutex back.
                    let _byte = pool.reaper_byte.lock().unwrap();
                    drop(ShmMutex(&pool.head.mutex).take_from(dead, REAPER));
                }
                told
            });
            let one = is_told(&pool, 0, &[1, 0]);
            match other.join().unwrap() {
                Some(told) => assert!(told != one),
                // It may have died after it was looked at, or while it held the mutex.
                None => assert!(!is_told(&pool, 0, &[1, 0])),
            }
        });
    }
}
