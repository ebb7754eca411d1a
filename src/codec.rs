//! Arguments and results as bytes: any serde type through postcard, or raw bytes as they are.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can be an argument or a result of a task: every serde type that owns its data, and [`Bytes`].
pub trait Payload: Sized + 'static {
    /// Appends the encoded value.
    ///
    /// # Errors
    /// A text that says why the value cannot be encoded.
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), String>;
    /// Reads a value back.
    ///
    /// # Errors
    /// A text that says why the bytes are no such value.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// Lets postcard write into a vector that is used again and again.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Payload for T {
    #[inline]
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), String> {
        postcard::serialize_with_flavor(self, Append(into)).map_err(|e| e.to_string())
    }
    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (value, rest) = postcard::take_from_bytes(bytes).map_err(|e| e.to_string())?;
        if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes are left over", rest.len())) }
    }
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

/// Items of a chunk: each with its length in front.
pub(crate) fn push_item(into: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<(), String> {
    let at = into.len();
    into.extend_from_slice(&[0; 4]);
    if let Err(e) = encode(into) {
        into.truncate(at);
        return Err(e);
    }
    let len = u32::try_from(into.len() - at - 4).map_err(|_| "an item of a chunk is over 4 GiB".to_owned())?;
    into[at..at + 4].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// The items of a chunk; ends early when the bytes are damaged.
pub(crate) fn items(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (item, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
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
            push_item(&mut chunk, |v| n.encode(v)).unwrap();
        }
        assert!(push_item(&mut chunk, |_| Err("no".into())).is_err());
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
