//! Augmentation policies and random erasing: their operations against torchvision, their drawing by
//! distribution.

use std::collections::{BTreeMap, BTreeSet};

use flowers::image::Preprocessing;
use flowers::image::augment::{Augmentation, Augmentations, rng};
use flowers::image::policy::{Operation, Policy};
use flowers::image::transform::Transform;
use image::{Rgb, RgbImage};

use crate::images::{difference, golden, picture};

#[test]
fn operations_equal_torchvision() {
    let cases = [
        (Operation::ShearX(0.3), "shear_x_0.3"),
        (Operation::ShearX(-0.99), "shear_x_-0.99"),
        (Operation::ShearY(0.297), "shear_y_0.297"),
        (Operation::ShearY(-0.66), "shear_y_-0.66"),
        (Operation::TranslateX(7.3), "translate_x_7.3"),
        (Operation::TranslateX(-32.0), "translate_x_-32"),
        (Operation::TranslateY(11.0), "translate_y_11"),
        (Operation::TranslateY(-4.9), "translate_y_-4.9"),
        (Operation::Rotate(135.0), "turn_135"),
        (Operation::Rotate(-9.0), "turn_-9"),
        (Operation::Brightness(0.99), "brighter_0.99"),
        (Operation::Brightness(-0.27), "brighter_-0.27"),
        (Operation::Color(0.9), "colour_0.9"),
        (Operation::Color(-0.99), "colour_-0.99"),
        (Operation::Contrast(0.66), "contrast_up_0.66"),
        (Operation::Contrast(-0.9), "contrast_down_0.9"),
        (Operation::Sharpness(0.99), "sharper_0.99"),
        (Operation::Sharpness(-0.9), "sharper_-0.9"),
        (Operation::Posterize(2), "posterize_2"),
        (Operation::Posterize(7), "posterize_7"),
        (Operation::Solarize(178.5), "solarize_178.5"),
        (Operation::Solarize(85.0), "solarize_85"),
        (Operation::AutoContrast, "autocontrast"),
        (Operation::Equalize, "equalize"),
    ];
    let source = picture("policy.png");
    for (operation, name) in cases {
        let expected = picture(&format!("policy_{name}.png"));
        let found = operation.apply(source.clone());
        assert_ne!(found, source, "{name} changes the picture");
        assert_eq!(difference(&found, &expected), (0.0, 0), "{name}");
    }
}

/// torchvision erases after normalising. The mean, rounded to 8 bits, is half a grade off at most.
#[test]
fn an_erased_rectangle_is_zero_for_the_network() {
    let erase = Transform::Erase {
        left: 9,
        top: 5,
        width: 20,
        height: 12,
        fill: [124, 116, 104],
    };
    let found = erase.apply(picture("policy.png"));
    // A picture of any shape, taken as rows.
    let planes = Preprocessing::imagenet(1).planes(found.as_raw());
    let expected = std::fs::read(golden("policy_erased.f32")).unwrap();
    let expected: Vec<f32> = expected
        .chunks_exact(4)
        .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
        .collect();
    let pixels = found.pixels().len();
    assert_eq!(expected.len(), 3 * pixels);
    let half_a_grade = 0.5 / 255.0 / 0.224 + 1e-6;
    for pixel in 0..pixels {
        for channel in 0..3 {
            let (a, b) = (
                planes[3 * pixel + channel],
                expected[channel * pixels + pixel],
            );
            let tolerance = if b == 0.0 { half_a_grade } else { 1e-6 };
            assert!((a - b).abs() <= tolerance, "{pixel} {channel}: {a} {b}");
        }
    }
}

fn drawn(step: &Augmentation, seed: u64) -> Vec<Operation> {
    match step.draw((224, 112), 224, &mut rng(seed, 0, &[0; 32])) {
        Some(Transform::Operations(operations)) => operations,
        other => panic!("{other:?}"),
    }
}

/// The operation's name and its magnitude, 0 where it has none.
fn parts(operation: Operation) -> (&'static str, f64) {
    match operation {
        Operation::Identity => ("identity", 0.0),
        Operation::ShearX(x) => ("shear x", x),
        Operation::ShearY(x) => ("shear y", x),
        Operation::TranslateX(x) => ("translate x", x),
        Operation::TranslateY(x) => ("translate y", x),
        Operation::Rotate(x) => ("rotate", x),
        Operation::Brightness(x) => ("brightness", x),
        Operation::Color(x) => ("color", x),
        Operation::Contrast(x) => ("contrast", x),
        Operation::Sharpness(x) => ("sharpness", x),
        Operation::Posterize(bits) => ("posterize", f64::from(bits)),
        Operation::Solarize(threshold) => ("solarize", threshold),
        Operation::AutoContrast => ("autocontrast", 0.0),
        Operation::Equalize => ("equalize", 0.0),
    }
}

/// The magnitudes that each operation was drawn with, in order, and how often it was drawn.
fn spread(step: &Augmentation) -> BTreeMap<&'static str, Vec<f64>> {
    let mut found: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for operation in (0..7000).flat_map(|seed| drawn(step, seed)) {
        let (name, magnitude) = parts(operation);
        found.entry(name).or_default().push(magnitude);
    }
    for magnitudes in found.values_mut() {
        magnitudes.sort_by(f64::total_cmp);
    }
    found
}

