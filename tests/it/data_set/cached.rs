//! The cache of decoded photos: batches are the same whatever it holds, and what goes wrong is said once.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flowers::data::decoded::Key;
use flowers::data::{Batch, DecodedCache, Folder, Transform};
use flowers::image::augment::Augmentations;
use tempfile::TempDir;

use super::Set;
use super::loader::{load, transform};

const ALL: [usize; 10] = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7];
const ROOMY: u64 = 1 << 30;

/// What a cache has said.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn tell(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let told = Arc::clone(&self.0);
        move |complaint| told.lock().unwrap().push(complaint.into())
    }

    /// The one complaint, which must hold the words.
    fn once(&self, words: &[&str]) {
        let told = self.0.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        for word in words {
            assert!(told[0].contains(word), "{word:?} is missing in {}", told[0]);
        }
    }

    fn nothing(&self) {
        let told = self.0.lock().unwrap();
        assert!(told.is_empty(), "{told:?}");
    }
}

/// Photos, one of which is larger than what random crops of 24 pixels are cut from.
fn photos() -> (Set, Folder) {
    let set = Set::small();
    set.sized("rose/104.png", 104, 300, 200);
    set.keep()
}

fn classic() -> Transform {
    transform(Some(Augmentations::classic(24)))
}

fn keys(folder: &Folder) -> HashSet<Key> {
    let photos = folder.photos.iter();
    let both = photos.flat_map(|photo| [classic().key(photo), transform(None).key(photo)]);
    both.collect()
}

fn on_disk(cache: &Path, folder: &Folder, limit: u64, told: &Told) -> Arc<DecodedCache> {
    DecodedCache::on_disk(cache, limit, keys(folder), told.tell()).into()
}

fn cached(folder: &Folder, transform: Transform, cache: &Arc<DecodedCache>) -> Vec<Batch> {
    let cache = Some(Arc::clone(cache));
    load(folder, &ALL, &Transform { cache, ..transform }, 2)
}

