//! Bodies of requests: forms, whose boundary is `b`, and plain ones.
#![no_main]

use axum::body::Body;
use axum::http::Request;
use flowers::serving::upload::{MAX_FILES, read};
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 4096;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for kind in ["multipart/form-data; boundary=b", "image/jpeg"] {
        let request = Request::post("/").header("content-type", kind);
        let request = request.body(Body::from(bytes.to_vec())).unwrap();
        if let Ok(upload) = runtime.block_on(read(request, LIMIT)) {
            assert!((1..=MAX_FILES).contains(&upload.files.len()));
            let total: usize = upload.files.iter().map(|file| file.len()).sum();
            assert!(total as u64 <= LIMIT && total <= bytes.len());
        }
    }
});
