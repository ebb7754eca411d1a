//! The ways in which a submitter hears of the ends of its tasks: callbacks, `.await`, a queue with a descriptor, waits for several, what is asked for
//! without raising.

use crate::deeds::{Deed, complete};
use crate::features::{Feature, complain, drawn};
use crate::journal::{Event, note};
use crate::nested::tell;
use crate::submit::{Open, Visit};
use crate::verdicts::{Patience, Waited, is_starved, verdict, wrong};
use crate::{maps, several};
use std::collections::HashMap;
use std::future::{Future as _, IntoFuture};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use taskring::{Awaiting, CompletionQueue, Error, When, as_completed, wait};

/// How long a wake may be on its way while both sides run.
const WAKE: Duration = Duration::from_secs(20);
const SLICE: Duration = Duration::from_millis(500);

/// A prime, for their turns.
pub const SORTS: u64 = 17;

/// One of them, or a map.
pub fn some(visit: &mut Visit<'_, '_>, sort: u64) {
    match sort {
        0 => call_back(visit),
        1 => all_awaited(visit),
        2 => dropped_half_way(visit),
        3 => queue(visit),
        4 => waited(visit),
        5 => by_completion(visit),
        6 => exceptions(visit),
        7 | 8 => polite(visit, sort == 7),
        9 => several::broadcast(visit),
        14 => several::other_submits(visit),
        10 => several::raced_set(visit),
        11 => several::nested(visit),
        12 => maps::try_map(visit),
        // It has no time limit, so the pool must have an owner all the while.
        13 if !visit.name.contains("-mortal-") => maps::for_each(visit),
        _ => maps::map(visit, sort == 15),
    }
}

/// Some tasks at once.
fn batch(visit: &mut Visit<'_, '_>) -> Vec<Open> {
    let count = 1 + visit.by.random.below(24);
    let mut all = Vec::new();
    for _ in 0..count {
        let order = visit.by.next_order(visit.name, &visit.plan);
        let (options, may_repeat) = visit.options_for(order.1);
        all.extend(visit.launch(&options, may_repeat, order));
        if visit.is_over {
            break;
        }
    }
    all
}

/// Tasks whose callbacks have not been called, and what the called ones were told.
#[derive(Default)]
struct Calls {
    left: HashMap<u64, Deed>,
    told: HashMap<u64, Event>,
    /// Nobody waits any more.
    is_closed: bool,
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each callback is called once, with what the future gives too.
fn call_back(visit: &mut Visit<'_, '_>) {
    drawn(Feature::OnDone);
    let calls: Arc<Mutex<Calls>> = Arc::default();
    let mut kept = Vec::new();
    for open in batch(visit) {
        let (task, deed, name, of_call) = (open.task, open.deed, visit.name.to_owned(), calls.clone());
        lock(&calls).left.insert(task, deed);
        let called = open.future.on_done(move |future| {
            let ended = future.result();
            let mut calls = lock(&of_call);
            if calls.is_closed {
                return;
            }
            let event = match calls.left.remove(&task) {
                Some(_) => verdict(task, deed, Waited::In(&name), ended),
                None => wrong(task, "its callback was called twice"),
            };
            tell(task, deed, event);
            calls.told.insert(task, event);
        });
        if called.is_err() {
            // No thread for callbacks, or no memory for one.
            lock(&calls).left.remove(&task);
            visit.keep(open);
        } else if task.is_multiple_of(2) {
            kept.push(open);
        }
    }
    let _ = Patience::with(Waited::In(visit.name)).wait(|_| {
        std::thread::sleep(Duration::from_millis(1));
        lock(&calls).left.is_empty().then_some(())
    });
    let mut calls = lock(&calls);
    calls.is_closed = true;
    let end = if Waited::In(visit.name).is_kept() { Event::Missing } else { Event::Unknown };
    for (&task, &deed) in &calls.left {
        println!("task {task:#x}: its callback was not called");
        tell(task, deed, end);
    }
    for open in kept {
        let Some(&told) = calls.told.get(&open.task) else { continue };
        let event = verdict(open.task, open.deed, Waited::In(visit.name), open.future.result_timeout(Duration::ZERO));
        if event != told {
            note(open.task, wrong(open.task, &format!("its callback was told {told:?}, its future {event:?}")));
        }
    }
}

/// The smallest runtime: a thread that parks.
struct Unpark {
    thread: std::thread::Thread,
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, SeqCst);
        self.thread.unpark();
    }
}

