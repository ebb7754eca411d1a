//! A submitter in Rust: it visits one pool or the other, submits, and notes what becomes of its tasks.

use crate::deeds::{Deed, Order, Random, Told, act, event, order};
use crate::features::{Feature, drawn};
use crate::journal::{Event, note};
use crate::nested::{below, tell};
use crate::options::{Plan, look_from_outside};
use crate::verdicts::{MORTAL, Patience, SPARED, Waited, is_kept, pool_name, verdict, wrong};
use crate::{private, ways};
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, Priority, SubmitOptions, TaskSet};

/// Who submits: tasks numbered from its own range.
pub struct Submitter<'a> {
    pub dir: &'a Path,
    pub random: Random,
    pub next: u64,
    way: Deck,
    own_pool: Deck,
}

/// What comes in turn, from anywhere on and in any order, and by the clock: so that all of them come often, however slow everything else is.
struct Deck {
    sorts: u64,
    next: u64,
    step: u64,
    gap: Duration,
    last: Instant,
}

impl Deck {
    /// `sorts` is a prime, so every step comes to all of them.
    fn new(random: &mut Random, sorts: u64, gap: Duration) -> Deck {
        Deck { sorts, next: random.below(sorts), step: 1 + random.below(sorts - 1), gap, last: Instant::now() }
    }

    /// The next one, if it is time for it.
    fn draw(&mut self) -> Option<u64> {
        (self.last.elapsed() >= self.gap).then(|| self.take())
    }

    fn take(&mut self) -> u64 {
        self.next = (self.next + self.step) % self.sorts;
        self.next
    }

    /// The one that was drawn is done.
    fn rest(&mut self) {
        self.last = Instant::now();
    }
}

/// Between two ways, and between two pools of a submitter's own.
const WAYS_EACH: Duration = Duration::from_millis(30);
const OWN_POOLS_EACH: Duration = Duration::from_millis(400);

/// A task under way.
pub struct Open {
    pub task: u64,
    pub deed: Deed,
    pub asked: bool,
    pub future: Future<u64>,
}

/// A visit to a pool.
pub struct Visit<'v, 's> {
    pub by: &'v mut Submitter<'s>,
    pub pool: &'v Executor,
    pub name: &'v str,
    pub plan: Plan,
    open: VecDeque<Open>,
    set: Option<TaskSet>,
    /// The pool takes nothing more.
    pub is_over: bool,
}

pub fn any_pool(dir: &Path, random: &mut Random) -> String {
    pool_name(dir, if random.below(2) == 0 { SPARED } else { MORTAL })
}

pub fn is_to_stop(dir: &Path) -> bool {
    dir.join("stop").exists()
}

