//! Circles of workers, each of which waits in a task for one that only the next of them can end.
//!
//! A task for one worker (`target.rs`) lies until that one is free, whatever process it is in; so workers of several processes can wait for each other,
//! though futures belong to one. Each worker therefore says in its record what it waits for:
//!
//! ```text
//! record.waits    31         8 7         0
//!                   times:24     tasks:8      in `record.awaited`; with 0 it waits for nothing, or for more than there is room for
//! ```
//! Only the worker writes these words, and others look whether they stayed the same meanwhile. First it says what it waits for, then it looks, with a fence in
//! between: of those in a circle the last one to say so sees all of it. When several see it, they look again one after the other, under a mutex, and who is told
//! takes its word back before it gives the mutex back: so one is told, and no other one.
//!
//! A death leaves words that mean nothing: a dead worker is held to go on, for its reaper moves its tasks, and whoever has the seat next waits for nothing.

use crate::layout::Record;
use crate::limits::AWAITED_MAX;
use crate::seeded::{Bug, seeded};
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::fence;

/// Bits that say how many tasks there are.
const COUNT_BITS: u32 = 8;

/// For the worker whose record it is: it waits from here on until one of these tasks is over; none when it does not wait.
pub(crate) fn say(record: &Record, tasks: &[u64]) {
    let tasks = if tasks.len() > AWAITED_MAX { &[] } else { tasks };
    let times = record.waits.load(Relaxed) >> COUNT_BITS;
    record.waits.store(times.wrapping_add(1) << COUNT_BITS, Relaxed);
    // Pairs with the fence in `said`: who sees a task of those below sees the word above as well.
    fence(Release);
    record.awaited.iter().zip(tasks).for_each(|(word, &task)| word.store(task, Relaxed));
    // Release: pairs with the Acquire in `said`: the tasks are there.
    record.waits.store(times.wrapping_add(2) << COUNT_BITS | tasks.len() as u32, Release);
}

/// What the worker of a record waits for, and the word that says so. `None` when it does not wait, or is just about to say something else.
fn said(record: &Record) -> Option<(u32, Vec<u64>)> {
    // Acquire: pairs with the Release in `say`.
    let word = record.waits.load(Acquire);
    let count = (word % (1 << COUNT_BITS)) as usize;
    // More than there is room for stands there by damage.
    let awaited = record.awaited.get(..count).filter(|awaited| !awaited.is_empty())?;
    let tasks = awaited.iter().map(|task| task.load(Relaxed)).collect();
    // Pairs with the fence in `say`.
    fence(Acquire);
    (record.waits.load(Relaxed) == word).then_some((word, tasks))
}

/// A worker that waits.
struct Waiter {
    seat: usize,
    word: u32,
    /// For each of the tasks the seats of those of whom one has to go on first. Without any the task goes on by itself.
    needs: Vec<Vec<usize>>,
}

/// The seats of the workers that wait for each other, with this one, for ever. `needs` tells of a task the seats of those of whom one has to go on before it is
/// over; none when it goes on by itself.
fn circle_of(records: &[Record], seat: usize, needs: &impl Fn(u64) -> Vec<usize>) -> Option<Vec<usize>> {
    let mut seats = vec![seat];
    let mut waiters: Vec<Waiter> = Vec::new();
    let mut next = 0;
    // Those that it depends on, by way of others too.
    while let Some(&seat) = seats.get(next) {
        next += 1;
        let Some((word, tasks)) = records.get(seat).and_then(said) else { continue };
        let needs: Vec<_> = tasks.into_iter().map(needs).collect();
        if needs.iter().all(|needs| !needs.is_empty()) {
            needs.iter().flatten().for_each(|&seat| {
                if !seats.contains(&seat) {
                    seats.push(seat);
                }
            });
            waiters.push(Waiter { seat, word, needs });
        }
    }
    // At first all of these are held to be stuck. Who needs one that is not is not either, nor who needs that one, and so on.
    loop {
        let is_stuck = |seat: &usize| waiters.iter().any(|waiter| waiter.seat == *seat);
        let goes_on = |waiter: &Waiter| waiter.needs.iter().any(|needs| !needs.iter().all(is_stuck));
        let Some(free) = waiters.iter().position(goes_on) else { break };
        waiters.remove(free);
    }
    // Each has waited while its tasks were looked at, so that none of them could change but from outside. Pairs with the fence in `say`.
    fence(Acquire);
    let waits_still = |waiter: &Waiter| records[waiter.seat].waits.load(Relaxed) == waiter.word;
    // All of them are what this one waits for: who waits for a circle and is in none goes on once one of those in it is told.
    let is_needed = waiters.iter().flat_map(|waiter| waiter.needs.iter().flatten()).any(|&needed| needed == seat);
    let is_stuck = waiters.iter().any(|waiter| waiter.seat == seat) && waiters.iter().all(waits_still);
    (is_needed && is_stuck).then(|| waiters.iter().map(|waiter| waiter.seat).collect())
}

