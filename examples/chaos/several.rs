//! What a submitter does with several tasks at a time: broadcasts, sets that one thread feeds and another discards, tasks below tasks, and the other calls that
//! submit.

use crate::deeds::{Deed, Order, PLACES, act, complete, task_of};
use crate::features::{Feature, complain, drawn};
use crate::journal::{Event, note};
use crate::maps;
use crate::nested::tell;
use crate::submit::{Open, Visit};
use crate::verdicts::{Patience, Waited, verdict, wrong};
use std::time::Duration;
use taskring::Error;

/// Once for each worker, whose number is added to the task's: so each of these numbers runs once at most. The last one is for whoever came by itself.
pub fn broadcast(visit: &mut Visit<'_, '_>) {
    drawn(Feature::Broadcast);
    let (first, count) = (visit.by.numbers(PLACES), PLACES);
    let order = complete(first, Deed::Broadcast, visit.name, &visit.plan);
    (first..first + count).for_each(|task| note(task, Event::Intended));
    let futures = match visit.pool.broadcast_with(&visit.plan.once(false), act, order) {
        Ok(futures) => futures,
        Err(e) => {
            // Some may have been submitted before.
            (first..first + count).for_each(|task| note(task, Event::Released));
            return visit.heed(&e);
        }
    };
    let mut left: Vec<u64> = (first..first + count).collect();
    let (mut has_failed, patience) = (false, Patience::with(Waited::In(visit.name)));
    for future in futures {
        match patience.result(&future) {
            Ok(value) => {
                let task = task_of(value);
                match left.iter().position(|&number| number == task) {
                    Some(at) => {
                        left.swap_remove(at);
                        note(task, Event::Accepted);
                        note(task, Event::Value);
                    }
                    None => note(first, wrong(first, &format!("a broadcast gives {task:#x}, twice or not of its own"))),
                }
            }
            ended => {
                has_failed = true;
                if let event @ (Event::Wrong | Event::Missing) =
                    verdict(first, Deed::Broadcast, Waited::In(visit.name), ended)
                {
                    note(first, event);
                }
            }
        }
    }
    // Which of the others has failed, nobody says; without a failure none of them may run.
    let end = if has_failed { Event::Released } else { Event::Refused };
    left.into_iter().for_each(|task| note(task, end));
}

/// One thread feeds a set while another discards it.
pub fn raced_set(visit: &mut Visit<'_, '_>) {
    let Ok(set) = visit.pool.task_set() else { return };
    drawn(Feature::SetRace);
    let count = 20 + visit.by.random.below(80);
    let orders: Vec<_> = (0..count).map(|_| visit.by.next_order(visit.name, &visit.plan)).collect();
    let pause = Duration::from_micros(visit.by.random.below(3000));
    let options = visit.plan.once(false);
    let mut all = Vec::new();
    let discarded = std::thread::scope(|scope| {
        let discard = scope.spawn(|| {
            std::thread::sleep(pause);
            set.discard()
        });
        for order in orders {
            let (task, deed) = (order.0, order.1);
            tell(task, deed, Event::Intended);
            match set.submit_with(&options, act, order) {
                Ok(future) => {
                    tell(task, deed, Event::Accepted);
                    all.push(Open { task, deed, asked: false, future });
                }
                Err(e) => {
                    tell(task, deed, Event::Refused);
                    if e != Error::Discarded {
                        visit.heed(&e);
                    }
                }
            }
        }
        discard.join()
    });
    // Whatever was submitted before the discard returned is not started any more, or was; both is told.
    if let Ok(Ok(discarded)) = discarded
        && discarded.cancelled + discarded.running > all.len()
    {
        complain(&format!("of {} tasks of a set there are {discarded:?}", all.len()));
    }
    all.into_iter().for_each(|open| visit.keep(open));
}

/// Tasks below tasks, several at a time: so that workers wait, and others stand in for them.
pub fn nested(visit: &mut Visit<'_, '_>) {
    let count = 1 + visit.by.random.below(4);
    for _ in 0..count {
        let deed = Deed::Nest(1 + visit.by.random.below(2) as u8, 1 + visit.by.random.below(3) as u8);
        let task = visit.by.numbers(1 + crate::nested::below(deed));
        let order = complete(task, deed, visit.name, &visit.plan);
        let (options, _) = visit.options_for(deed);
        if let Some(open) = visit.launch(&options, false, order) {
            visit.keep(open);
        }
    }
}

/// What the other calls submit, which take no options, so the pool's word alone says whether it may run twice.
pub fn other_submits(visit: &mut Visit<'_, '_>) {
    let ways = [Feature::Bulk, Feature::TrySubmit, Feature::SubmitTimeout, Feature::SubmitRef];
    for way in ways {
        let count = 1 + visit.by.random.below(20);
        let orders = maps::orders(visit.by, count, visit.name, &visit.plan);
        drawn(way);
        if way == Feature::Bulk {
            bulk(visit, orders)
        } else {
            one_by_one(visit, orders, way)
        }
        if visit.is_over {
            break;
        }
    }
}

fn intend(visit: &Visit<'_, '_>, task: u64) {
    if visit.plan.repeats(false) {
        note(task, Event::Repeatable);
    }
    note(task, Event::Intended);
}

fn bulk(visit: &mut Visit<'_, '_>, orders: Vec<Order>) {
    let tasks: Vec<(u64, Deed)> = orders.iter().map(|order| (order.0, order.1)).collect();
    tasks.iter().for_each(|(task, _)| intend(visit, *task));
    match visit.pool.submit_bulk(act, orders) {
        Ok(futures) => {
            if futures.len() != tasks.len() {
                complain("a bulk submit gives another number of futures");
            }
            for ((task, deed), future) in tasks.into_iter().zip(futures) {
                note(task, Event::Accepted);
                visit.keep(Open { task, deed, asked: false, future });
            }
        }
        Err(e) => {
            // Those before the error run.
            tasks.into_iter().for_each(|(task, _)| note(task, Event::Released));
            visit.heed(&e);
        }
    }
}

fn one_by_one(visit: &mut Visit<'_, '_>, orders: Vec<Order>, way: Feature) {
    for order in orders {
        let (task, deed) = (order.0, order.1);
        intend(visit, task);
        let submitted = match way {
            Feature::TrySubmit => visit.pool.try_submit(act, order),
            Feature::SubmitTimeout => visit.pool.submit_timeout(act, order, Duration::from_micros(100)),
            _ => visit.pool.submit_ref(act, &order),
        };
        match submitted {
            Ok(future) => {
                note(task, Event::Accepted);
                visit.keep(Open { task, deed, asked: false, future });
            }
            Err(e) => {
                note(task, Event::Refused);
                if !matches!(e, Error::Full { .. } | Error::TimedOut { .. }) {
                    visit.heed(&e);
                }
            }
        }
    }
}
