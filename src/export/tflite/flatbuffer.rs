//! Writes and reads FlatBuffers by the numbers of their fields
//! (<https://flatbuffers.dev/internals/>): tables are written before what they refer to, so that every
//! offset points forward.

/// A table: its fields by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Table<'a>(Vec<(u16, Field<'a>)>);

/// The value of a field.
#[derive(Debug, Clone)]
pub(super) enum Field<'a> {
    I8(i8),
    U8(u8),
    Bool(bool),
    I32(i32),
    U32(u32),
    F32(f32),
    Text(&'a str),
    Table(Table<'a>),
    Tables(Vec<Table<'a>>),
    Ints(Vec<i32>),
    Longs(Vec<i64>),
    Floats(Vec<f32>),
    /// Aligned to 16 bytes.
    Bytes(&'a [u8]),
}

impl<'a> Table<'a> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The same table with one more field.
    pub(super) fn with(mut self, number: u16, field: Field<'a>) -> Self {
        self.0.push((number, field));
        self
    }

    /// A file with this table as its root.
    pub(super) fn to_file(&self, identifier: [u8; 4]) -> Vec<u8> {
        // Room for all constants, with something for the rest.
        let mut file = File(Vec::with_capacity(
            self.constant_bytes() * 17 / 16 + (1 << 16),
        ));
        file.0.resize(8, 0);
        file.0[4..].copy_from_slice(&identifier);
        file.refer(0, |file| file.table(self));
        file.0
    }
}

impl Table<'_> {
    /// Bytes of all constants below.
    fn constant_bytes(&self) -> usize {
        let of_field = |(_, field): &(u16, Field<'_>)| match field {
            Field::Bytes(bytes) => bytes.len(),
            Field::Table(table) => table.constant_bytes(),
            Field::Tables(tables) => tables.iter().map(Table::constant_bytes).sum(),
            _ => 0,
        };
        self.0.iter().map(of_field).sum()
    }
}

/// A file in the making.
struct File(Vec<u8>);

impl File {
    /// Pads to a position from which `after` bytes lead to a multiple of `alignment`.
    fn align(&mut self, alignment: usize, after: usize) -> usize {
        while !(self.0.len() + after).is_multiple_of(alignment) {
            self.0.push(0);
        }
        self.0.len()
    }

    /// Writes something behind all else, and its offset at `from`.
    fn refer(&mut self, from: usize, write: impl FnOnce(&mut Self) -> usize) {
        let to = write(self);
        self.0[from..from + 4].copy_from_slice(&((to - from) as u32).to_le_bytes());
    }

    /// Writes a table and what it refers to; gives its position.
    fn table(&mut self, table: &Table<'_>) -> usize {
        let fields = &table.0;
        let slots = fields.iter().map(|(number, _)| usize::from(*number) + 1);
        let vtable_bytes = 4 + 2 * slots.max().unwrap_or(0);
        let vtable = self.align(2, 0);
        self.0.resize(vtable + vtable_bytes, 0);
        let start = self.align(4, 0);
        self.0.extend(((start - vtable) as i32).to_le_bytes());
        let mut references = Vec::new();
        for (number, field) in fields {
            let inline = field.inline();
            let bytes = inline.unwrap_or([0; 4].to_vec());
            let position = self.align(bytes.len(), 0);
            self.0.extend(&bytes);
            let slot = vtable + 4 + 2 * usize::from(*number);
            let offset = (position - start) as u16;
            self.0[slot..slot + 2].copy_from_slice(&offset.to_le_bytes());
            if field.inline().is_none() {
                references.push((position, field));
            }
        }
        let sizes = [vtable_bytes as u16, (self.0.len() - start) as u16];
        for (at, size) in [vtable, vtable + 2].into_iter().zip(sizes) {
            self.0[at..at + 2].copy_from_slice(&size.to_le_bytes());
        }
        for (position, field) in references {
            self.refer(position, |file| file.referred(field));
        }
        start
    }

    /// Writes what a field refers to.
    fn referred(&mut self, field: &Field<'_>) -> usize {
        match field {
            Field::Table(table) => self.table(table),
            Field::Tables(tables) => {
                let start = self.vector(4, tables.len(), tables.iter().map(|_| [0; 4]));
                for (at, table) in tables.iter().enumerate() {
                    self.refer(start + 4 + 4 * at, |file| file.table(table));
                }
                start
            }
            Field::Text(text) => {
                let start = self.vector(4, text.len(), text.bytes().map(|byte| [byte]));
                self.0.push(0);
                start
            }
            Field::Bytes(bytes) => {
                let start = self.vector(16, bytes.len(), [[]]);
                self.0.extend(*bytes);
                start
            }
            Field::Ints(x) => self.vector(4, x.len(), x.iter().map(|x| x.to_le_bytes())),
            Field::Longs(x) => self.vector(8, x.len(), x.iter().map(|x| x.to_le_bytes())),
            Field::Floats(x) => self.vector(4, x.len(), x.iter().map(|x| x.to_le_bytes())),
            Field::I8(_)
            | Field::U8(_)
            | Field::Bool(_)
            | Field::I32(_)
            | Field::U32(_)
            | Field::F32(_) => unreachable!("it lies in its table"),
        }
    }

    /// Writes the number of elements and their bytes, the first of them aligned.
    fn vector<const N: usize>(
        &mut self,
        alignment: usize,
        len: usize,
        elements: impl IntoIterator<Item = [u8; N]>,
    ) -> usize {
        let start = self.align(alignment.max(4), 4);
        self.0.extend((len as u32).to_le_bytes());
        self.0.extend(elements.into_iter().flatten());
        start
    }
}

impl Field<'_> {
    /// The bytes of a value that lies in its table.
    fn inline(&self) -> Option<Vec<u8>> {
        match *self {
            Self::I8(x) => Some(x.to_le_bytes().to_vec()),
            Self::U8(x) => Some(vec![x]),
            Self::Bool(x) => Some(vec![u8::from(x)]),
            Self::I32(x) => Some(x.to_le_bytes().to_vec()),
            Self::U32(x) => Some(x.to_le_bytes().to_vec()),
            Self::F32(x) => Some(x.to_le_bytes().to_vec()),
            Self::Text(_)
            | Self::Table(_)
            | Self::Tables(_)
            | Self::Ints(_)
            | Self::Longs(_)
            | Self::Floats(_)
            | Self::Bytes(_) => None,
        }
    }
}
