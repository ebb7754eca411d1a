//! Deaths at every point. Each scenario is an operation beside others that go on; its thread dies before its k-th access that others can see
//! (a store, a swap, a futex call), for every k until the operation ends before it comes to k. Then somebody reaps it with the library's
//! `recovery.rs`, and the end is checked: one verdict for each task, nothing left of the dead, and the pool takes fresh tasks in order.

mod reaps;

use super::*;
use crate::ledger::{Ledger, Verdict, answer};
use crate::life::Bit;
use crate::policy::{Orphans, Policy};
use crate::record::Kind;
use crate::registry::Member;
use crate::roles::{self, Worker, ask, ask_again, check_end};
use crate::segment::Segment;
use crate::sync::{checker, doomed};
use std::sync::atomic::AtomicBool;

/// Tasks of the last check have numbers from here.
const FRESH: u16 = 100;
/// Accesses of a submit until its task is pending: the mutex, eight fields, the state.
const UP_TO_THE_TAIL: u32 = 10;

/// Runs `scenario` for every k. It is told k, and says whether its victim died. Prints how many points that were, which are at least `points`.
pub(super) fn deaths(name: &str, preemptions: usize, points: u32, scenario: fn(u32) -> bool) {
    let mut runs = 0;
    for k in 0.. {
        let died = Arc::new(AtomicBool::new(false));
        let seen = died.clone();
        runs += explore(preemptions, move || {
            if scenario(k) {
                seen.store(true, Relaxed);
            }
        });
        if !died.load(Relaxed) {
            println!("deaths: {name}: {k} points, {runs} runs");
            assert!(k >= points, "{name}: only {k} points");
            return;
        }
    }
}

/// Who takes part.
pub(super) fn cast<const N: usize>(capacity: usize, kinds: [Kind; N], policy: Policy) -> [Member; N] {
    let segment = Segment::new(capacity, N, policy);
    let mut index = 0;
    kinds.map(|kind| {
        let member = Member::join(&segment, index, kind);
        index += 1;
        member
    })
}

pub(super) fn start<R: 'static>(member: &Member, body: impl FnOnce(Member) -> R + 'static) -> JoinHandle<R> {
    let member = member.clone();
    checker::thread::spawn(move || body(member))
}

/// A thread that dies at access `k` of `body`, or behind its end. Says whether it was before.
pub(super) fn victim(member: &Member, k: u32, body: impl FnOnce(Member) + 'static) -> JoinHandle<bool> {
    start(member, move |member| {
        let acting = member.clone();
        let died = doomed(k, u32::MAX, move || body(acting)).is_none();
        member.die();
        died
    })
}

/// Waits for the end of a victim that submits task 1, which may then be missing, and reaps it. Whether it died before the end of its body.
fn reap_submitter(victim: JoinHandle<bool>, submitter: &Member, reaper: &Member) -> bool {
    let died = victim.join().unwrap();
    ledger(reaper).forsake(1);
    assert!(reaper.reap_now(submitter.who()));
    died
}

fn ledger(member: &Member) -> &Ledger {
    &member.segment.ledger
}

/// The end of a scenario: what waits is run, and all is as at first.
fn end(worker: &Member, submitter: &Member, dead: &[&Member]) {
    let mut worker = Worker::new(worker.clone());
    worker.drain();
    submitter.segment.life().flags.fetch_and(!(Bit::Closing as u32 | Bit::Orphaned as u32), AcqRel);
    check_end(&mut worker, submitter, dead, FRESH);
}

use Kind::{Submitter, Worker as AWorker};

/// A worker that has looked at every slot before.
fn settled(member: &Member) -> Worker {
    Worker::settled(member.clone())
}

/// Takes one task, if there is one, and runs it.
fn take_one(mut worker: Worker) {
    if let Some(task) = worker.look() {
        worker.perform(task);
    }
}

