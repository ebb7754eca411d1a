//! Pools of a submitter's own in the other styles: that of `multiprocessing.Pool`, closures in threads, interpreters; and futures without a pool.

use crate::deeds::{Deed, Order, act, answer, complete, perform, plain_order, told};
use crate::features::{Feature, complain, drawn};
use crate::journal::{Event, note};
use crate::maps::{Inputs, finish, orders};
use crate::options::{Plan, code};
use crate::private::{kill_one, name};
use crate::submit::Submitter;
use crate::verdicts::{OWN, Patience, Waited, task_told, verdict, wrong};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use taskring::{AsyncResult, Error, Executor, InterpreterPool, MultiPool, Promise, TaskError, ThreadPool};

/// Several calls of `multiprocessing.Pool`, and one of its two ends.
pub fn multi(by: &mut Submitter<'_>, is_terminated: bool) {
    let name = name(by, true);
    let plan = Plan::of(&name);
    let Ok(pool) = MultiPool::with(plan.builder()) else { return };
    plan.note_drawn();
    let mut under_way = UnderWay::default();
    let first = by.random.below(4);
    for n in 0..2 + by.random.below(4) {
        match (first + n) % 4 {
            0 => under_way.apply_async(by, &pool, &name, &plan),
            1 => under_way.map_async(by, &pool, &name, &plan),
            n => imap(by, &pool, &name, &plan, n == 2),
        }
        if by.random.below(4) == 0 && !plan.has_threads() {
            kill_one(pool.executor(), by);
        }
    }
    drawn(if is_terminated { Feature::MultiTerminated } else { Feature::MultiJoined });
    let ended = if is_terminated { pool.terminate() } else { pool.close() };
    let late = pool.apply_async(act, complete(0, Deed::Square, &name, &plan)).err();
    if !matches!(late, Some(Error::ShutDown | Error::Broken { .. })) {
        complain(&format!("a pool that was closed says {late:?}"));
    }
    if let Err(e) = ended.and_then(|()| pool.join()) {
        complain(&format!("a pool ends with {e}"));
    }
    under_way.end(&name, is_terminated);
}

/// What a callback was told: once.
type Told<R> = Arc<Mutex<Vec<Result<R, Error>>>>;

type Tasks = Vec<(u64, Deed)>;
/// With what a callback was told, if there is one.
type Called<R> = (AsyncResult<R>, Option<Told<R>>);

#[derive(Default)]
struct UnderWay {
    one: Vec<((u64, Deed), Called<u64>)>,
    many: Vec<(Tasks, Called<Vec<u64>>)>,
}

fn told_by<R: Send + 'static>(told: &Option<Told<R>>) -> impl FnOnce(Result<R, Error>) + Send + 'static {
    let told = told.clone();
    move |ended| {
        if let Some(told) = told {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
        }
    }
}

/// A result is there only when its callback has returned, which was called once and with the same.
fn compare<R: PartialEq + std::fmt::Debug>(told: Option<Told<R>>, ended: &Result<R, Error>) {
    let Some(told) = told else { return };
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() != 1 || told[0] != *ended {
        complain(&format!("a callback was told {told:?}, and the result is {ended:?}"));
    }
}

impl UnderWay {
    fn apply_async(&mut self, by: &mut Submitter<'_>, pool: &MultiPool, name: &str, plan: &Plan) {
        drawn(Feature::ApplyAsync);
        for _ in 0..1 + by.random.below(12) {
            let task = by.numbers(1);
            let order = plain_order(&mut by.random, task, name, plan);
            let deed = order.1;
            if plan.repeats(false) {
                note(task, Event::Repeatable);
            }
            note(task, Event::Intended);
            let told = (by.random.below(2) == 0).then(Told::default);
            let submitted = match told {
                None => pool.apply_async(act, order),
                Some(_) => pool.apply_async_with(act, order, told_by(&told)),
            };
            match submitted {
                Ok(result) => {
                    note(task, Event::Accepted);
                    self.one.push(((task, deed), (result, told)));
                }
                // With a callback it may have been submitted before there was no thread for it.
                Err(_) if told.is_some() => note(task, Event::Released),
                Err(_) => note(task, Event::Refused),
            }
        }
    }

