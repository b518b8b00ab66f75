//! A safe wrapper around the decompressor of libjpeg-turbo.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_long, c_ulong};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{mem, ptr, slice};

use mozjpeg_sys as sys;

use super::limits::Rows;

/// The marker of the segment that holds EXIF data.
const APP1: c_int = 0xe1;

/// Most rows that the library makes at a time.
const ROWS: usize = 4;

/// The library's own words for a file that ends too early.
pub(super) const RAN_OUT: &str = "Premature end of JPEG file";

/// The library's own words for what it can't go on after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault(pub &'static str);

/// Defects in data that were decoded nevertheless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// A scan ended before all of its blocks were there; the rest is grey.
    pub scan_cut: bool,
    /// The bytes ran out where more was expected.
    pub bytes_ran_out: bool,
    /// Codes that mean nothing, or restart markers out of order: parts are misplaced or grey.
    pub garbled: bool,
}

/// The colours of the stored samples, where something else than the JPEG itself tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
}

/// Rows of interleaved 8-bit samples: RGB, or four inks as they are stored.
pub(super) struct Samples {
    pub width: u32,
    pub height: u32,
    pub data: Vec<u8>,
}

/// One JPEG whose header is read.
///
/// The library reports what it can't go on after by unwinding through its frames, which are
/// compiled for that; nothing leaves this type but a [`Fault`].
pub(super) struct Decompressor<'a> {
    info: Box<sys::jpeg_decompress_struct>,
    // The two that `info` points to.
    _errors: Box<sys::jpeg_error_mgr>,
    damage: Box<Cell<Damage>>,
    _bytes: PhantomData<&'a [u8]>,
}

impl<'a> Decompressor<'a> {
    /// Reads the header; `memory` bounds the coefficients that a JPEG of several scans keeps, in
    /// bytes.
    pub(super) fn open(bytes: &'a [u8], memory: u64) -> Result<Self, Fault> {
        // SAFETY: plain C structures, for which all zeros is a valid value: null pointers, absent
        // functions, and the first variant of each enumeration. The library fills them in.
        let (info, mut errors) = unsafe {
            (
                Box::<sys::jpeg_decompress_struct>::new(mem::zeroed()),
                Box::<sys::jpeg_error_mgr>::new(mem::zeroed()),
            )
        };
        // SAFETY: it writes to the structure that it is given, nothing else.
        unsafe { sys::jpeg_std_error(&mut errors) };
        errors.error_exit = Some(give_up);
        errors.emit_message = Some(note);
        let mut opened = Self {
            info,
            _errors: errors,
            damage: Box::default(),
            _bytes: PhantomData,
        };
        opened.info.common.err = &mut *opened._errors;
        opened.info.common.client_data = ptr::from_ref(&*opened.damage).cast_mut().cast();
        let memory = c_long::try_from(memory).unwrap_or(c_long::MAX);
        let length = c_ulong::try_from(bytes.len()).map_err(|_| Fault("too long"))?;
        opened.guarded(|info| {
            // SAFETY: `err` and `client_data` outlive `info`, all three owned by `Self`, in boxes
            // that are never replaced; the bytes outlive `Self` by its lifetime. The library's
            // allocator is there once it has returned.
            unsafe {
                sys::jpeg_create_decompress(info);
                if let Some(memory_manager) = info.common.mem.as_mut() {
                    memory_manager.max_memory_to_use = memory;
                }
                sys::jpeg_save_markers(info, APP1, 0xffff);
                sys::jpeg_mem_src(info, bytes.as_ptr(), length);
                sys::jpeg_read_header(info, 1);
            }
        })?;
        Ok(opened)
    }

