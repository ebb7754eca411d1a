//! Section F: futures.

use crate::process_support::common::{Board, hold, square};
use crate::support::pool_of;
use std::sync::atomic::Ordering::SeqCst;
use taskring::{Error, State};

cases! {
    fn semantics_f1_cancel_succeeds_until_a_worker_starts_the_task_and_again_after_it(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = pool.submit(hold, (board.name(), 0)).unwrap();
        crate::process_support::wait_until("the task runs", || running.state() == State::Running);
        let pending = pool.submit(square, 3).unwrap();
        assert!(!running.cancel(), "it runs");
        assert!(pending.cancel() && pending.cancel(), "the second time as well");
        assert_eq!(pending.result(), Err(Error::Cancelled));
        board[1].store(1, SeqCst);
        assert_eq!(running.result(), Ok(0));
        assert!(!running.cancel(), "it is over");
        assert_eq!(running.result(), Ok(0));
    }
}