    fn map_async(&mut self, by: &mut Submitter<'_>, pool: &MultiPool, name: &str, plan: &Plan) {
        drawn(Feature::MapAsync);
        let count = by.random.below(60);
        let orders = orders(by, count, name, plan);
        let tasks: Vec<(u64, Deed)> = orders.iter().map(|order| (order.0, order.1)).collect();
        for (task, _) in &tasks {
            if plan.repeats(true) {
                note(*task, Event::Repeatable);
            }
            note(*task, Event::Intended);
        }
        let chunk = (by.random.below(2) == 0).then(|| 1 + by.random.below(10) as usize);
        let told = (by.random.below(2) == 0).then(Told::default);
        let submitted = match told {
            None => pool.map_async(act, orders, chunk),
            Some(_) => pool.map_async_with(act, orders, chunk, told_by(&told)),
        };
        match submitted {
            Ok(result) => self.many.push((tasks, (result, told))),
            Err(_) => tasks.iter().for_each(|(task, _)| note(*task, Event::Released)),
        }
    }

    fn end(self, name: &str, is_terminated: bool) {
        let name = Waited::In(name);
        let patience = Patience::with(name);
        for ((task, deed), (result, told)) in self.one {
            let ended = get(&result, &patience);
            compare(told, &ended);
            let event = match ended {
                Err(Error::Terminated) if is_terminated => Event::LostMayHaveRun,
                ended => verdict(task, deed, name, ended),
            };
            note(task, event);
        }
        for (tasks, (result, told)) in self.many {
            let ended = get(&result, &patience);
            compare(told, &ended);
            match ended {
                Ok(values) => {
                    let fits = values.iter().copied().eq(tasks.iter().map(|(task, _)| answer(*task)));
                    for (task, _) in tasks {
                        note(task, Event::Accepted);
                        note(task, if fits { Event::Value } else { wrong(task, &format!("its map gives {values:?}")) });
                    }
                }
                Err(Error::Terminated) if is_terminated => tasks.iter().for_each(|(task, _)| note(*task, Event::Released)),
                Err(e) => first_error(&tasks, name, e),
            }
        }
    }
}

/// The error of a map is that of the first input that has one: those before have values, and of those behind nothing is known.
fn first_error(tasks: &[(u64, Deed)], name: Waited<'_>, e: Error) {
    let at = task_told(&e).and_then(|number| tasks.iter().position(|(task, _)| *task == number));
    for (place, (task, deed)) in tasks.iter().enumerate() {
        let event = match at {
            Some(at) if place < at => Event::Value,
            Some(at) if place == at => verdict(*task, *deed, name, Err(e.clone())),
            _ => Event::Released,
        };
        if event != Event::Released {
            note(*task, Event::Accepted);
        }
        note(*task, event);
    }
    if at.is_none() && matches!(e, Error::TaskFailed { .. } | Error::Panicked { .. }) {
        complain(&format!("a map gives the error of none of its inputs: {e}"));
    }
}

fn get<R: 'static>(result: &AsyncResult<R>, patience: &Patience<'_>) -> Result<R, Error> {
    let ended = patience.wait(|slice| match result.get(Some(slice)) {
        Err(Error::TimedOut { .. }) => None,
        ended => Some(ended),
    });
    ended.unwrap_or(Err(Error::TimedOut { what: "a result of the soak", after: Duration::ZERO }))
}