#[test]
fn rand_augment_has_two_operations_of_one_strength() {
    let step = Augmentation::RandAugment {
        operations: 2,
        magnitude: 9,
    };
    assert_eq!(drawn(&step, 1).len(), 2);
    let found = spread(&step);
    let either = |x: f64| vec![-x, x];
    // Of torchvision's table for magnitude 9, on a picture of 224 x 112 pixels.
    let expected = BTreeMap::from([
        ("identity", vec![0.0]),
        ("shear x", either(0.09)),
        ("shear y", either(0.09)),
        ("translate x", either(224.0 * 45.0 / 331.0)),
        ("translate y", either(112.0 * 45.0 / 331.0)),
        ("rotate", either(9.0)),
        ("brightness", either(0.27)),
        ("color", either(0.27)),
        ("contrast", either(0.27)),
        ("sharpness", either(0.27)),
        ("posterize", vec![7.0]),
        ("solarize", vec![178.5]),
        ("autocontrast", vec![0.0]),
        ("equalize", vec![0.0]),
    ]);
    assert!(found.keys().eq(expected.keys()));
    for (name, magnitudes) in found {
        // A fourteenth of 14,000, and five standard deviations.
        assert!((848..1152).contains(&magnitudes.len()), "{name}");
        let mut different = magnitudes;
        different.dedup();
        let expected = &expected[name];
        assert_eq!(different.len(), expected.len(), "{name}");
        let near = different
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near, "{name}: {different:?}");
    }
}

#[test]
fn trivial_augment_has_one_operation_of_any_strength() {
    let found = spread(&Augmentation::TrivialAugment);
    let bounds = BTreeMap::from([
        ("shear x", (-0.99, 0.99)),
        ("translate y", (-32.0, 32.0)),
        ("rotate", (-135.0, 135.0)),
        ("brightness", (-0.99, 0.99)),
        ("posterize", (2.0, 8.0)),
        ("solarize", (0.0, 255.0)),
    ]);
    assert_eq!(found.len(), 14);
    for (name, magnitudes) in &found {
        assert!((390..610).contains(&magnitudes.len()), "{name}");
    }
    for (name, (low, high)) in bounds {
        let magnitudes = &found[name];
        let (first, last) = (magnitudes[0], magnitudes[magnitudes.len() - 1]);
        assert!(
            (first - low).abs() < 1e-9 && (last - high).abs() < 1e-9,
            "{name}"
        );
    }
    let angles: BTreeSet<u64> = found["rotate"].iter().map(|x| x.to_bits()).collect();
    assert!(angles.len() > 50, "{}", angles.len());
}

#[test]
fn erased_rectangles_have_the_areas_and_ratios_asked_for() {
    let erasing = |probability| {
        let nothing = Augmentations {
            size: 200,
            steps: Vec::new(),
        };
        nothing.with_erasing(probability, [0.485, 0.456, 0.406])
    };
    assert_eq!(erasing(0.0).steps, []);
    let step = erasing(0.25).steps.remove(0);
    let (mut count, mut areas) = (0, Vec::new());
    for seed in 0..4000 {
        let Some(drawn) = step.draw((200, 200), 200, &mut rng(seed, 0, &[0; 32])) else {
            continue;
        };
        let Transform::Erase {
            left,
            top,
            width,
            height,
            fill,
        } = drawn
        else {
            panic!("{drawn:?}");
        };
        assert_eq!(fill, [124, 116, 104]);
        assert!(left + width <= 200 && top + height <= 200);
        let ratio = f64::from(height) / f64::from(width);
        assert!((0.29..3.4).contains(&ratio), "{ratio}");
        areas.push(f64::from(width * height) / 40_000.0);
        count += 1;
    }
    // A quarter, and five standard deviations.
    assert!((863..1137).contains(&count), "{count}");
    areas.sort_by(f64::total_cmp);
    assert!((0.019..0.03).contains(&areas[0]), "{}", areas[0]);
    let last = areas[areas.len() - 1];
    assert!((0.32..0.335).contains(&last), "{last}");
}

#[test]
fn a_policy_takes_the_place_of_all_but_crops_and_flips() {
    let kinds = |augmentations: Augmentations| -> Vec<String> {
        let json = serde_json::to_value(augmentations.steps).unwrap();
        let steps = json.as_array().unwrap().iter();
        steps
            .map(|step| step["kind"].as_str().unwrap().into())
            .collect()
    };
    let classic = |policy| {
        let augmentations = Augmentations::classic(64).with_policy(policy);
        kinds(augmentations.with_erasing(0.5, [0.5; 3]))
    };
    let kept = ["random-resized-crop", "horizontal-flip", "vertical-flip"];
    let own = ["rotation", "color-jitter"];
    let erasing = "random-erasing";
    assert_eq!(
        classic(Policy::Recipe),
        [&kept[..], &own, &[erasing]].concat()
    );
    let with = |policy| [&kept[..], &[policy, erasing]].concat();
    assert_eq!(classic(Policy::RandAugment), with("rand-augment"));
    assert_eq!(classic(Policy::TrivialAugment), with("trivial-augment"));
    assert_eq!(classic(Policy::None), [erasing]);
    let two_phase = Augmentations::two_phase(64).with_policy(Policy::RandAugment);
    assert_eq!(kinds(two_phase), ["horizontal-flip", "rand-augment"]);
}

#[test]
fn any_picture_goes_through_every_operation() {
    for (width, height) in [(1, 1), (1, 40), (3, 2), (33, 17)] {
        let source = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 200]));
        for seed in 0..300 {
            let augmentations = Augmentations::classic(24).with_policy(Policy::TrivialAugment);
            let augmentations = augmentations.with_erasing(1.0, [0.5; 3]);
            let apply = || augmentations.apply(source.clone(), &mut rng(seed, 0, &[7; 32]));
            let result = apply();
            assert_eq!(result.dimensions(), (24, 24));
            assert_eq!(result, apply());
        }
    }
}
