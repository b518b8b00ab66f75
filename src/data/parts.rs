//! Which part of a split data set a folder's name stands for.

use std::collections::BTreeSet;

use super::photo::Part;

/// Names of the parts, and beginnings and ends of words that mean them.
const NAMES: [(Part, &[&str]); 3] = [
    (Part::Train, &["train", "training", "训练"]),
    (
        Part::Val,
        &["val", "valid", "validation", "validate", "dev", "验证"],
    ),
    (Part::Test, &["test", "testing", "测试"]),
];

/// What may follow in the same word, as in `trainset`.
const FOLLOWED_BY: &[&str] = &[
    "set", "sets", "data", "dataset", "image", "images", "img", "imgs", "photos", "pictures",
    "pics", "split", "part", "folder", "dir", "集",
];

/// The part with exactly this name, as in `valid`.
pub(super) fn named(name: &str) -> Option<Part> {
    let name = name.trim().to_lowercase();
    let has = |(part, names): (Part, &[&str])| names.contains(&name.as_str()).then_some(part);
    NAMES.into_iter().find_map(has)
}

/// The one part that a word of the name stands for, as in `seg_train`, `01_TestSet`, `val2017`.
pub(super) fn meant(name: &str) -> Option<Part> {
    only(words(name).iter().filter_map(|word| meant_by(word)))
}

fn meant_by(word: &str) -> Option<Part> {
    let stem = |ending: &&str| word.strip_suffix(ending).and_then(named);
    named(word).or_else(|| FOLLOWED_BY.iter().find_map(stem))
}

/// Whether each name has words of its own beside those of parts, as `train station` and
/// `crash test` have, and `seg_train` and `seg_test` have not.
pub(super) fn are_of_things(names: impl IntoIterator<Item = String>) -> bool {
    let mut known = BTreeSet::new();
    names.into_iter().all(|name| {
        let mut words = words(&name);
        words.retain(|word| meant_by(word).is_none() && !FOLLOWED_BY.contains(&word.as_str()));
        !words.is_empty() && words.into_iter().all(|word| known.insert(word))
    })
}

/// The one part whose name is anywhere in this one. A guess, to be made where it is known that
/// the name is some part's.
pub(super) fn hinted(name: &str) -> Option<Part> {
    let name = name.to_lowercase();
    let in_name = |names: &[&str]| names.iter().any(|known| name.contains(known));
    let found = NAMES.iter().filter(|(_, names)| in_name(names));
    only(found.map(|&(part, _)| part))
}

fn only(mut parts: impl Iterator<Item = Part>) -> Option<Part> {
    let first = parts.next()?;
    parts.all(|part| part == first).then_some(first)
}

/// The words of a name in lower case: letters in a row, without a capital inside.
fn words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && after_lower) {
            spaced.push(' ');
        }
        if c.is_alphabetic() {
            spaced.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    spaced.split_whitespace().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_several_names() {
        for name in ["val", "Valid", "VALIDATION", "dev"] {
            assert_eq!(named(name), Some(Part::Val), "{name}");
        }
        assert_eq!(named("seg_train"), None);
    }

    #[test]
    fn a_word_tells_the_part() {
        for (name, part) in [
            ("seg_train", Part::Train),
            ("training_set", Part::Train),
            ("trainset", Part::Train),
            ("TrainImages", Part::Train),
            ("01_train", Part::Train),
            ("train2017", Part::Train),
            ("训练集", Part::Train),
            ("val_set", Part::Val),
            ("flowers-validation", Part::Val),
            ("test_images", Part::Test),
            ("Testing", Part::Test),
            ("测试集", Part::Test),
        ] {
            assert_eq!(meant(name), Some(part), "{name}");
        }
        for name in [
            "rose",
            "contest",
            "strain",
            "valley",
            "trainval",
            "train_test",
            "2",
            "",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
    }

    #[test]
    fn things_have_words_of_their_own() {
        let of_things = |names: &[&str]| are_of_things(names.iter().map(ToString::to_string));
        assert!(of_things(&["freight_train", "passenger_train"]));
        assert!(of_things(&["train station", "crash test"]));
        for parts in [
            ["seg_train", "seg_test"],
            ["train_images", "test_photos"],
            ["train", "test_jpg"],
            ["train_jpg", "test_jpg_additional"],
        ] {
            assert!(!of_things(&parts), "{parts:?}");
        }
    }

    #[test]
    fn a_guess_is_made_from_any_letters_but_not_from_two_parts() {
        assert_eq!(hinted("mytrainfolder"), Some(Part::Train));
        assert_eq!(hinted("xval"), Some(Part::Val));
        assert_eq!(hinted("trainval"), None);
        assert_eq!(hinted("photo"), None);
    }
}
