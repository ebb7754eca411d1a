//! In place of the library's outcomes: how a task ended, as it stands in the slot.

use crate::error::{Cause, Stage};

pub(crate) const VALUE: u32 = 1;
pub(crate) const MAY_HAVE_RUN: u32 = 2;
pub(crate) const RAN_RESULT_LOST: u32 = 3;

pub(crate) const TIME_LIMIT: u32 = 4;

pub(crate) fn lost_bits(stage: Stage, _cause: Cause) -> u32 {
    match stage {
        Stage::MayHaveRun => MAY_HAVE_RUN,
        Stage::RanResultLost => RAN_RESULT_LOST,
    }
}