fn waker() -> (Arc<Unpark>, Waker) {
    let unpark = Arc::new(Unpark { thread: std::thread::current(), is_woken: AtomicBool::new(true) });
    (unpark.clone(), Waker::from(unpark))
}

/// What came of an await. Without memory there is no thread that would wake, and that is no end of the task.
fn awaited(task: u64, deed: Deed, name: Waited<'_>, ended: Result<u64, Error>) -> Event {
    match ended {
        Err(Error::System { .. }) if is_starved(&std::process::id().to_string()) => Event::Released,
        ended => verdict(task, deed, name, ended),
    }
}

/// All of them in one thread. Whoever is over wakes it.
fn all_awaited(visit: &mut Visit<'_, '_>) {
    drawn(Feature::Awaited);
    let (unpark, waker) = waker();
    let mut all: Vec<(u64, Deed, Awaiting<u64>)> =
        batch(visit).into_iter().map(|open| (open.task, open.deed, open.future.into_future())).collect();
    let (mut last_wake, mut is_lost) = (Instant::now(), false);
    let name = Waited::In(visit.name);
    let all_over = Patience::with(name).wait(|slice| {
        if unpark.is_woken.swap(false, SeqCst) || is_lost {
            last_wake = Instant::now();
            all.retain_mut(|(task, deed, awaiting)| {
                let Poll::Ready(ended) = Pin::new(awaiting).poll(&mut Context::from_waker(&waker)) else { return true };
                tell(*task, *deed, awaited(*task, *deed, name, ended));
                false
            });
        } else {
            std::thread::park_timeout(slice);
        }
        if last_wake.elapsed() > WAKE && all.iter().any(|(_, _, awaiting)| awaiting.future().is_done()) && !is_lost {
            is_lost = true;
            complain("a task that is awaited is over, and nobody was woken");
        }
        all.is_empty().then_some(())
    });
    if all_over.is_none() {
        let end = if name.is_kept() { Event::Missing } else { Event::Unknown };
        all.into_iter().for_each(|(task, deed, _)| tell(task, deed, end));
    }
}

/// Of those nobody hears more: some are cancelled by it.
fn dropped_half_way(visit: &mut Visit<'_, '_>) {
    drawn(Feature::AwaitDropped);
    let (_, waker) = waker();
    for open in batch(visit) {
        let mut awaiting = open.future.into_future();
        if visit.by.random.below(4) != 0 {
            awaiting = awaiting.cancel_on_drop();
        }
        let event = match Pin::new(&mut awaiting).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(ended) => awaited(open.task, open.deed, Waited::In(visit.name), ended),
            Poll::Pending => Event::Released,
        };
        if visit.by.random.below(2) == 0 {
            std::thread::sleep(Duration::from_micros(visit.by.random.below(300)));
        }
        drop(awaiting);
        tell(open.task, open.deed, event);
    }
}

/// Whether a descriptor is readable, by `poll` or by `epoll`.
fn is_readable(fd: i32, limit: Duration, by_epoll: bool) -> bool {
    let ms = limit.as_millis() as i32;
    // SAFETY: live locals and descriptors; that of the epoll instance is closed here.
    unsafe {
        if by_epoll {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if epoll >= 0 {
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
                let added = libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) == 0;
                let found = added && libc::epoll_wait(epoll, &raw mut event, 1, ms) == 1;
                libc::close(epoll);
                return found;
            }
        }
        let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        libc::poll(&raw mut one, 1, ms) == 1
    }
}

/// They come out of a queue whose descriptor says that there is one.
fn queue(visit: &mut Visit<'_, '_>) {
    let queue = CompletionQueue::new();
    // The nemesis may have left no descriptor.
    let fd = queue.fd().map(|fd| fd.as_raw_fd());
    if fd.is_ok() {
        drawn(Feature::QueueFd);
    }
    let mut all: HashMap<u64, Open> = HashMap::new();
    for open in batch(visit) {
        match queue.add(&open.future, open.task) {
            Ok(()) => drop(all.insert(open.task, open)),
            Err(_) => visit.keep(open),
        }
    }
    let by_epoll = visit.by.random.below(2) == 0;
    let all_over = Patience::with(Waited::In(visit.name)).wait(|slice| {
        let next = match fd {
            Ok(fd) if !is_readable(fd, slice, by_epoll) => return None,
            Ok(_) => queue.next(Some(Duration::ZERO)),
            Err(_) => queue.next(Some(slice)),
        };
        match next {
            Ok(Some(task)) => {
                let Some(open) = all.remove(&task) else {
                    note(task, wrong(task, "it came out of the queue twice"));
                    return None;
                };
                visit.settle(&open, open.future.result_timeout(Duration::ZERO));
            }
            Err(Error::TimedOut { .. }) if fd.is_ok() => complain("a queue is readable and gives nothing"),
            _ => {}
        }
        all.is_empty().then_some(())
    });
    if all_over.is_none() && !all.is_empty() {
        all.into_values().for_each(|open| visit.keep(open));
    }
}

