//! The checker: it follows the journals and judges each task by itself, for tasks know nothing of each other; what a kill has cut off counts as
//! unknown. A task that is over, or whose submitter is, is judged once it has rested for a while, and forgotten but for the fact that nothing may
//! be heard of it again: so the checker's memory does not grow with the soak.

use crate::features::FEATURES;
use crate::journal::{DEEDS, Entry, Event, NOBODY, Reader};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What became of a task, as a set of facts in thirty-two bits.
#[derive(Clone, Copy, Default)]
struct Fate(u32);

const INTENDED: u32 = 1;
const ACCEPTED: u32 = 2;
const REFUSED: u32 = 4;
const RELEASED: u32 = 8;
const REPEATABLE: u32 = 16;
/// One attempt was entered more than once.
const TWICE: u32 = 32;
/// Two bits: no verdict, one, more than one.
const VERDICTS: u32 = 6;
/// Four bits: the first verdict.
const VERDICT: u32 = 8;
/// Sixteen bits: which attempts were entered.
const ATTEMPTS: u32 = 16;

impl Fate {
    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
    fn verdicts(self) -> u32 {
        self.0 >> VERDICTS & 3
    }
    /// Nobody has told of it, or a submitter that was killed before it said that it would submit it.
    fn is_nothing(self, submitter_ended_well: bool) -> bool {
        self.0 & !(if submitter_ended_well { 0 } else { REPEATABLE }) == 0
    }
    fn entered(self) -> u32 {
        (self.0 >> ATTEMPTS).count_ones()
    }
    fn verdict(self) -> Option<Event> {
        Event::from_byte((self.0 >> VERDICT & 15) as u8)
    }
    /// Nothing more will be heard of it.
    fn is_over(self) -> bool {
        self.0 == 0 || self.has(REFUSED | RELEASED) || self.verdict().is_some()
    }
    fn add(&mut self, entry: Entry) {
        match entry.event {
            Event::Intended => self.0 |= INTENDED,
            Event::Accepted => self.0 |= ACCEPTED,
            Event::Refused => self.0 |= REFUSED,
            Event::Released => self.0 |= RELEASED,
            Event::Repeatable => self.0 |= REPEATABLE,
            // No task's.
            Event::Drawn => {}
            Event::Entered => {
                let attempt = 1 << ATTEMPTS << entry.attempt.min(15);
                self.0 |= if self.has(attempt) { TWICE } else { attempt };
            }
            verdict => {
                if self.verdict().is_none() {
                    self.0 |= (verdict as u32) << VERDICT;
                }
                if self.verdicts() < 2 {
                    self.0 += 1 << VERDICTS;
                }
            }
        }
    }
}

#[derive(Debug)]
pub struct Found {
    pub tasks: u64,
    pub verdicts: u64,
    pub lost: u64,
    pub unknown: u64,
    /// Tasks that ran again after a worker's death.
    pub again: u64,
    /// How often each deed was begun.
    pub deeds: [u64; DEEDS.len()],
    /// How often each feature was used.
    pub features: [u64; FEATURES.len()],
    pub violations: u64,
    /// The first of them.
    pub texts: Vec<String>,
}

impl Default for Found {
    fn default() -> Found {
        let (deeds, features) = ([0; DEEDS.len()], [0; FEATURES.len()]);
        let texts = Vec::new();
        Found { tasks: 0, verdicts: 0, lost: 0, unknown: 0, again: 0, deeds, features, violations: 0, texts }
    }
}

/// The tasks of one submitter that are not judged yet.
#[derive(Default)]
struct Open {
    /// The serial number of the first.
    base: usize,
    fates: VecDeque<Fate>,
    /// Up to which serial number there were tasks at what time.
    heights: VecDeque<(Instant, usize)>,
    ended: Option<bool>,
}

pub struct Checker {
    dir: PathBuf,
    /// How long a task rests before it is judged.
    rest: Duration,
    reader: Reader,
    submitters: HashMap<u64, Open>,
    /// Submitters all of whose tasks are judged.
    closed: HashSet<u64>,
    pub found: Found,
}

