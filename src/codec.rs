//! Arguments and results as bytes: any serde type through postcard, or raw bytes as they are.

use crate::error::Error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;

/// What can be an argument or a result of a task: every serde type that owns its data, and [`Bytes`].
pub trait Payload: Sized + 'static {
    /// Appends the encoded value.
    ///
    /// # Errors
    /// A text that says why the value cannot be encoded.
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), String>;
    /// Exactly what `encode` would append, of a type that holds it as it is: a task that is submitted by itself is then encoded without a copy.
    #[inline]
    fn as_encoded(&self) -> Option<&[u8]> {
        None
    }
    /// Reads a value back.
    ///
    /// # Errors
    /// A text that says why the bytes are no such value.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// What a task function can take by reference: every [`Payload`]; `[u8]`, submitted as [`Bytes`] and read where the bytes lie in shared memory; and
/// `str`, submitted as `String` and not copied either.
pub trait PayloadRef {
    /// What is submitted for it.
    type Owned: Payload + Borrow<Self>;
    /// Calls `f` with the value of what `Owned` encoded.
    ///
    /// # Errors
    /// A text that says why the bytes are no such value.
    fn with_decoded<T>(bytes: &[u8], f: impl FnOnce(&Self) -> T) -> Result<T, String>;
}

/// Appends the encoded value.
#[inline]
pub(crate) fn encode_into<T: Payload>(value: &T, into: &mut Vec<u8>) -> crate::error::Result<()> {
    value.encode(into).map_err(|message| Error::Encode { message })
}

/// The encoded value.
#[inline]
pub(crate) fn encoded<T: Payload>(value: &T) -> crate::error::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// The value that these bytes are.
#[inline]
pub(crate) fn decoded<T: Payload>(bytes: &[u8]) -> crate::error::Result<T> {
    // A choice between the two kinds of results without a branch would move value and tag as one, and a load that spans the stores of both waits for all
    // stores before them (see `Short` in `outcome.rs`).
    match T::decode(bytes) {
        Ok(value) => Ok(value),
        Err(message) => Err(undecodable(message)),
    }
}

#[cold]
#[inline(never)]
fn undecodable(message: String) -> Error {
    Error::Decode { message }
}

impl<P: Payload> PayloadRef for P {
    type Owned = P;
    #[inline]
    fn with_decoded<T>(bytes: &[u8], f: impl FnOnce(&P) -> T) -> Result<T, String> {
        P::decode(bytes).map(|value| f(&value))
    }
}

impl PayloadRef for [u8] {
    type Owned = Bytes;
    #[inline]
    fn with_decoded<T>(bytes: &[u8], f: impl FnOnce(&[u8]) -> T) -> Result<T, String> {
        Ok(f(bytes))
    }
}

impl PayloadRef for str {
    type Owned = String;
    #[inline]
    fn with_decoded<T>(bytes: &[u8], f: impl FnOnce(&str) -> T) -> Result<T, String> {
        decode_all(bytes).map(f)
    }
}

/// Lets postcard write into a vector that is used again and again.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();
    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }
    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // The bytes of a number were stored one by one, and are read that way: a copy of several at once would wait until they have left the
        // processor's store buffer, behind stores to lines that another process holds. The length is changed once: each change waits for the one before.
        const NUMBER_MAX: usize = 10;
        if bytes.len() > NUMBER_MAX {
            self.0.extend_from_slice(bytes);
            return Ok(());
        }
        self.0.reserve(NUMBER_MAX);
        let len = self.0.len();
        let room = self.0.spare_capacity_mut().first_chunk_mut::<NUMBER_MAX>().expect("reserved just now");
        for (at, place) in room.iter_mut().enumerate() {
            let Some(byte) = bytes.get(at) else { break };
            // SAFETY: a reference is valid to read. Volatile, so that the compiler makes no copy of several of it.
            place.write(unsafe { std::ptr::read_volatile(byte) });
        }
        // SAFETY: there is room for `NUMBER_MAX` bytes and so for these, which were written just now.
        unsafe { self.0.set_len(len + bytes.len()) };
        Ok(())
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Payload for T {
    #[inline]
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), String> {
        self.serialize(&mut postcard::Serializer { output: Append(into) }).map_err(|e| e.to_string())
    }
    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        decode_all(bytes)
    }
}

