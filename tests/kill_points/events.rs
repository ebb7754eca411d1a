//! Events: who sends them dies, who reads them, and who recovers what either has left.

use crate::board::{Note, note, note_at, place};
use crate::operations::{attach, finished, hold, pass_mark};
use crate::oracle;
use crate::process_support::common::{SOON, wait_until};
use crate::trace::{begin_window, end_window};
use std::time::{Duration, Instant};
use taskring::{Error, Future, task};

taskring::task! {
    /// As `mark`, and sends events on both sides of the window's end: the first one takes the block for them.
    pub fn sends(board: String, id: u64) -> Vec<u8> {
        note_at(&board, id, Note::Entered);
        send(1);
        pass_mark();
        send(2);
        send(3);
        vec![id as u8]
    }
    /// Sends one in each attempt, and is held.
    pub fn sends_and_holds(board: String, id: u64) -> Result<u64, taskring::TaskError> {
        task::send_event(&task::attempt())?;
        hold.call((board, id))
    }
}

/// How long an event is.
const LEN: usize = 60;

fn send(n: u8) {
    task::send_event(&vec![n; LEN]).expect("there is room for a few");
}

/// What is wrong with the events of a task that is over: those that were sent come whole, in order and from the first on, and of a task that has ended all.
pub fn wrong_events(first: bool, task: &Future<Vec<u8>>, is_whole: impl FnOnce(&Future<Vec<u8>>) -> bool) -> Option<String> {
    let start = Instant::now();
    while !task.is_done() && start.elapsed() < 2 * oracle::LIMIT {
        std::thread::sleep(Duration::from_micros(100));
    }
    let events: Result<Vec<Vec<u8>>, Error> = std::iter::from_fn(|| task.next_event().transpose()).collect();
    let sent = |n: &Vec<Vec<u8>>| n.iter().zip(1..).all(|(event, n)| *event == vec![n; LEN]);
    let is_right = match &events {
        Ok(events) => {
            // The first of two has sent one before its window.
            let least = if is_whole(task) { 3 } else { usize::from(first) };
            (least..=3).contains(&events.len()) && sent(events)
        }
        Err(_) => false,
    };
    (!is_right).then(|| format!("a task has sent {events:?}"))
}

/// The events of a task that was run in two attempts, of which the first one's worker died.
pub fn of_both_attempts(task: &Future<u64>) -> bool {
    let events: Result<Vec<u32>, Error> = std::iter::from_fn(|| task.next_event().transpose()).collect();
    events == Ok(vec![0, 1])
}

/// What a submitter does with the events of its task.
pub fn perform(context: &str) {
    let pool = attach();
    let name = || place().board.clone();
    let future = pool.submit(sends, (name(), 1)).expect("submitted");
    note(1, Note::Accepted);
    let event = |n: u8| Ok(Some(vec![n; LEN]));
    match context {
        "read" => {
            let future = finished(future);
            begin_window();
            assert_eq!([(); 3].map(|()| future.next_event()), [1, 2, 3].map(event));
        }
        "kept beyond the result" => {
            let future = finished(future);
            begin_window();
            assert_eq!(future.result(), Ok(vec![1]));
            assert_eq!(future.next_event(), event(1));
            drop(future);
        }
        "waited for" => {
            let held = pool.submit(sends_and_holds, (name(), 2)).expect("submitted");
            note(2, Note::Accepted);
            assert_eq!(held.events().next(), Some(Ok(0_u32)));
            begin_window();
            assert!(matches!(
                held.events::<u32>().next_timeout(Duration::from_millis(1)),
                Some(Err(Error::TimedOut { .. }))
            ));
            end_window();
        }
        "dropped while it runs" => {
            let held = pool.submit(sends_and_holds, (name(), 2)).expect("submitted");
            note(2, Note::Accepted);
            wait_until(SOON, || held.is_running() && held.next_event::<u32>() == Ok(Some(0)));
            begin_window();
            drop(held);
            // Its own drop would wait for the task.
            end_window();
        }
        _ => {
            let future = finished(future);
            begin_window();
            drop(future);
        }
    }
    end_window();
}
