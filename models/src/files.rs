// The library's files, and what stands around them in a model. Two packages include this, each with its own face of `sync.rs`.

#[path = "../../src/calls.rs"]
mod calls;
#[path = "../../src/circle.rs"]
mod circle;
#[path = "../../src/event_ring.rs"]
mod event_ring;
#[path = "../../src/later.rs"]
mod later;
#[path = "../../src/layout.rs"]
mod layout;
#[path = "../../src/life.rs"]
mod life;
#[path = "../../src/limits.rs"]
mod limits;
#[path = "../../src/mutex.rs"]
mod mutex;
#[path = "../../src/policy.rs"]
mod policy;
#[path = "../../src/priority.rs"]
mod priority;
#[path = "../../src/record.rs"]
mod record;
#[path = "../../src/recovery.rs"]
mod recovery;
#[path = "../../src/retry.rs"]
mod retry;
#[path = "../../src/ring.rs"]
mod ring;
#[path = "../../src/search.rs"]
mod search;
#[path = "../../src/seeded.rs"]
mod seeded;
#[path = "../../src/set.rs"]
mod set;
#[path = "../../src/sleep.rs"]
mod sleep;
#[path = "../../src/slot.rs"]
mod slot;
#[path = "../../src/state.rs"]
mod state;
#[path = "../../src/sync.rs"]
mod sync;
#[path = "../../src/time_limits.rs"]
mod time_limits;
#[path = "../../src/turn.rs"]
mod turn;
#[path = "../../src/turnover.rs"]
mod turnover;

#[path = "world/error.rs"]
mod error;
#[path = "world/ledger.rs"]
mod ledger;
#[path = "world/outcome.rs"]
mod outcome;
#[path = "world/payload.rs"]
mod payload;
#[path = "world/registry.rs"]
mod registry;
#[path = "world/roles.rs"]
mod roles;
#[path = "world/segment.rs"]
mod segment;