/// A value that takes all of the bytes, and may borrow from them.
#[inline]
fn decode_all<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let mut source = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(&mut source).map_err(|e| e.to_string())?;
    let rest = source.finalize().map_err(|e| e.to_string())?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes are left over", rest.len())) }
}

/// Bytes that go through the pool as they are, without an encoding.
///
/// ```
/// let b = taskring::Bytes::from(vec![1, 2, 3]);
/// assert_eq!(&b[..2], [1, 2]);
/// assert_eq!(b.into_vec(), [1, 2, 3]);
/// ```
// Deliberately no serde type: that is what allows an implementation of `Payload` of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// The vector inside.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl Payload for Bytes {
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), String> {
        into.extend_from_slice(&self.0);
        Ok(())
    }
    #[inline]
    fn as_encoded(&self) -> Option<&[u8]> {
        Some(&self.0)
    }
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        Ok(Bytes(bytes.to_vec()))
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.to_vec())
    }
}

/// What is submitted for an argument that is taken by reference.
#[doc(hidden)]
pub type Owned<A> = <A as PayloadRef>::Owned;

const LEN: usize = size_of::<u32>();

/// In front of the items of a chunk whose worker is asked for the time that they take, which is then in front of the results. An item of that length would
/// not fit into a payload.
pub(crate) const TIMED: [u8; LEN] = [0xff; LEN];

/// Bytes of that time, in nanoseconds.
pub(crate) const TIME_LEN: usize = size_of::<u64>();

/// Begins an item of a chunk, which has its length in front. What is appended then belongs to it.
#[inline]
pub(crate) fn begin_item(into: &mut Vec<u8>) -> usize {
    let at = into.len();
    into.extend_from_slice(&[0; LEN]);
    at
}

/// The same for a result: an item whose first byte is for its kind.
#[inline]
pub(crate) fn begin_result(into: &mut Vec<u8>) -> usize {
    let at = into.len();
    into.extend_from_slice(&[0; LEN + 1]);
    at
}

/// Says of which kind the result is that began there.
#[inline]
pub(crate) fn set_kind(into: &mut [u8], at: usize, kind: u8) {
    into[at + LEN] = kind;
}

/// Ends the item that began there. One of over 4 GiB is taken back, and false is returned.
#[inline]
pub(crate) fn end_item(into: &mut Vec<u8>, at: usize) -> bool {
    let len = u32::try_from(into.len() - at - LEN);
    match len {
        Ok(len) => into[at..at + LEN].copy_from_slice(&len.to_le_bytes()),
        Err(_) => into.truncate(at),
    }
    len.is_ok()
}

/// The first item of a chunk, and what is behind it; `None` when the bytes are damaged, or there are none.
#[inline]
pub(crate) fn first_item(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<LEN>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// The items of a chunk; ends early when the bytes are damaged.
pub(crate) fn items(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (item, rest) = first_item(bytes)?;
        bytes = rest;
        Some(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_round_trip_and_damage_ends_them() {
        let mut chunk = Vec::new();
        for n in [0_u64, 1, 1 << 40] {
            let at = begin_item(&mut chunk);
            n.encode(&mut chunk).unwrap();
            assert!(end_item(&mut chunk, at));
        }
        let back: Vec<u64> = items(&chunk).map(|i| u64::decode(i).unwrap()).collect();
        assert_eq!(back, [0, 1, 1 << 40]);
        assert_eq!(items(&chunk[..chunk.len() - 1]).count(), 2);
        assert_eq!(items(&[255; 6]).count(), 0);
    }

    #[test]
    fn bytes_are_not_encoded() {
        let mut v = Vec::new();
        Bytes(vec![7; 3]).encode(&mut v).unwrap();
        assert_eq!(v, [7; 3]);
    }
}