    /// Width and height in pixels.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        (self.info.image_width, self.info.image_height)
    }

    /// Samples a pixel, as they are stored.
    pub(super) fn components(&self) -> usize {
        usize::try_from(self.info.num_components).unwrap_or(0)
    }

    /// The EXIF data, from its TIFF header on.
    pub(super) fn exif(&self) -> Option<&[u8]> {
        let mut marker = self.info.marker_list;
        // SAFETY: a list that the library made while it read the header, and frees when it is
        // destroyed, which is not before `self` is.
        while let Some(segment) = unsafe { marker.as_ref() } {
            if !segment.data.is_null() {
                // SAFETY: as above; so many bytes of it were read.
                let data =
                    unsafe { slice::from_raw_parts(segment.data, segment.data_length as usize) };
                if let Some(exif) = data.strip_prefix(b"Exif\0\0") {
                    return Some(exif);
                }
            }
            marker = segment.next;
        }
        None
    }

    /// Sets what the samples are; whether their number allows that.
    pub(super) fn say_stored(&mut self, stored: Stored) -> bool {
        let (colours, number) = match stored {
            Stored::Grey => (sys::J_COLOR_SPACE::JCS_GRAYSCALE, 1),
            Stored::Rgb => (sys::J_COLOR_SPACE::JCS_RGB, 3),
            Stored::YCbCr => (sys::J_COLOR_SPACE::JCS_YCbCr, 3),
            Stored::Cmyk => (sys::J_COLOR_SPACE::JCS_CMYK, 4),
        };
        self.info.jpeg_color_space = colours;
        self.components() == number
    }

    /// Decodes the pixels, averaged over squares of `denominator` pixels a side (1, 2, 4 or 8) by
    /// an inverse transform of fewer coefficients. Rows that are not needed stay zero.
    pub(super) fn read(
        mut self,
        denominator: u32,
        needed: Rows<'_>,
    ) -> Result<(Samples, Damage), Fault> {
        let samples = match self.components() {
            1 | 3 => 3,
            4 => 4,
            _ => return Err(Fault("a number of components that no picture has")),
        };
        self.info.scale_num = 1;
        self.info.scale_denom = denominator;
        self.info.out_color_space = match samples {
            4 => sys::J_COLOR_SPACE::JCS_CMYK,
            _ => sys::J_COLOR_SPACE::JCS_RGB,
        };
        self.guarded(|info| {
            // SAFETY: the header is read, and the bytes are still there.
            unsafe { sys::jpeg_start_decompress(info) };
        })?;
        let (width, height) = (self.info.output_width, self.info.output_height);
        if self.info.output_components != samples || width == 0 || height == 0 {
            return Err(Fault("another number of samples"));
        }
        let row = width as usize * samples as usize;
        let mut data = vec![0; row * height as usize];
        let needed = needed(width, height).min(height) as usize;
        let rows = &mut data;
        self.guarded(|info| {
            while (info.output_scanline as usize) < needed {
                let rest = rows.get_mut(info.output_scanline as usize * row..);
                let mut pointers = [ptr::null_mut(); ROWS];
                let mut count = 0;
                for (pointer, row) in pointers
                    .iter_mut()
                    .zip(rest.unwrap_or_default().chunks_exact_mut(row))
                {
                    *pointer = row.as_mut_ptr();
                    count += 1;
                }
                // SAFETY: `count` pointers to as many rows of `output_width` times
                // `output_components` bytes, which is all that is written.
                let made = unsafe { sys::jpeg_read_scanlines(info, pointers.as_mut_ptr(), count) };
                if made == 0 {
                    resume_unwind(Box::new(Fault("no row was made")));
                }
            }
        })?;
        let damage = self.damage.get();
        Ok((
            Samples {
                width,
                height,
                data,
            },
            damage,
        ))
    }

    /// Calls the library; what it can't go on after comes back as an error.
    fn guarded(
        &mut self,
        call: impl FnOnce(&mut sys::jpeg_decompress_struct),
    ) -> Result<(), Fault> {
        let info = &mut *self.info;
        let called = catch_unwind(AssertUnwindSafe(|| call(info)));
        called.map_err(|thrown: Box<dyn Any + Send>| match thrown.downcast() {
            // What it says then is that it has read beyond the end.
            Ok(_) if self.damage.get().bytes_ran_out => Fault(RAN_OUT),
            Ok(fault) => *fault,
            Err(other) => resume_unwind(other),
        })
    }
}

impl Drop for Decompressor<'_> {
    fn drop(&mut self) {
        // SAFETY: zeroed or made by the library; it frees what it allocated, once.
        unsafe { sys::jpeg_destroy_decompress(&mut self.info) };
    }
}

/// In place of the library's handler, which ends the process.
unsafe extern "C-unwind" fn give_up(info: &mut sys::jpeg_common_struct) {
    resume_unwind(Box::new(Fault(message(info))));
}

/// In place of the library's handler, which prints.
unsafe extern "C-unwind" fn note(info: &mut sys::jpeg_common_struct, level: c_int) {
    if level >= 0 {
        return;
    }
    // SAFETY: set in `open`, and owned by the same `Decompressor` as `info`.
    let Some(seen) = (unsafe { info.client_data.cast::<Cell<Damage>>().as_ref() }) else {
        return;
    };
    let mut damage = seen.get();
    match message(info) {
        "Corrupt JPEG data: premature end of data segment" => damage.scan_cut = true,
        RAN_OUT => damage.bytes_ran_out = true,
        "Corrupt JPEG data: bad Huffman code"
        | "Corrupt JPEG data: bad arithmetic code"
        | "Corrupt JPEG data: found marker 0x%02x instead of RST%d" => damage.garbled = true,
        _ => {}
    }
    seen.set(damage);
}

/// The text of the library's latest message, its parameters not filled in.
fn message(info: &sys::jpeg_common_struct) -> &'static str {
    // SAFETY: set in `open`, and owned by the same `Decompressor` as `info`.
    let Some(errors) = (unsafe { info.err.as_ref() }) else {
        return "";
    };
    let code = errors.msg_code;
    if !(0..=errors.last_jpeg_message).contains(&code) || errors.jpeg_message_table.is_null() {
        return "";
    }
    // SAFETY: a static table of static texts, up to the code of the last message.
    let text = unsafe { *errors.jpeg_message_table.add(code as usize) };
    if text.is_null() {
        return "";
    }
    // SAFETY: as above; they end with a zero.
    unsafe { CStr::from_ptr(text.cast()) }
        .to_str()
        .unwrap_or("")
}
