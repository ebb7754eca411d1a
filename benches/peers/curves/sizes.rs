//! One call there and back, by the size of its arguments: copied, lent, and through a socket.

use crate::common::affinity::Pinned;
use crate::common::c_pool::CPool;
use crate::common::per;
use crate::foreign::Foreign;
use crate::ours::{self, ends, ends_of};
use crate::payload::ENDS_IN_PLACE;
use crate::plan::Plan;
use crate::setup::Turns;
use crate::sheet::{Sheet, Table};
use crate::sockets::Framed;
use crate::speed::here;
use std::hint::black_box;
use std::io;
use std::time::Instant;
use taskring::Bytes;

/// From nothing to 16 MiB. 64 bytes still fit into a slot.
const SIZES: [u64; 11] = [0, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];
const SIZES_PYTHON: [u64; 5] = [0, 4 << 10, 64 << 10, 1 << 20, 16 << 20];

/// Time for each call, one at a time. Its answer tells the length and both ends of what arrived.
pub fn payload(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let second = plan.setup.second;
    let (rust, c) = (ours::pinned_pool(second), CPool::pinned(second));
    let in_place = c.function(ENDS_IN_PLACE.to_str().map_err(io::Error::other)?);
    let mut framed = here(&mut sheet.report, "socketpair pool", Framed::socketpair(second));
    let sizes = plan.points(&SIZES);
    let python = plan.python(sheet, "payload", &crate::steps::common_points(&sizes, &SIZES_PYTHON));
    let mut table = Table::new("payload", ("time for each call, one at a time", "ns"), ("arguments", "B"));
    for size in sizes {
        let (len, first) = (size as usize, plan.setup.first);
        let calls = (plan.pick(32 << 20, 16 << 20, 0) / size.max(1)).clamp(4, plan.pick(2_000, 500, 20));
        let slow = calls.min(plan.pick(500, 100, 20));
        let source: Vec<u8> = (0..len).map(|at| at as u8 ^ 0x5a).collect();
        let (bytes, answer, mut copy) = (Bytes::from(&source[..]), ends_of(&source), vec![0_u8; len]);
        let (rust, c, source) = (&rust, &c, &source);
        let each = move |calls: u64, answer: u64, run: &mut dyn FnMut() -> u64| {
            let _pinned = Pinned::to(first);
            assert_eq!(run(), answer);
            let start = Instant::now();
            (0..calls).for_each(|_| assert_eq!(run(), answer));
            per(start.elapsed(), calls)
        };
        let mut turns = Turns::new(&plan.setup);
        turns.round("taskring through Rust, copied", || {
            each(calls, answer, &mut || rust.submit_ref(ends, &bytes).and_then(|f| f.result()).expect("an answer"))
        });
        turns.round("taskring through C, copied", || each(calls, answer, &mut || c.result_u64(c.submit(in_place, source))));
        if len != 0 {
            let fill = move |lent: &mut [u8]| (lent[0], lent[len - 1]) = (source[0], source[len - 1]);
            turns.round("taskring through C, lent", move || {
                each(calls, answer, &mut || c.result_u64(c.submit_loan(in_place, len, fill)))
            });
            turns.round("memcpy", || {
                each(calls, answer, &mut || {
                    copy.copy_from_slice(black_box(source));
                    ends_of(black_box(&copy))
                })
            });
        }
        // Eight bytes would be a number to the child.
        if let Some(framed) = &mut framed {
            let frame: Vec<u8> = (len as u32).to_le_bytes().into_iter().chain(source.iter().copied()).collect();
            turns.round("socketpair pool", move || {
                each(slow, answer, &mut || {
                    framed.send(&frame);
                    framed.receive()
                })
            });
        }
        Foreign::add_all(&python, &mut turns, &plan.setup, &format!("payload {size}"));
        table.add_figures(size, &turns.figures(plan.rounds()));
    }
    sheet.put(&table);
    Ok(())
}
