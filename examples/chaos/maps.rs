//! Maps of all kinds. Their inputs are noted as they are read; each that was read has one result, at its place or, of an unordered map, anywhere.

use crate::deeds::{Deed, Order, Random, act, plain_order, task_of};
use crate::features::{Feature, complain, drawn};
use crate::journal::{Event, note};
use crate::options::Plan;
use crate::submit::{Submitter, Visit};
use crate::verdicts::{Patience, Waited, task_told, verdict, wrong};
use std::cell::RefCell;
use std::time::Duration;
use taskring::{Error, MapOptions, SubmitOptions};

/// How a map comes to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// All results are taken.
    Whole,
    /// After so many results it is dropped.
    Dropped(usize),
    /// Or cancelled, and the rest is taken.
    Cancelled(usize),
}

/// Inputs that were read and have no result yet, in their order.
pub struct Inputs {
    /// They may run more than once.
    may_repeat: bool,
    read: RefCell<Vec<(u64, Deed)>>,
}

impl Inputs {
    pub fn new(may_repeat: bool) -> Inputs {
        Inputs { may_repeat, read: RefCell::default() }
    }

    /// Notes what is read of them.
    pub fn noting(&self, orders: Vec<Order>) -> impl Iterator<Item = Order> + '_ {
        orders.into_iter().inspect(|(task, deed, _)| {
            if self.may_repeat {
                note(*task, Event::Repeatable);
            }
            note(*task, Event::Intended);
            self.read.borrow_mut().push((*task, *deed));
        })
    }

    /// What was read and has no result, with an end for each.
    pub fn end_rest(&self, event: Event) {
        self.read.borrow_mut().drain(..).for_each(|(task, _)| note(task, event));
    }

    pub fn settle(&self, task: u64, deed: Deed, name: Waited<'_>, ended: Result<u64, Error>) {
        let event = match ended {
            // Refused, or without room for its result: the error does not say which.
            Err(Error::OutOfMemory { .. }) => Event::Released,
            ended => verdict(task, deed, name, ended),
        };
        if event != Event::Released {
            note(task, Event::Accepted);
        }
        note(task, event);
    }

    /// The next result of an ordered map.
    pub fn next(&self, name: Waited<'_>, ended: Result<u64, Error>) {
        let mut read = self.read.borrow_mut();
        if read.is_empty() {
            return complain(&format!("a map gives {ended:?}, of no input"));
        }
        let (task, deed) = read.remove(0);
        drop(read);
        self.settle(task, deed, name, ended);
    }

    /// One of an unordered map; what does not say whose it is comes back.
    pub fn any(&self, name: Waited<'_>, ended: Result<u64, Error>) -> Option<Result<u64, Error>> {
        let task = match &ended {
            Ok(value) => Some(task_of(*value)),
            Err(e) => task_told(e),
        };
        let Some(task) = task else { return Some(ended) };
        let mut read = self.read.borrow_mut();
        match read.iter().position(|(number, _)| *number == task) {
            Some(at) => {
                let (task, deed) = read.remove(at);
                drop(read);
                self.settle(task, deed, name, ended);
            }
            None => complain(&format!("a map gives {ended:?}, of no input or twice")),
        }
        None
    }

    /// Those that have no results of their own but one of these errors, of which nobody knows whose it is: all of them together.
    pub fn end_unordered(&self, name: Waited<'_>, errors: Vec<Result<u64, Error>>) {
        let rest = std::mem::take(&mut *self.read.borrow_mut());
        if errors.len() != rest.len() && name.is_kept() {
            complain(&format!("a map gives {} errors for {} inputs: {errors:?}", errors.len(), rest.len()));
        }
        let is_lost = |ended: &Result<u64, Error>| matches!(ended, Err(Error::WorkerLost { .. }));
        let is_cancelled = |ended: &Result<u64, Error>| matches!(ended, Err(Error::Cancelled));
        let are_alike = errors.iter().all(is_lost) || errors.iter().all(is_cancelled);
        let mut errors = errors.into_iter();
        for (task, _) in rest {
            let event = errors.next().map_or(Event::Released, |ended| verdict(task, Deed::Square, name, ended));
            let event = match event {
                Event::LostMayHaveRun | Event::LostResult if are_alike => Event::LostMayHaveRun,
                Event::LostMayHaveRun | Event::LostResult | Event::Cancelled if !are_alike => Event::Released,
                event => event,
            };
            note(task, event);
        }
    }
}

