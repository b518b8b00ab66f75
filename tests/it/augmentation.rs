//! Random transforms: their application against torchvision, their drawing by distribution.

use std::collections::HashSet;

use flowers::image::augment::{Augmentation, Augmentations, rng};
use flowers::image::transform::{Adjustment, Affine, Transform};
use image::{Rgb, RgbImage};
use proptest::prelude::*;

use crate::images::{difference, picture};

fn check(transform: Transform, name: &str, mean: f64, max: u8) {
    let found = difference(
        &transform.apply(picture("augment.png")),
        &picture(&format!("{name}.png")),
    );
    assert!(found.0 <= mean && found.1 <= max, "{name}: {found:?}");
}

#[test]
fn flips_equal_torchvision_and_rotations_match_it() {
    check(Transform::HorizontalFlip, "flip_horizontal", 0.0, 0);
    check(Transform::VerticalFlip, "flip_vertical", 0.0, 0);
    for degrees in [17.25, -30.0] {
        let name = format!("rotate_{degrees}");
        check(Transform::Rotation { degrees }, &name, 0.6, 2);
    }
    check(Transform::Rotation { degrees: 90.0 }, "rotate_90", 0.0, 0);
}

/// A crop, a flip and a rotation at once, beside torchvision's one after the other.
#[test]
fn composed_transforms_match_torchvision() {
    let compose = |(left, top, width, height), size, flip, degrees| {
        let crop = Transform::ResizedCrop {
            left,
            top,
            width,
            height,
            size,
        };
        let all = [crop, flip, Transform::Rotation { degrees }];
        Transform::apply_all(&all, picture("augment.png"))
    };
    let enlarged = compose((5, 3, 30, 20), 48, Transform::HorizontalFlip, 17.25);
    let found = difference(&enlarged, &picture("enlarged_turned.png"));
    assert!(found.0 < 3.0, "enlarged: {found:?}");
    let shrunk = compose((2, 1, 44, 34), 24, Transform::VerticalFlip, -30.0);
    let found = difference(&shrunk, &picture("shrunk_turned.png"));
    assert!(found.0 < 0.8 && found.1 <= 3, "shrunk: {found:?}");
}

#[test]
fn crops_match_torchvision() {
    for (left, top, width, height) in [(5, 3, 30, 20), (40, 30, 8, 6)] {
        let crop = Transform::ResizedCrop {
            left,
            top,
            width,
            height,
            size: 28,
        };
        let name = format!("crop_{left}_{top}_{width}_{height}");
        check(crop, &name, 0.1, 1);
    }
}

#[test]
fn colours_match_torchvision() {
    let cases = [
        (Adjustment::Brightness(0.75), "brightness_0.75"),
        (Adjustment::Brightness(1.2), "brightness_1.2"),
        (Adjustment::Contrast(0.8), "contrast_0.8"),
        (Adjustment::Contrast(1.2), "contrast_1.2"),
        (Adjustment::Saturation(0.8), "saturation_0.8"),
        (Adjustment::Saturation(1.2), "saturation_1.2"),
        (Adjustment::Hue(0.1), "hue_0.1"),
        (Adjustment::Hue(-0.07), "hue_-0.07"),
        (Adjustment::Hue(0.5), "hue_0.5"),
    ];
    for (adjustment, name) in cases {
        check(Transform::ColorJitter(vec![adjustment]), name, 0.05, 4);
    }
    let all = vec![cases[1].0, cases[2].0, cases[6].0, cases[5].0];
    check(Transform::ColorJitter(all), "jitter", 0.05, 6);
}

#[test]
fn affine_maps_match_grid_sample() {
    let still = Affine {
        rotation: 0.0,
        shift: [0.0, 0.0],
        shear: 0.0,
        zoom: [1.0, 1.0],
    };
    check(Transform::Affine(still), "augment", 0.0, 0);
    let turned = Affine {
        rotation: 35.0,
        ..still
    };
    check(Transform::Affine(turned), "affine_turned", 0.25, 1);
    let all = Affine {
        rotation: -20.0,
        shift: [0.1, -0.15],
        shear: 0.2,
        zoom: [0.8, 1.2],
    };
    check(Transform::Affine(all), "affine_all", 0.25, 1);
}

