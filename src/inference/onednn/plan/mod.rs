//! A network as primitives that are made once: which kernels run in which order, and where values lie.

mod arena;
mod builder;
mod layers;
mod maps;
mod native;
mod tokens;
mod values;

use std::ptr::null_mut;
use std::sync::Arc;

pub(super) use builder::build;

use self::native::Native;
use super::ffi::{self, Argument};
use super::library::OneDnn;
use super::memory::{Buffer, Desc, Kind, Memory};
use super::primitives::Primitive;
use crate::error::Result;
use crate::graph::QuantizationParameters;

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Float(Kind),
    Integer(QuantizationParameters),
}

impl Form {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Float(kind) => kind,
            Self::Integer(_) => Kind::Uint8,
        }
    }
}

/// A network for batches of one size.
pub(super) struct Plan {
    steps: Vec<Step>,
    /// Size of the memory that values take, in bytes.
    size: usize,
    input: Placed,
    /// The scores, then the observed values.
    outputs: Vec<Placed>,
}

/// Values of a batch in a context's memory.
#[derive(Debug, Clone, Copy)]
struct Placed {
    offset: usize,
    /// Number of values.
    values: usize,
    form: Form,
}

/// A kernel and what it reads and writes.
struct Step {
    work: Work,
    operands: Vec<Operand>,
}

enum Work {
    Kernel(Arc<Primitive>),
    Native(Native),
}

/// An argument of a step: what it is to it, its order, and its place.
struct Operand {
    role: i32,
    desc: Desc,
    place: Place,
}

/// Where an argument lies.
#[derive(Clone)]
enum Place {
    /// In a context's memory, at this offset.
    Value(usize),
    Constant(Arc<Buffer>),
}

/// The memory of one pass through a plan, and its steps bound to it.
pub(super) struct Context {
    plan: Arc<Plan>,
    values: Buffer,
    steps: Vec<Bound>,
    stream: Stream,
}

// SAFETY: the addresses in the arguments are those of memory that moves along with them, of the plan or
// the context itself.
unsafe impl Send for Context {}

impl Context {
    /// # Errors
    /// When memory runs out.
    pub(super) fn new(plan: &Arc<Plan>) -> Result<Self> {
        let library = OneDnn::get()?;
        let values = Buffer::new(plan.size);
        let bound = |operand: &Operand| {
            let address = match &operand.place {
                // The offset lies within the buffer, whose size is that of all placed values.
                Place::Value(offset) => values.address().wrapping_add(*offset),
                Place::Constant(buffer) => buffer.address(),
            };
            Ok((operand.role, Memory::new(&operand.desc, address)?))
        };
        let steps = plan.steps.iter().map(|step| {
            let memories: Result<_> = step.operands.iter().map(bound).collect();
            memories.map(Bound::new)
        });
        Ok(Self {
            steps: steps.collect::<Result<_>>()?,
            plan: Arc::clone(plan),
            values,
            stream: Stream::new(library)?,
        })
    }

    /// Computes the values of a batch that `write` puts into the input's memory.
    ///
    /// # Errors
    /// When a kernel fails.
    pub(super) fn run(&mut self, write: impl FnOnce(&mut [u8])) -> Result<()> {
        let input = self.plan.input;
        let end = input.offset + input.values * input.form.kind().size();
        write(&mut self.values.bytes_mut()[input.offset..end]);
        for (step, bound) in self.plan.steps.iter().zip(&self.steps) {
            match &step.work {
                Work::Kernel(primitive) => self.stream.execute(primitive, bound)?,
                Work::Native(work) => {
                    let places = step.operands.iter().map(|operand| match operand.place {
                        Place::Value(offset) => offset,
                        Place::Constant(_) => 0,
                    });
                    work.run(self.values.bytes_mut(), places)?;
                }
            }
        }
        Ok(())
    }

    /// The values of the last run as real numbers: those of an output of the plan.
    pub(super) fn output(&self, at: usize) -> impl Iterator<Item = f32> {
        let output = self.plan.outputs[at];
        let end = output.offset + 4 * output.values;
        let bytes = self.values.bytes()[output.offset..end].as_chunks().0.iter();
        bytes.map(|&bytes| f32::from_ne_bytes(bytes))
    }
}

impl Plan {
    /// How many kernels run.
    #[cfg(test)]
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// How the images are stored.
    pub(super) fn input(&self) -> Form {
        self.input.form
    }
}

/// The memories of a step's operands, as oneDNN takes them.
pub(super) struct Bound {
    arguments: Vec<Argument>,
    _memories: Vec<Memory>,
}

impl Bound {
    pub(super) fn new(operands: Vec<(i32, Memory)>) -> Self {
        let arguments = operands.iter().map(|(role, memory)| Argument {
            role: *role,
            memory: memory.raw,
        });
        Self {
            arguments: arguments.collect(),
            _memories: operands.into_iter().map(|(_, memory)| memory).collect(),
        }
    }
}

/// Runs a primitive once.
///
/// # Errors
/// When it fails.
pub(super) fn execute(primitive: &Primitive, operands: Vec<(i32, Memory)>) -> Result<()> {
    Stream::new(OneDnn::get()?)?.execute(primitive, &Bound::new(operands))
}

/// The order in which one thread's primitives run.
struct Stream {
    library: &'static OneDnn,
    raw: *mut ffi::Stream,
}

impl Stream {
    fn new(library: &'static OneDnn) -> Result<Self> {
        let mut raw = null_mut();
        // SAFETY: a place for the result, and the engine.
        let status = unsafe {
            (library.functions.stream_create)(&mut raw, library.engine, ffi::STREAM_IN_ORDER)
        };
        library.check("a stream", status)?;
        Ok(Self { library, raw })
    }

    fn execute(&self, primitive: &Primitive, bound: &Bound) -> Result<()> {
        let functions = &self.library.functions;
        // SAFETY: the memories have the descriptors that the primitive was made for, with the scratchpad
        // among them, and nothing else uses them: a context runs on one thread at a time, and what it
        // shares with others is only read. On CPUs the call returns when the work is done.
        let status = unsafe {
            let status = (functions.primitive_execute)(
                primitive.raw,
                self.raw,
                bound.arguments.len() as i32,
                bound.arguments.as_ptr(),
            );
            match status {
                ffi::SUCCESS => (functions.stream_wait)(self.raw),
                failed => failed,
            }
        };
        self.library.check(&primitive.implementation, status)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it is owned, and not used again.
        unsafe { (self.library.functions.stream_destroy)(self.raw) };
    }
}
