//! Photos as batches, decoded and transformed ahead by worker threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use image::RgbImage;
use rand_chacha::ChaCha8Rng;

use super::content::sha256;
use super::decoded::{DecodedCache, Key};
pub use super::order::{BatchOrder, epoch_order};
use super::photo::{Photo, Unreadable};
use super::undecodable::Undecodable;
use super::worked::{Clocks, Work, Worked};
use crate::error::{Error, OutOfMemory, Result, shown};
use crate::image::augment::{self, Augmentations};
use crate::image::decode::read_bytes;
use crate::image::{DecodeError, Limits, Preprocessing, bounded};

/// A batch as the network takes it, of fewer photos than asked for, be it none, where some turned
/// out to be undecodable.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// 8-bit RGB (N, size, size, 3), not yet normalised: a quarter of the bytes of what is
    /// computed with, so that the device normalises them.
    pub pixels: Vec<u8>,
    /// The classes' ids (N).
    pub labels: Vec<i64>,
    /// Side of the square pictures in pixels.
    pub size: usize,
    /// The photos' indices in the list that the loader was given (N).
    pub indices: Vec<usize>,
}

/// What becomes of a photo on its way into a batch. The result depends on the photo and these
/// values, never on the order or the number of workers.
#[derive(Clone)]
pub struct Transform {
    pub limits: Limits,
    pub preprocessing: Preprocessing,
    /// Random transforms instead of the plain resize and crop. Their output has the side that
    /// the preprocessing crops to.
    pub augmentations: Option<Augmentations>,
    pub seed: u64,
    pub epoch: u64,
    /// Keeps what is decoded; see [`Transform::key`].
    pub cache: Option<Arc<DecodedCache>>,
}

impl Transform {
    /// What evaluation and prediction see: the preprocessing alone.
    pub fn plain(preprocessing: &Preprocessing) -> Self {
        Self {
            limits: Limits::default(),
            preprocessing: preprocessing.clone(),
            augmentations: None,
            seed: 0,
            epoch: 0,
            cache: None,
        }
    }

    /// Reads a photo and makes it an RGB picture of crop x crop pixels, not yet normalised; or says
    /// why it can't be decoded.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file when it is gone, unreadable, or has other bytes than when
    /// the folder was scanned. A photo that a cache holds is not looked at.
    fn picture(&self, photo: &Photo, clocks: &Clocks) -> Result<Picture> {
        let Some(cache) = &self.cache else {
            let bytes = self.read(photo, clocks)?;
            let Some(augmentations) = &self.augmentations else {
                return Ok(clocks.time(Work::Decoding, || self.reduced(&bytes)));
            };
            let mut rng = self.rng(photo);
            let decode = || augmentations.decode(&bytes, &self.limits, &self.preprocessing, &rng);
            let decoded = clocks.time(Work::Decoding, decode);
            return Ok(decoded.map(|picture| {
                clocks.time(Work::Augmenting, || augmentations.apply(picture, &mut rng))
            }));
        };
        let key = self.key(photo);
        let picture = match clocks.time(Work::Reading, || cache.get(&key)) {
            Some(picture) => picture,
            None => {
                let bytes = self.read(photo, clocks)?;
                match clocks.time(Work::Decoding, || self.reduced(&bytes)) {
                    Ok(picture) => {
                        cache.put(&key, &picture);
                        picture
                    }
                    Err(cause) => return Ok(Err(cause)),
                }
            }
        };
        Ok(Ok(match &self.augmentations {
            None => picture,
            Some(augmentations) => clocks.time(Work::Augmenting, || {
                augmentations.apply(picture, &mut self.rng(photo))
            }),
        }))
    }

    /// What the photo is found by in a cache. It depends on the photo's bytes and on how it is reduced:
    /// to what evaluation sees, or, for random crops, to their [`bound`](Augmentations::bound).
    pub fn key(&self, photo: &Photo) -> Key {
        let reduction = match self.bound() {
            Some(side) => format!("shorter side {side}"),
            None => format!("{:?}", self.preprocessing),
        };
        Key::new(&photo.hash, &reduction)
    }

    /// The picture that does for any draw.
    fn reduced(&self, bytes: &[u8]) -> Picture {
        match self.bound() {
            Some(side) => bounded(bytes, &self.limits, side),
            None => {
                let decoded = self.preprocessing.read(bytes, &self.limits);
                decoded.map(|decoded| decoded.picture)
            }
        }
    }

    fn bound(&self) -> Option<u32> {
        self.augmentations.as_ref().and_then(Augmentations::bound)
    }

    fn rng(&self, photo: &Photo) -> ChaCha8Rng {
        augment::rng(self.seed, self.epoch, &photo.hash)
    }

