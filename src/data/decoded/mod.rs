//! Photos that were decoded before, in memory or on disk, so that each epoch need not decode them again.

mod disk;
mod memory;
mod segment;
mod size;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::content::{Hash, sha256};
use crate::error::shown;
use crate::files;
use disk::Disk;
use memory::Memory;
pub use size::CacheSize;

/// What `--cache` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CacheMode {
    /// Decode each photo in every epoch
    #[default]
    Off,
    /// In memory, until the run ends
    Ram,
    /// In flowers/decoded in the user's cache folder (safe to delete), for later runs too
    Disk,
}

/// What a decoded photo is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Hash);

impl Key {
    /// Of a photo by the hash of its file, reduced in some way. Another version of the program has
    /// other keys, as its decoders may differ.
    pub fn new(photo: &Hash, reduction: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION").as_bytes();
        Self(sha256(&[photo, version, b"\0", reduction.as_bytes()]))
    }
}

/// Decoded photos up to a number of bytes; what is beyond is decoded whenever it is needed.
///
/// A cache never fails: it says once why it is of less use than expected. What it gives is what it was
/// given, so that results don't depend on what it holds.
pub struct DecodedCache {
    store: Store,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    has_told: AtomicBool,
}

enum Store {
    Memory(Memory),
    Disk(Disk),
    /// What was meant to be the store can't be used.
    Nothing,
}

impl DecodedCache {
    /// A cache in memory of up to `limit` bytes.
    pub fn in_memory(limit: u64, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self::new(Store::Memory(Memory::new(limit)), tell)
    }

    /// The cache in the user's cache folder, as [`Self::on_disk`].
    pub fn in_cache_folder(
        limit: u64,
        keys: HashSet<Key>,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        match files::cache_folder("decoded") {
            Some(folder) => Self::on_disk(&folder, limit, keys, tell),
            None => {
                let cache = Self::new(Store::Nothing, tell);
                cache.warn(
                    "no cache folder was found for decoded photos: set FLOWERS_CACHE to a folder",
                );
                cache
            }
        }
    }

    /// A cache in files of a folder, together up to `limit` bytes. Of those that are there, what has one
    /// of the `keys` is used. Files without any, of other data sets, make room when it is needed, the
    /// oldest first.
    ///
    /// Each process adds to a file of its own, so that several may use the folder at once; a file may be
    /// deleted at any time.
    pub fn on_disk(
        folder: &Path,
        limit: u64,
        keys: HashSet<Key>,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        match Disk::open(folder, limit, keys) {
            Ok((disk, complaint)) => {
                let cache = Self::new(Store::Disk(disk), tell);
                if let Some(complaint) = complaint {
                    cache.warn(&complaint);
                }
                cache
            }
            Err(cause) => {
                let cache = Self::new(Store::Nothing, tell);
                cache.warn(&format!(
                    "decoded photos can't be kept in {}: {cause}; they are decoded in every epoch",
                    shown(folder)
                ));
                cache
            }
        }
    }

    fn new(store: Store, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            store,
            tell: Box::new(tell),
            has_told: AtomicBool::new(false),
        }
    }

    /// A photo that was kept, 8-bit RGB.
    pub fn get(&self, key: &Key) -> Option<RgbImage> {
        match &self.store {
            Store::Memory(memory) => memory.get(key),
            Store::Disk(disk) => disk.get(key).unwrap_or_else(|complaint| {
                self.warn(&complaint);
                None
            }),
            Store::Nothing => None,
        }
    }

    /// Keeps a photo if there is room.
    pub fn put(&self, key: &Key, picture: &RgbImage) {
        let kept = match &self.store {
            Store::Memory(memory) => memory.put(key, picture),
            Store::Disk(disk) => disk.put(key, picture),
            Store::Nothing => Ok(()),
        };
        if let Err(complaint) = kept {
            self.warn(&complaint);
        }
    }

    /// Says the first thing that goes wrong, and nothing after it.
    fn warn(&self, complaint: &str) {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            (self.tell)(complaint);
        }
    }
}

/// What is said when the limit is reached.
fn full(limit: u64) -> String {
    format!(
        "the cache of decoded photos is full: photos beyond {} are decoded in every epoch; raise \
         --cache-size if there is room",
        CacheSize(limit)
    )
}
