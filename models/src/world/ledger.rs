//! What happened to each task, kept outside of the model's memory, and the rules that it must fulfil.

use crate::outcome::{MAY_HAVE_RUN, RAN_RESULT_LOST, VALUE};
use crate::state::Phase;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// How a task ended, as its future says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Value(u64),
    MayHaveRun,
    RanResultLost,
    Cancelled,
}

impl Verdict {
    pub(crate) fn of(phase: Phase, outcome: u32, value: u64) -> Verdict {
        match (phase, outcome) {
            (Phase::Cancelled, _) => Verdict::Cancelled,
            (Phase::Done, VALUE) => Verdict::Value(value),
            (Phase::Done, MAY_HAVE_RUN) => Verdict::MayHaveRun,
            (Phase::Done, RAN_RESULT_LOST) => Verdict::RanResultLost,
            other => panic!("a finished slot with {other:?}"),
        }
    }
}

#[derive(Debug, Default)]
struct Story {
    attempts_max: u8,
    accepted: bool,
    cancelled: bool,
    condemned: bool,
    forsaken: bool,
    /// The attempts in which the function was entered.
    entered: Vec<u16>,
    verdicts: Vec<Verdict>,
}

/// One story for each task.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    stories: Mutex<BTreeMap<u16, Story>>,
}

/// What a task's function returns.
pub(crate) fn answer(task: u16) -> u64 {
    u64::from(task) * 1_000_003 + 7
}

impl Ledger {
    fn at(&self, task: u16, note: impl FnOnce(&mut Story)) {
        note(self.stories.lock().unwrap().entry(task).or_default());
    }
    /// A submit begins.
    pub(crate) fn begin(&self, task: u16, attempts_max: u8) {
        self.at(task, |story| story.attempts_max = attempts_max);
    }
    /// The submit has returned.
    pub(crate) fn accept(&self, task: u16) {
        self.at(task, |story| story.accepted = true);
    }
    /// Its submitter has died, or collects no more: it may have a verdict or not.
    pub(crate) fn forsake(&self, task: u16) {
        self.at(task, |story| story.forsaken = true);
    }
    pub(crate) fn forsake_all(&self, tasks: std::ops::Range<u16>) {
        self.stories.lock().unwrap().range_mut(tasks).for_each(|(_, story)| story.forsaken = true);
    }
    /// A cancel has returned true.
    pub(crate) fn cancel(&self, task: u16) {
        self.at(task, |story| story.cancelled = true);
    }
    /// Somebody was told that it ends as cancelled, though it runs.
    pub(crate) fn condemn(&self, task: u16) {
        self.at(task, |story| story.condemned = true);
    }
    pub(crate) fn enter(&self, task: u16, attempt: u16) {
        self.at(task, |story| {
            assert!(!story.entered.contains(&attempt), "task {task} is entered twice in attempt {attempt}");
            story.entered.push(attempt);
        });
    }
    pub(crate) fn verdict(&self, task: u16, verdict: Verdict) {
        self.at(task, |story| story.verdicts.push(verdict));
    }
    pub(crate) fn verdict_of(&self, task: u16) -> Option<Verdict> {
        self.stories.lock().unwrap().get(&task).and_then(|story| story.verdicts.first().copied())
    }
    pub(crate) fn was_entered(&self, task: u16) -> bool {
        self.stories.lock().unwrap().get(&task).is_some_and(|story| !story.entered.is_empty())
    }

    /// At the end: one verdict for each accepted task, and of a kind that fits what happened to it.
    pub(crate) fn check(&self) {
        for (task, story) in &*self.stories.lock().unwrap() {
            let tell = || format!("task {task}: {story:?}");
            let entered = story.entered.len();
            assert!(entered <= usize::from(story.attempts_max), "{}", tell());
            assert!(story.verdicts.len() <= 1, "{}", tell());
            assert!(!story.accepted || story.forsaken || story.verdicts.len() == 1, "{}", tell());
            // Cancelled while it waits: never entered, or (if it may run again) not in the attempt that it waited for.
            let waited = entered == 0 || entered < usize::from(story.attempts_max);
            assert!(!story.cancelled || waited, "{}", tell());
            let is_cancelled = matches!(story.verdicts.first(), None | Some(Verdict::Cancelled));
            assert!(!story.condemned || is_cancelled, "{}", tell());
            match story.verdicts.first() {
                Some(Verdict::Value(value)) => assert!(entered != 0 && *value == answer(*task), "{}", tell()),
                Some(Verdict::RanResultLost) => assert!(entered != 0, "{}", tell()),
                Some(Verdict::Cancelled) => assert!(waited || story.condemned, "{}", tell()),
                Some(Verdict::MayHaveRun) => {}
                None => assert!(story.forsaken || !story.accepted, "{}", tell()),
            }
        }
    }
}