fn waited(visit: &mut Visit<'_, '_>) {
    drawn(Feature::WaitMany);
    let when = [When::FirstCompleted, When::FirstException, When::AllCompleted][visit.by.random.below(3) as usize];
    let mut all = batch(visit);
    let all_over = Patience::with(Waited::In(visit.name)).wait(|slice| {
        let Ok(found) = wait(all.iter().map(|open| &open.future), Some(slice), when) else { return Some(()) };
        if found.done.len() + found.not_done.len() != all.len() {
            complain("a wait has lost a future, or found one more");
        }
        for at in found.done.into_iter().rev() {
            let open = all.swap_remove(at);
            visit.settle(&open, open.future.result_timeout(Duration::ZERO));
        }
        all.is_empty().then_some(())
    });
    if all_over.is_none() || !all.is_empty() {
        all.into_iter().for_each(|open| visit.keep(open));
    }
}

fn by_completion(visit: &mut Visit<'_, '_>) {
    drawn(Feature::AsCompleted);
    let (mut all, mut futures) = (HashMap::new(), Vec::new());
    for open in batch(visit) {
        all.insert(open.future.id(), (open.task, open.deed));
        futures.push(open.future);
    }
    let name = Waited::In(visit.name);
    let mut rest = Some(futures);
    let _ = Patience::with(name).wait(|slice| {
        let mut completed = as_completed(rest.take().unwrap_or_default(), Some(slice));
        for future in completed.by_ref() {
            let Ok(future) = future else { break };
            match all.remove(&future.id()) {
                Some((task, deed)) => tell(task, deed, verdict(task, deed, name, future.result_timeout(Duration::ZERO))),
                None => complain("a future has completed twice"),
            }
        }
        let left = completed.into_rest();
        let is_over = left.is_empty();
        rest = Some(left);
        is_over.then_some(())
    });
    let end = if name.is_kept() { Event::Missing } else { Event::Unknown };
    all.into_values().for_each(|(task, deed)| tell(task, deed, end));
}

/// What is asked for without raising is what the result is.
fn exceptions(visit: &mut Visit<'_, '_>) {
    drawn(Feature::Exception);
    let patience = Patience::with(Waited::In(visit.name));
    for open in batch(visit) {
        let asked = patience.wait(|slice| match open.future.exception(Some(slice)) {
            Err(Error::TimedOut { .. }) => None,
            found => Some(found),
        });
        let ended = patience.result(&open.future);
        let agrees = match (&asked, &ended) {
            (Some(Ok(None)), Ok(_)) | (None, _) => true,
            (Some(Ok(Some(asked)) | Err(asked)), Err(ended)) => asked == ended,
            _ => false,
        };
        visit.settle(&open, ended);
        if !agrees {
            note(open.task, wrong(open.task, &format!("its exception is {asked:?}")));
        }
    }
}

/// A task that goes on until it is asked to stop, by its submitter or a time limit.
fn polite(visit: &mut Visit<'_, '_>, by_limit: bool) {
    let order = complete(visit.by.numbers(1), Deed::Poll, visit.name, &visit.plan);
    let mut options = visit.plan.once(false);
    if by_limit {
        options = options.soft_limit(Duration::from_millis(1 + visit.by.random.below(4)));
    }
    let submitted = Instant::now();
    let Some(mut open) = visit.launch(&options, false, order) else { return };
    drawn(if by_limit { Feature::SoftLimited } else { Feature::Polled });
    if !by_limit {
        while open.future.state() == taskring::State::Pending && submitted.elapsed() < SLICE {
            std::thread::sleep(Duration::from_micros(200));
        }
        if open.future.cancel() {
            return tell(open.task, open.deed, Event::Cancelled);
        }
    }
    open.asked = true;
    let in_time = submitted.elapsed() < crate::deeds::POLL / 2;
    let ended = Patience::with(Waited::Asked(visit.name)).result(&open.future);
    let unheard = !by_limit && in_time && ended.is_ok();
    if unheard {
        return note(open.task, wrong(open.task, "it was asked to stop, and did not hear of it"));
    }
    visit.settle(&open, ended);
}