/// Submits task 1 and has it claimed.
fn claimed(submitter: &Member, worker: &mut Worker, request: Request) -> (roles::Ticket, Task) {
    let ticket = submitter.submit(request).unwrap();
    (ticket, worker.look().unwrap())
}

/// A submit, beside a worker that takes what is published.
#[test]
fn in_a_submit() {
    deaths("submit, beside a claim", 2, 12, |k| {
        let [w, s, r] = cast(2, [AWorker, Submitter, Submitter], Policy::default());
        let worker = settled(&w);
        let worker = start(&w, |_| take_one(worker));
        let victim = victim(&s, k, |s| assert!(s.submit(ask(1)).is_some()));
        let died = reap_submitter(victim, &s, &r);
        worker.join().unwrap();
        end(&w, &r, &[&s]);
        died
    });
}

/// A submit of two, while another submitter waits for the lane, which takes it over or gets it from the reaper.
#[test]
fn with_the_lane() {
    deaths("submit of two, beside a submit", 2, 22, |k| {
        let [w, s, next, r] = cast(4, [AWorker, Submitter, Submitter, Submitter], Policy::default());
        let other = start(&next, |next| next.submit(ask(3)).unwrap());
        let victim = victim(&s, k, |s| assert_eq!(s.submit_all(&[ask(1), ask(2)]).len(), 2));
        let died = victim.join().unwrap();
        time_slice_ends(&r.segment.ring().head.mutex);
        ledger(&r).forsake(1);
        ledger(&r).forsake(2);
        assert!(r.reap_now(s.who()));
        let ticket = other.join().unwrap();
        Worker::new(w.clone()).drain();
        assert_eq!(next.collect(ticket), Verdict::Value(answer(3)));
        end(&w, &r, &[&s]);
        died
    });
}

/// The lane is taken over from one dead owner, and the next one dies in turn.
#[test]
fn in_a_takeover() {
    deaths("takeover of the lane and submit, beside a reaper", 2, 14, |k| {
        let [w, first, s, r] = cast(2, [AWorker, Submitter, Submitter, Submitter], Policy::default());
        let publishing = first.clone();
        // The first one has published, and has not stored the tail.
        assert_eq!(doomed(UP_TO_THE_TAIL, u32::MAX, move || publishing.submit(ask(1))), None);
        let ring = first.segment.ring();
        assert!(ring.slots[0].load().is(Phase::Pending) && ring.head.tail.load(crate::sync::Ordering::Relaxed) == 0);
        first.die();
        ledger(&r).forsake(1);
        ledger(&r).forsake(2);
        let victim = victim(&s, k, |s| assert!(s.submit(ask(2)).is_some()));
        time_slice_ends(&r.segment.ring().head.mutex);
        let reaped = r.reap_now(first.who());
        let died = victim.join().unwrap();
        assert!(reaped || r.reap_now(first.who()));
        assert!(r.reap_now(s.who()));
        end(&w, &r, &[&first, &s]);
        died
    });
}

/// Claiming, running and completing a task, while another worker takes one too.
#[test]
fn in_a_run() {
    deaths("claim, run and complete, beside a claim", 2, 7, |k| {
        let [w, dying, s] = cast(2, [AWorker, AWorker, Submitter], Policy::default());
        let (one, two) = (settled(&w), settled(&dying));
        let tickets = s.submit_all(&[ask(1), ask(2)]);
        let worker = start(&w, |_| take_one(one));
        let victim = victim(&dying, k, |_| take_one(two));
        let died = victim.join().unwrap();
        assert!(s.reap_now(dying.who()));
        worker.join().unwrap();
        Worker::new(w.clone()).drain();
        for ticket in tickets {
            s.collect(ticket);
        }
        end(&w, &s, &[&dying]);
        died
    });
}