/// So many orders of the submitter's next numbers.
pub fn orders(by: &mut Submitter<'_>, count: u64, name: &str, plan: &Plan) -> Vec<Order> {
    let first = by.numbers(count);
    (first..first + count).map(|task| plain_order(&mut by.random, task, name, plan)).collect()
}

/// By which call a map starts.
enum How {
    Map,
    Eager,
    With,
}

/// What is drawn for a map.
struct Choice {
    how: How,
    /// Inputs of a task. 0: as many as the time that they take allows. One is a task like any other.
    chunk: usize,
    is_unordered: bool,
    has_deadline: bool,
    end: End,
    options: MapOptions,
}

impl Choice {
    fn draw(random: &mut Random, is_plain: bool) -> Choice {
        let chunk = [1, 1 + random.below(20) as usize, 0][if is_plain { 0 } else { random.below(3) } as usize];
        let [is_unordered, has_deadline, is_eager] = [0; 3].map(|_: i32| !is_plain && random.below(3) == 0);
        let after = random.below(60) as usize;
        let end = match random.below(4) {
            0 => End::Dropped(after),
            1 => End::Cancelled(after),
            _ => End::Whole,
        };
        let mut options = MapOptions::new().ordered(!is_unordered);
        options = if chunk == 0 { options.chunk_auto() } else { options.chunk(chunk) };
        if has_deadline {
            options = options.timeout(Duration::from_millis(random.below(100)));
        }
        options = match random.below(2) {
            _ if is_eager => options.window(usize::MAX),
            0 => options.window(1 + random.below(50) as usize),
            _ => options,
        };
        let is_plain = chunk == 1 && !is_unordered && !has_deadline && !is_eager;
        let noted = [
            (is_plain, Feature::Map),
            (chunk > 1, Feature::MapChunks),
            (chunk == 0, Feature::MapAuto),
            (is_unordered, Feature::MapUnordered),
            (has_deadline, Feature::MapDeadline),
            (is_eager, Feature::MapEager),
            (matches!(end, End::Dropped(_)), Feature::MapDropped),
            (matches!(end, End::Cancelled(_)), Feature::MapCancelled),
        ];
        noted.into_iter().filter(|(is_on, _)| *is_on).for_each(|(_, feature)| drawn(feature));
        let how = match random.below(2) {
            _ if chunk != 1 || is_unordered || has_deadline => How::With,
            0 => How::With,
            _ if is_eager => How::Eager,
            _ => How::Map,
        };
        Choice { how, chunk, is_unordered, has_deadline, end, options }
    }
}

/// `is_plain`: one with a task for each input, in order and without a time limit.
pub fn map(visit: &mut Visit<'_, '_>, is_plain: bool) {
    let Choice { how, chunk, is_unordered, has_deadline, end, options } = Choice::draw(&mut visit.by.random, is_plain);
    let (submit, may_repeat) = match how {
        How::With => visit.plan.repeating(&mut visit.by.random, chunk != 1),
        // Their tasks have no options of their own.
        _ => (SubmitOptions::new(), visit.plan.repeats(false)),
    };
    let count = 1 + visit.by.random.below(150);
    let orders = orders(visit.by, count, visit.name, &visit.plan);
    let (inputs, name) = (Inputs::new(may_repeat), Waited::In(visit.name));
    let started = match how {
        How::Map => visit.pool.map(act, inputs.noting(orders)),
        How::Eager => visit.pool.map_eager(act, inputs.noting(orders)),
        How::With => visit.pool.map_with(&options.submit(submit), act, inputs.noting(orders)),
    };
    let mut map = match started {
        Ok(map) => map,
        Err(e) => {
            inputs.end_rest(Event::Released);
            return visit.heed(&e);
        }
    };
    let (mut errors, mut given) = (Vec::new(), 0);
    let is_whole = Patience::with(name).wait(|slice| {
        match end {
            End::Dropped(after) if given == after => return Some(false),
            End::Cancelled(after) if given == after => map.cancel(),
            _ => {}
        }
        match map.next_timeout(slice) {
            None => return Some(true),
            Some(Err(Error::TimedOut { what: "all results of the map", .. })) if has_deadline => return Some(false),
            Some(Err(Error::TimedOut { .. })) => return None,
            Some(ended) if is_unordered => errors.extend(inputs.any(name, ended)),
            Some(ended) => inputs.next(name, ended),
        }
        given += 1;
        None
    });
    drop(map);
    if is_whole == Some(true) && is_unordered {
        inputs.end_unordered(name, errors);
    }
    finish(&inputs, name, is_whole);
}

