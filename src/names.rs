//! Tables whose entries are chosen by name, and what was probably meant by a name that is not there.

use crate::error::{Error, Result};

/// An entry of a table, chosen by its name.
pub(crate) trait Named {
    fn name(&self) -> &'static str;
}

/// The entry of this name; `kind` is what the table holds, e.g. `architecture`.
///
/// # Errors
/// [`Error::Usage`] with the nearest name and all that there are.
pub(crate) fn find<T: Named>(kind: &str, table: &'static [T], name: &str) -> Result<&'static T> {
    let found = table.iter().find(|entry| entry.name() == name);
    found.ok_or_else(|| unknown(kind, name, table.iter().map(Named::name)).into())
}

/// How alike two names must be, 0 to 1, for one to be suggested.
const ALIKE: f64 = 0.8;

/// The name that was probably meant: the same but for case and punctuation, or nearly the same.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(name);
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&wanted, &plain(known)), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// The letters and digits of a name, in lower case.
pub(crate) fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

/// [`Error::Usage`] for a name that is not on the list, with the nearest one and the whole list.
pub(crate) fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let meant = nearest(name, known.iter().copied());
    let meant = meant.map_or(".".into(), |meant| format!(", did you mean {meant}?"));
    let known = known.join(", ");
    Error::Usage(format!(
        "there is no {kind} {name:?}{meant} Choices: {known}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let known = ["resnet18", "resnet34", "mobilenet_v2", "efficientnet_lite0"];
        for (name, meant) in [
            ("ResNet18", "resnet18"),
            ("resnet-18", "resnet18"),
            ("MobileNetV2", "mobilenet_v2"),
            ("efficientnet-lite0", "efficientnet_lite0"),
            ("renset34", "resnet34"),
        ] {
            assert_eq!(nearest(name, known), Some(meant), "{name}");
        }
        assert_eq!(nearest("vgg16", known), None);
    }
}
