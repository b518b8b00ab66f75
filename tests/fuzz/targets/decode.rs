//! Pictures, whole and shrunk while they are decoded.
#![no_main]

use flowers::image::{Limits, Preprocessing, decode};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    max_pixels: 1 << 20,
    max_bytes: 1 << 20,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(picture) = decode(bytes, &LIMITS) else {
        return;
    };
    let pixels = u64::from(picture.width()) * u64::from(picture.height());
    assert!((1..=LIMITS.max_pixels).contains(&pixels));
    let preprocessing = Preprocessing::imagenet(8);
    if let Ok(fitted) = preprocessing.read(bytes, &LIMITS) {
        assert_eq!(fitted.picture.dimensions(), (8, 8));
    }
});
