//! The loader: order, equality for any number of workers, bounds, and failures.

use std::sync::Arc;
use std::time::Duration;

use flowers::data::loader::epoch_order;
use flowers::data::{Batch, Folder, Loader, Transform};
use flowers::error::Result;
use flowers::image::augment::Augmentations;
use flowers::image::preprocess::Interpolation;
use flowers::image::{Limits, Preprocessing};

use super::{Set, refused};

fn preprocessing() -> Preprocessing {
    Preprocessing {
        resize: 28,
        crop: 24,
        interpolation: Interpolation::Bilinear,
        antialias: true,
        mean: [0.5; 3],
        std: [0.25; 3],
    }
}

pub fn transform(augmentations: Option<Augmentations>) -> Transform {
    Transform {
        limits: Limits::default(),
        preprocessing: preprocessing(),
        augmentations,
        seed: 5,
        epoch: 1,
        cache: None,
    }
}

pub fn load(folder: &Folder, order: &[usize], transform: &Transform, workers: usize) -> Vec<Batch> {
    let photos = Arc::clone(&folder.photos);
    let loader = Loader::new(photos, order.to_vec(), 3, transform.clone(), workers);
    loader.unwrap().collect::<Result<_>>().unwrap()
}

#[test]
fn batches_come_in_order_with_their_labels() {
    let folder = Set::small().keep();
    let order = epoch_order(10, 1, 1);
    let batches = load(&folder.1, &order, &transform(None), 2);
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.labels.len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    let indices: Vec<usize> = batches
        .iter()
        .flat_map(|batch| batch.indices.clone())
        .collect();
    assert_eq!(indices, order);
    for batch in &batches {
        assert_eq!(batch.size, 24);
        assert_eq!(batch.pixels.len(), batch.labels.len() * 3 * 24 * 24);
        for (&index, &label) in batch.indices.iter().zip(&batch.labels) {
            assert_eq!(label, folder.1.photos[index].class as i64);
        }
    }
}

#[test]
fn without_augmentations_a_photo_is_fitted() {
    let (_set, folder) = Set::small().keep();
    let batches = load(&folder, &[7], &transform(None), 1);
    let picture = image::open(&folder.photos[7].path).unwrap().to_rgb8();
    assert_eq!(batches[0].pixels, preprocessing().fit(&picture).into_raw());
}

#[test]
fn augmentations_without_a_crop_start_from_the_preprocessing() {
    let set = Set::small();
    set.sized("daisy/square.png", 9, 24, 24);
    let (_set, folder) = set.keep();
    let square = folder.photos.iter().position(|photo| photo.width == 24);
    let order = [0, square.unwrap()];
    let nothing = Augmentations {
        size: 24,
        steps: Vec::new(),
    };
    let plain = load(&folder, &order, &transform(None), 1);
    assert!(load(&folder, &order, &transform(Some(nothing)), 1) == plain);
}

#[test]
fn any_number_of_workers_makes_the_same_batches() {
    let (_set, folder) = Set::small().keep();
    let order: Vec<usize> = (0..3).flat_map(|epoch| epoch_order(10, 2, epoch)).collect();
    for augmentations in [
        None,
        Some(Augmentations::classic(24)),
        Some(Augmentations::two_phase(24)),
    ] {
        let transform = transform(augmentations);
        let one = load(&folder, &order, &transform, 1);
        assert_eq!(one.len(), 10);
        for workers in 2..=4 {
            assert!(one == load(&folder, &order, &transform, workers));
        }
        let rest = load(&folder, &order[12..], &transform, 2);
        assert!(one[4..] == rest, "resumed in the middle");
    }
}

#[test]
fn augmentations_depend_on_seed_and_epoch() {
    let (_set, folder) = Set::small().keep();
    let order: Vec<usize> = (0..10).collect();
    let pixels = |seed, epoch| {
        let transform = Transform {
            seed,
            epoch,
            ..transform(Some(Augmentations::classic(24)))
        };
        load(&folder, &order, &transform, 2)
    };
    assert!(pixels(1, 1) == pixels(1, 1));
    assert!(pixels(1, 1) != pixels(1, 2));
    assert!(pixels(1, 1) != pixels(2, 1));
}

