//! Model files.
#![no_main]

use flowers::bundle::Bundle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((bundle, _)) = Bundle::read_from(bytes, bytes.len() as u64) {
        assert!(!bundle.manifest.labels.is_empty());
        // The graph is refused or can be built; neither may panic.
        bundle.manifest.graph().ok();
    }
});