fn files(cache: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn size(cache: &Path) -> u64 {
    files(cache)
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

/// The file of a cache of all photos for the classic transform, and their batches.
fn filled(cache: &Path, folder: &Folder) -> (PathBuf, Vec<Batch>) {
    let told = Told::default();
    let batches = cached(folder, classic(), &on_disk(cache, folder, ROOMY, &told));
    told.nothing();
    let [file] = files(cache).try_into().unwrap();
    (file, batches)
}

#[test]
fn batches_are_the_same_from_the_photos_and_from_a_cache() {
    let (set, folder) = photos();
    let place = tempfile::tempdir().unwrap();
    let told = Told::default();
    let disk = on_disk(place.path(), &folder, ROOMY, &told);
    let memory = Arc::new(DecodedCache::in_memory(ROOMY, told.tell()));
    let plain = load(&folder, &ALL, &transform(None), 2);
    let decoded = cached(&folder, classic(), &memory);
    for cache in [&disk, &memory] {
        assert!(cached(&folder, transform(None), cache) == plain);
        assert!(cached(&folder, classic(), cache) == decoded);
    }
    // From here on, nothing but the caches has the pixels.
    fs::remove_dir_all(set.root()).unwrap();
    for cache in [
        &disk,
        &memory,
        &on_disk(place.path(), &folder, ROOMY, &told),
    ] {
        assert!(cached(&folder, transform(None), cache) == plain);
        assert!(cached(&folder, classic(), cache) == decoded);
    }
    told.nothing();
}

#[test]
fn only_photos_beyond_the_bound_look_different_with_a_cache() {
    let (_set, folder) = photos();
    let memory = Arc::new(DecodedCache::in_memory(ROOMY, |_| {}));
    let large = folder.photos.iter().position(|photo| photo.width == 300);
    let plain = load(&folder, &ALL, &classic(), 2);
    for (with, without) in cached(&folder, classic(), &memory).iter().zip(&plain) {
        let pictures = with.pixels.chunks(3 * 24 * 24);
        let pictures = pictures.zip(without.pixels.chunks(3 * 24 * 24));
        for (index, (with, without)) in with.indices.iter().zip(pictures) {
            assert_eq!(with == without, Some(*index) != large, "photo {index}");
        }
    }
}

#[test]
fn a_full_cache_says_so_once_and_stays_within_its_limit() {
    let (_set, folder) = photos();
    let (place, told) = (tempfile::tempdir().unwrap(), Told::default());
    let expected = cached(
        &folder,
        classic(),
        &Arc::new(DecodedCache::in_memory(ROOMY, |_| {})),
    );
    let limit = 20_000;
    let disk = on_disk(place.path(), &folder, limit, &told);
    let complaints = Told::default();
    let memory = Arc::new(DecodedCache::in_memory(limit, complaints.tell()));
    for cache in [&disk, &memory, &disk, &memory] {
        assert!(cached(&folder, classic(), cache) == expected);
    }
    assert!((1..=limit).contains(&size(place.path())));
    for told in [told, complaints] {
        told.once(&["full", "beyond 20kB", "--cache-size"]);
    }
}

#[test]
fn a_folder_that_cant_be_written_to_is_done_without() {
    let (set, folder) = photos();
    let expected = load(&folder, &ALL, &transform(None), 2);
    let file = set.file("cache", b"a file where a folder should be");
    let told = Told::default();
    let cache = on_disk(&file.join("decoded"), &folder, ROOMY, &told);
    for _ in 0..2 {
        assert!(cached(&folder, transform(None), &cache) == expected);
    }
    told.once(&[
        "can't be kept in",
        "cache/decoded",
        "decoded in every epoch",
    ]);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_done_without() {
    use std::os::unix::fs::PermissionsExt;
    let (_set, folder) = photos();
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o555)).unwrap();
    if tempfile::tempfile_in(place.path()).is_ok() {
        // An administrator may write anywhere.
        return;
    }
    let told = Told::default();
    let cache = on_disk(place.path(), &folder, ROOMY, &told);
    let expected = load(&folder, &ALL, &transform(None), 2);
    assert!(cached(&folder, transform(None), &cache) == expected);
    told.once(&["can't be kept in"]);
}

#[test]
fn a_file_of_another_version_is_left_alone() {
    let (_set, folder) = photos();
    let place = tempfile::tempdir().unwrap();
    let other = place.path().join("other.photos");
    fs::write(&other, b"flowers decoded photos 2, and more").unwrap();
    let told = Told::default();
    let cache = on_disk(place.path(), &folder, ROOMY, &told);
    let first = cached(&folder, classic(), &cache);
    assert!(first == cached(&folder, classic(), &cache));
    told.once(&["other.photos", "another version", "deleted"]);
    assert!(other.exists());
}

#[test]
fn damage_is_said_once_and_decoded_again() {
    let (_set, folder) = photos();
    let place = tempfile::tempdir().unwrap();
    let (file, expected) = filled(place.path(), &folder);
    let mut bytes = fs::read(&file).unwrap();
    for at in (2000..bytes.len()).step_by(5000) {
        bytes[at] ^= 1;
    }
    fs::write(&file, bytes).unwrap();
    let told = Told::default();
    let cache = on_disk(place.path(), &folder, ROOMY, &told);
    for _ in 0..2 {
        assert!(cached(&folder, classic(), &cache) == expected);
    }
    told.once(&["damaged", "decoded again"]);
    // What was damaged was kept again, in another file.
    let told = Told::default();
    let again = on_disk(place.path(), &folder, ROOMY, &told);
    assert!(cached(&folder, classic(), &again) == expected);
}

#[test]
fn what_a_killed_run_has_written_is_used_as_far_as_it_goes() {
    let (set, folder) = photos();
    let place = tempfile::tempdir().unwrap();
    let (file, expected) = filled(place.path(), &folder);
    let whole = fs::read(&file).unwrap();
    for length in [0, 10, 24, 50, 5000, whole.len() - 1] {
        fs::remove_dir_all(place.path()).unwrap();
        fs::create_dir(place.path()).unwrap();
        fs::write(&file, &whole[..length]).unwrap();
        let cache = on_disk(place.path(), &folder, ROOMY, &Told::default());
        assert!(
            cached(&folder, classic(), &cache) == expected,
            "{length} bytes"
        );
    }
    // Cut off while it is in use.
    let told = Told::default();
    fs::write(&file, &whole).unwrap();
    let cache = on_disk(place.path(), &folder, ROOMY, &told);
    fs::write(&file, &whole[..5000]).unwrap();
    assert!(cached(&folder, classic(), &cache) == expected);
    drop(set);
}

#[test]
fn two_runs_at_once_add_to_one_folder() {
    let (set, folder) = photos();
    let place = tempfile::tempdir().unwrap();
    let told = Told::default();
    let [one, two] = [0, 1].map(|_| on_disk(place.path(), &folder, ROOMY, &told));
    let expected = std::thread::scope(|scope| {
        let [one, two] = [one, two].map(|cache| {
            let folder = &folder;
            scope.spawn(move || cached(folder, classic(), &cache))
        });
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        assert!(one == two);
        one
    });
    assert_eq!(files(place.path()).len(), 2);
    fs::remove_dir_all(set.root()).unwrap();
    let later = on_disk(place.path(), &folder, ROOMY, &told);
    assert!(cached(&folder, classic(), &later) == expected);
    told.nothing();
}

#[test]
fn other_data_sets_make_room_unless_they_are_in_use() {
    let (_set, folder) = photos();
    let other = {
        let set = Set::new();
        for content in 50..55 {
            set.photo(format!("a/{content}.png"), content);
            set.photo(format!("b/{content}.png"), 100 + content);
        }
        set.keep()
    };
    let place = TempDir::new().unwrap();
    let running = on_disk(place.path(), &other.1, ROOMY, &Told::default());
    cached(&other.1, classic(), &running);
    let limit = size(place.path()) + 1000;
    let told = Told::default();
    cached(
        &folder,
        classic(),
        &on_disk(place.path(), &folder, limit, &told),
    );
    told.once(&["full"]);
    drop(running);
    let told = Told::default();
    let room = 3 * limit;
    cached(
        &folder,
        classic(),
        &on_disk(place.path(), &folder, room, &told),
    );
    told.nothing();
    let before = files(place.path()).len();
    let (tight, told) = (size(place.path()) - 1000, Told::default());
    let third = Set::small();
    third.photo("daisy/new.png", 77);
    let third = third.keep();
    cached_all(&third.1, &on_disk(place.path(), &third.1, tight, &told));
    assert!(size(place.path()) <= tight && files(place.path()).len() <= before);
}

fn cached_all(folder: &Folder, cache: &Arc<DecodedCache>) {
    let order: Vec<usize> = (0..folder.photos.len()).collect();
    let cache = Some(Arc::clone(cache));
    load(folder, &order, &Transform { cache, ..classic() }, 2);
}