#[test]
fn used_memory_that_comes_back_changes_no_batch() {
    let (_set, folder) = Set::small().keep();
    let order = epoch_order(10, 1, 1);
    let expected = load(&folder, &order, &transform(None), 1);
    let photos = Arc::clone(&folder.photos);
    let mut loader = Loader::new(photos, order, 3, transform(None), 2).unwrap();
    let mut place = 0;
    while let Some(batch) = loader.next() {
        let mut batch = batch.unwrap();
        assert!(batch == expected[place]);
        batch.pixels.fill(77);
        loader.recycle(batch);
        place += 1;
    }
    assert_eq!(place, 4);
    assert!(loader.waited() > Duration::ZERO);
}

#[test]
fn a_file_that_vanished_or_changed_is_named() {
    let (set, folder) = Set::small().keep();
    let run = |order: Vec<usize>| -> Result<Vec<Batch>> {
        Loader::new(Arc::clone(&folder.photos), order, 3, transform(None), 2)?.collect()
    };
    std::fs::remove_file(set.path("daisy/3.png")).unwrap();
    refused(
        run((0..10).collect()),
        3,
        &["daisy/3.png", "can no longer be read"],
    );
    set.photo("daisy/3.png", 777);
    refused(run((0..10).collect()), 3, &["daisy/3.png", "changed since"]);
    assert_eq!(run(vec![0, 1, 2, 4, 5]).unwrap().len(), 2);
}

#[test]
fn the_first_of_several_failures_is_told() {
    let (set, folder) = Set::small().keep();
    for name in ["daisy/1.png", "daisy/2.png", "rose/0.png"] {
        std::fs::remove_file(set.path(name)).unwrap();
    }
    for _ in 0..10 {
        let photos = Arc::clone(&folder.photos);
        let loader = Loader::new(photos, (0..10).collect(), 4, transform(None), 4);
        refused(
            loader.unwrap().collect::<Result<Vec<_>>>(),
            3,
            &["daisy/1.png"],
        );
    }
}

#[test]
fn after_an_error_the_iterator_ends() {
    let (set, folder) = Set::small().keep();
    std::fs::remove_file(set.path("daisy/0.png")).unwrap();
    let photos = Arc::clone(&folder.photos);
    let mut loader = Loader::new(photos, (0..10).collect(), 1, transform(None), 3).unwrap();
    assert!(loader.next().unwrap().is_err());
    assert!(loader.next().is_none());
}

#[test]
fn a_panic_in_a_worker_is_an_error() {
    let (_set, folder) = Set::small().keep();
    let photos = Arc::clone(&folder.photos);
    let beyond = vec![0, 1, 2, 99];
    let loader = Loader::new(photos, beyond, 2, transform(None), 2).unwrap();
    let result: Result<Vec<Batch>> = loader.collect();
    refused(result, 101, &["internal error", "photo 3"]);
}

#[test]
fn threads_end_with_the_loader() {
    let (_set, folder) = Set::small().keep();
    let photos: Arc<[_]> = folder.photos.to_vec().into();
    let order: Vec<usize> = (0..10).cycle().take(10_000).collect();
    let mut loader = Loader::new(Arc::clone(&photos), order, 3, transform(None), 4).unwrap();
    loader.next().unwrap().unwrap();
    assert!(Arc::strong_count(&photos) > 1);
    drop(loader);
    assert_eq!(Arc::strong_count(&photos), 1);
}

#[test]
fn only_a_few_batches_are_made_ahead() {
    let (set, folder) = Set::small().keep();
    let order: Vec<usize> = (0..10).collect();
    let photos = Arc::clone(&folder.photos);
    let mut loader = Loader::new(photos, order, 1, transform(None), 1).unwrap();
    loader.next().unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    std::fs::remove_file(set.path("daisy/4.png")).unwrap();
    // One taken and three ahead: the fifth photo was not read yet.
    let ahead = loader.by_ref().take_while(Result::is_ok).count();
    assert_eq!(ahead, 3);
}

#[test]
fn impossible_settings_are_refused() {
    let (_set, folder) = Set::small().keep();
    let make = |batch_size, workers, augmentations| {
        let photos = Arc::clone(&folder.photos);
        Loader::new(
            photos,
            vec![0],
            batch_size,
            transform(augmentations),
            workers,
        )
    };
    refused(make(0, 1, None), 2, &["at least 1"]);
    refused(make(1, 0, None), 2, &["at least 1"]);
    let wrong = Some(Augmentations::classic(32));
    refused(make(1, 1, wrong), 2, &["32 pixels", "24"]);
    assert_eq!(make(1, 1, None).unwrap().count(), 1);
}

impl Set {
    pub fn keep(self) -> (Self, Folder) {
        let folder = self.scan().unwrap();
        (self, folder)
    }
}
