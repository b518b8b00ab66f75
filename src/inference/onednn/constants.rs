//! Weights in the order that kernels want, shared by the plans of a network.

use std::sync::{Arc, Mutex, PoisonError};

use super::attributes::Settings;
use super::ffi;
use super::memory::{Buffer, Desc, Memory};
use super::plan::execute;
use super::primitives::Primitive;
use crate::error::Result;
use crate::graph::NodeId;

/// What kernels read and never change.
#[derive(Default)]
pub(super) struct Constants(Mutex<Vec<Constant>>);

struct Constant {
    of: (NodeId, &'static str),
    /// The order of what it was made of.
    plain: Desc,
    desc: Desc,
    buffer: Arc<Buffer>,
}

impl Constants {
    /// A node's constant in the order of `desc`: as a plan has made it before, or made of what one has, or
    /// of `source`, which integers are always made of, as kernels add sums of their own to them.
    ///
    /// # Errors
    /// Those of `source`, and when memory runs out.
    pub(super) fn get(
        &self,
        of: (NodeId, &'static str),
        desc: &Desc,
        are_integers: bool,
        source: impl FnOnce() -> Result<(Desc, Buffer)>,
    ) -> Result<Arc<Buffer>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made = all.iter().filter(|one| one.of == of);
        if let Some(found) = made.clone().find(|one| one.desc == *desc) {
            return Ok(Arc::clone(&found.buffer));
        }
        let (plain, buffer) = match made.next() {
            // Between two orders of its own oneDNN takes a hundred times as long.
            Some(other) if !are_integers => {
                let buffer = reordered(&other.desc, &other.buffer, &other.plain)?;
                (other.plain.clone(), buffer)
            }
            _ => source()?,
        };
        let buffer = match plain == *desc {
            true => buffer,
            false => reordered(&plain, &buffer, desc)?,
        };
        let buffer = Arc::new(buffer);
        all.push(Constant {
            of,
            plain,
            desc: desc.clone(),
            buffer: Arc::clone(&buffer),
        });
        Ok(buffer)
    }
}

/// The same numbers in another order and type.
fn reordered(from: &Desc, bytes: &Buffer, to: &Desc) -> Result<Buffer> {
    let buffer = Buffer::new(to.size());
    let copy = Primitive::reorder([from, to], &Settings::default())?;
    let scratchpad = Buffer::new(copy.scratchpad.size());
    let operands = vec![
        (ffi::SRC, Memory::new(from, bytes.address())?),
        (ffi::DST, Memory::new(to, buffer.address())?),
        (
            ffi::SCRATCHPAD,
            Memory::new(&copy.scratchpad, scratchpad.address())?,
        ),
    ];
    execute(&copy, operands)?;
    Ok(buffer)
}
