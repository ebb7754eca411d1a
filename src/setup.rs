//! What a worker is beside its tasks: its number and name, what it runs before the first of them and after the last, the values that its pool shares
//! with it, and those that it keeps from one task to the next.
//!
//! What the pool's creator has said of it stands in the segment (`constants.rs`); what is this worker's own lies in a value of its thread, from before
//! its initializer until after its exit hook.

use crate::constants::{self, Place, What};
use crate::error::{Error, Result, named, whole};
use crate::life::Broken;
use crate::limits::FAILURE_TEXT_MAX;
use crate::outcome::{Kind, text_error};
use crate::registry::Member;
use crate::segment::Segment;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::task::{Call, Runner, guarded};
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a thread's name that Linux keeps.
const THREAD_NAME_MAX: usize = 15;
/// How long a worker waits for another one's text, so that the pool does not break without a reason. Longer than writing 496 bytes takes.
const TEXT_WAIT_MS: u64 = 100;

thread_local! {
    static WORKER: RefCell<Option<Own>> = const { RefCell::new(None) };
}

/// What a worker knows of itself.
struct Own {
    segment: Arc<Segment>,
    places: Vec<Place>,
    number: Option<u32>,
    name: Option<CString>,
    kept: HashMap<TypeId, Rc<dyn Any>>,
    /// Its context is in the hands of a task.
    is_lent: bool,
}

/// Makes this thread a worker, to those who ask below; when it is dropped, it is again what it was before.
pub(crate) struct Setup {
    outer: Option<Own>,
}

/// What the creator has said. An error when nobody can have written what stands there.
fn places(segment: &Segment) -> Result<Vec<Place>> {
    constants::read(segment.constants()).ok_or_else(|| segment.poison("what the pool's creator said once for every worker"))
}

/// What the worker of that number, which runs in this thread, is given. What the system refuses is logged: it may allow less by now than it did when
/// the pool was made, and a worker that runs elsewhere is better than none.
fn take_resources(segment: &Segment, places: &[Place], number: u32) {
    let value = |what: What| {
        let place = places.iter().find(|place| place.what == what as u32)?;
        segment.constants().get(place.at..place.at + place.len)
    };
    if let Some(cpus) = value(What::Cpus).filter(|cpus| cpus.len() >= 4) {
        let at = number as usize % (cpus.len() / 4) * 4;
        let cpu = u32::from_le_bytes(cpus[at..at + 4].try_into().expect("four bytes"));
        if let Err(e) = crate::sys::run_on(cpu as usize) {
            log::warn!(target: "taskring", "worker {number} may not run on CPU {cpu} alone: {e}");
        }
    }
    if let Some(bytes) = value(What::MemoryMax).and_then(|bytes| bytes.try_into().ok())
        && let Err(e) = crate::sys::limit_memory(u64::from_le_bytes(bytes))
    {
        log::warn!(target: "taskring", "worker {number} has no limit of its memory: {e}");
    }
}

/// As much of a name as the system keeps. The number at its end is not what is left out.
fn short(name: &str) -> CString {
    let (prefix, number) = name.rsplit_once('_').unwrap_or((name, ""));
    let room = THREAD_NAME_MAX.saturating_sub(number.len() + 1);
    let cut = (0..=room.min(prefix.len())).rev().find(|&at| prefix.is_char_boundary(at)).unwrap_or(0);
    CString::new(format!("{}_{number}", &prefix[..cut])).unwrap_or_default()
}

