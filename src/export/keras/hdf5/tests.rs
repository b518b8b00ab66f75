//! Objects are found again by their names.

use std::collections::BTreeMap;

use super::{Attribute, Reader, Writer};
use crate::weights::Tensor;

#[test]
fn groups_arrays_and_texts_are_read_back() {
    let write = || {
        let mut file = Writer::new(0);
        let kernel = file
            .array(&Tensor::f32([2, 3], (0..6).map(|x| x as f32).collect()))
            .unwrap();
        let bias = file.array(&Tensor::f32([1], vec![-0.5])).unwrap();
        let members = BTreeMap::from([("kernel".into(), kernel), ("bias".into(), bias)]);
        let long = "x".repeat(100_000);
        let texts = ["kernel", "", "Gänseblümchen", "tensorflow", &long].map(String::from);
        let texts = file.texts(&texts).unwrap();
        let attributes = [
            ("weight_names", Attribute::Many(texts[..3].to_vec())),
            ("backend", Attribute::One(texts[3])),
        ];
        let layer = file.group(&members, &attributes).unwrap();
        let config = Attribute::One(texts[4]);
        let root = file.group(
            &BTreeMap::from([("conv".into(), layer)]),
            &[("config", config)],
        );
        file.finish(root.unwrap())
    };
    let file = write();
    assert_eq!(file, write());
    let reader = Reader::new(&file).unwrap();
    let kernel = reader.array("conv/kernel").unwrap();
    assert_eq!(
        kernel,
        Tensor::f32([2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    );
    assert_eq!(
        reader.array("conv/bias").unwrap().as_f32(),
        Some(&[-0.5][..])
    );
    let group = reader.group("conv").unwrap();
    assert_eq!(group.text("backend"), Some("tensorflow"));
    let names = group.texts("weight_names").unwrap();
    assert_eq!(names, ["kernel", "", "Gänseblümchen"]);
    assert_eq!(
        reader.group("").unwrap().text("config").map(str::len),
        Some(100_000)
    );
    for missing in ["conv/gamma", "dense", "conv/kernel/kernel"] {
        assert!(reader.array(missing).is_err(), "{missing}");
    }
}

#[test]
fn a_damaged_file_is_refused_not_read_beyond_its_end() {
    let mut file = Writer::new(0);
    let array = file.array(&Tensor::f32([4], vec![1.0; 4])).unwrap();
    let text = Attribute::One(file.texts(&["text".into()]).unwrap()[0]);
    let root = file.group(&BTreeMap::from([("a".into(), array)]), &[("t", text)]);
    let file = file.finish(root.unwrap());
    assert!(Reader::new(&file[..file.len() - 1]).is_err());
    for at in 8..file.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = file.clone();
            damaged[at] = value;
            if let Ok(reader) = Reader::new(&damaged) {
                let _ = (reader.group(""), reader.array("a"));
            }
        }
    }
}
