//! Deaths of reapers: somebody died, and whoever reaps it dies in turn, at every point. The next reaper repeats what was done.

use super::*;
use crate::state::Step;

/// A worker that died in task 1 at note `step`, and its reaper, which dies too, while another worker looks for tasks.
fn in_a_reap_of_a_worker(k: u32, request: Request, step: Step, attempts_max: usize) -> bool {
    let [w, first, r1, r2] = cast(1, [AWorker, AWorker, Submitter, Submitter], Policy::default());
    let mut worker = settled(&first);
    let one = settled(&w);
    let (ticket, _) = claimed(&r2, &mut worker, request);
    let slot = &first.segment.ring().slots[0];
    if step != Step::None {
        slot.note(slot.progress().at(Step::Started));
        ledger(&first).enter(1, 0);
        slot.note(slot.progress().at(step));
    }
    first.die();
    let dead = first.who();
    let victim = victim(&r1, k, move |r1| assert!(r1.reap_now(dead)));
    let worker = start(&w, |_| take_one(one));
    let died = victim.join().unwrap();
    assert!(r2.reap_now(first.who()) || first.is_buried());
    assert!(r2.reap_now(r1.who()));
    worker.join().unwrap();
    Worker::new(w.clone()).drain();
    let verdict = r2.collect(ticket);
    let again = attempts_max > 1;
    match step {
        _ if again => assert_eq!(verdict, Verdict::Value(answer(1))),
        Step::None => assert_eq!(verdict, Verdict::Value(answer(1))),
        Step::Started => assert_eq!(verdict, Verdict::MayHaveRun),
        Step::Returned => assert_eq!(verdict, Verdict::RanResultLost),
    }
    end(&w, &r2, &[&first, &r1]);
    died
}

#[test]
fn in_a_reap_of_what_was_not_started() {
    deaths("reap: not started, beside a claim", 2, 25, |k| in_a_reap_of_a_worker(k, ask(1), Step::None, 1));
}

#[test]
fn in_a_reap_of_what_was_started() {
    deaths("reap: started, beside a claim", 2, 25, |k| in_a_reap_of_a_worker(k, ask(1), Step::Started, 1));
}

#[test]
fn in_a_reap_of_what_had_returned() {
    deaths("reap: returned, beside a claim", 2, 25, |k| in_a_reap_of_a_worker(k, ask(1), Step::Returned, 1));
}

#[test]
fn in_a_reap_of_what_may_run_again() {
    deaths("reap: may run again, beside a claim", 2, 25, |k| in_a_reap_of_a_worker(k, ask_again(1), Step::Started, 2));
}

/// The same with a task that was asked to stop in the attempt that its worker died in. That is no matter of the next one, whoever brings it about.
#[test]
fn in_a_reap_of_what_was_asked_and_may_run_again() {
    deaths("reap: asked to stop, may run again", 2, 25, |k| {
        let [w, first, r1, r2] = cast(1, [AWorker, AWorker, Submitter, Submitter], Policy::default());
        let mut worker = settled(&first);
        let (ticket, _) = claimed(&r2, &mut worker, ask_again(1));
        let slot = &first.segment.ring().slots[0];
        slot.note(slot.progress().at(Step::Started));
        ledger(&first).enter(1, 0);
        slot.ask_of(first.who(), ticket.generation).expect("it runs");
        first.die();
        let dead = first.who();
        let victim = victim(&r1, k, move |r1| assert!(r1.reap_now(dead)));
        let died = victim.join().unwrap();
        assert!(r2.reap_now(dead) || first.is_buried());
        assert!(r2.reap_now(r1.who()));
        Worker::new(w.clone()).drain();
        assert_eq!(r2.collect(ticket), Verdict::Value(answer(1)));
        end(&w, &r2, &[&first, &r1]);
        died
    });
}

/// The reaper of a worker whose task is condemned dies in turn, at any point, also while the task is condemned.
#[test]
fn in_a_reap_of_what_is_condemned() {
    deaths("reap, beside a hard cancel", 2, 20, |k| {
        let [w, first, r1, r2, killer] = cast(1, [AWorker, AWorker, Submitter, Submitter, Submitter], Policy::default());
        let mut worker = settled(&first);
        let (ticket, _) = claimed(&r2, &mut worker, ask_again(1));
        let slot = &first.segment.ring().slots[0];
        slot.note(slot.progress().at(Step::Started));
        ledger(&first).enter(1, 0);
        first.die();
        let dead = first.who();
        let victim = victim(&r1, k, move |r1| assert!(r1.reap_now(dead)));
        let killer = start(&killer, move |killer| killer.condemn(ticket));
        let died = victim.join().unwrap();
        assert!(r2.reap_now(dead) || first.is_buried());
        assert!(r2.reap_now(r1.who()));
        let condemned = killer.join().unwrap();
        Worker::new(w.clone()).drain();
        let verdict = r2.collect(ticket);
        assert_eq!(verdict, if condemned { Verdict::Cancelled } else { Verdict::Value(answer(1)) });
        end(&w, &r2, &[&first, &r1]);
        died
    });
}

/// A submitter that died with a task pending and one done, and its reaper dies too, while a worker takes the pending one.
#[test]
fn in_a_reap_of_a_submitter() {
    deaths("reap of a submitter, beside a claim", 1, 25, |k| {
        let policy = Policy { orphans: Orphans::CancelPending, ..Policy::default() };
        let [w, s, r1, r2] = cast(2, [AWorker, Submitter, Submitter, Submitter], policy);
        let mut one = settled(&w);
        claimed(&s, &mut one, ask(1));
        let two = settled(&w);
        s.submit(ask(2)).unwrap();
        one.perform(Task { lane: 0, claim: Claim { slot: 0, state: s.segment.ring().slots[0].load() } });
        s.die();
        let dead = s.who();
        ledger(&s).forsake(1);
        ledger(&s).forsake(2);
        let victim = victim(&r1, k, move |r1| assert!(r1.reap_now(dead)));
        let worker = start(&w, |_| take_one(two));
        let died = victim.join().unwrap();
        assert!(r2.reap_now(dead) || s.is_buried());
        assert!(r2.reap_now(r1.who()));
        worker.join().unwrap();
        end(&w, &r2, &[&s, &r1]);
        died
    });
}
