//! The tasks of the soak, good and bad.

use crate::features::{Feature, drawn};
use crate::journal::{Entry, Event, note};
use crate::nested;
use crate::options::Plan;
use crate::verdicts::OWN;
use std::time::{Duration, Instant};
use taskring::{Error, TaskError};

/// What a task does, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Deed {
    Square,
    Echo(u16),
    Nap(u16),
    Fail,
    Panic,
    Allocate,
    Fork,
    Exit,
    Abort,
    Overflow,
    CloseAll,
    /// Sends so many events.
    Tell(u8),
    /// Goes on until it is asked to stop.
    Poll,
    /// Says so often how far it is.
    Report(u8),
    /// Looks at what its worker was given. The bytes are the pool's name.
    Look,
    /// Submits so many tasks to its own pool and waits for them, which do the same, so deep. The bytes are the pool's name.
    Nest(u8, u8),
    /// Is told to every worker; who runs it adds its own number to the task's.
    Broadcast,
}

impl Deed {
    fn number(self) -> u8 {
        match self {
            Deed::Square => 0,
            Deed::Echo(_) => 1,
            Deed::Nap(_) => 2,
            Deed::Fail => 3,
            Deed::Panic => 4,
            Deed::Allocate => 5,
            Deed::Fork => 6,
            Deed::Exit => 7,
            Deed::Abort => 8,
            Deed::Overflow => 9,
            Deed::CloseAll => 10,
            Deed::Tell(_) => 11,
            Deed::Poll => 12,
            Deed::Report(_) => 13,
            Deed::Look => 14,
            Deed::Nest(..) => 15,
            Deed::Broadcast => 16,
        }
    }

    /// Its worker's process does not outlive it.
    fn is_fatal(self) -> bool {
        (7..=10).contains(&self.number())
    }
}

/// What a task is told: its number, what to do, and bytes that travel along.
pub type Order = (u64, Deed, Vec<u8>);

/// What a task says that fails or panics, before its number.
pub const AS_TOLD: &str = "as it was told ";
/// What a task says that stops because it was asked to.
pub const AS_ASKED: &str = "as it was asked";
/// How long a task polls that nobody asks to stop.
pub const POLL: Duration = Duration::from_secs(5);

taskring::task! {
    pub fn act(task: u64, deed: Deed, bytes: Vec<u8>) -> Result<u64, TaskError> {
        perform(task, deed, &bytes)
    }
}

