//! Split manifests.
#![no_main]

use flowers::data::SplitManifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = SplitManifest::parse(bytes) {
        let text = manifest.to_json().unwrap();
        assert_eq!(SplitManifest::parse(text.as_bytes()).unwrap().train, manifest.train);
    }
});