/// The same with one task that may run again, and with a reaper that comes while the other worker looks.
#[test]
fn in_a_run_that_may_be_repeated() {
    deaths("run of a task that may run again, beside a claim", 2, 7, |k| {
        let [w, dying, s] = cast(1, [AWorker, AWorker, Submitter], Policy::default());
        let (one, two) = (settled(&w), settled(&dying));
        let ticket = s.submit(ask_again(1)).unwrap();
        let victim = victim(&dying, k, |_| take_one(two));
        let worker = start(&w, |_| take_one(one));
        let died = victim.join().unwrap();
        assert!(s.reap_now(dying.who()));
        worker.join().unwrap();
        Worker::new(w.clone()).drain();
        assert_eq!(s.collect(ticket), Verdict::Value(answer(1)));
        end(&w, &s, &[&dying]);
        died
    });
}

/// Putting a task back that has failed, and coming back to it, while another worker takes what there is.
#[test]
fn in_a_put_back() {
    deaths("put back and second attempt, beside a claim", 2, 8, |k| {
        let [w, dying, s] = cast(2, [AWorker, AWorker, Submitter], Policy::default());
        let (one, mut two) = (settled(&w), settled(&dying));
        let (ticket, task) = claimed(&s, &mut two, ask_again(1));
        let other = s.submit(ask(2)).unwrap();
        let victim = victim(&dying, k, move |_| two.fail_first(task));
        let worker = start(&w, |_| take_one(one));
        let died = victim.join().unwrap();
        assert!(s.reap_now(dying.who()));
        worker.join().unwrap();
        Worker::new(w.clone()).drain();
        s.collect(ticket);
        s.collect(other);
        end(&w, &s, &[&dying]);
        died
    });
}

/// Completing a task, while somebody sleeps until it ends: woken by the completion, or by the reaper with the verdict.
#[test]
fn in_a_completion() {
    deaths("run and complete, beside a wait", 2, 6, |k| {
        let [dying, w, s, r] = cast(1, [AWorker, AWorker, Submitter, Submitter], Policy::default());
        let mut one = settled(&dying);
        let (ticket, task) = claimed(&s, &mut one, ask(1));
        let waiter = start(&s, move |s| s.collect(ticket));
        let victim = victim(&dying, k, move |_| assert!(one.perform(task)));
        let died = victim.join().unwrap();
        assert!(r.reap_now(dying.who()));
        // Not entered: it is pending again, and runs here.
        Worker::new(w.clone()).drain();
        waiter.join().unwrap();
        end(&w, &r, &[&dying]);
        died
    });
}

/// A task is condemned while it runs, and its worker is killed at any point, before or after: it ends as cancelled when whoever condemned it was told so,
/// and else as at any death.
#[test]
fn in_a_run_that_is_condemned() {
    deaths("run and complete, beside a hard cancel", 2, 5, |k| in_a_condemned_run(k, ask(1)));
}

/// The same of a task that may run again, which a condemned one does not.
#[test]
fn in_a_repeatable_run_that_is_condemned() {
    deaths("run of a task that may run again, beside a hard cancel", 2, 5, |k| in_a_condemned_run(k, ask_again(1)));
}

fn in_a_condemned_run(k: u32, request: Request) -> bool {
    let [w, dying, s, killer] = cast(1, [AWorker, AWorker, Submitter, Submitter], Policy::default());
    let mut one = settled(&dying);
    let (ticket, task) = claimed(&s, &mut one, request);
    let killer = start(&killer, move |killer| killer.condemn(ticket));
    let victim = victim(&dying, k, move |_| {
        one.perform(task);
    });
    let died = victim.join().unwrap();
    // The signal may come before the flag: another death, at which the task is put back or has its verdict, unless it is condemned by then.
    assert!(s.reap_now(dying.who()));
    let condemned = killer.join().unwrap();
    Worker::new(w.clone()).drain();
    let verdict = s.collect(ticket);
    assert_eq!(condemned, verdict == Verdict::Cancelled);
    end(&w, &s, &[&dying]);
    died
}

/// Goes to sleep, and runs the task that turns up, if one does.
fn rest(mut worker: Worker) {
    if let Some(task) = worker.rest() {
        worker.perform(task);
    }
}

