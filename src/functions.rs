//! The names of task functions in a pool: a table in the segment that gives each name a small number, and says which workers have it.

use crate::error::{Error, Result};
use crate::layout::Function;
use crate::limits::{FUNCTION_NAME_MAX, FUNCTIONS_MAX};
use crate::mutex::ShmMutex;
use crate::registry::Member;
use crate::segment::Segment;
use crate::state::Participant;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

impl Function {
    fn name(&self) -> Option<Vec<u8>> {
        // Acquire: pairs with the Release in `add_function`: the name is complete.
        if self.ready.load(Acquire) == 0 {
            return None;
        }
        let len = (self.len.load(Relaxed) as usize).min(FUNCTION_NAME_MAX);
        let mut bytes: Vec<u8> = self.name.iter().flat_map(|w| w.load(Relaxed).to_le_bytes()).collect();
        bytes.truncate(len);
        Some(bytes)
    }
}

/// Checks a name before it goes anywhere.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > FUNCTION_NAME_MAX {
        return Err(Error::invalid("the function name", format!("{name:?}"), format!("1 to {FUNCTION_NAME_MAX} bytes")));
    }
    Ok(())
}

impl Segment {
    /// The number of a name, if any participant has brought it in.
    pub(crate) fn find_function(&self, name: &str) -> Option<u16> {
        self.functions()
            .iter()
            .map_while(Function::name)
            .position(|known| known == name.as_bytes())
            .map(|index| index as u16)
    }

    pub(crate) fn function_name(&self, index: u16) -> String {
        let name = self.functions().get(index as usize).and_then(Function::name);
        name.map_or_else(|| format!("#{index}"), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the number stands for a name.
    #[inline]
    pub(crate) fn has_function(&self, index: u16) -> bool {
        // Acquire: as in `Function::name`.
        self.functions().get(index as usize).is_some_and(|f| f.ready.load(Acquire) != 0)
    }

    /// Whether a ready worker has the function.
    pub(crate) fn has_server(&self, index: u16) -> bool {
        // Relaxed: a stale answer costs another look.
        self.functions().get(index as usize).is_some_and(|f| f.workers.iter().any(|w| w.load(Relaxed) != 0))
    }

    /// Whether the worker in this seat has the function.
    pub(crate) fn is_server(&self, seat: usize, index: u16) -> bool {
        // Relaxed: as in `has_server`.
        let bit = |f: &Function| f.workers[seat / 64].load(Relaxed) & 1 << (seat % 64);
        self.functions().get(index as usize).is_some_and(|f| bit(f) != 0)
    }

    /// The seats of the workers that have the function.
    pub(crate) fn servers(&self, index: u16) -> impl Iterator<Item = usize> + '_ {
        // Relaxed: who asks orders it by a fence, or a stale answer will do.
        let words = self.functions().get(index as usize).into_iter().flat_map(|f| f.workers.iter().enumerate());
        let words = words.map(|(at, word)| (64 * at, word.load(Relaxed)));
        words.flat_map(|(first, bits)| (0..64).filter(move |bit| bits & 1 << bit != 0).map(move |bit| first + bit))
    }

    pub(crate) fn add_server(&self, who: Participant, index: u16) {
        if let Some(f) = self.functions().get(index as usize) {
            // AcqRel: the worker's table was complete before; a submitter that sees the bit may count on it.
            f.workers[who.index() / 64].fetch_or(1 << (who.index() % 64), AcqRel);
        }
    }

    /// A worker that leaves or died has no functions any more.
    pub(crate) fn remove_server(&self, who: Participant) {
        for f in self.functions() {
            // Acquire: as in `Function::name`. AcqRel below: as in `add_server`.
            if f.ready.load(Acquire) == 0 {
                break;
            }
            f.workers[who.index() / 64].fetch_and(!(1 << (who.index() % 64)), AcqRel);
        }
    }
}

impl Member {
    /// Whether this worker stands in the table for the function of that number, and the number for that name.
    pub(crate) fn is_server(&self, number: u16, name: &str) -> bool {
        let named = |f: &Function| f.name().as_deref() == Some(name.as_bytes());
        self.segment.is_server(self.who().index(), number)
            && self.segment.functions().get(number as usize).is_some_and(named)
    }

    /// The number of a name, brought in if it is new. Names are never taken out.
    pub(crate) fn add_function(&self, name: &str) -> Result<u16> {
        check_name(name)?;
        if let Some(index) = self.segment.find_function(name) {
            return Ok(index);
        }
        let guard = ShmMutex(&self.segment.header().registry_mutex).lock(self.who(), self).map_err(|s| self.stalled(s))?;
        if let Some(index) = self.segment.find_function(name) {
            return Ok(index);
        }
        // An entry that a dead participant left half written is not ready, and is written over.
        let free = self.segment.functions().iter().position(|f| f.ready.load(Relaxed) == 0);
        let index = free.ok_or(Error::TooMany { what: "function names", max: FUNCTIONS_MAX })?;
        let entry = &self.segment.functions()[index];
        // They come in order, and a worker says that it has one only when it is there.
        let later = self.segment.functions()[index..].iter();
        if later.clone().any(|f| f.ready.load(Relaxed) != 0) || entry.workers.iter().any(|w| w.load(Relaxed) != 0) {
            drop(guard);
            return Err(self.segment.poison(format!("the name of function {index}")));
        }
        for (word, chunk) in entry.name.iter().zip(name.as_bytes().chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(bytes), Relaxed);
        }
        entry.len.store(name.len() as u32, Relaxed);
        // Release: pairs with `Function::name`.
        entry.ready.store(1, Release);
        drop(guard);
        Ok(index as u16)
    }
}
