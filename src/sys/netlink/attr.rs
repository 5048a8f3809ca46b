//! Messages and attributes, built and walked.
//!
//! A message about interfaces or addresses is a fixed header and attributes: a length, a type and a value each, padded
//! to four bytes; a value may be attributes again. The typed messages of netlink-packet-route know every attribute of
//! every kind of interface, and would make each program a third to a half larger; these know none, and are as easy to read
//! beside the kernel's headers.

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NLA_HEADER_SIZE, NlaBuffer, NlasIterator,
};

use crate::sys::error::SysError;

/// A message: its header, and the attributes after it.
#[derive(Debug)]
pub(crate) struct Message<H> {
    /// Such as `struct ifinfomsg`.
    pub(crate) header: H,
    /// In the order in which they are sent.
    pub(crate) attributes: Vec<DefaultNla>,
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

pub(crate) fn put_bytes(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, value.to_owned())
}

/// An attribute with a string, which the kernel expects with a NUL after it.
pub(crate) fn put_str(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, [value, &[0]].concat())
}

pub(crate) fn put_u32(kind: u16, value: u32) -> DefaultNla {
    put_bytes(kind, &value.to_ne_bytes())
}

pub(crate) fn put_nested(kind: u16, inside: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; inside.buffer_len()];
    inside.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// The attributes in these bytes, each with its length checked.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<NlaBuffer<&[u8]>, SysError>> {
    let truncated = |_| SysError::Protocol("an attribute is truncated");
    NlasIterator::new(bytes).map(move |attribute| attribute.map_err(truncated))
}

/// The value of the first attribute of this type.
pub(crate) fn find_attr(bytes: &[u8], kind: u16) -> Result<Option<&[u8]>, SysError> {
    for attribute in attributes(bytes) {
        let attribute = attribute?;
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

/// A string without the NUL after it.
pub(crate) fn get_str(value: &[u8]) -> &[u8] {
    value.strip_suffix(&[0]).unwrap_or(value)
}

pub(crate) fn get_u32(value: &[u8]) -> Result<u32, SysError> {
    match value.try_into() {
        Ok(bytes) => Ok(u32::from_ne_bytes(bytes)),
        Err(_) => Err(SysError::Protocol("a u32 that is not four bytes long")),
    }
}

pub(crate) fn get_u16(value: &[u8]) -> Result<u16, SysError> {
    match value.try_into() {
        Ok(bytes) => Ok(u16::from_ne_bytes(bytes)),
        Err(_) => Err(SysError::Protocol("a u16 that is not two bytes long")),
    }
}

pub(crate) fn get_u8(value: &[u8]) -> Result<u8, SysError> {
    match value {
        [byte] => Ok(*byte),
        _ => Err(SysError::Protocol("a u8 that is not one byte long")),
    }
}

/// A u8 that is 0 or not.
pub(crate) fn get_bool(value: &[u8]) -> Result<bool, SysError> {
    Ok(get_u8(value)? != 0)
}
