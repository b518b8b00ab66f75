//! What nodes have computed while a plan is made, and what its steps take.

use std::sync::Arc;

use super::Form;
use crate::error::Result;
use crate::inference::onednn::memory::{Buffer, Desc, Kind};

/// Memory of a plan by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BufferId(pub usize);

/// What a node has computed.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) desc: Desc,
    pub(super) buffer: BufferId,
    pub(super) form: Form,
}

/// An argument of a step.
pub(super) struct Argument {
    pub role: i32,
    pub desc: Desc,
    pub slot: Slot,
}

pub(super) enum Slot {
    /// At this offset in bytes.
    Buffer(BufferId, usize),
    Constant(Arc<Buffer>),
    Scratchpad,
}

impl Value {
    /// The whole of it as an argument.
    pub(super) fn argument(&self, role: i32) -> Argument {
        self.part(role, &self.desc, 0)
    }

    /// A part of it, or all in another shape, at an offset in bytes.
    pub(super) fn part(&self, role: i32, desc: &Desc, offset: usize) -> Argument {
        Argument {
            role,
            desc: desc.clone(),
            slot: Slot::Buffer(self.buffer, offset),
        }
    }

    /// The same numbers in another shape.
    pub(super) fn viewed(&self, desc: Desc) -> Self {
        Self {
            desc,
            ..self.clone()
        }
    }
}

impl Argument {
    /// A few numbers in a row.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn numbers(role: i32, kind: Kind, values: &[u8]) -> Result<Self> {
        Ok(Self {
            role,
            desc: Desc::dense(kind, &[values.len() / kind.size()])?,
            slot: Slot::Constant(Arc::new(Buffer::of(values))),
        })
    }
}