/// For the worker of this seat, which is about to wait until one of `tasks` is over: says so. False when that could never be; then it says again what it has said
/// `before`. `turn` locks the mutex under which one after the other is told; without it nobody is told.
pub(crate) fn may_wait<G>(
    records: &[Record],
    seat: usize,
    [before, tasks]: [&[u64]; 2],
    needs: impl Fn(u64) -> Vec<usize>,
    is_dead: impl Fn(usize) -> bool,
    turn: impl FnOnce() -> Option<G>,
) -> bool {
    say(&records[seat], tasks);
    if !seeded(Bug::NoFenceInCircle) {
        // Pairs with the same fence of the others: of two that say something and then look, one sees what the other one has said.
        fence(SeqCst);
    }
    let Some(circle) = circle_of(records, seat, &needs) else { return true };
    if circle.into_iter().any(|other| other != seat && is_dead(other)) {
        return true;
    }
    let Some(_turn) = turn() else { return true };
    if circle_of(records, seat, &needs).is_none() && !seeded(Bug::AllInCircleTold) {
        return true;
    }
    say(&records[seat], before);
    false
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Who is stuck with worker 0, where each worker says these tasks and task `t` needs the workers that stand there.
    fn stuck(said: &[&[u64]], needs: &[&[usize]]) -> Option<Vec<usize>> {
        let records: Vec<Record> = said.iter().map(|_| Record::default()).collect();
        records.iter().zip(said).for_each(|(record, tasks)| say(record, tasks));
        circle_of(&records, 0, &|task| needs[task as usize].to_vec())
    }

    #[test]
    fn a_circle_is_all_who_need_each_other() {
        // Two, three, and one that waits for what only itself could run.
        assert_eq!(stuck(&[&[0], &[1]], &[&[1], &[0]]), Some(vec![0, 1]));
        assert_eq!(stuck(&[&[0], &[1], &[2]], &[&[1], &[2], &[0]]), Some(vec![0, 1, 2]));
        assert_eq!(stuck(&[&[0]], &[&[0]]), Some(vec![0]));
        // Several tasks, all of them stuck, and one that any of two stuck workers could run.
        assert_eq!(stuck(&[&[0, 1], &[2], &[2]], &[&[1], &[2], &[0]]), Some(vec![0, 1, 2]));
        assert_eq!(stuck(&[&[0], &[1], &[1]], &[&[1, 2], &[0]]), Some(vec![0, 1, 2]));
    }

    #[test]
    fn who_needs_anything_that_goes_on_is_in_none() {
        assert_eq!(stuck(&[&[0], &[]], &[&[1]]), None, "the other one does not wait");
        assert_eq!(stuck(&[&[0], &[1]], &[&[1], &[]]), None, "what the other one waits for goes on");
        assert_eq!(stuck(&[&[0, 1], &[2]], &[&[1], &[], &[0]]), None, "one of its tasks goes on");
        assert_eq!(stuck(&[&[0], &[1], &[]], &[&[1, 2], &[0]]), None, "another one could run it");
        assert_eq!(stuck(&[&[0], &[1], &[2]], &[&[1], &[2], &[1]]), None, "it waits for some that are in one, and is not");
        assert_eq!(stuck(&[&[]], &[]), None);
        assert_eq!(stuck(&[&[0]], &[&[9]]), None, "a worker that there is not");
    }

    #[test]
    fn what_there_is_no_room_for_is_not_said() {
        let record = Record::default();
        say(&record, &[7; AWAITED_MAX]);
        assert_eq!(said(&record).map(|(_, tasks)| tasks), Some(vec![7; AWAITED_MAX]));
        say(&record, &[7; AWAITED_MAX + 1]);
        assert_eq!(said(&record), None);
        record.waits.store(u32::MAX, Relaxed);
        assert_eq!(said(&record), None, "damage");
        say(&record, &[1]);
        assert_eq!(said(&record).map(|(_, tasks)| tasks), Some(vec![1]), "also where the count goes round");
    }
}