/// Going to sleep, being woken and running a task, while another worker sleeps: whatever was told to the dead one, the other one is told again.
#[test]
fn in_a_sleep() {
    deaths("sleep, wake and run, beside a submit", 2, 8, |k| {
        let [dying, w, s] = cast(1, [AWorker, AWorker, Submitter], Policy::default());
        let one = settled(&dying);
        let asleep = s.segment.sleepers().prepare(w.who().index());
        let victim = victim(&dying, k, |_| rest(one));
        let ticket = s.submit(ask(1)).unwrap();
        let has_woken = || s.segment.records()[w.who().index()].park.load(Relaxed) != asleep;
        let died = if has_woken() {
            // The other one has the task, and nobody else wakes the first.
            s.close();
            victim.join().unwrap()
        } else {
            victim.join().unwrap()
        };
        assert!(s.reap_now(dying.who()));
        assert!(has_woken(), "somebody sleeps on");
        Worker::new(w.clone()).drain();
        s.collect(ticket);
        end(&w, &s, &[&dying]);
        died
    });
}

/// Waking a worker: when the mark is taken and the waker dies, the wake comes from the reaper.
#[test]
fn in_a_wake() {
    deaths("submit and wake, beside a sleeper", 2, 15, |k| {
        let [w, s, r] = cast(1, [AWorker, Submitter, Submitter], Policy::default());
        let one = settled(&w);
        let sleeper = start(&w, |_| rest(one));
        let victim = victim(&s, k, |s| assert!(s.submit(ask(1)).is_some()));
        let died = reap_submitter(victim, &s, &r);
        // Never published, or already run.
        if r.segment.ring().slots[0].load().is(Phase::Free) {
            r.close();
        }
        sleeper.join().unwrap();
        end(&w, &r, &[&s]);
        died
    });
}

/// Cancelling a task, beside the worker that claims it; and its submitter waits for it.
#[test]
fn in_a_cancel() {
    deaths("cancel and collect, beside a claim", 2, 4, |k| {
        let [w, s, r] =
            cast(1, [AWorker, Submitter, Submitter], Policy { orphans: Orphans::CancelPending, ..Policy::default() });
        let one = settled(&w);
        let ticket = s.submit(ask(1)).unwrap();
        let worker = start(&w, |_| take_one(one));
        let victim = victim(&s, k, move |s| {
            s.cancel(ticket);
            s.collect(ticket);
        });
        let died = reap_submitter(victim, &s, &r);
        worker.join().unwrap();
        end(&w, &r, &[&s]);
        died
    });
}

/// Collecting a result, while another submitter looks for room.
#[test]
fn in_a_collect() {
    deaths("collect, beside a submit", 3, 1, |k| {
        let [w, s, next, r] = cast(1, [AWorker, Submitter, Submitter, Submitter], Policy::default());
        let mut one = settled(&w);
        let (ticket, task) = claimed(&s, &mut one, ask(1));
        one.perform(task);
        let other = start(&next, |next| next.submit(ask(2)));
        let victim = victim(&s, k, move |s| assert_eq!(s.collect(ticket), Verdict::Value(answer(1))));
        let died = reap_submitter(victim, &s, &r);
        let ticket = other.join().unwrap().unwrap_or_else(|| next.submit(ask(2)).expect("the slot was freed"));
        Worker::new(w.clone()).drain();
        assert_eq!(next.collect(ticket), Verdict::Value(answer(2)));
        end(&w, &r, &[&s]);
        died
    });
}

/// Letting go of a task, beside its completion.
#[test]
fn in_a_detach() {
    deaths("detach, beside a completion", 3, 1, |k| {
        let [w, s, r] = cast(1, [AWorker, Submitter, Submitter], Policy::default());
        let mut one = settled(&w);
        let (ticket, task) = claimed(&s, &mut one, ask(1));
        let worker = start(&w, move |_| assert!(one.perform(task)));
        let victim = victim(&s, k, move |s| s.detach(ticket));
        let died = reap_submitter(victim, &s, &r);
        worker.join().unwrap();
        end(&w, &r, &[&s]);
        died
    });
}

