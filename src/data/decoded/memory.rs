//! Decoded photos in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};

use image::RgbImage;

use super::{Key, full};

/// Whatever comes first is kept: an epoch meets each photo once, so that one which made room for another
/// would be missed before that one is.
pub(super) struct Memory {
    limit: u64,
    taken: Mutex<u64>,
    pictures: RwLock<HashMap<Key, RgbImage>>,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            taken: Mutex::default(),
            pictures: RwLock::default(),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<RgbImage> {
        let pictures = self.pictures.read().unwrap_or_else(PoisonError::into_inner);
        pictures.get(key).cloned()
    }

    /// # Errors
    /// What to say when there is no room.
    pub(super) fn put(&self, key: &Key, picture: &RgbImage) -> Result<(), String> {
        let size = picture.as_raw().len() as u64;
        {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            if *taken + size > self.limit {
                return Err(full(self.limit));
            }
            *taken += size;
        }
        let mut pictures = self
            .pictures
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        pictures.insert(*key, picture.clone());
        Ok(())
    }
}
