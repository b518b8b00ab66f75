//! A restricted unpickler: it builds plain data, and refuses whatever else a pickle asks for.
//!
//! Pickle is a program for a stack machine. This machine has no instruction that runs anything:
//! a call of a permitted global is recorded as data ([`Node::Call`]) and a global that is not
//! on the list ends the reading with its name. What a pickle puts into such an object afterwards
//! (attributes, items) is dropped. Objects live in one arena and refer to each other by number,
//! so that neither cycles, nor deep nesting, nor a value used a million times costs more than the
//! bytes that ask for it.
//!
//! Reference: CPython's `pickletools` and `Lib/pickle.py`, protocols 2 to 5.

use std::collections::HashMap;

use crate::error::{Error, Result, shown};

/// Limit for objects, stack, marks and memo each: a state dict of 1000 tensors has 20,000.
const MAX_OBJECTS: usize = 1 << 20;

/// A module and a name in it.
pub type Global = (&'static str, &'static str);

/// The one global that the machine itself knows: calling it makes a dict.
pub const ORDERED_DICT: Global = ("collections", "OrderedDict");

/// What PyTorch's quantized tensors are made by.
const QUANTIZED_TENSOR: Global = ("torch._utils", "_rebuild_qtensor");

/// An object's index in a [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(usize);

/// An object. Text and bytes are borrowed from the file.
#[derive(Debug, PartialEq)]
pub enum Node<'a> {
    None,
    Bool(bool),
    Int(i128),
    /// An integer of more than 128 bits, which nothing here needs.
    Wide,
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Pairs in the order in which they were set; of equal keys the last one counts.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Set(Vec<Id>),
    /// A permitted global applied to arguments, which are a [`Node::Tuple`].
    Call(Global, Id),
    /// A reference to something outside of the pickle, as the file format defines it.
    Persistent(Id),
}

impl Node<'_> {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) | Self::Wide | Self::Float(_) => "a number",
            Self::Text(_) | Self::Bytes(_) => "a string",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Set(_) => "a set",
            Self::Global(_) => "a class or function",
            Self::Call(..) => "an object",
            Self::Persistent(_) => "a storage",
        }
    }
}

/// One unpickled object with everything that it is made of.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub nodes: Vec<Node<'a>>,
    pub root: Id,
    /// Bytes that the pickle took of the input.
    pub length: usize,
}

impl<'a> Pickle<'a> {
    /// Unpickles the object at the start of `input`.
    ///
    /// # Errors
    /// [`Error::Data`] for a pickle that is cut short or malformed, that asks for a global that
    /// is not in `permitted`, that uses an instruction of other objects than [`Node`] has, or
    /// that holds more than a million objects.
    pub fn read(input: &'a [u8], permitted: &[Global]) -> Result<Self> {
        let mut machine = Machine {
            input,
            position: 0,
            permitted,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while machine.step()? {
            if machine.size() > MAX_OBJECTS {
                return Err(malformed("holds more than a million objects"));
            }
        }
        Ok(Self {
            root: machine.pop()?,
            nodes: machine.nodes,
            length: machine.position,
        })
    }

    pub fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0]
    }
}

struct Machine<'a, 'p> {
    input: &'a [u8],
    position: usize,
    permitted: &'p [Global],
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack where a mark was set.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a, '_> {
    fn size(&self) -> usize {
        let objects = self.nodes.len().max(self.memo.len());
        objects.max(self.stack.len()).max(self.marks.len())
    }

    /// Runs one instruction; false after the last.
    fn step(&mut self) -> Result<bool> {
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => self.protocol()?,
            0x95 => self.skip_frame()?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => self.stack.push(self.top()?),
            b'q' | b'r' | 0x94 => self.memoize(opcode)?,
            b'h' | b'j' => self.recall(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'R' | 0x81 => self.reduce()?,
            0x92 => {
                // The keyword arguments, which nobody looks at.
                self.pop()?;
                self.reduce()?;
            }
            b'b' => self.build()?,
            b'Q' => {
                let name = self.pop()?;
                self.push(Node::Persistent(name));
            }
            b'a' | b'e' | 0x90 => self.append(opcode)?,
            b's' | b'u' => self.set_items(opcode)?,
            _ => {
                let node = self.literal(opcode)?;
                self.push(node);
            }
        }
        Ok(true)
    }

