//! A folder with a page that classifies in the browser: the ONNX network and what runs it.

use serde_json::{Value, json};

use super::{Artifact, Members, Options, onnx};
use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::files::Layout;
use crate::inference::Backend;
use crate::inference::onnx::Interpreter;
use crate::labels::flora;

const NETWORK: &str = "model.onnx";
const MANIFEST: &str = "model.json";

/// Files that are the same for every model.
const PAGE: [(&str, &str); 5] = [
    (
        "classifier.js",
        include_str!("../../assets/web/classifier.js"),
    ),
    ("index.html", include_str!("../../assets/web/index.html")),
    (
        "package.json",
        include_str!("../../assets/web/package.json"),
    ),
    ("page.css", include_str!("../../assets/web/page.css")),
    ("page.js", include_str!("../../assets/web/page.js")),
];

pub(super) const LAYOUT: Layout = Layout {
    members: &[
        NETWORK, MANIFEST, PAGE[0].0, PAGE[1].0, PAGE[2].0, PAGE[3].0, PAGE[4].0,
    ],
    // What npm installs.
    kept: &["node_modules", "package-lock.json"],
};

/// The network for pictures, with its labels and preprocessing beside it, and the page.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Members> {
    let page = PAGE.map(|(name, text)| (name.to_owned(), text.into()));
    let mut members = Members::from(page);
    members.insert(NETWORK.into(), onnx::encode(bundle, options)?);
    let about = about(&bundle.manifest)?;
    members.insert(MANIFEST.into(), format!("{about:#}\n").into());
    Ok(members)
}

/// What the page has to know of the model.
fn about(manifest: &Manifest) -> Result<Value> {
    Ok(json!({
        "labels": manifest.labels.names(),
        "names": {"zh-CN": flora::chinese_names(&manifest.labels)},
        "subject": flora::subject(&manifest.labels),
        "preprocessing": serde_json::to_value(&manifest.preprocessing)?,
    }))
}

/// Loads the network of a folder, if its labels are those of the model.
pub(super) fn open(exported: Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    let stated: Value = serde_json::from_slice(exported.member(MANIFEST)?)?;
    if stated != about(manifest)? {
        anyhow::bail!("{MANIFEST} is of another model");
    }
    Ok(Box::new(Interpreter::read(exported.member(NETWORK)?)?))
}