fn imap(by: &mut Submitter<'_>, pool: &MultiPool, name: &str, plan: &Plan, in_order: bool) {
    drawn(if in_order { Feature::Imap } else { Feature::ImapUnordered });
    let count = by.random.below(100);
    let orders = orders(by, count, name, plan);
    let chunk = 1 + by.random.below(10) as usize;
    let (inputs, waited) = (Inputs::new(plan.repeats(chunk != 1)), Waited::In(name));
    let source = inputs.noting(orders);
    if in_order {
        let Ok(mut map) = pool.imap(act, source, chunk) else { return inputs.end_rest(Event::Released) };
        let is_whole = Patience::with(waited).wait(|slice| match map.next_timeout(slice) {
            None => Some(true),
            Some(Err(Error::TimedOut { .. })) => None,
            Some(ended) => {
                inputs.next(waited, ended);
                None
            }
        });
        drop(map);
        return finish(&inputs, waited, is_whole);
    }
    let Ok(mut map) = pool.imap_unordered(act, source, chunk) else { return inputs.end_rest(Event::Released) };
    let mut errors = Vec::new();
    let is_whole = Patience::with(waited).wait(|slice| match map.next_timeout(slice) {
        None => Some(true),
        Some(Err(Error::TimedOut { .. })) => None,
        Some(ended) => {
            errors.extend(inputs.any(waited, ended));
            None
        }
    });
    drop(map);
    if is_whole.is_some() {
        inputs.end_unordered(waited, errors);
    }
    finish(&inputs, waited, is_whole);
}

/// Deeds of the threads of this process, which must outlive them and lack what only workers of processes have.
fn deed_for_threads(by: &mut Submitter<'_>) -> Deed {
    match by.random.below(20) {
        0 => Deed::Panic,
        1 | 2 => Deed::Fail,
        3..6 => Deed::Nap(by.random.below(1000) as u16),
        _ => Deed::Square,
    }
}

/// Each closure is called once at most, and dropped once.
pub fn closures(by: &mut Submitter<'_>) {
    let name = format!("{OWN}{}-{}", std::process::id(), code(&mut by.random, 3));
    let plan = Plan::of(&name);
    let Ok(pool) = ThreadPool::build(plan.builder()) else { return };
    plan.note_drawn();
    drawn(Feature::Closures);
    let (captured, mut all) = (Arc::new(()), Vec::new());
    for _ in 0..by.random.below(60) {
        let (task, deed) = (by.numbers(1), deed_for_threads(by));
        let capture = captured.clone();
        note(task, Event::Intended);
        let submitted = pool.submit(move || {
            let _held = &capture;
            perform(task, deed, &[])
        });
        match submitted {
            Ok(future) => {
                note(task, Event::Accepted);
                match by.random.below(16) {
                    0 => note(task, Event::Released),
                    1 if future.cancel() => note(task, Event::Cancelled),
                    _ => all.push((task, deed, future)),
                }
            }
            Err(_) => note(task, Event::Refused),
        }
    }
    let (is_early, cancels) = (by.random.below(2) == 0, by.random.below(2) == 0);
    let end = || {
        if let Err(e) = pool.shutdown(true, cancels) {
            complain(&format!("a pool of threads ends with {e}"))
        }
    };
    if is_early {
        end();
    }
    let patience = Patience::with(Waited::In(&name));
    for (task, deed, future) in all {
        let ended = patience.wait(|slice| match future.result_timeout(slice) {
            Err(Error::TimedOut { .. }) => None,
            ended => Some(ended),
        });
        let event = match ended {
            // The value is what the closure gave, an error or not.
            Some(Ok(Err(e))) if deed == Deed::Fail && e.to_string() == told(task) => Event::Failed,
            Some(Ok(Err(e))) => wrong(task, &format!("its closure gave {e}")),
            Some(Ok(Ok(value))) => verdict(task, deed, Waited::In(&name), Ok(value)),
            Some(Err(e)) => verdict(task, deed, Waited::In(&name), Err(e)),
            None => Event::Missing,
        };
        note(task, event);
    }
    if !is_early {
        end();
    }
    if Arc::strong_count(&captured) != 1 {
        complain(&format!("{} closures of a pool that has ended are not dropped", Arc::strong_count(&captured) - 1));
    }
}

/// What a worker has for itself: it never leaves its thread.
struct Context {
    thread: std::thread::ThreadId,
    seed: u64,
    is_lent: std::rc::Rc<std::cell::Cell<bool>>,
}

fn make(seed: u64) -> Result<Context, TaskError> {
    Ok(Context { thread: std::thread::current().id(), seed, is_lent: std::rc::Rc::default() })
}