impl Checker {
    pub fn new(dir: &Path, rest: Duration) -> Checker {
        Checker {
            dir: dir.into(),
            rest,
            reader: Reader::default(),
            submitters: HashMap::new(),
            closed: HashSet::new(),
            found: Found::default(),
        }
    }

    /// A submitter is over; `well` if it came to its end by itself, with nothing under way.
    pub fn submitter_ended(&mut self, submitter: u64, well: bool) {
        self.submitters.entry(submitter).or_default().ended = Some(well);
    }

    /// Reads on, and judges what has rested.
    pub fn follow(&mut self) {
        self.read(false);
        let now = Instant::now();
        for (submitter, open) in &mut self.submitters {
            if open.ended.is_none() || !open.fates.is_empty() {
                open.heights.push_back((now, open.base + open.fates.len()));
            }
            while let Some(&(_, height)) = open.heights.front().filter(|(then, _)| now - *then >= self.rest) {
                if !open.judge_up_to(height, *submitter, &mut self.found) {
                    break;
                }
                open.heights.pop_front();
            }
        }
        let closed = &mut self.closed;
        self.submitters.retain(|submitter, open| {
            let is_closed = open.ended.is_some() && open.fates.is_empty() && open.heights.is_empty();
            is_closed.then(|| closed.insert(*submitter));
            !is_closed
        });
    }

    /// Judges all that is left. Nobody writes any more.
    pub fn finish(&mut self) -> &Found {
        self.read(true);
        for (submitter, open) in &mut self.submitters {
            open.ended.get_or_insert(false);
            open.judge_up_to(open.base + open.fates.len(), *submitter, &mut self.found);
        }
        &self.found
    }

    fn read(&mut self, is_over: bool) {
        let (submitters, closed, found) = (&mut self.submitters, &self.closed, &mut self.found);
        self.reader.read(&self.dir, is_over, |task, entry| {
            if task == NOBODY {
                return found.hear(entry);
            }
            let (submitter, serial) = (task >> 32, (task & 0xffff_ffff) as usize);
            if let (Event::Entered, Some(count)) = (entry.event, found.deeds.get_mut(entry.deed as usize)) {
                *count += 1;
            }
            let late = || format!("is over, and long after there is {:?}", entry.event);
            if closed.contains(&submitter) {
                return found.add(task, &late());
            }
            let open = submitters.entry(submitter).or_default();
            let Some(at) = serial.checked_sub(open.base) else { return found.add(task, &late()) };
            if open.fates.len() <= at {
                open.fates.resize(at + 1, Fate::default());
            }
            open.fates[at].add(entry);
        });
    }
}

impl Open {
    /// False when it had to stop before, at a task that goes on.
    fn judge_up_to(&mut self, height: usize, submitter: u64, found: &mut Found) -> bool {
        while self.base < height {
            let Some(&fate) = self.fates.front() else { return true };
            if !fate.is_over() && self.ended.is_none() {
                return false;
            }
            let ended_well = self.ended == Some(true);
            if !fate.is_nothing(ended_well) {
                found.judge(submitter << 32 | self.base as u64, fate, ended_well);
            }
            self.fates.pop_front();
            self.base += 1;
        }
        true
    }
}

impl Found {
    /// What belongs to no task.
    fn hear(&mut self, entry: Entry) {
        match (entry.event, self.features.get_mut(entry.deed as usize)) {
            (Event::Drawn, Some(count)) => *count += 1,
            _ => self.add(NOBODY, "something is wrong that belongs to no task"),
        }
    }

    fn add(&mut self, task: u64, what: &str) {
        self.violations += 1;
        if self.texts.len() < 100 {
            let text = format!("task {task:#x}: {what}");
            println!("VIOLATION {text}");
            self.texts.push(text);
        }
    }

