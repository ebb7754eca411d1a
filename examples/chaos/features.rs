//! What the soak draws at random beside deeds: ways of submitting and waiting, options of pools, ways of ending them. Each time that one is used its
//! number goes into the journal, and the soak tells at its end how often each was.

use crate::journal::{Entry, Event, NOBODY, note};

macro_rules! features {
    ($($name:ident $text:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Feature { $($name),* }
        /// What they are called, by their numbers.
        pub const FEATURES: &[&str] = &[$($text),*];
    };
}

features! {
    // How one task's end comes to its submitter.
    OnDone "callbacks",
    Awaited "awaited",
    AwaitDropped "awaited and dropped",
    QueueFd "queue descriptors",
    WaitMany "wait",
    AsCompleted "as_completed",
    Exception "exceptions",
    // How it is submitted.
    Bulk "in bulk",
    TrySubmit "if there is room",
    SubmitTimeout "with a time limit for room",
    SubmitRef "by reference",
    Priority "levels of priority",
    ForWorker "for one worker",
    // What a task does beside its deed.
    Polled "polled and was asked",
    SoftLimited "asked by a soft limit",
    Reported "progress read",
    Looked "surroundings looked at",
    Nested "nested",
    NestedTwice "nested two deep",
    StoodIn "run by a stand-in",
    // Many at once.
    Broadcast "broadcasts",
    SetRace "sets fed and discarded by two threads",
    Map "maps",
    MapChunks "chunks",
    MapAuto "automatic chunks",
    MapUnordered "unordered maps",
    MapDeadline "maps with a deadline",
    MapEager "eager maps",
    TryMap "maps of failing inputs",
    ForEach "for_each",
    MapDropped "maps dropped half-way",
    MapCancelled "maps cancelled",
    // What a pool is told when it is made.
    MaxTasks "max tasks",
    OnDemand "workers on demand",
    Replacements "replacements",
    RetryDeaths "retry on worker death",
    OrphansCancelled "orphans cancelled",
    PoolRetry "retry of a pool",
    Initializer "initializers",
    ExitHook "exit hooks run",
    Names "worker names",
    Environment "worker environment",
    Cpus "worker CPUs",
    MemoryMax "worker memory limit",
    Shared "shared values",
    // Pools of a submitter's own.
    ApplyAsync "apply_async",
    MapAsync "map_async",
    Imap "imap",
    ImapUnordered "imap_unordered",
    MultiJoined "closed and joined",
    MultiTerminated "terminated",
    Closures "thread pools",
    Contexts "interpreter contexts",
    Promises "promises",
    TerminateWorkers "terminate_workers",
    KillWorkers "kill_workers",
    ShutdownWithin "shutdown_within",
    BreakPool "broken pools",
    ExitWaitMax "exit_wait_max",
    DetachOnExit "detach_on_exit",
    // What a pool is told while it runs.
    Resize "resize",
    Pause "pause",
    Purge "purge",
    // Through the C interface.
    OnDoneInC "callbacks in C",
    SetInC "sets in C",
    HardCancelInC "hard cancels in C",
    LimitsInC "limits in C",
    RetryInC "retry in C",
    EventsInC "events in C",
    PromisesInC "promises in C",
}

/// The one that is an effect of `Replacements`, and cannot be had at will.
pub const BY_STAND_IN: &str = FEATURES[Feature::StoodIn as usize];

/// Says that one was used.
pub fn drawn(feature: Feature) {
    note(NOBODY, Entry { event: Event::Drawn, attempt: 0, deed: feature as u8 });
}

/// Something is wrong that belongs to no task.
pub fn complain(what: &str) {
    println!("WRONG {what}");
    note(NOBODY, Event::Wrong);
}