fn in_context(context: &mut Context, (seed, order): (u64, Order)) -> Result<u64, TaskError> {
    if context.thread != std::thread::current().id() || context.seed != seed || context.is_lent.replace(true) {
        return Err(TaskError::new("a context that is another's, or spoilt"));
    }
    let done = perform(order.0, order.1, &order.2);
    context.is_lent.set(false);
    done
}

/// Each worker has its context for itself; one that a task has panicked with is made anew.
pub fn contexts(by: &mut Submitter<'_>) {
    let name = format!("{OWN}{}-0", std::process::id());
    let mut builder = Executor::builder().workers(1 + by.random.below(3) as usize).capacity(128);
    if by.random.below(2) == 0 {
        builder = builder.max_tasks_per_worker(1 + by.random.below(30) as u32);
    }
    let seed = by.random.below(u64::MAX);
    let Ok(pool) = InterpreterPool::build(builder, make, seed) else { return };
    drawn(Feature::Contexts);
    let mut all = Vec::new();
    for _ in 0..by.random.below(60) {
        let (task, deed) = (by.numbers(1), deed_for_threads(by));
        note(task, Event::Intended);
        match pool.submit_fallible(in_context, (seed, (task, deed, Vec::new()))) {
            Ok(future) => {
                note(task, Event::Accepted);
                all.push((task, deed, future));
            }
            Err(_) => note(task, Event::Refused),
        }
    }
    let patience = Patience::with(Waited::In(&name));
    for (task, deed, future) in all {
        note(task, verdict(task, deed, Waited::In(&name), patience.result(&future)));
    }
    if let Err(e) = pool.shutdown(true, false) {
        complain(&format!("a pool of interpreters ends with {e}"));
    }
}

/// Of who completes a promise and who cancels its future one succeeds.
pub fn promises(by: &mut Submitter<'_>) {
    drawn(Feature::Promises);
    for _ in 0..1 + by.random.below(20) {
        let task = by.numbers(1);
        // The pool of the promises is made with the first, for which there may be no memory.
        let Ok(promise) = Promise::<u64>::new() else { return };
        let Some(future) = promise.future() else { return complain("a new promise has no future") };
        note(task, Event::Intended);
        note(task, Event::Accepted);
        let (way, pause) = (by.random.below(6), Duration::from_micros(by.random.below(100)));
        let completer = std::thread::spawn(move || {
            std::thread::sleep(pause);
            complete_promise(task, &promise, way)
        });
        let cancelled = way % 2 == 0 && future.cancel();
        let Ok(completed) = completer.join() else { return complain("the thread of a promise has panicked") };
        let event = match future.result_timeout(Duration::ZERO) {
            Ok(value) if value == answer(task) => Event::Value,
            Err(Error::TaskFailed { summary, .. }) if summary == told(task) => Event::Failed,
            Err(Error::Cancelled) => Event::Cancelled,
            // For the text or for the value there was no room.
            Err(Error::TaskFailed { .. }) if completed.is_none() => Event::Failed,
            other => wrong(task, &format!("its promise ended with {other:?}")),
        };
        note(task, event);
        if cancelled != (event == Event::Cancelled) && completed.is_some() || cancelled && completed == Some(true) {
            complain(&format!("promise {task:#x}: cancelled {cancelled}, completed {completed:?}, and it is {event:?}"));
        }
    }
}

/// Whether the completion succeeded; `None` when the promise is only dropped. What has ended by it counts as having run.
fn complete_promise(task: u64, promise: &Promise<u64>, way: u64) -> Option<bool> {
    let entered = || note(task, Event::Entered);
    if way >= 4 {
        let runs = promise.set_running_or_notify_cancel();
        if runs == Ok(true) {
            entered();
            // Nobody can cancel it any more.
            return promise.set_result(answer(task)).is_ok().then_some(true);
        }
        return Some(false);
    }
    let done = if way < 2 { promise.set_result(answer(task)) } else { promise.set_error(TaskError::new(told(task))) };
    match done {
        Ok(()) => {
            entered();
            Some(true)
        }
        Err(Error::InvalidState { .. }) => Some(false),
        Err(_) => None,
    }
}