impl<'a> Submitter<'a> {
    /// `next`: behind which number its own begin.
    pub fn new(dir: &'a Path, mut random: Random, next: u64) -> Submitter<'a> {
        let way = Deck::new(&mut random, ways::SORTS, WAYS_EACH);
        let own_pool = Deck::new(&mut random, private::SORTS, OWN_POOLS_EACH);
        Submitter { dir, random, next, way, own_pool }
    }
}

impl Submitter<'_> {
    /// Submits until it is told to stop, in visits to one pool or the other. `in_c`: through the C interface, or else by turns if it is `None`.
    pub fn submit(&mut self, in_c: Option<bool>) {
        let mut visits = 0_u64;
        if in_c != Some(true) {
            let sort = self.own_pool.take();
            private::some(self, sort);
        }
        while !is_to_stop(self.dir) {
            let name = any_pool(self.dir, &mut self.random);
            visits += 1;
            let attached = if in_c.unwrap_or(visits.is_multiple_of(2)) {
                crate::work_in_c::visit(self, &name)
            } else {
                Executor::attach(&name).map(|pool| self.visit(&pool, &name)).is_ok()
            };
            if !attached {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Whether a visit is to end: the soak is over, the pool has lost its owner, or it has been long enough.
    pub fn is_to_leave(&mut self, name: &str, round: u64) -> bool {
        round % 256 == 255 && (is_to_stop(self.dir) || !is_kept(self.dir, name) || self.random.below(64) == 0)
    }

    /// So many numbers of its own: the first.
    pub fn numbers(&mut self, count: u64) -> u64 {
        let first = self.next + 1;
        self.next += count;
        first
    }

    pub fn next_order(&mut self, name: &str, plan: &Plan) -> Order {
        let order = order(&mut self.random, self.next + 1, name, plan);
        self.numbers(1 + below(order.1));
        order
    }

    fn visit(&mut self, pool: &Executor, name: &str) {
        let mut visit = Visit::new(self, pool, name);
        let mut round = 0;
        while !visit.is_over && !visit.by.is_to_leave(name, round) {
            if let Some(sort) = visit.by.own_pool.draw() {
                private::some(visit.by, sort);
                visit.by.own_pool.rest();
            }
            visit.turn();
            round += 1;
        }
        visit.end();
        let _ = pool.shutdown(false, true);
    }
}

impl<'v, 's> Visit<'v, 's> {
    pub fn new(by: &'v mut Submitter<'s>, pool: &'v Executor, name: &'v str) -> Visit<'v, 's> {
        let plan = Plan::of(name);
        look_from_outside(pool, &plan);
        let set = pool.task_set().ok();
        Visit { by, pool, name, plan, open: VecDeque::new(), set, is_over: false }
    }

    /// A task, or several in one of the ways.
    pub fn turn(&mut self) {
        match self.by.way.draw() {
            // A way may wait for long in a pool that has lost its owner.
            Some(_) if !is_kept(self.by.dir, self.name) => self.is_over = true,
            Some(sort) => {
                ways::some(self, sort);
                self.by.way.rest();
            }
            None => self.one(),
        }
        self.let_one_go();
        if self.by.random.below(4096) == 0 {
            // What this submitter has pending, which says so when it is collected.
            let _ = self.pool.purge();
            drawn(Feature::Purge);
        }
        if self.by.random.below(512) == 0 {
            self.set = self.set.take().filter(|set| set.discard().is_err()).or_else(|| self.pool.task_set().ok());
        }
        while self.open.len() > 64 {
            let patience = Patience::with(Waited::In(self.name));
            self.collect_first(&patience);
            self.is_over |= patience.is_over();
        }
    }

    /// Collects what is left.
    pub fn end(&mut self) {
        let patience = Patience::with(Waited::In(self.name));
        while !self.open.is_empty() {
            self.collect_first(&patience);
        }
    }
}

impl Visit<'_, '_> {
    /// Submits a task in the plainest way, to be collected later.
    fn one(&mut self) {
        let order = self.by.next_order(self.name, &self.plan);
        let deed = order.1;
        let (mut options, may_repeat) = self.options_for(deed);
        if let Some(set) = self.set.as_ref().filter(|_| self.by.random.below(8) == 0) {
            options = options.set(set);
        }
        let random = &mut self.by.random;
        if random.below(4) == 0 {
            options = options.priority(if random.below(2) == 0 { Priority::High } else { Priority::Low });
            drawn(Feature::Priority);
        }
        if random.below(256) == 0 {
            // The third is there at times.
            options = options.worker(random.below(3) as u32);
            drawn(Feature::ForWorker);
        }
        if matches!(deed, Deed::Nap(_)) && !self.plan.has_threads() && random.below(4) == 0 {
            options = options.soft_limit(Duration::from_millis(1)).hard_limit(Duration::from_millis(2));
        }
        let open = self.launch(&options, may_repeat, order);
        self.open.extend(open);
    }

    /// The options of a task, and whether it may run twice.
    pub fn options_for(&mut self, deed: Deed) -> (SubmitOptions, bool) {
        if matches!(deed, Deed::Nest(..) | Deed::Poll) {
            (self.plan.once(false), false)
        } else {
            self.plan.repeating(&mut self.by.random, false)
        }
    }

    /// Submits a task and notes it. `None` when it was refused.
    pub fn launch(&mut self, options: &SubmitOptions, may_repeat: bool, order: Order) -> Option<Open> {
        let (task, deed) = (order.0, order.1);
        if may_repeat {
            note(task, Event::Repeatable);
        }
        tell(task, deed, Event::Intended);
        match self.pool.submit_with(options, act, order) {
            Ok(future) => {
                tell(task, deed, Event::Accepted);
                Some(Open { task, deed, asked: false, future })
            }
            Err(e) => {
                tell(task, deed, Event::Refused);
                self.heed(&e);
                None
            }
        }
    }

    /// Whether the pool takes more after it has refused something.
    pub fn heed(&mut self, refusal: &Error) {
        let passes =
            matches!(refusal, Error::OutOfMemory { .. } | Error::Discarded | Error::InvalidArgument { name: "worker", .. });
        self.is_over |= !passes;
    }

    /// Keeps a task, to be collected when others have come.
    pub fn keep(&mut self, open: Open) {
        self.open.push_back(open);
    }

    /// Cancels a task now and then, and drops the future of another.
    fn let_one_go(&mut self) {
        let random = &mut self.by.random;
        match random.below(64) {
            0 if !self.open.is_empty() => {
                let at = random.below(self.open.len() as u64) as usize;
                if let Some(open) = self.open.get_mut(at) {
                    if open.future.cancel() {
                        tell(open.task, open.deed, Event::Cancelled);
                        drop(self.open.remove(at));
                    } else {
                        open.asked = true;
                    }
                }
            }
            2 if random.below(64) == 0 => {
                // Whether it ran before, nobody says.
                if self.open.back().is_some_and(|open| open.future.cancel_hard() == Ok(true))
                    && let Some(Open { task, deed, .. }) = self.open.pop_back()
                {
                    tell(task, deed, Event::LostMayHaveRun);
                }
            }
            1 => {
                if let Some(Open { task, deed, .. }) = self.open.pop_back() {
                    tell(task, deed, Event::Released);
                }
            }
            _ => {}
        }
    }

    fn collect_first(&mut self, patience: &Patience<'_>) {
        let Some(open) = self.open.pop_front() else { return };
        let Open { task, deed, ref future, .. } = open;
        // Before the result or behind it.
        let early = match deed {
            Deed::Tell(_) if task.is_multiple_of(8) => read_events(task, future, Duration::from_secs(2)),
            _ => Vec::new(),
        };
        if let Deed::Report(count) = deed {
            read_report(task, future, count);
        }
        let ended = patience.result(future);
        let event = self.settle(&open, ended);
        if let Deed::Tell(count) = deed {
            let rest = read_events(task, future, Duration::ZERO);
            judge_events(task, &[early, rest].concat(), if event == Event::Value { Some(count) } else { None });
        }
    }

    pub fn where_of(&self, open: &Open) -> Waited<'_> {
        if open.asked { Waited::Asked(self.name) } else { Waited::In(self.name) }
    }

    /// Notes the end of a task.
    pub fn settle(&self, open: &Open, ended: Result<u64, Error>) -> Event {
        let event = verdict(open.task, open.deed, self.where_of(open), ended);
        tell(open.task, open.deed, event);
        event
    }
}

/// What a task tells of its progress goes up to its end, and is its own.
fn read_report(task: u64, future: &Future<u64>, count: u8) {
    drawn(Feature::Reported);
    let is_over = future.is_done();
    let progress = future.progress();
    let reported = future.reported::<(u64, u32, u8)>();
    if progress.is_some_and(|found| found.done > found.total || found.total != count.into()) {
        note(task, wrong(task, &format!("its progress is {progress:?} of {count}")));
    }
    let fits = |(number, _, n): (u64, u32, u8)| number == task && (1..=count).contains(&n);
    match reported {
        Ok(found) if found.is_none_or(fits) => {}
        found => note(task, wrong(task, &format!("its report is {found:?}"))),
    }
    // One that has told of any has told of all, if it came to its end.
    if is_over
        && future.exception(Some(Duration::ZERO)) == Ok(None)
        && progress.is_some_and(|found| found.done != count.into())
    {
        note(task, wrong(task, &format!("its progress ended with {progress:?} of {count}")));
    }
}

/// The events of a task, up to its end or the time.
fn read_events(task: u64, future: &Future<u64>, limit: Duration) -> Vec<Told> {
    let (mut events, end, mut all) = (future.events::<Told>(), Instant::now() + limit, Vec::new());
    loop {
        match events.next_timeout(end.saturating_duration_since(Instant::now())) {
            Some(Ok(told)) => all.push(told),
            Some(Err(Error::Decode { message })) => note(task, wrong(task, &format!("an event is torn: {message}"))),
            // What is wrong with the pool its result tells.
            Some(Err(_)) | None => return all,
        }
    }
}

/// Events come whole and in order: of each attempt from the first one on, and of one that has ended all that it was to send, or none for want of room.
pub fn judge_events(task: u64, all: &[Told], whole: Option<u8>) {
    let mut next = (0, 0);
    for told in all {
        next = if told.0 > next.0 { (told.0, 0) } else { next };
        if *told != event(task, next.0, next.1) {
            return note(task, wrong(task, &format!("its events are {all:?}")));
        }
        next.1 += 1;
    }
    let last = all.iter().filter(|told| told.0 == next.0).count();
    if whole.is_some_and(|whole| last != 0 && last != usize::from(whole)) {
        note(task, wrong(task, &format!("{last} of its events came instead of {whole:?}")));
    }
}