/// Discarding a set, while a worker takes one of its tasks.
#[test]
fn in_a_discard() {
    deaths("discard, beside a claim", 2, 2, |k| {
        let [w, s, other, r] = cast(2, [AWorker, Submitter, Submitter, Submitter], Policy::default());
        let set = s.segment.sets().open(s.who()).unwrap();
        let of_set = move |task| Request { set: set.0, ..ask(task) };
        let one = settled(&w);
        let tickets = other.submit_all(&[of_set(1), of_set(2)]);
        let worker = start(&w, |_| take_one(one));
        let victim = victim(&s, k, move |s| assert!(s.discard(set) <= 2));
        let died = victim.join().unwrap();
        let discarded = r.segment.sets().is_discarded(set);
        assert!(r.reap_now(s.who()));
        worker.join().unwrap();
        if discarded {
            let pending = |slot: &&Slot| slot.load().is(Phase::Pending);
            assert_eq!(r.segment.ring().slots.iter().filter(pending).count(), 0, "a discard is finished by the reaper");
        }
        Worker::new(w.clone()).drain();
        for ticket in tickets {
            other.collect(ticket);
        }
        assert!(r.segment.sets().open(r.who()).is_some(), "the dead owner's set is closed");
        end(&w, &r, &[&s]);
        died
    });
}

/// Submitting to a set, while another discards it.
#[test]
fn in_a_submit_to_a_set() {
    deaths("submit to a set, beside a discard", 2, 13, |k| {
        let [w, s, other] = cast(2, [AWorker, Submitter, Submitter], Policy::default());
        let set = other.segment.sets().open(other.who()).unwrap();
        let discarder = start(&other, move |other| assert!(other.discard(set) <= 1));
        let victim = victim(&s, k, move |s| assert!(s.submit(Request { set: set.0, ..ask(1) }).is_some()));
        let died = victim.join().unwrap();
        discarder.join().unwrap();
        ledger(&other).forsake(1);
        assert!(other.reap_now(s.who()));
        Worker::new(w.clone()).drain();
        assert!(!ledger(&other).was_entered(1), "started after the discard");
        end(&w, &other, &[&s]);
        died
    });
}

/// Two reapers of one death at a time, of which one dies.
#[test]
fn in_a_race_of_reapers() {
    deaths("reap of a worker, beside another reaper", 2, 25, |k| {
        let [w, first, r1, r2] = cast(1, [AWorker, AWorker, Submitter, Submitter], Policy::default());
        let mut worker = settled(&first);
        let (ticket, _) = claimed(&r2, &mut worker, ask(1));
        first.die();
        let dead = first.who();
        let victim = victim(&r1, k, move |r1| {
            r1.reap_now(dead);
        });
        let mine = r2.reap_now(dead);
        let died = victim.join().unwrap();
        assert!(mine || r2.reap_now(dead) || first.is_buried());
        assert!(r2.reap_now(r1.who()));
        Worker::new(w.clone()).drain();
        assert_eq!(r2.collect(ticket), Verdict::Value(answer(1)));
        end(&w, &r2, &[&first, &r1]);
        died
    });
}

/// Closing the pool, beside a worker that goes to sleep or leaves.
#[test]
fn in_a_close() {
    deaths("close, beside a sleeper", 2, 4, |k| {
        let [w, s, r] = cast(1, [AWorker, Submitter, Submitter], Policy::default());
        let one = settled(&w);
        let sleeper = start(&w, |_| rest(one));
        let victim = victim(&s, k, |s| s.close());
        let died = victim.join().unwrap();
        let closing = r.segment.has(Bit::Closing);
        assert!(r.reap_now(s.who()));
        if !closing {
            r.close();
        }
        sleeper.join().unwrap();
        end(&w, &r, &[&s]);
        died
    });
}
