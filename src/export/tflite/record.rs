//! Reads the tables of a FlatBuffer by the numbers of their fields.

/// A table of a file. Fields that are missing, or that lie outside of the file, are `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Record<'a> {
    /// The root of a file with this identifier.
    pub(super) fn root(file: &'a [u8], identifier: [u8; 4]) -> Option<Self> {
        let is_named = file.get(4..8)? == identifier;
        is_named.then_some(())?;
        let at = read(file, 0, u32::from_le_bytes)? as usize;
        Some(Self { file, at })
    }

    pub(super) fn i8(self, field: u16) -> Option<i8> {
        read(self.file, self.field(field)?, i8::from_le_bytes)
    }

    pub(super) fn i32(self, field: u16) -> Option<i32> {
        read(self.file, self.field(field)?, i32::from_le_bytes)
    }

    pub(super) fn u32(self, field: u16) -> Option<u32> {
        read(self.file, self.field(field)?, u32::from_le_bytes)
    }

    pub(super) fn table(self, field: u16) -> Option<Self> {
        let at = self.referred(self.field(field)?)?;
        Some(Self { at, ..self })
    }

    pub(super) fn tables(self, field: u16) -> Option<Vec<Self>> {
        let (start, len) = self.vector(field)?;
        let each = (0..len).map(|index| {
            let at = self.referred(start + 4 * index)?;
            Some(Self { at, ..self })
        });
        each.collect()
    }

    pub(super) fn text(self, field: u16) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(field)?).ok()
    }

    pub(super) fn bytes(self, field: u16) -> Option<&'a [u8]> {
        let (start, len) = self.vector(field)?;
        self.file.get(start..start.checked_add(len)?)
    }

    pub(super) fn ints(self, field: u16) -> Option<Vec<i32>> {
        self.elements(field, i32::from_le_bytes)
    }

    pub(super) fn longs(self, field: u16) -> Option<Vec<i64>> {
        self.elements(field, i64::from_le_bytes)
    }

    pub(super) fn floats(self, field: u16) -> Option<Vec<f32>> {
        self.elements(field, f32::from_le_bytes)
    }

    fn elements<T, const N: usize>(self, field: u16, of: fn([u8; N]) -> T) -> Option<Vec<T>> {
        let (start, len) = self.vector(field)?;
        let end = start.checked_add(len.checked_mul(N)?)?;
        let (chunks, _) = self.file.get(start..end)?.as_chunks::<N>();
        Some(chunks.iter().map(|&bytes| of(bytes)).collect())
    }

    /// Where a vector's elements begin, and how many there are.
    fn vector(self, field: u16) -> Option<(usize, usize)> {
        let at = self.referred(self.field(field)?)?;
        let len = read(self.file, at, u32::from_le_bytes)? as usize;
        (len <= self.file.len()).then_some((at + 4, len))
    }

    /// Where a field of the table lies.
    fn field(self, field: u16) -> Option<usize> {
        let back = read(self.file, self.at, i32::from_le_bytes)?;
        let vtable = usize::try_from(i64::try_from(self.at).ok()? - i64::from(back)).ok()?;
        let bytes = read(self.file, vtable, u16::from_le_bytes)?;
        let slot = 4 + 2 * usize::from(field);
        (slot < usize::from(bytes)).then_some(())?;
        match read(self.file, vtable + slot, u16::from_le_bytes)? {
            0 => None,
            offset => Some(self.at + usize::from(offset)),
        }
    }

    fn referred(self, at: usize) -> Option<usize> {
        at.checked_add(read(self.file, at, u32::from_le_bytes)? as usize)
    }
}

fn read<T, const N: usize>(file: &[u8], at: usize, of: fn([u8; N]) -> T) -> Option<T> {
    let bytes = file.get(at..at.checked_add(N)?)?;
    Some(of(bytes.try_into().ok()?))
}
