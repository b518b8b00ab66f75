//! Pictures, whole and reduced while they are decoded.
#![no_main]

use flowers::image::augment::{Augmentations, rng};
use flowers::image::{Limits, Preprocessing, decode};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    max_pixels: 1 << 20,
    max_bytes: 1 << 20,
};

// A decoder's panic is caught, and tells of a broken picture; only one that gets out is a fault here.
fn default_panic_hook() {
    let _ = std::panic::take_hook();
}

fuzz_target!(init: default_panic_hook(), |bytes: &[u8]| {
    let preprocessing = Preprocessing::imagenet(8);
    let whole = decode(bytes, &LIMITS);
    let fitted = preprocessing.read(bytes, &LIMITS);
    assert_eq!(whole.is_ok(), fitted.is_ok());
    let (Ok(whole), Ok(fitted)) = (whole, fitted) else {
        return;
    };
    let pixels = u64::from(whole.width()) * u64::from(whole.height());
    assert!((1..=LIMITS.max_pixels).contains(&pixels));
    assert_eq!((fitted.width, fitted.height), whole.dimensions());
    assert_eq!(fitted.picture.dimensions(), (8, 8));
    let random = Augmentations::scratch(8);
    let cropped = random.read(bytes, &LIMITS, &preprocessing, &mut rng(1, 1, &[0; 32]));
    assert_eq!(cropped.map(|picture| picture.dimensions()).ok(), Some((8, 8)));
});
