//! A submitter that uses the C interface as a C program would: loans, completion queues, views of results.

use crate::deeds::{Deed, act, answer, told};
use crate::features::{Feature, drawn};
use crate::journal::{Event, note};
use crate::nested::tell;
use crate::options::Plan;
use crate::submit::{Submitter, judge_events};
use crate::verdicts::{is_fault, is_kept, wrong};
use crate::ways_in_c::{Calls, call_back, end_set, events, judge_calls, new_set, promises};
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use taskring::Payload;
use taskring::ffi::{self, TASKRING_INFINITE, taskring_completion, taskring_pool, taskring_status, taskring_status::*};

const SECOND_NS: u64 = 1_000_000_000;

struct Visit<'a> {
    dir: &'a std::path::Path,
    name: &'a str,
    plan: Plan,
    pool: *mut taskring_pool,
    function: u32,
    queue: *mut ffi::taskring_completions,
    /// Their tickets, and what they do.
    open: HashMap<u64, (u64, Deed)>,
    /// Of these the pool has said that they will not run.
    cancelled: HashSet<u64>,
    /// And of these that they end as cancelled, though they may have run.
    cancelled_hard: HashSet<u64>,
    /// What was called for whom.
    calls: Vec<Arc<Calls>>,
    set: *mut ffi::taskring_set,
}

/// False when there is no such pool just now.
pub fn visit(submitter: &mut Submitter<'_>, name: &str) -> bool {
    let text = CString::new(name).expect("a name");
    let mut pool = null_mut();
    // SAFETY: the text lives for the call, and the place is a live local.
    if unsafe { ffi::taskring_attach(text.as_ptr(), &raw mut pool) } != TASKRING_OK {
        return false;
    }
    let function = CString::new(act.name()).expect("a name");
    let mut visit = Visit {
        dir: submitter.dir,
        name,
        plan: Plan::of(name),
        pool,
        function: 0,
        queue: null_mut(),
        open: HashMap::new(),
        cancelled: HashSet::new(),
        cancelled_hard: HashSet::new(),
        calls: Vec::new(),
        set: new_set(pool),
    };
    // SAFETY: a living handle; the text and the places live for the calls.
    let ready = unsafe {
        ffi::taskring_function(pool, function.as_ptr(), &raw mut visit.function) == TASKRING_OK
            && ffi::taskring_completions_new(&raw mut visit.queue) == TASKRING_OK
    };
    if ready {
        for round in 0.. {
            if submitter.is_to_leave(name, round) || !visit.submit(submitter) {
                break;
            }
            match submitter.random.below(1024) {
                0 => promises(submitter),
                1..4 => {
                    end_set(visit.set);
                    visit.set = new_set(pool);
                }
                _ => {}
            }
            while visit.open.len() > 64 && visit.collect(60 * SECOND_NS) {}
        }
        while visit.collect(10 * SECOND_NS) {}
        judge_calls(&visit.calls, name);
    }
    end_set(visit.set);
    // SAFETY: handles of this visit, which nobody else uses; a queue that was not made is NULL, and refused.
    unsafe {
        let _ = ffi::taskring_completions_free(visit.queue);
        let _ = ffi::taskring_shutdown(pool, 0, 1);
        let _ = ffi::taskring_free(pool);
    }
    ready
}

