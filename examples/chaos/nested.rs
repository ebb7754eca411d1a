//! Tasks that submit to their own pool and wait. Their numbers follow that of the task above them, whose submitter has spoken for them beforehand: it is he
//! who tells that nobody will hear of them when the task above has died.

use crate::deeds::{Deed, act, complete};
use crate::features::{Feature, drawn};
use crate::journal::{Event, note};
use crate::options::Plan;
use crate::verdicts::{Waited, verdict};
use taskring::{Future, as_completed, current_pool};

/// How many tasks there are below one, at any depth.
pub fn below(deed: Deed) -> u64 {
    let Deed::Nest(depth, width) = deed else { return 0 };
    (0..depth).fold(0, |below, _| u64::from(width) * (1 + below))
}

/// Notes an event of a task, and what it means for those below it.
pub fn tell(task: u64, deed: Deed, event: Event) {
    note(task, event);
    let for_those_below = match event {
        Event::Intended | Event::Refused => Some(event),
        // They have ends of their own by now, or cannot.
        Event::Value | Event::Accepted | Event::Repeatable => None,
        _ => Some(Event::Released),
    };
    if let Some(event) = for_those_below {
        (1..=below(deed)).for_each(|n| note(task + n, event));
    }
}

/// The tasks right below one.
fn children(task: u64, depth: u8, width: u8) -> impl Iterator<Item = (u64, Deed)> {
    let deed = move |number: u64| match (depth, number % 4) {
        (2.., _) => Deed::Nest(depth - 1, width),
        (_, 0) => Deed::Fail,
        (_, 1) => Deed::Nap(200),
        (_, 2) => Deed::Look,
        _ => Deed::Square,
    };
    let each = 1 + if depth > 1 { below(Deed::Nest(depth - 1, width)) } else { 0 };
    (0..u64::from(width)).map(move |n| task + 1 + n * each).map(move |number| (number, deed(number)))
}

/// What such a task does. That it cannot submit, for want of memory or descriptors, is no error of its own.
pub fn nest(task: u64, depth: u8, width: u8, name: &str) {
    drawn(if depth > 1 { Feature::NestedTwice } else { Feature::Nested });
    let plan = Plan::of(name);
    let pool = current_pool();
    let mut open = Vec::new();
    for (child, deed) in children(task, depth, width) {
        let order = complete(child, deed, name, &plan);
        match pool.as_ref().map(|pool| pool.submit_with(&plan.once(false), act, order)) {
            Ok(Ok(future)) => {
                note(child, Event::Accepted);
                open.push((child, deed, future));
            }
            _ => tell(child, deed, Event::Refused),
        }
    }
    // Without a time limit: so the worker runs them itself, or is replaced while it waits.
    let end = |child, deed, result| tell(child, deed, verdict(child, deed, Waited::In(name), result));
    if task.is_multiple_of(2) {
        open.into_iter().for_each(|(child, deed, future)| end(child, deed, future.result()));
        return;
    }
    let (mut numbers, futures): (Vec<_>, Vec<Future<u64>>) =
        open.into_iter().map(|(child, deed, future)| ((future.id(), child, deed), future)).unzip();
    for future in as_completed(futures, None).flatten() {
        if let Some(at) = numbers.iter().position(|(id, ..)| *id == future.id()) {
            let (_, child, deed) = numbers.swap_remove(at);
            end(child, deed, future.result());
        }
    }
    numbers.into_iter().for_each(|(_, child, deed)| tell(child, deed, Event::Missing));
}