    /// An instruction that makes an object of what follows it, or of what is on the stack.
    fn literal(&mut self, opcode: u8) -> Result<Node<'a>> {
        Ok(match opcode {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'K' => Node::Int(u8::from_le_bytes(self.array()?).into()),
            b'M' => Node::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Node::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => Node::Float(f64::from_be_bytes(self.array()?)),
            b'X' | b'T' => Node::Text(self.text(4)?),
            0x8c | b'U' => Node::Text(self.text(1)?),
            0x8d => Node::Text(self.text(8)?),
            b'B' => Node::Bytes(self.counted(4)?),
            b'C' => Node::Bytes(self.counted(1)?),
            0x8e | 0x96 => Node::Bytes(self.counted(8)?),
            b')' => Node::Tuple(Vec::new()),
            b't' => Node::Tuple(self.pop_mark()?),
            0x85..=0x87 => Node::Tuple(self.pop_many((opcode - 0x84).into())?),
            b']' => Node::List(Vec::new()),
            b'l' => Node::List(self.pop_mark()?),
            b'}' => Node::Dict(Vec::new()),
            b'd' => Node::Dict(pairs(&self.pop_mark()?)?),
            0x8f => Node::Set(Vec::new()),
            0x91 => Node::Set(self.pop_mark()?),
            _ => {
                return Err(malformed(format!(
                    "uses pickle instruction 0x{opcode:02x}, which state dicts don't need"
                )));
            }
        })
    }

    fn protocol(&mut self) -> Result<()> {
        match self.array()? {
            [2..=5] => Ok(()),
            [other] => Err(malformed(format!(
                "has pickle protocol {other}, not 2 to 5"
            ))),
        }
    }

    /// A frame only says how much to read at once.
    fn skip_frame(&mut self) -> Result<()> {
        self.array::<8>().map(drop)
    }

    fn memoize(&mut self, opcode: u8) -> Result<()> {
        let key = match opcode {
            b'q' => self.number(1)?,
            b'r' => self.number(4)?,
            _ => self.memo.len(),
        };
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Result<()> {
        let key = self.number(if opcode == b'h' { 1 } else { 4 })?;
        let value = self.memo.get(&key);
        let value = *value.ok_or_else(|| malformed("reads a memo entry that was never stored"))?;
        self.stack.push(value);
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<()> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (&self.nodes[module.0], &self.nodes[name.0]) {
                (Node::Text(module), Node::Text(name)) => (*module, *name),
                _ => return Err(malformed("asks for a global without a name")),
            }
        };
        let known = self
            .permitted
            .iter()
            .find(|global| **global == (module, name));
        let known = *known.ok_or_else(|| refused(module, name))?;
        self.push(Node::Global(known));
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let node = match (&self.nodes[function.0], &self.nodes[arguments.0]) {
            (Node::Global(ORDERED_DICT), Node::Tuple(items)) if items.is_empty() => {
                Node::Dict(Vec::new())
            }
            (Node::Global(ORDERED_DICT), _) => {
                return Err(malformed("makes an OrderedDict with arguments"));
            }
            (Node::Global(global), Node::Tuple(_)) => Node::Call(*global, arguments),
            _ => return Err(malformed("calls something that is not a function")),
        };
        self.push(node);
        Ok(())
    }

    /// Sets attributes, which are dropped: `_metadata` of a state dict, the options of a
    /// namespace.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match &self.nodes[self.top()?.0] {
            Node::Dict(_) | Node::Call(..) => Ok(()),
            other => Err(malformed(format!("sets attributes of {}", other.kind()))),
        }
    }

    fn append(&mut self, opcode: u8) -> Result<()> {
        let items = if opcode == b'a' {
            self.pop_many(1)?
        } else {
            self.pop_mark()?
        };
        let target = self.top()?;
        match &mut self.nodes[target.0] {
            Node::List(list) | Node::Set(list) => list.extend(items),
            Node::Call(..) => {}
            other => return Err(malformed(format!("appends to {}", other.kind()))),
        }
        Ok(())
    }

    fn set_items(&mut self, opcode: u8) -> Result<()> {
        let items = if opcode == b's' {
            self.pop_many(2)?
        } else {
            self.pop_mark()?
        };
        let target = self.top()?;
        match &mut self.nodes[target.0] {
            Node::Dict(dict) => dict.extend(pairs(&items)?),
            Node::Call(..) => {}
            other => return Err(malformed(format!("sets items of {}", other.kind()))),
        }
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) {
        self.stack.push(Id(self.nodes.len()));
        self.nodes.push(node);
    }

    /// Where the part of the stack begins that instructions may take from.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id> {
        self.stack[self.floor()..]
            .last()
            .copied()
            .ok_or_else(underflow)
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>> {
        let start = self.stack.len().checked_sub(count);
        let start = start.filter(|start| *start >= self.floor());
        Ok(self.stack.split_off(start.ok_or_else(underflow)?))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.input[self.position..];
        let bytes = rest.get(..count).ok_or_else(|| malformed("is cut short"))?;
        self.position += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A length or a memo key of `width` bytes.
    fn number(&mut self, width: usize) -> Result<usize> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| malformed("is cut short"))
    }

    fn counted(&mut self, width: usize) -> Result<&'a [u8]> {
        let length = self.number(width)?;
        self.take(length)
    }

    fn text(&mut self, width: usize) -> Result<&'a str> {
        utf8(self.counted(width)?)
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.input[self.position..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| malformed("is cut short"))?;
        let line = self.take(end + 1)?;
        utf8(&line[..end])
    }

    /// A signed number of any length.
    fn long(&mut self, width: usize) -> Result<Node<'a>> {
        let bytes = self.counted(width)?;
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut value = if negative { [0xff; 16] } else { [0; 16] };
        let Some(low) = value.get_mut(..bytes.len()) else {
            return Ok(Node::Wide);
        };
        low.copy_from_slice(bytes);
        Ok(Node::Int(i128::from_le_bytes(value)))
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(malformed("holds a key without a value")),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed("holds text that is not UTF-8"))
}

fn malformed(what: impl AsRef<str>) -> anyhow::Error {
    Error::Data(format!("the pickle inside {}", what.as_ref())).into()
}

fn underflow() -> anyhow::Error {
    malformed("pops from an empty stack")
}

fn refused(module: &str, name: &str) -> anyhow::Error {
    if (module, name) == QUANTIZED_TENSOR {
        let message = "holds quantized tensors (qint8 or quint8, packed parameters), as torchvision's quantized \
                       models do; give the float weights that they were made from";
        return Error::Data(message.into()).into();
    }
    let global: String = format!("{module}.{name}").chars().take(120).collect();
    Error::Data(format!(
        "would run {}, which is refused; save only the parameters: torch.save(model.state_dict(), FILE)",
        shown(global)
    ))
    .into()
}

#[cfg(test)]
mod tests;
