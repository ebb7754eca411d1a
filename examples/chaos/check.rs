//! The checker: one pass over all journals, in time linear in their length, then one over the tasks. Tasks know nothing of each other, so each is
//! judged by itself; what a kill has cut off counts as unknown.

use crate::journal::{Event, read_all};
use std::collections::HashMap;
use std::path::Path;

/// What became of a task, as a set of facts.
#[derive(Clone, Copy, Default)]
struct Fate {
    entered: u8,
    verdicts: u8,
    verdict: u8,
    intended: bool,
    accepted: bool,
    refused: bool,
    released: bool,
}

#[derive(Debug, Default)]
pub struct Found {
    pub tasks: u64,
    pub verdicts: u64,
    pub lost: u64,
    pub unknown: u64,
    pub violations: Vec<String>,
}

/// Judges every task. `last` are the submitters that were not killed, by the part of their tasks' numbers, with nothing under way at their end.
pub fn check(dir: &Path, ended_well: &[u64]) -> Found {
    let mut fates: HashMap<u64, Vec<Fate>> = HashMap::new();
    read_all(dir, |task, event| {
        let of_submitter = fates.entry(task >> 32).or_default();
        let serial = (task & 0xffff_ffff) as usize;
        if of_submitter.len() <= serial {
            of_submitter.resize(serial + 1024, Fate::default());
        }
        let fate = &mut of_submitter[serial];
        match event {
            Event::Intended => fate.intended = true,
            Event::Accepted => fate.accepted = true,
            Event::Refused => fate.refused = true,
            Event::Released => fate.released = true,
            Event::Entered => fate.entered = fate.entered.saturating_add(1),
            verdict => {
                fate.verdicts = fate.verdicts.saturating_add(1);
                fate.verdict = verdict as u8;
            }
        }
    });
    let mut found = Found::default();
    for (submitter, fates) in fates {
        let ended_well = ended_well.contains(&submitter);
        for (serial, fate) in fates.iter().enumerate() {
            let nothing = !fate.intended && fate.entered == 0 && fate.verdicts == 0;
            if !nothing {
                judge(submitter << 32 | serial as u64, fate, ended_well, &mut found);
            }
        }
    }
    found
}

fn judge(task: u64, fate: &Fate, submitter_ended_well: bool, found: &mut Found) {
    let verdict = Event::from_byte(fate.verdict).filter(|_| fate.verdicts != 0);
    found.tasks += u64::from(fate.accepted);
    found.verdicts += u64::from(fate.verdicts);
    found.lost += u64::from(matches!(verdict, Some(Event::LostMayHaveRun | Event::LostResult)));
    found.unknown += u64::from(verdict == Some(Event::Unknown));
    let mut wrong = |what: &str| {
        if found.violations.len() < 100 {
            found.violations.push(format!("task {task:#x}: {what} (entered {}, verdict {verdict:?})", fate.entered));
        }
    };
    if !fate.intended {
        wrong("ran, and nobody had submitted it");
    }
    if fate.entered > 1 {
        wrong("ran more than once");
    }
    if fate.refused && fate.entered != 0 {
        wrong("was refused, and ran");
    }
    if fate.verdicts > 1 {
        wrong("has more than one verdict");
    }
    match verdict {
        Some(Event::Value | Event::Failed | Event::Panicked | Event::LostResult) if fate.entered != 1 => {
            wrong("ended without having run")
        }
        Some(Event::Cancelled) if fate.entered != 0 => wrong("was cancelled, and ran"),
        Some(Event::Missing) => wrong("has no verdict"),
        None if fate.accepted && !fate.released && submitter_ended_well => wrong("was forgotten"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the checker says of one task with these events, in journals of one record each.
    fn said(events: &[Event], submitter_ended_well: bool) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let task = 7_u64 << 32 | 5;
        for (i, event) in events.iter().enumerate() {
            let record = [task.to_le_bytes(), (*event as u64).to_le_bytes()].concat();
            std::fs::write(dir.path().join(format!("journal.{i}.0")), record).unwrap();
        }
        let ended_well = if submitter_ended_well { vec![7] } else { Vec::new() };
        check(dir.path(), &ended_well).violations
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
        // The submitter was killed: before the submit, in it, or before it collected.
        assert_eq!(said(&[Intended], false), [""; 0]);
        assert_eq!(said(&[Intended, Entered], false), [""; 0]);
        assert_eq!(said(&[Intended, Accepted, Entered], false), [""; 0]);
    }

    #[test]
    fn bad_fates_are_found() {
        use Event::*;
        let bad: &[(&[Event], bool, &str)] = &[
            (&[Entered], false, "nobody had submitted"),
            (&[Intended, Accepted, Entered, Entered, Value], true, "more than once"),
            (&[Intended, Refused, Entered], true, "was refused, and ran"),
            (&[Intended, Accepted, Entered, Value, Cancelled], true, "more than one verdict"),
            (&[Intended, Accepted, Value], true, "without having run"),
            (&[Intended, Accepted, Entered, Cancelled], true, "was cancelled, and ran"),
            (&[Intended, Accepted, Entered, Missing], true, "has no verdict"),
            (&[Intended, Accepted, Entered], true, "was forgotten"),
        ];
        for (events, ended_well, what) in bad {
            let said = said(events, *ended_well);
            assert!(said.iter().any(|text| text.contains(what)), "{events:?}: {said:?}");
        }
    }
}
