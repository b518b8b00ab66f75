//! As much of HDF5 as Keras needs: groups, float32 arrays, and attributes that are texts
//! (<https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html>, version 1 objects).

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use reader::Reader;
pub(super) use writer::{Attribute, Object, Writer};

const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
const SUPERBLOCK: usize = 96;

/// An address of nothing.
const UNDEFINED: u64 = u64::MAX;

/// Types of messages in an object's header.
mod message {
    pub(super) const DATASPACE: u16 = 0x0001;
    pub(super) const LINK_INFO: u16 = 0x0002;
    pub(super) const DATATYPE: u16 = 0x0003;
    pub(super) const FILL_VALUE: u16 = 0x0005;
    pub(super) const LINK: u16 = 0x0006;
    pub(super) const LAYOUT: u16 = 0x0008;
    pub(super) const GROUP_INFO: u16 = 0x000a;
    pub(super) const ATTRIBUTE: u16 = 0x000c;
}

/// IEEE 754 single precision, little-endian.
const FLOAT32: [u8; 20] = [
    0x11, 0x20, 0x1f, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0,
];

/// UTF-8 of any length, which is in a heap of the file.
const TEXT: [u8; 20] = [
    0x19, 0x01, 0x01, 0, 16, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0,
];