#[test]
fn crops_have_the_areas_and_ratios_asked_for() {
    let step = Augmentations::classic(224).steps.remove(0);
    let mut rng = rng(1, 2, &[3; 32]);
    let (mut area_sum, mut corners) = (0.0, HashSet::new());
    for _ in 0..2000 {
        let Some(Transform::ResizedCrop {
            left,
            top,
            width,
            height,
            size: 224,
        }) = step.draw((500, 400), 224, &mut rng)
        else {
            panic!("a crop is always drawn");
        };
        assert!(left + width <= 500 && top + height <= 400);
        let area = f64::from(width * height) / 200_000.0;
        let ratio = f64::from(width) / f64::from(height);
        assert!((0.079..=1.0).contains(&area), "{area}");
        assert!((0.74..1.35).contains(&ratio), "{ratio}");
        area_sum += area;
        corners.insert((left, top));
    }
    // Below the middle of 0.08 to 1: large rectangles seldom have a ratio that fits.
    let mean = area_sum / 2000.0;
    assert!((0.43..0.50).contains(&mean), "{mean}");
    assert!(corners.len() > 1000);
}

#[test]
fn a_shape_no_crop_fits_gets_the_central_one() {
    let step = &Augmentations::classic(224).steps[0];
    let drawn = step.draw((1000, 10), 224, &mut rng(1, 2, &[3; 32]));
    let expected = Transform::ResizedCrop {
        left: 493,
        top: 0,
        width: 13,
        height: 10,
        size: 224,
    };
    assert_eq!(drawn, Some(expected));
}

#[test]
fn flips_happen_half_the_time() {
    let mut rng = rng(5, 0, &[0; 32]);
    for step in &Augmentations::classic(8).steps[1..3] {
        let flips = (0..2000)
            .filter(|_| step.draw((8, 8), 8, &mut rng).is_some())
            .count();
        // Five standard deviations.
        assert!((888..1112).contains(&flips), "{flips}");
    }
    let never = Augmentation::HorizontalFlip { probability: 0.0 };
    let always = Augmentation::HorizontalFlip { probability: 1.0 };
    assert!((0..100).all(|_| never.draw((8, 8), 8, &mut rng).is_none()));
    assert!((0..100).all(|_| always.draw((8, 8), 8, &mut rng).is_some()));
}

#[test]
fn colours_and_angles_fill_their_ranges() {
    let steps = Augmentations::classic(8).steps;
    let mut rng = rng(6, 0, &[0; 32]);
    let mut orders = HashSet::new();
    let (mut low, mut high) = ([f32::MAX; 5], [f32::MIN; 5]);
    for _ in 0..1000 {
        let mut values = [0.0; 5];
        let Some(Transform::Rotation { degrees }) = steps[3].draw((8, 8), 8, &mut rng) else {
            panic!("a rotation is always drawn");
        };
        values[4] = degrees;
        let Some(Transform::ColorJitter(adjustments)) = steps[4].draw((8, 8), 8, &mut rng) else {
            panic!("a colour jitter is always drawn");
        };
        let order: Vec<usize> = adjustments
            .iter()
            .map(|adjustment| {
                let (kind, value) = match *adjustment {
                    Adjustment::Brightness(factor) => (0, factor),
                    Adjustment::Contrast(factor) => (1, factor),
                    Adjustment::Saturation(factor) => (2, factor),
                    Adjustment::Hue(shift) => (3, shift),
                };
                values[kind] = value;
                kind
            })
            .collect();
        orders.insert(order);
        low = std::array::from_fn(|i| low[i].min(values[i]));
        high = std::array::from_fn(|i| high[i].max(values[i]));
    }
    assert_eq!(orders.len(), 24);
    for (i, (centre, reach)) in [(1.0, 0.2), (1.0, 0.2), (1.0, 0.2), (0.0, 0.1), (0.0, 30.0)]
        .into_iter()
        .enumerate()
    {
        for (found, wanted) in [(low[i], centre - reach), (high[i], centre + reach)] {
            assert!((found - wanted).abs() < 0.05 * reach, "{i}: {found}");
        }
        assert!(low[i] >= centre - reach && high[i] <= centre + reach);
    }
}