impl Segment {
    /// What the worker said that broke the pool because it could not be made ready.
    pub(crate) fn failure_text(&self) -> String {
        let failure = self.failure();
        // Acquire: pairs with `say_failure`.
        if failure.ready.load(Acquire) != 2 {
            return "it has not said why".into();
        }
        let len = (failure.len.load(Relaxed) as usize).min(FAILURE_TEXT_MAX);
        let bytes: Vec<u8> =
            failure.text.iter().flatten().flat_map(|word| word.load(Relaxed).to_le_bytes()).take(len).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Segment {
    /// The worker of this thread could not be made ready: nobody may start another. `text` says why, unless another worker has said so before.
    fn fail_setup(&self, text: &str) {
        let failure = self.failure();
        let name = own(|worker| worker.name.as_ref().map(|name| named(&name.to_string_lossy(), std::process::id())));
        let text = name.map_or_else(|| text.to_owned(), |name| format!("{name}: {text}"));
        // Acquire and Release: as the texts' order needs; who loses reads nothing but the word.
        if failure.ready.compare_exchange(0, 1, AcqRel, Relaxed).is_ok() {
            let cut = (0..=text.len().min(FAILURE_TEXT_MAX)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            for (word, chunk) in failure.text.iter().flatten().zip(text.as_bytes()[..cut].chunks(8)) {
                let mut bytes = [0; 8];
                bytes[..chunk.len()].copy_from_slice(chunk);
                word.store(u64::from_le_bytes(bytes), Relaxed);
            }
            failure.len.store(cut as u32, Relaxed);
            // Release: pairs with `failure_text`.
            failure.ready.store(2, Release);
        }
        for _ in 0..TEXT_WAIT_MS {
            // Relaxed: the breaking below orders it.
            if failure.ready.load(Relaxed) == 2 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.break_pool(Broken::SetupFailed);
    }
}

impl Setup {
    /// Before the worker of this thread is ready. `number` is that of a worker that its owner has started.
    pub(crate) fn begin(segment: &Arc<Segment>, number: Option<u32>) -> Result<Setup> {
        let places = places(segment)?;
        let name = number.map(|number| constants::worker_name(&places, number));
        if let Some(name) = &name {
            crate::sys::name_thread(&short(name));
        }
        let name = name.and_then(|name| CString::new(name).ok());
        if let Some(number) = number {
            take_resources(segment, &places, number);
        }
        let own = Own { segment: segment.clone(), places, number, name, kept: HashMap::new(), is_lent: false };
        Ok(Setup { outer: WORKER.replace(Some(own)) })
    }

    /// Runs the pool's initializer, found by its name with `find`. When it fails the pool is broken.
    pub(crate) fn initialize(&self, member: &Member, find: impl Fn(&str) -> Option<Runner>) -> Result<()> {
        let Some(place) = own(|worker| worker.place(What::Initializer)) else { return Ok(()) };
        let runner = find(&place.name);
        if runner.is_none() && own(|worker| worker.number).is_none() {
            // It came by itself, from a program that is none of the pool's.
            return Err(Error::UnknownFunction { name: place.name });
        }
        let Err(why) = run(member, &place, runner) else { return Ok(()) };
        let text = format!("initializer {:?}: {why}", place.name);
        log::error!(target: "taskring", "{text}");
        member.segment.fail_setup(&text);
        Err(crate::life::broken(&member.segment))
    }

    /// After the last task: runs the exit hook, and drops what was kept.
    pub(crate) fn finish(&self, member: &Member, find: impl Fn(&str) -> Option<Runner>) {
        if let Some(place) = own(|worker| worker.place(What::ExitHook))
            && let Err(why) = run(member, &place, find(&place.name))
        {
            log::warn!(target: "taskring", "exit hook {:?}: {why}", place.name);
        }
        let kept = WORKER.with_borrow_mut(|worker| worker.as_mut().map(|worker| std::mem::take(&mut worker.kept)));
        // Code of the program's own, which may panic.
        let _ = guarded(|| drop(kept));
    }
}

impl Own {
    fn place(&self, what: What) -> Option<Place> {
        self.places.iter().find(|place| place.what == what as u32).cloned()
    }
}

/// Runs a function on the arguments that lie among the constants. An error says why it failed.
fn run(member: &Member, place: &Place, runner: Option<Runner>) -> std::result::Result<(), String> {
    let runner = runner.ok_or("the worker's program has no function of that name")?;
    let mut out = Vec::new();
    let args = &member.segment.constants()[place.at..place.at + place.len];
    let mut call = Call { args, is_chunk: false, out: &mut out, kind: Kind::Value };
    let panic = guarded(|| runner.run(&mut call)).err();
    let kind = call.kind;
    if member.is_foreign() {
        // It forked, and this is the child coming back: only the parent is the worker.
        crate::sys::exit_now(0);
    }
    let failed = panic.map_or_else(|| text_error(kind, &out), |panic| text_error(Kind::Panicked, &panic));
    match failed {
        None => Ok(()),
        Some(Error::TaskFailed { summary, source }) => Err(whole(&summary, source.as_deref())),
        Some(Error::Panicked { message, .. }) => Err(format!("it panicked: {message}")),
        Some(other) => Err(other.to_string()),
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        // The own one is dropped when it can no longer be asked for. Its values are the user's.
        let own = WORKER.replace(self.outer.take());
        let _ = crate::task::guarded(|| drop(own));
    }
}

/// Asks about the worker of this thread; `None` in any other thread.
fn own<T>(ask: impl FnOnce(&Own) -> Option<T>) -> Option<T> {
    WORKER.try_with(|worker| worker.borrow().as_ref().and_then(ask)).ok().flatten()
}

/// Says that the context of this thread's worker is lent to a task, or is back. Whether it was lent before.
pub(crate) fn note_lent(is_lent: bool) -> bool {
    let note = |worker: &RefCell<Option<Own>>| {
        worker.borrow_mut().as_mut().is_some_and(|worker| std::mem::replace(&mut worker.is_lent, is_lent))
    };
    WORKER.try_with(note).unwrap_or(false)
}

/// Whether a task of this thread has the context of its worker in hand.
pub(crate) fn is_lent() -> bool {
    own(|worker| Some(worker.is_lent)).unwrap_or(false)
}

/// The worker of this thread can no longer be made ready: breaks its pool.
pub(crate) fn fail(text: &str) {
    if let Some(segment) = own(|worker| Some(worker.segment.clone())) {
        log::error!(target: "taskring", "{text}");
        segment.fail_setup(text);
    }
}

/// The number of the worker that runs in this thread: below the pool's number of workers, and no other worker's at the same time. A worker that takes
/// the place of one that ended takes its number too. Of one that is there because another one waits
/// ([`Builder::replacements`](crate::Builder::replacements)) it is not below that number.
///
/// `None` outside a worker, and in one that came by the pool's name ([`work`](crate::work)): its owner did not count it.
///
/// ```
/// assert_eq!(taskring::task::worker_number(), None, "this is no worker");
/// ```
#[must_use]
pub fn worker_number() -> Option<u32> {
    own(|worker| worker.number)
}

/// The name of the worker that runs in this thread: the pool's prefix ([`Builder::worker_names`](crate::Builder::worker_names)), an underscore and
/// [`worker_number`]. `ps` shows it as the thread's name, of which Linux keeps 15 bytes: a longer prefix is cut there, the number is not.
///
/// `None` where `worker_number` is.
#[must_use]
pub fn worker_name() -> Option<String> {
    own(|worker| worker.name.as_ref().map(|name| name.to_string_lossy().into_owned()))
}

/// The same for C: good until the worker has left.
#[cfg(feature = "named")]
pub(crate) fn worker_name_ptr() -> Option<*const std::ffi::c_char> {
    own(|worker| worker.name.as_ref().map(|name| name.as_ptr()))
}

/// Keeps a value in the worker of this thread for the tasks that it runs later, for [`worker_state`]: one of each type. An initializer
/// ([`Builder::initializer`](crate::Builder::initializer)) leaves there what it has made. It is dropped when the worker leaves, after its exit hook; a
/// worker that is killed drops nothing. The value of the same type before is dropped.
///
/// # Errors
/// [`Error::InvalidState`] outside a worker; the value is dropped.
pub fn set_worker_state<T: Any>(value: T) -> Result<()> {
    let value: Rc<dyn Any> = Rc::new(value);
    let keep = |worker: &RefCell<Option<Own>>| {
        let mut worker = worker.borrow_mut();
        Some(worker.as_mut()?.kept.insert(TypeId::of::<T>(), value))
    };
    // The one before is dropped here, where nothing is borrowed: its destructor may ask.
    match WORKER.try_with(keep).ok().flatten() {
        Some(_before) => Ok(()),
        None => Err(Error::InvalidState { state: "run by no worker", wanted: "one that a worker of a pool runs" }),
    }
}

/// The value of this type that the worker of this thread keeps, from [`set_worker_state`]. Each worker has its own, threads of one process too; so it
/// needs no `Send`, and a `Cell` or `RefCell` in it is enough to change it. `None` when there is none, and outside a worker.
///
/// ```
/// # taskring::test_support!();
/// use taskring::task::{set_worker_state, worker_state};
/// struct Table(Vec<u64>);
/// taskring::task! {
///     fn prepare(len: u64) { set_worker_state(Table((0..len).map(|i| i * i).collect())).expect("in a worker") }
///     fn look_up(i: u64) -> u64 { worker_state::<Table>().expect("the initializer made it").0[i as usize] }
/// }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(2).initializer(prepare, 100).build()?;
///     assert_eq!(pool.submit(look_up, 7)?.result()?, 49);
///     Ok(())
/// }
/// ```
#[must_use]
pub fn worker_state<T: Any>() -> Option<Rc<T>> {
    own(|worker| worker.kept.get(&TypeId::of::<T>()).cloned())?.downcast().ok()
}

/// A value that a pool's creator shares with every worker ([`Builder::shared`](crate::Builder::shared)): bytes that lie in shared memory once,
/// and that nobody writes to. It keeps that memory mapped, also after the pool has ended. Any thread may use it.
#[derive(Clone)]
pub struct Shared {
    segment: Arc<Segment>,
    at: usize,
    len: usize,
}

impl std::ops::Deref for Shared {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.segment.constants()[self.at..self.at + self.len]
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({} bytes)", self.len)
    }
}

/// The value of that name that the pool of this thread's worker shares. Its bytes are borrowed, not copied, and begin at a multiple of 64.
/// `None` when there is none of that name, and outside a worker; [`Executor::shared`](crate::Executor::shared) is for there.
///
/// ```
/// # taskring::test_support!();
/// taskring::task! {
///     fn word(i: u64) -> String {
///         let words = taskring::task::shared("words").expect("given at creation");
///         String::from_utf8_lossy(words.split(|&byte| byte == b' ').nth(i as usize).unwrap_or_default()).into_owned()
///     }
/// }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(2).shared("words", "to be or not to be").build()?;
///     assert_eq!(pool.submit(word, 3)?.result()?, "not");
///     Ok(())
/// }
/// ```
#[must_use]
pub fn shared(name: &str) -> Option<Shared> {
    own(|worker| find_shared(&worker.segment, &worker.places, name))
}

/// The same for whoever is attached.
pub(crate) fn shared_of(segment: &Arc<Segment>, name: &str) -> Result<Option<Shared>> {
    Ok(find_shared(segment, &places(segment)?, name))
}

fn find_shared(segment: &Arc<Segment>, places: &[Place], name: &str) -> Option<Shared> {
    let place = places.iter().find(|place| place.what == What::Shared as u32 && place.name == name)?;
    Some(Shared { segment: segment.clone(), at: place.at, len: place.len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_before_its_number() {
        let short = |name: &str| short(name).into_string().expect("text");
        assert_eq!(short("crew_7"), "crew_7");
        assert_eq!(short("taskring-worker_191"), "taskring-wo_191");
        assert_eq!(short("a_b_c_12345678901234"), "_12345678901234");
        assert_eq!(short("grünschnäbel-und_12"), "grünschnäb_12");
        assert_eq!(constants::worker_name(&[], 3), "taskring-worker_3");
    }
}
