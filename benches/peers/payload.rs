//! Large arguments (N8): 1 MiB there, eight bytes back.
//!
//! A loan is shared memory that the submitter fills itself, and that a function of the C interface reads in place: submitting it must cost the
//! same whatever its size. A copying call must copy once: into shared memory, where the function reads it.

use crate::common::affinity::Pinned;
use crate::common::c_pool::CPool;
use crate::common::per;
use crate::ours::{ends, ends_of};
use crate::report::{Amount, Bound, Report};
use crate::setup::{Figures, Setup, Turns};
use crate::sockets::Framed;
use crate::speed::here;
use std::hint::black_box;
use std::time::Instant;
use taskring::ffi::{self, taskring_call, taskring_status::TASKRING_OK};
use taskring::{Bytes, Executor};

const SMALL: usize = 4 << 10;
const LARGE: usize = 1 << 20;

/// What a copying call may take of the bandwidth of `memcpy`.
const SHARE: f64 = 0.8;

/// The name of the function below.
pub const ENDS_IN_PLACE: &std::ffi::CStr = c"peers_ends_in_place";

/// Makes the C function known. Before `taskring::init`, so that the workers have it.
pub fn register() {
    // SAFETY: a string, a function that lives as long as the program, no context and so no destructor.
    let status = unsafe { ffi::taskring_register(ENDS_IN_PLACE.as_ptr(), Some(ends_in_place), std::ptr::null_mut(), None) };
    assert_eq!(status, TASKRING_OK);
}

/// As `ends`, but it reads the arguments where they lie.
unsafe extern "C" fn ends_in_place(call: *mut taskring_call, _context: *mut std::ffi::c_void) -> i32 {
    let mut len = 0;
    // SAFETY: the call that this thread is in, and a place for the length; that many bytes are ours to read until we return.
    let bytes = unsafe { std::slice::from_raw_parts(ffi::taskring_call_args(call, &raw mut len).cast::<u8>(), len) };
    let answer = ends_of(bytes);
    // SAFETY: the call that this thread is in, and eight bytes that live.
    let status = unsafe { ffi::taskring_call_set_result(call, (&raw const answer).cast(), size_of::<u64>()) };
    i32::from(status != TASKRING_OK)
}

/// N8.
pub fn measure(setup: &Setup, report: &mut Report, rust: &Executor, c: &CPool) {
    report.heading("a call with 1 MiB of arguments");
    let count = setup.pick(100, 40);
    let first = setup.first;
    let function = c.function(ENDS_IN_PLACE.to_str().expect("plain letters"));
    let source: Vec<u8> = (0..LARGE).map(|at| at as u8 ^ 0x5a).collect();
    let answer = ends_of(&source);
    let mut sockets = here(report, "socketpair pool", Framed::socketpair(setup.second));
    let each = |run: &mut dyn FnMut() -> u64, answer: u64| {
        let _pinned = Pinned::to(first);
        assert_eq!(run(), answer);
        let start = Instant::now();
        for _ in 0..count {
            assert_eq!(run(), answer);
        }
        per(start.elapsed(), count)
    };
    let loan = |len: usize| {
        let fill = move |bytes: &mut [u8]| (bytes[0], bytes[len - 1]) = (1, 2);
        move || c.result_u64(c.submit_loan(function, len, fill))
    };
    let loan_answer = |len: usize| 1 << 56 | 2 << 48 | len as u64;
    let bytes = Bytes::from(&source[..]);
    let mut copy = vec![0_u8; LARGE];
    let mut turns = Turns::new(setup);
    turns.round("loan 4 KiB", || each(&mut loan(SMALL), loan_answer(SMALL)));
    turns.round("loan 1 MiB", || each(&mut loan(LARGE), loan_answer(LARGE)));
    turns.round("copying call through C", || each(&mut || c.result_u64(c.submit(function, &source)), answer));
    turns.round("copying call through Rust", || {
        each(&mut || rust.submit_ref(ends, &bytes).and_then(|future| future.result()).expect("an answer"), answer)
    });
    turns.round("memcpy", || {
        each(
            &mut || {
                copy.copy_from_slice(black_box(&source));
                ends_of(black_box(&copy))
            },
            answer,
        )
    });
    if let Some(sockets) = &mut sockets {
        let frame: Vec<u8> = (LARGE as u32).to_le_bytes().into_iter().chain(source.iter().copied()).collect();
        turns.round("socketpair pool", move || {
            each(
                &mut || {
                    sockets.send(&frame);
                    sockets.receive()
                },
                answer,
            )
        });
    }
    let figures = turns.run(setup.pick(21, 7), report, "payload");
    judge(report, &figures);
}

fn judge(report: &mut Report, figures: &Figures) {
    figures.judge(report, "N8a", "loan 1 MiB", "loan 4 KiB", 1.5);
    let memcpy = figures.get("memcpy");
    for name in ["copying call through C", "copying call through Rust"] {
        let ours = figures.get(name);
        let amounts = (Amount(ours.ns(), "ns"), Amount(memcpy.ns() / SHARE, "ns"));
        let (way, against) = (name.replace(' ', "-"), format!("memcpy at {SHARE}"));
        report.target("N8b", (&way, amounts.0), (&against, amounts.1), ours.against(memcpy) * SHARE, Bound::AtMost(1.0));
        figures.judge(report, "N8c", name, "socketpair pool", 0.2);
    }
    if let Some(sockets) = figures.find("socketpair pool") {
        let share = memcpy.against(sockets);
        report.remark(&format!(
            "the limit of N8c: a call that did nothing but copy once, as fast as memcpy, has a ratio of {share:.3}"
        ));
    }
}