    fn judge(&mut self, task: u64, fate: Fate, submitter_ended_well: bool) {
        let (entered, verdict) = (fate.entered(), fate.verdict());
        self.tasks += u64::from(fate.has(ACCEPTED));
        self.again += u64::from(entered > 1);
        self.verdicts += u64::from(fate.verdicts());
        self.lost += u64::from(matches!(verdict, Some(Event::LostMayHaveRun | Event::LostResult)));
        self.unknown += u64::from(verdict == Some(Event::Unknown));
        let mut wrong = |what: &str| self.add(task, &format!("{what} (entered {entered}, verdict {verdict:?})"));
        if !fate.has(INTENDED) {
            wrong("is told of, and nobody had submitted it");
        }
        if fate.has(TWICE) || entered > 1 && !fate.has(REPEATABLE) {
            wrong("ran more than once");
        }
        if fate.has(REFUSED) && entered != 0 {
            wrong("was refused, and ran");
        }
        if fate.verdicts() > 1 {
            wrong("has more than one verdict");
        }
        match verdict {
            Some(Event::Value | Event::Failed | Event::Panicked | Event::LostResult) if entered == 0 => {
                wrong("ended without having run")
            }
            // One that may run again may be cancelled in between.
            Some(Event::Cancelled) if entered != 0 && !fate.has(REPEATABLE) => wrong("was cancelled, and ran"),
            Some(Event::Missing) => wrong("has no verdict"),
            Some(Event::Wrong) => wrong("ended as it cannot"),
            None if fate.has(ACCEPTED) && !fate.has(RELEASED) && submitter_ended_well => wrong("was forgotten"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of these records of one task.
    fn write(dir: &Path, name: &str, serial: u64, events: &[Event]) {
        let record = |event: &Event| [(7_u64 << 32 | serial).to_le_bytes(), (*event as u64).to_le_bytes()].concat();
        std::fs::write(dir.join(name), events.iter().flat_map(record).collect::<Vec<u8>>()).unwrap();
    }

    /// What the checker says of one task with these events, in journals of one record each, read at once or as they come.
    fn said(events: &[Event], submitter_ended_well: bool) -> Vec<String> {
        let at_once = tempfile::tempdir().unwrap();
        let bit_by_bit = tempfile::tempdir().unwrap();
        let mut following = Checker::new(bit_by_bit.path(), Duration::ZERO);
        for (i, event) in events.iter().enumerate() {
            // No process has this number.
            write(at_once.path(), &format!("journal.99999999.{i}"), 5, &[*event]);
            write(bit_by_bit.path(), &format!("journal.99999999.{i}"), 5, &[*event]);
            following.read(false);
        }
        let mut checker = Checker::new(at_once.path(), Duration::ZERO);
        for checker in [&mut following, &mut checker] {
            checker.submitter_ended(7, submitter_ended_well);
            checker.finish();
        }
        // Which of two verdicts counts as the first depends on the order of the files; that something is wrong does not.
        assert_eq!(following.found.texts.is_empty(), checker.found.texts.is_empty());
        assert_eq!(std::fs::read_dir(at_once.path()).unwrap().count(), 0, "journals of the dead go when they are read");
        checker.found.texts.clone()
    }

    #[test]
    fn good_fates_pass() {
        use Event::*;
        for end in [Value, Failed, Panicked, LostResult] {
            assert_eq!(said(&[Intended, Accepted, Entered, end], true), [""; 0]);
        }
        assert_eq!(said(&[Intended, Accepted, Cancelled], true), [""; 0]);
        assert_eq!(said(&[Intended, Accepted, LostMayHaveRun], true), [""; 0]);
        assert_eq!(said(&[Intended, Accepted, Entered, LostMayHaveRun], true), [""; 0]);
        assert_eq!(said(&[Intended, Accepted, Released], true), [""; 0]);
        assert_eq!(said(&[Intended, Refused], true), [""; 0]);
        assert_eq!(said(&[Repeatable, Intended, Accepted, Entered, LostMayHaveRun], true), [""; 0]);
        assert_eq!(said(&[Repeatable, Intended, Accepted, Entered, Cancelled], true), [""; 0]);
        // The submitter was killed: before the submit, in it, or before it collected.
        assert_eq!(said(&[Repeatable], false), [""; 0]);
        assert_eq!(said(&[Intended], false), [""; 0]);
        assert_eq!(said(&[Intended, Entered], false), [""; 0]);
        assert_eq!(said(&[Intended, Accepted, Entered], false), [""; 0]);
    }

    #[test]
    fn bad_fates_are_found() {
        use Event::*;
        let bad: &[(&[Event], bool, &str)] = &[
            (&[Entered], false, "nobody had submitted"),
            (&[Repeatable, Entered], false, "nobody had submitted"),
            (&[Repeatable], true, "nobody had submitted"),
            (&[Intended, Accepted, Entered, Entered, Value], true, "more than once"),
            (&[Intended, Refused, Entered], true, "was refused, and ran"),
            (&[Intended, Accepted, Entered, Value, Cancelled], true, "more than one verdict"),
            (&[Intended, Accepted, Value], true, "without having run"),
            (&[Intended, Accepted, Entered, Cancelled], true, "was cancelled, and ran"),
            (&[Intended, Accepted, Entered, Missing], true, "has no verdict"),
            (&[Intended, Accepted, Entered], true, "was forgotten"),
            (&[Intended, Accepted, Entered, Wrong], true, "ended as it cannot"),
            (&[Repeatable, Intended, Accepted, Entered, Entered, Value], true, "more than once"),
        ];
        for (events, ended_well, what) in bad {
            let said = said(events, *ended_well);
            assert!(said.iter().any(|text| text.contains(what)), "{events:?}: {said:?}");
        }
    }

    #[test]
    fn who_may_run_again_does_once_in_each_attempt() {
        let entered = |attempt| Entry { event: Event::Entered, attempt, deed: 0 };
        for (repeatable, attempts, is_good) in
            [(true, [0, 1].as_slice(), true), (true, &[0, 1, 1], false), (false, &[0, 1], false), (false, &[1], true)]
        {
            let (mut fate, mut found) = (Fate::default(), Found::default());
            let before = [Event::Repeatable, Event::Intended, Event::Accepted].map(Entry::from);
            before.into_iter().skip(usize::from(!repeatable)).for_each(|entry| fate.add(entry));
            attempts.iter().for_each(|&attempt| fate.add(entered(attempt)));
            fate.add(Event::Value.into());
            found.judge(1, fate, true);
            assert_eq!(found.violations == 0, is_good, "{repeatable} {attempts:?}: {:?}", found.texts);
        }
    }

    #[test]
    fn what_belongs_to_no_task_is_counted_or_a_violation() {
        let mut found = Found::default();
        let drawn = |deed| Entry { event: Event::Drawn, attempt: 0, deed };
        found.hear(drawn(1));
        assert_eq!((found.features[1], found.violations), (1, 0));
        found.hear(drawn(u8::MAX));
        found.hear(Event::Wrong.into());
        assert_eq!(found.violations, 2, "{:?}", found.texts);
    }

    #[test]
    fn what_is_over_is_forgotten_and_must_stay_over() {
        use Event::*;
        let dir = tempfile::tempdir().unwrap();
        let mut checker = Checker::new(dir.path(), Duration::ZERO);
        for serial in 0..1000 {
            write(dir.path(), &format!("journal.99999999.{serial}"), serial, &[Intended, Accepted, Entered, Value]);
        }
        write(dir.path(), "journal.99999999.1000", 1000, &[Intended, Accepted]);
        checker.follow();
        assert_eq!((checker.found.tasks, checker.submitters[&7].fates.len()), (1000, 1), "the last one goes on");
        write(dir.path(), "journal.99999999.1001", 3, &[Entered]);
        write(dir.path(), "journal.99999999.1002", 1000, &[Entered, Value]);
        checker.submitter_ended(7, true);
        checker.finish();
        assert_eq!((checker.found.tasks, checker.found.violations), (1001, 1), "{:?}", checker.found.texts);
        assert!(checker.found.texts[0].contains("long after"));
    }
}