#[test]
fn affine_parameters_fill_their_ranges() {
    let step = &Augmentations::two_phase(8).steps[0];
    let mut rng = rng(7, 0, &[0; 32]);
    let (mut low, mut high) = ([f32::MAX; 6], [f32::MIN; 6]);
    for _ in 0..1000 {
        let Some(Transform::Affine(affine)) = step.draw((8, 8), 8, &mut rng) else {
            panic!("an affine map is always drawn");
        };
        let [shift_x, shift_y] = affine.shift;
        let [zoom_x, zoom_y] = affine.zoom;
        let values = [
            affine.rotation,
            shift_x,
            shift_y,
            affine.shear,
            zoom_x,
            zoom_y,
        ];
        low = std::array::from_fn(|i| low[i].min(values[i]));
        high = std::array::from_fn(|i| high[i].max(values[i]));
    }
    for (i, (centre, reach)) in [
        (0.0, 40.0),
        (0.0, 0.2),
        (0.0, 0.2),
        (0.0, 0.2),
        (1.0, 0.2),
        (1.0, 0.2),
    ]
    .into_iter()
    .enumerate()
    {
        for (found, wanted) in [(low[i], centre - reach), (high[i], centre + reach)] {
            assert!((found - wanted).abs() < 0.05 * reach, "{i}: {found}");
        }
        assert!(low[i] >= centre - reach && high[i] <= centre + reach);
    }
}

#[test]
fn the_rng_is_that_of_seed_epoch_and_photo() {
    let source = picture("augment.png");
    let apply = |seed, epoch, photo| {
        Augmentations::classic(32).apply(source.clone(), &mut rng(seed, epoch, &[photo; 32]))
    };
    let first = apply(1, 2, 3);
    assert_eq!(first, apply(1, 2, 3));
    for other in [
        apply(2, 2, 3),
        apply(1, 3, 3),
        apply(1, 2, 4),
        apply(2, 1, 3),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_picture_of_the_right_size_is_not_fitted_again() {
    let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, 0]));
    let nothing = Augmentations {
        size: 32,
        steps: Vec::new(),
    };
    let mut rng = rng(0, 0, &[0; 32]);
    assert_eq!(nothing.apply(picture.clone(), &mut rng), picture);
}

#[test]
fn augmentations_are_written_by_name() {
    let augmentations = Augmentations::two_phase(224);
    let json = serde_json::to_string(&augmentations).unwrap();
    assert!(
        json.contains(r#"{"kind":"horizontal-flip","probability":0.5}"#),
        "{json}"
    );
    let back: Augmentations = serde_json::from_str(&json).unwrap();
    assert_eq!(back, augmentations);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_picture_ends_at_the_size(
        width in 1u32..80,
        height in 1u32..80,
        size in 1u32..40,
        seed: u64,
        two_phase: bool,
    ) {
        let source = RgbImage::from_pixel(width, height, Rgb([200, 100, 50]));
        let augmentations = if two_phase {
            Augmentations::two_phase(size)
        } else {
            Augmentations::classic(size)
        };
        let result = augmentations.apply(source, &mut rng(seed, 0, &[0; 32]));
        prop_assert_eq!(result.dimensions(), (size, size));
        if two_phase {
            // Nothing but the picture's own pixels ever comes in.
            prop_assert!(result.pixels().all(|pixel| *pixel == Rgb([200, 100, 50])));
        }
    }
}