/// What was read of a map that came to its end has results; of one that was dropped, nobody hears of the rest. `None` is one that did not go on.
pub fn finish(inputs: &Inputs, name: Waited<'_>, is_whole: Option<bool>) {
    match is_whole {
        Some(true) => {
            let left = std::mem::take(&mut *inputs.read.borrow_mut());
            left.into_iter().for_each(|(task, _)| note(task, wrong(task, "its map has no result for it")));
        }
        Some(false) => inputs.end_rest(Event::Released),
        None => inputs.end_rest(if name.is_kept() { Event::Missing } else { Event::Unknown }),
    }
}

/// An input's own error.
#[derive(Debug, PartialEq, Eq)]
struct Bad(usize);

/// The error of the input comes at its place, and is the last.
pub fn try_map(visit: &mut Visit<'_, '_>) {
    drawn(Feature::TryMap);
    let bad = visit.by.random.below(40) as usize;
    let (submit, may_repeat) = visit.plan.repeating(&mut visit.by.random, false);
    let orders = orders(visit.by, bad as u64 + 3, visit.name, &visit.plan);
    let (inputs, name) = (Inputs::new(may_repeat), Waited::In(visit.name));
    let failing = (0..).map(|at| if at == bad { Err(Bad(bad)) } else { Ok(()) });
    // Zipped from the left: nothing is read of the orders where the input fails.
    let mut noted = inputs.noting(orders);
    let source = failing.map(|input: Result<(), Bad>| input.map(|()| noted.next().expect("there are more")));
    let mut map = match visit.pool.try_map_with(&MapOptions::new().submit(submit), act, source) {
        Ok(map) => map,
        Err(e) => {
            inputs.end_rest(Event::Released);
            return visit.heed(&e);
        }
    };
    let (mut given, mut refused) = (0, false);
    let is_whole = Patience::with(name).wait(|slice| {
        match map.next_timeout(slice) {
            Some(Err(found)) => {
                if found != Bad(bad) || given != bad || map.next().is_some() {
                    complain(&format!("the error of input {bad} comes as {found:?} at {given}, or is not the last"));
                }
                return Some(true);
            }
            Some(Ok(Err(Error::TimedOut { .. }))) => {}
            Some(Ok(ended)) => {
                given += 1;
                // What the pool does not take is the last.
                refused |= matches!(ended, Err(Error::OutOfMemory { .. } | Error::Corrupt { .. } | Error::ShutDown));
                inputs.next(name, ended);
            }
            None => {
                if !refused && name.is_kept() {
                    complain(&format!("a map ends after {given} without the error of input {bad}"));
                }
                return Some(true);
            }
        }
        None
    });
    drop(map);
    finish(&inputs, name, is_whole);
}

/// When it returns without an error all of them have returned values.
pub fn for_each(visit: &mut Visit<'_, '_>) {
    drawn(Feature::ForEach);
    let count = 1 + visit.by.random.below(60);
    let first = visit.by.numbers(count);
    let (name, plan) = (visit.name, &visit.plan);
    let may_fail = visit.by.random.below(2) == 0;
    let orders = (first..first + count).map(|task| match may_fail {
        true => plain_order(&mut visit.by.random, task, name, plan),
        false => crate::deeds::complete(task, Deed::Square, name, plan),
    });
    let orders: Vec<Order> = orders.collect();
    // By the pool's word alone: it takes no options.
    let inputs = Inputs::new(visit.plan.repeats(false));
    match visit.pool.for_each(act, inputs.noting(orders)) {
        Ok(()) => {
            let read = std::mem::take(&mut *inputs.read.borrow_mut());
            if read.len() as u64 != count {
                complain(&format!("for_each has read {} of {count} inputs", read.len()));
            }
            for (task, deed) in read {
                note(task, Event::Accepted);
                let is_good = !matches!(deed, Deed::Fail | Deed::Panic);
                note(task, if is_good { Event::Value } else { wrong(task, "for_each says that it has not failed") });
            }
        }
        Err(_) => inputs.end_rest(Event::Released),
    }
}
