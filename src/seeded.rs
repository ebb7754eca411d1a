//! Deliberate defects, one of which the environment variable `TASKRING_SEEDED_BUG` switches on in a build with the feature `seeded-bugs`: the
//! tests are tested with them (`tests/seeded_bugs.rs`). In any other build the question is a constant `false`, and nothing of them is left.

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Each is called in the environment as it is called here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(dead_code, reason = "the models compile a part of the places")]
        pub(crate) enum Bug {
            $($(#[doc = $doc])* $name,)*
        }

        #[cfg(feature = "seeded-bugs")]
        const ALL: &[(Bug, &str, &str)] = &[$((Bug::$name, stringify!($name), concat!($($doc),*)),)*];
    };
}

bugs! {
    /// Recovery leaves a task RUNNING that its dead worker had not started.
    NoRequeue,
    /// Recovery leaves the payload blocks of the dead in use.
    NoBlockSweep,
    /// Recovery leaves the mutexes of the dead locked.
    LocksKept,
    /// No new epoch is ever made, so nobody looks at every slot for what a death left.
    NoEpoch,
    /// One sleeper is woken where all must be: after a death, and at a pool's end.
    WakeOne,
    /// Recovery frees the record first instead of last.
    RecordFirst,
    /// Recovery leaves what a dead submitter had not collected.
    NoOrphans,
    /// Recovery runs a task again that had started, though it was not marked idempotent.
    RunAgain,
    /// Two reapers may act for one dead participant at a time.
    TwoReapers,
    /// A reaper frees a slot with a store instead of a compare-and-swap.
    FreeByStore,
    /// Who takes a lane over from the dead leaves the tail where it was.
    NoTailRepair,
    /// A free byte is taken for the proof of a death.
    ByteIsProof,
    /// A process is known by its pid alone, which may be somebody else's by now.
    PidIsIdentity,
    /// Byte locks belong to the process instead of the open file description.
    PosixLock,
    /// The tail moves before the task is published.
    TailFirst,
    /// A mutex that another holds is entered all the same, so that a task is published without it.
    PublishUnlocked,
    /// A failed swap of a state word is not tried again.
    NoSecondTry,
    /// A transition does not compare the generation.
    NoGeneration,
    /// A worker completes by an exchange, whatever the word says.
    CompleteByExchange,
    /// A worker hands the result over and then writes it.
    DoneFirst,
    /// A worker notes STARTED after the function has returned.
    StartedLate,
    /// A worker notes its progress in its record instead of in the slot.
    NotePerWorker,
    /// Who claims, publishes or requeues a task does not look whether its set was discarded.
    NoLookAtSet,
    /// A worker sleeps without a second look.
    NoSecondLook,
    /// A waker does not order its publishing before its look at the idle marks.
    NoFence,
    /// A sleeper on a slot compares the word of this moment instead of the one it saw, which holds the generation.
    NoGenerationInFutex,
    /// A wait for a mutex has no end.
    UnboundedWait,
    /// Memory is used that was not committed.
    NoFallocate,
    /// A payload block's place is believed as it is read.
    NoBounds,
    /// Who reads or completes a slot does not notice that its word is impossible.
    NoPoison,
    /// A symbolic link is followed at attach.
    FollowLink,
    /// Owner and mode of a file are not looked at.
    NoOwnerCheck,
    /// An interrupted system call is an error.
    NoRestart,
    /// A forked child may use its parent's handles.
    NoForkGuard,
    /// A hard cancel kills the worker without condemning the task.
    NoKillFlag,
    /// A worker completes a task that was condemned, and goes on.
    KillUnheeded,
    /// A task tells of its progress in the place that is told of, instead of in the other one.
    ToldInPlace,
    /// A task tells of an event before it has written it.
    EventFirst,
    /// A task does not order what it sends before its look whether anybody waits for it.
    NoFenceAfterEvent,
    /// A pause outlives the owner, who alone could end it.
    PauseKept,
    /// Who wants fewer workers takes the old number away before it writes the new one.
    NumberGone,
    /// A worker that rests in a pause sleeps without a second look whether the pause is over.
    RestUnlooked,
    /// A worker does not order the end of a task before its look whether the pool is paused.
    NoFenceAfterTask,
    /// A worker that leaves keeps a wake that was meant for it.
    WakeKept,
    /// A worker at its limit of tasks reads the word that tells of one that waits after it has looked for one.
    TurnLookedLate,
    /// A worker hands its turn over and does not wake who waits for it.
    HandedSilently,
    /// A task that failed is put back in the attempt that it failed in.
    AttemptUncounted,
    /// A task that was asked to stop is put back when it fails.
    AskedAgain,
    /// A worker that puts a task back and then takes another one tells nobody.
    BackUntold,
    /// Who puts a task back for later wakes nobody that would sleep longer.
    LaterUntold,
    /// No level of priority comes before a higher one, however long it waits.
    NeverOverdue,
    /// The count of tasks that have passed a level is never taken back.
    AlwaysOverdue,
    /// A worker does not order what it says it waits for before its look whether others wait for it.
    NoFenceInCircle,
    /// Workers that wait for each other are all told, and not one of them.
    AllInCircleTold,
}

/// What can be switched on: its name, and what it is.
#[cfg(feature = "seeded-bugs")]
pub fn seeded_bugs() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.iter().map(|(_, name, what)| (*name, what.trim()))
}

/// Whether this defect is switched on.
#[cfg(feature = "seeded-bugs")]
pub(crate) fn seeded(bug: Bug) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    let choose = || {
        let chosen = std::env::var("TASKRING_SEEDED_BUG").ok()?;
        let known = ALL.iter().find(|(_, name, _)| *name == chosen);
        Some(known.unwrap_or_else(|| panic!("no seeded bug {chosen:?}")).0)
    };
    *CHOSEN.get_or_init(choose) == Some(bug)
}

/// Whether this defect is switched on: never, in a build without them.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub(crate) const fn seeded(_: Bug) -> bool {
    false
}
