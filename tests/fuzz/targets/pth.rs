//! Both formats of `torch.save`.
#![no_main]

use flowers::weights::{pth, safetensors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for tensors in [pth::read_zip(bytes), pth::read_legacy(bytes)].into_iter().flatten() {
        // Whatever was read can be written, and is the same when read again.
        let mut file = Vec::new();
        safetensors::write_to(&mut file, &tensors, &Default::default()).unwrap();
        let (again, _) = safetensors::read_from(&mut &file[..], file.len() as u64).unwrap();
        assert_eq!(again.keys().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
    }
});
