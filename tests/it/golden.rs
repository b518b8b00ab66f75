//! What the tests draw and compare as `tests/golden/models.py` does.

use serde_json::Value;
use tch::Kind;

/// Largest difference of a logit.
pub const TOLERANCE: f64 = 1e-4;

/// Normalised pictures (count, 3, size, size).
pub fn pictures(count: i64, size: usize) -> tch::Tensor {
    let side = size as i64;
    let values = uniform(&format!("pictures{size}"), count as usize * 3 * size * size);
    let values: Vec<f32> = values.map(|u| (4.0 * u - 2.0) as f32).collect();
    tch::Tensor::from_slice(&values).reshape([count, 3, side, side])
}

/// Numbers in [0, 1) that depend on the name only: SplitMix64 from the FNV-1a hash of the name.
pub fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (1..=count as u64).map(move |place| {
        let mut z = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f64 / (1u64 << 24) as f64
    })
}

/// The largest difference of a logit.
pub fn difference(logits: &tch::Tensor, golden: &Value) -> f64 {
    let rows = golden.as_array().unwrap();
    let expected: Vec<f64> = rows
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|value| value.as_f64().unwrap())
        .collect();
    let actual = Vec::<f64>::try_from(logits.to_kind(Kind::Double).flatten(0, -1)).unwrap();
    assert_eq!(actual.len(), expected.len());
    let differences = actual.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}
