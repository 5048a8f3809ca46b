//! Messages and attributes, built and walked.
//!
//! A message about interfaces or addresses is a fixed header and attributes: a length, a type and a value each, padded
//! to four bytes; a value may be attributes again. The typed messages of netlink-packet-route know every attribute of
//! every kind of interface, which is a tenth of the whole program; these know none, and are as easy to read beside the
//! kernel's headers.

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NLA_HEADER_SIZE, NlaBuffer, NlasIterator,
};

use crate::error::Cause;

/// A message: its header, and what stands after it.
#[derive(Debug)]
pub struct Message<H> {
    /// Such as `struct ifinfomsg`.
    pub header: H,
    /// In the order in which they are sent.
    pub attributes: Vec<DefaultNla>,
}

impl<H: Emitable> Emitable for Message<H> {
    fn buffer_len(&self) -> usize {
        self.header.buffer_len() + self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        if let Some((header, attributes)) = buffer.split_at_mut_checked(self.header.buffer_len()) {
            self.header.emit(header);
            self.attributes.as_slice().emit(attributes);
        }
    }
}

/// An attribute with these bytes.
pub fn bytes(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, value.to_owned())
}

/// An attribute with a text, which the kernel wants with a NUL after it.
pub fn text(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, [value, &[0]].concat())
}

/// An attribute with a number.
pub fn word(kind: u16, value: u32) -> DefaultNla {
    bytes(kind, &value.to_ne_bytes())
}

/// An attribute of attributes.
pub fn nest(kind: u16, inside: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; inside.buffer_len()];
    inside.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// The attributes of a run of bytes, each with its length checked.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<NlaBuffer<&[u8]>, Cause>> {
    NlasIterator::new(bytes)
        .map(|attribute| attribute.map_err(|_| Cause::Nonsense("an attribute is cut short")))
}

/// The value of the first attribute of this type.
///
/// # Errors
/// An attribute before it is cut short.
pub fn find(bytes: &[u8], kind: u16) -> Result<Option<&[u8]>, Cause> {
    for attribute in NlasIterator::new(bytes) {
        let attribute = attribute.map_err(|_| Cause::Nonsense("an attribute is cut short"))?;
        if attribute.kind() == kind {
            // The buffer's own value() borrows from the buffer, not from the bytes.
            let start = NLA_HEADER_SIZE;
            return Ok(attribute
                .into_inner()
                .get(start..usize::from(attribute.length())));
        }
    }
    Ok(None)
}

/// A number of four bytes.
///
/// # Errors
/// There are more bytes, or fewer.
pub fn number(value: &[u8]) -> Result<u32, Cause> {
    match value.try_into() {
        Ok(bytes) => Ok(u32::from_ne_bytes(bytes)),
        Err(_) => Err(Cause::Nonsense("a number that is not of four bytes")),
    }
}

/// A number of two bytes.
///
/// # Errors
/// There are more bytes, or fewer.
pub fn short(value: &[u8]) -> Result<u16, Cause> {
    match value.try_into() {
        Ok(bytes) => Ok(u16::from_ne_bytes(bytes)),
        Err(_) => Err(Cause::Nonsense("a number that is not of two bytes")),
    }
}

/// A number of one byte.
///
/// # Errors
/// There are more bytes, or fewer.
pub fn byte(value: &[u8]) -> Result<u8, Cause> {
    match value {
        [byte] => Ok(*byte),
        _ => Err(Cause::Nonsense("a number that is not of one byte")),
    }
}

/// A number of one byte that is 0 or not.
///
/// # Errors
/// There are more bytes, or none.
pub fn flag(value: &[u8]) -> Result<bool, Cause> {
    Ok(byte(value)? != 0)
}