    /// The bytes of a photo's file.
    ///
    /// # Errors
    /// Those of [`Transform::picture`].
    fn read(&self, photo: &Photo, clocks: &Clocks) -> Result<Vec<u8>> {
        let refuse = |why: String| Error::Data(format!("{}: {why}", shown(&photo.path)));
        let read = || -> std::io::Result<_> {
            let bytes = read_bytes(&photo.path, &self.limits)?;
            let hash = sha256(&[&bytes]);
            Ok((bytes, hash))
        };
        let (bytes, hash) = clocks.time(Work::Reading, read).map_err(|cause| {
            refuse(format!(
                "the photo can no longer be read ({cause}); restore it, or start a new run"
            ))
        })?;
        if hash != photo.hash {
            let why = "the photo has changed since the folder was scanned; restore it, or start a new run";
            return Err(refuse(why.into()).into());
        }
        Ok(bytes)
    }
}

const NO_NUMBER: &str = "a loader needs a batch size and a number of workers of at least 1";

/// Batches in a given order. Worker threads share the photos of a batch and stay a few batches
/// ahead of the consumer; the batches are the same bit for bit for any number of workers.
///
/// Work starts with [`Loader::new`], so a loader that is made early is ready when it is needed.
/// To resume in the middle of an epoch, give it the rest of the order.
///
/// A photo that can't be decoded is left out of its batch as long as it is tolerated: none is unless
/// [`Loader::tolerating`] says so. The iterator ends after the last batch, or after the first error.
pub struct Loader {
    shared: Arc<Shared>,
    undecodable: Arc<Undecodable>,
    workers: Vec<JoinHandle<()>>,
    waited: Duration,
}

impl Loader {
    /// Batches of `batch_size` photos, the last one smaller if need be; `order` holds indices into
    /// `photos`. Neither number may be 0. Three batches are in work or ready at most, more only
    /// when there are more workers than photos in a batch.
    ///
    /// # Errors
    /// [`Error::Usage`] for a 0 or for augmentations of another size than the preprocessing's,
    /// [`Error::Environment`] when the system has no more threads.
    pub fn new(
        photos: Arc<[Photo]>,
        order: Vec<usize>,
        batch_size: usize,
        transform: Transform,
        workers: usize,
    ) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::Usage(NO_NUMBER.into()).into());
        }
        let order = BatchOrder::equal(order, batch_size);
        Self::in_batches(photos, order, transform, workers)
    }

    /// As [`Loader::new`], with batches of any sizes, be it none.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub(crate) fn in_batches(
        photos: Arc<[Photo]>,
        order: BatchOrder,
        transform: Transform,
        workers: usize,
    ) -> Result<Self> {
        if workers == 0 {
            return Err(Error::Usage(NO_NUMBER.into()).into());
        }
        if let Some(augmentations) = &transform.augmentations
            && augmentations.size != transform.preprocessing.crop
        {
            let message = format!(
                "the augmentations make pictures of {} pixels and the preprocessing {}",
                augmentations.size, transform.preprocessing.crop
            );
            return Err(Error::Usage(message).into());
        }
        let mut loader = Self {
            shared: Arc::new(Shared {
                photos,
                ahead: 2 + workers.div_ceil(order.largest().max(1)),
                order,
                transform,
                state: Mutex::default(),
                room: Condvar::new(),
                ready: Condvar::new(),
                clocks: Clocks::default(),
            }),
            undecodable: Arc::default(),
            workers: Vec::with_capacity(workers),
            waited: Duration::ZERO,
        };
        for worker in 0..workers.min(loader.shared.order.photos().len()) {
            let shared = Arc::clone(&loader.shared);
            let thread = std::thread::Builder::new()
                .name(format!("loader-{worker}"))
                .spawn(move || shared.work())
                .map_err(|cause| {
                    Error::Environment(format!("can't start loader thread {worker}: {cause}"))
                })?;
            loader.workers.push(thread);
        }
        Ok(loader)
    }

    /// Leaves undecodable photos out, and counts them there. Several loaders may share the count.
    pub fn tolerating(mut self, undecodable: &Arc<Undecodable>) -> Self {
        self.undecodable = Arc::clone(undecodable);
        self
    }

    /// How long the consumer has waited for batches so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// What the workers have spent their time on so far.
    pub fn worked(&self) -> Worked {
        self.shared.clocks.worked()
    }

    /// Gives the memory of a used batch back, for one to come.
    pub fn recycle(&self, batch: Batch) {
        self.shared.lock().spare.push(batch.pixels);
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = Instant::now();
        let mut state = self.shared.lock();
        if state.closed || state.taken == self.shared.order.batches() {
            return None;
        }
        let batch = state.taken;
        let outcome = loop {
            if self.shared.order.range(batch).is_empty() {
                let buffer = state.spare.pop().unwrap_or_default();
                break self.shared.assemble(batch, Vec::new(), buffer);
            }
            if let Some(outcome) = state.done.remove(&batch) {
                break outcome;
            }
            state = wait(&self.shared.ready, state);
        };
        state.taken += 1;
        drop(state);
        self.waited += start.elapsed();
        // Here and not in the workers, whose order is not that of the batches.
        let outcome = outcome.and_then(|made| made.counted(&self.undecodable));
        self.shared.lock().closed |= outcome.is_err();
        self.shared.room.notify_all();
        Some(outcome)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // Its panics were caught and delivered as errors.
            worker.join().ok();
        }
    }
}