/// The same in a thread of the submitter's own.
pub fn perform(task: u64, deed: Deed, bytes: &[u8]) -> Result<u64, TaskError> {
    let task = if deed == Deed::Broadcast { task + place() } else { task };
    note(task, Entry { event: Event::Entered, attempt: taskring::task::attempt(), deed: deed.number() });
    if taskring::task::worker_number().is_some_and(|number| number >= WORKERS_MAX) {
        drawn(Feature::StoodIn);
    }
    match deed {
        Deed::Square | Deed::Echo(_) | Deed::Broadcast => {}
        Deed::Nap(us) => std::thread::sleep(Duration::from_micros(us.into())),
        Deed::Tell(events) => {
            let attempt = taskring::task::attempt();
            // The nemesis may have taken the room for the first one, and then there are none.
            let all = (0..events).try_for_each(|n| taskring::task::send_event(&event(task, attempt, n)));
            if matches!(all, Err(Error::EventsFull { .. })) {
                return Err(TaskError::new("a few events have no room"));
            }
        }
        Deed::Poll => poll()?,
        Deed::Report(count) => {
            for n in 1..=count {
                // The nemesis may have taken the room for the first one.
                let _ = taskring::task::progress(n.into(), count.into());
                let _ = taskring::task::report(&(task, taskring::task::attempt(), n));
            }
        }
        Deed::Look => {
            drawn(Feature::Looked);
            Plan::of(&name_in(bytes)).look().map_err(TaskError::new)?;
        }
        Deed::Nest(depth, width) => nested::nest(task, depth, width, &name_in(bytes)),
        Deed::Fail => return Err(TaskError::new(told(task))),
        Deed::Panic => panic!("{}", told(task)),
        Deed::Allocate => drop(std::hint::black_box(vec![1_u8; 20 << 20])),
        Deed::Fork => fork_and_wait(),
        Deed::Exit => std::process::exit(3),
        Deed::Abort => std::process::abort(),
        Deed::Overflow => {
            std::hint::black_box(overflow(task));
        }
        Deed::CloseAll => {
            // SAFETY: closes what this process has open; it will be found out and killed for it.
            unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let is_name = matches!(deed, Deed::Look | Deed::Nest(..));
    if !is_name && bytes.iter().any(|&b| b != task as u8) { Err(TaskError::new("torn arguments")) } else { Ok(answer(task)) }
}

/// Of a pool; whose number is not below is there because another one waits.
pub const WORKERS_MAX: u32 = 3;
/// Places in a broadcast: workers by their numbers, and the last for one that came by itself.
pub const PLACES: u64 = 9;

fn place() -> u64 {
    taskring::task::worker_number().map_or(PLACES - 1, u64::from)
}

/// What a task says that fails.
pub fn told(task: u64) -> String {
    format!("{AS_TOLD}{task:#x}")
}

fn name_in(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

pub fn answer(task: u64) -> u64 {
    task.wrapping_mul(MULTIPLIER)
}

/// Whose answer that is.
pub fn task_of(answer: u64) -> u64 {
    // Each step doubles the bits in which it is the multiplier's inverse.
    let inverse = (0..6).fold(MULTIPLIER, |x, _| x.wrapping_mul(2_u64.wrapping_sub(MULTIPLIER.wrapping_mul(x))));
    answer.wrapping_mul(inverse)
}

/// Looks a last time when the time is over: whoever was asked before that has heard of it.
fn poll() -> Result<(), TaskError> {
    let begun = Instant::now();
    loop {
        let is_over = begun.elapsed() > POLL;
        if taskring::task::cancel_requested() {
            return Err(TaskError::new(AS_ASKED));
        }
        if is_over {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// One of a task's events: the attempt, its number, and some bytes.
pub type Told = (u32, u8, Vec<u8>);

pub fn event(task: u64, attempt: u32, n: u8) -> Told {
    (attempt, n, vec![task as u8 ^ n; (task % 61) as usize + usize::from(n)])
}

fn fork_and_wait() {
    // SAFETY: the child only exits.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(0),
            child => {
                libc::waitpid(child, std::ptr::null_mut(), 0);
            }
        }
    }
}

#[allow(unconditional_recursion, reason = "that is the deed")]
fn overflow(n: u64) -> u64 {
    let room = std::hint::black_box([n; 512]);
    overflow(n + 1) + room[n as usize % 512]
}

/// What a submitter asks for: mostly small and good things.
pub fn order(random: &mut Random, task: u64, name: &str, plan: &Plan) -> Order {
    let deed = match random.below(20_000) {
        0 => Deed::Exit,
        1 => Deed::Abort,
        2 => Deed::Overflow,
        3 => Deed::CloseAll,
        4..=13 => Deed::Fork,
        14..=33 => Deed::Allocate,
        34..=73 => Deed::Panic,
        74..=1000 if task.is_multiple_of(4) => Deed::Tell(1 + random.below(12) as u8),
        74..=1000 => Deed::Fail,
        1001..=1200 => Deed::Nap(random.below(2000) as u16),
        1201..=4000 => Deed::Echo(random.below(20_000) as u16),
        4001..=4200 => Deed::Report(1 + random.below(20) as u8),
        4201..=4250 => Deed::Look,
        4251..=4300 => Deed::Nest(1 + random.below(2) as u8, 1 + random.below(3) as u8),
        _ => Deed::Square,
    };
    complete(task, deed, name, plan)
}

/// One of those that need nobody who reads or asks, and take no numbers besides their own: for where many are given at once.
pub fn plain_order(random: &mut Random, task: u64, name: &str, plan: &Plan) -> Order {
    let deed = match random.below(4000) {
        0 => Deed::Exit,
        1 => Deed::Abort,
        2..=20 => Deed::Panic,
        21..=300 => Deed::Fail,
        301..=500 => Deed::Nap(random.below(1000) as u16),
        501..=1000 => Deed::Echo(random.below(4000) as u16),
        1001..=1050 => Deed::Look,
        _ => Deed::Square,
    };
    complete(task, deed, name, plan)
}

/// With the bytes that belong to it.
pub fn complete(task: u64, deed: Deed, name: &str, plan: &Plan) -> Order {
    // What a thread has allocated its process keeps, and in one that is spared that would look like a leak.
    let is_too_large = deed == Deed::Allocate && name.starts_with(OWN);
    let deed = if (deed.is_fatal() || is_too_large) && plan.has_threads() { Deed::Square } else { deed };
    let bytes = match deed {
        Deed::Echo(len) => vec![task as u8; len as usize],
        Deed::Look | Deed::Nest(..) => name.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    (task, deed, bytes)
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }

    /// One of its own for the n-th of a kind: what the first has drawn meanwhile does not matter.
    pub fn of(seed: u64, n: u64) -> Random {
        let mixed = (seed ^ n.wrapping_mul(0xd605_1b1f_45c3_6b2d)).wrapping_mul(MULTIPLIER);
        let mut random = Random((mixed ^ mixed >> 29) | 1);
        random.below(1);
        random
    }
}
