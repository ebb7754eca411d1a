//! In place of the payload blocks, of which a model has none.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Slot { number: u32, generation: u32 },
}