struct Shared {
    photos: Arc<[Photo]>,
    order: BatchOrder,
    transform: Transform,
    /// How many batches may be finished or in work beyond those taken.
    ahead: usize,
    state: Mutex<State>,
    /// Signals workers: a batch was taken, or the loader is closed.
    room: Condvar,
    /// Signals the consumer: a batch is done.
    ready: Condvar,
    clocks: Clocks,
}

#[derive(Default)]
struct State {
    /// Photos of the order that a worker has begun.
    begun: usize,
    /// Batches that the consumer has taken.
    taken: usize,
    /// Batches that miss some of their pictures.
    partial: BTreeMap<usize, Vec<Option<Result<Picture>>>>,
    done: BTreeMap<usize, Result<Made>>,
    spare: Vec<Vec<u8>>,
    closed: bool,
}

/// A transformed photo, or why it can't be decoded.
type Picture = Result<RgbImage, DecodeError>;

/// A batch, and the photos that are missing in it.
struct Made {
    batch: Batch,
    undecodable: Vec<Unreadable>,
}

impl Made {
    fn counted(self, undecodable: &Undecodable) -> Result<Batch> {
        for photo in self.undecodable {
            undecodable.add(photo)?;
        }
        Ok(self.batch)
    }
}

impl State {
    /// Puts a picture in its position; returns the whole batch when it was the last to come.
    fn deliver(
        &mut self,
        batch: usize,
        position: usize,
        picture: Result<Picture>,
    ) -> Option<Vec<Result<Picture>>> {
        let pictures = self.partial.get_mut(&batch)?;
        pictures[position] = Some(picture);
        if pictures.iter().any(Option::is_none) {
            return None;
        }
        let pictures = self.partial.remove(&batch)?;
        Some(pictures.into_iter().flatten().collect())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(position) = self.begin() {
            let batch = self.order.batch_of(position);
            let photo = || &self.photos[self.order.photos()[position]];
            let picture = guarded(position, || self.transform.picture(photo(), &self.clocks));
            let mut state = self.lock();
            let within = position - self.order.range(batch).start;
            let whole = state.deliver(batch, within, picture);
            let Some(pictures) = whole else { continue };
            let buffer = state.spare.pop().unwrap_or_default();
            drop(state);
            let made = guarded(position, || self.assemble(batch, pictures, buffer));
            self.lock().done.insert(batch, made);
            self.ready.notify_one();
        }
    }

    /// Waits for room, then claims the next photo of the order; `None` when all are claimed.
    fn begin(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.closed || state.begun == self.order.photos().len() {
                return None;
            }
            if self.order.batch_of(state.begun) < state.taken + self.ahead {
                break;
            }
            state = wait(&self.room, state);
        }
        let position = state.begun;
        state.begun += 1;
        let batch = self.order.batch_of(position);
        if position == self.order.range(batch).start {
            let missing = self.order.range(batch).map(|_| None);
            state.partial.insert(batch, missing.collect());
        }
        Some(position)
    }

    /// A batch of those of the pictures that were decoded, or the first error among them.
    fn assemble(
        &self,
        batch: usize,
        pictures: Vec<Result<Picture>>,
        mut pixels: Vec<u8>,
    ) -> Result<Made> {
        let pictures: Vec<Picture> = pictures.into_iter().collect::<Result<_>>()?;
        let mut indices = self.order.photos()[self.order.range(batch)].to_vec();
        let mut undecodable = Vec::new();
        let size = self.transform.preprocessing.crop as usize;
        pixels.clear();
        pixels
            .try_reserve_exact(indices.len() * 3 * size * size)
            .map_err(|cause| {
                let remedy = "use a smaller --batch-size or --image-size";
                OutOfMemory::OfMachine.error(format!("{remedy} ({cause})"))
            })?;
        let mut pictures = pictures.into_iter();
        indices.retain(|&index| match pictures.next() {
            Some(Ok(picture)) => {
                pixels.extend_from_slice(picture.as_raw());
                true
            }
            Some(Err(cause)) => {
                undecodable.push(Unreadable {
                    path: self.photos[index].path.clone(),
                    reason: cause.to_string(),
                });
                false
            }
            None => false,
        });
        let class = |&index: &usize| self.photos[index].class as i64;
        let batch = Batch {
            pixels,
            labels: indices.iter().map(class).collect(),
            size,
            indices,
        };
        Ok(Made { batch, undecodable })
    }
}

/// A panic as an error, so that the consumer gets it instead of waiting forever.
fn guarded<T>(position: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(anyhow::anyhow!(
            "internal error while loading photo {position} of the order: {text}"
        ))
    })
}

fn wait<'a>(signal: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    signal.wait(state).unwrap_or_else(PoisonError::into_inner)
}