impl Visit<'_> {
    /// False when the pool takes nothing more.
    fn submit(&mut self, submitter: &mut Submitter<'_>) -> bool {
        let order = submitter.next_order(self.name, &self.plan);
        let (task, deed) = (order.0, order.1);
        let mut args = Vec::new();
        order.encode(&mut args).expect("encoded");
        let way = submitter.random.below(8);
        let mut options = NO_OPTIONS;
        let may_repeat = self.repeating(submitter, deed, &mut options);
        if may_repeat {
            note(task, Event::Repeatable);
        }
        options.priority = submitter.random.below(3) as u32;
        if submitter.random.below(8) == 0 {
            options.set = self.set;
        }
        if matches!(deed, Deed::Nap(_)) && !self.plan.has_threads() && submitter.random.below(4) == 0 {
            drawn(Feature::LimitsInC);
            (options.soft_limit_ns, options.hard_limit_ns) = (1_000_000, 2_000_000);
        }
        tell(task, deed, Event::Intended);
        let mut ticket = 0;
        let status = if way < 4 {
            // SAFETY: a living handle; the arguments and the place live for the call.
            unsafe {
                let (bytes, len) = (args.as_ptr().cast(), args.len());
                ffi::taskring_submit(self.pool, self.function, bytes, len, &raw const options, &raw mut ticket)
            }
        } else {
            self.lend(&args, &options, way == 7, &mut ticket)
        };
        if status != TASKRING_OK {
            tell(task, deed, Event::Refused);
            return status == TASKRING_OUT_OF_MEMORY;
        }
        tell(task, deed, Event::Accepted);
        self.open.insert(task, (ticket, deed));
        // SAFETY: living handles.
        let added = unsafe { ffi::taskring_completions_add(self.queue, self.pool, ticket, task) };
        if added != TASKRING_OK {
            return self.end(task, TASKRING_INFINITE);
        }
        if submitter.random.below(128) == 0 {
            self.calls.extend(call_back(self.pool, ticket));
        }
        let mut cancelled = 0;
        if submitter.random.below(1024) == 0 {
            drawn(Feature::HardCancelInC);
            // SAFETY: a living handle and a live local.
            unsafe { ffi::taskring_cancel_hard(self.pool, ticket, &raw mut cancelled) };
            if cancelled == 1 {
                self.cancelled_hard.insert(task);
            }
            return true;
        }
        match submitter.random.below(64) {
            // Its completion comes all the same. SAFETY: a living handle and a live local.
            0 if unsafe { ffi::taskring_cancel(self.pool, ticket, &raw mut cancelled) } == TASKRING_OK && cancelled == 1 => {
                self.cancelled.insert(task);
            }
            // SAFETY: a living handle.
            1 if unsafe { ffi::taskring_release(self.pool, ticket) } == TASKRING_OK => {
                tell(task, deed, Event::Released);
                self.open.remove(&task);
            }
            _ => {}
        }
        true
    }

    /// Chooses whether a task may run twice, beside what the pool says.
    fn repeating(&self, submitter: &mut Submitter<'_>, deed: Deed, options: &mut ffi::taskring_options) -> bool {
        let is_nested = matches!(deed, Deed::Nest(..));
        match submitter.random.below(8) {
            0 if !is_nested => {
                options.flags = ffi::TASKRING_IDEMPOTENT;
                true
            }
            1 if !is_nested => {
                drawn(Feature::RetryInC);
                options.retry.attempts = 3;
                options.retry.on = ffi::TASKRING_RETRY_ERRORS | ffi::TASKRING_RETRY_PANICS;
                (options.retry.backoff_ns, options.retry.backoff_max_ns) = (1_000_000, 4_000_000);
                true
            }
            2..5 if !is_nested => self.plan.repeats(false),
            _ => {
                options.flags = ffi::TASKRING_NOT_IDEMPOTENT;
                options.retry.attempts = 1;
                false
            }
        }
    }

    /// Submits what lies in a loan; `twice`: after another was given back.
    fn lend(&self, args: &[u8], options: &ffi::taskring_options, twice: bool, ticket: &mut u64) -> taskring_status {
        let (mut loan, mut data) = (0, null_mut::<c_void>());
        // SAFETY: a living handle, and live locals; a loan has room for as many bytes as were asked for.
        unsafe {
            let mut status = ffi::taskring_loan(self.pool, args.len(), &raw mut loan, &raw mut data);
            if status == TASKRING_OK && twice {
                let _ = ffi::taskring_loan_return(self.pool, loan);
                status = ffi::taskring_loan(self.pool, args.len(), &raw mut loan, &raw mut data);
            }
            if status != TASKRING_OK {
                return status;
            }
            std::ptr::copy_nonoverlapping(args.as_ptr(), data.cast(), args.len());
            let len = args.len();
            let status = ffi::taskring_submit_loan(self.pool, self.function, loan, len, options, TASKRING_INFINITE, ticket);
            if status != TASKRING_OK {
                let _ = ffi::taskring_loan_return(self.pool, loan);
            }
            status
        }
    }

    /// Takes what is over; false when nothing is under way any more.
    fn collect(&mut self, timeout_ns: u64) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let empty = taskring_completion { pool: null_mut(), ticket: 0, user_data: 0, reserved: 0 };
        let (mut all, mut count) = ([empty; 32], 0);
        // SAFETY: a living handle, as many places as the call is told of, and a live local.
        let status =
            unsafe { ffi::taskring_completions_next(self.queue, timeout_ns, all.as_mut_ptr(), all.len(), &raw mut count) };
        if status == TASKRING_OK {
            for completion in &all[..count] {
                self.end(completion.user_data, 0);
            }
        } else {
            // Nothing came in time, or nothing is to come: each tells by itself what is the matter.
            let left: Vec<u64> = self.open.keys().copied().collect();
            left.into_iter().for_each(|task| assert!(self.end(task, 0)));
        }
        !self.open.is_empty()
    }

    /// Takes a task's outcome. Always true.
    fn end(&mut self, task: u64, timeout_ns: u64) -> bool {
        // Those that were released have completions too.
        let Some((ticket, deed)) = self.open.remove(&task) else { return true };
        let early = match deed {
            Deed::Tell(_) if task.is_multiple_of(8) => events(self.pool, ticket, task, 0),
            _ => Vec::new(),
        };
        let (mut data, mut len) = (null::<c_void>(), 0);
        // SAFETY: a living handle and live locals.
        let status = unsafe { ffi::taskring_view(self.pool, ticket, timeout_ns, &raw mut data, &raw mut len) };
        let event = match status {
            TASKRING_OK => {
                // SAFETY: the bytes are lent until the ticket is used up, which comes next.
                let value = number(unsafe { std::slice::from_raw_parts(data.cast(), len) });
                if value == answer(task) { Event::Value } else { wrong(task, &format!("{value}")) }
            }
            TASKRING_TASK_FAILED if last_error().ends_with(&told(task)) => Event::Failed,
            TASKRING_PANICKED if last_error().contains(&told(task)) => Event::Panicked,
            TASKRING_TASK_FAILED | TASKRING_PANICKED => wrong(task, &last_error()),
            // The message is too long for a slot, and the nemesis has taken the room for it.
            TASKRING_OUT_OF_MEMORY if deed == Deed::Panic => Event::Panicked,
            TASKRING_CANCELLED if self.cancelled_hard.contains(&task) => Event::LostMayHaveRun,
            TASKRING_CANCELLED => Event::Cancelled,
            TASKRING_TIME_LIMIT if matches!(deed, Deed::Nap(_)) => Event::LostMayHaveRun,
            TASKRING_WORKER_LOST => {
                let mut loss = ffi::taskring_loss::default();
                // SAFETY: a live local.
                assert_eq!(unsafe { ffi::taskring_last_loss(&raw mut loss) }, TASKRING_OK);
                if is_fault(loss.signal) && deed != Deed::Overflow {
                    wrong(task, &format!("{deed:?}: its worker {} died of signal {}", loss.pid, loss.signal))
                } else if loss.may_have_run == 1 {
                    Event::LostMayHaveRun
                } else {
                    Event::LostResult
                }
            }
            _ if !is_kept(self.dir, self.name) => Event::Unknown,
            _ => {
                eprintln!("task {task:#x} has no verdict: {}", last_error());
                Event::Missing
            }
        };
        if let Deed::Tell(count) = deed {
            drawn(Feature::EventsInC);
            let rest = events(self.pool, ticket, task, 0);
            judge_events(task, &[early, rest].concat(), if event == Event::Value { Some(count) } else { None });
        }
        if matches!(status, TASKRING_OK | TASKRING_TIMED_OUT) {
            // SAFETY: a living handle.
            let _ = unsafe { ffi::taskring_release(self.pool, ticket) };
        }
        let was_hard = self.cancelled_hard.remove(&task);
        let was_cancelled = self.cancelled.remove(&task) || was_hard;
        let event = match event {
            Event::Cancelled | Event::Unknown => event,
            Event::LostMayHaveRun if was_hard => event,
            _ if was_cancelled => wrong(task, &format!("was cancelled, and is {event:?}")),
            _ => event,
        };
        tell(task, deed, event);
        true
    }
}

const NO_OPTIONS: ffi::taskring_options = ffi::taskring_options {
    struct_size: size_of::<ffi::taskring_options>() as u32,
    flags: 0,
    attempts_max: 0,
    priority: 0,
    set: null_mut(),
    completions: null_mut(),
    user_data: 0,
    soft_limit_ns: 0,
    hard_limit_ns: 0,
    retry: ffi::taskring_retry { attempts: 0, on: 0, codes: 0, reserved: 0, backoff_ns: 0, backoff_max_ns: 0 },
};

/// As a worker in Rust encodes it: seven bits in each byte, the least first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

pub fn last_error() -> String {
    // SAFETY: the text is good until the next call of this thread.
    unsafe { CStr::from_ptr(ffi::taskring_last_error()) }.to_string_lossy().into_owned()
}
