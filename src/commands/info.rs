//! `flowers info`: architectures, recipes, and model files.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use super::output::Output;
use super::table::table;
use crate::bundle::{self, Bundle, Manifest, TrainingMetrics};
use crate::cli::info::InfoArgs;
use crate::error::{Result, shown};
use crate::graph::Graph;
use crate::inference::BACKENDS;
use crate::models::{ARCHITECTURES, Architecture, Options};
use crate::names::unknown;
use crate::training::recipe::RECIPES;

/// Runs `flowers info`.
///
/// # Errors
/// [`crate::error::Error::Usage`] for something that is neither an architecture nor a file,
/// [`crate::error::Error::Data`] for a broken model file.
pub(super) fn run(args: &InfoArgs) -> Result<()> {
    let mut output = Output::stdout(args.json);
    if args.backends {
        return backends(&mut output);
    }
    let Some(subject) = &args.subject else {
        return overview(&mut output);
    };
    let known = ARCHITECTURES.iter().find(|known| known.name == subject);
    if let Some(architecture) = known {
        return described(architecture, args, &mut output);
    }
    let path = bundle::located(subject.into());
    if path.exists() {
        return model(&path, &mut output);
    }
    let names = ARCHITECTURES.iter().map(|known| known.name);
    Err(unknown("model file or architecture", &shown(subject), names).into())
}

fn backends(output: &mut Output<'_>) -> Result<()> {
    let mut rows = vec![["backend", "status", "purpose"].map(String::from).to_vec()];
    let mut list = Vec::new();
    for backend in BACKENDS {
        let status = (backend.status)();
        let (usable, found) = match status {
            Ok(found) => (true, found),
            Err(cause) => (false, format!("not usable: {cause:#}")),
        };
        list.push(json!({
            "name": backend.name,
            "summary": backend.summary,
            "usable": usable,
            "status": found,
        }));
        rows.push(vec![backend.name.into(), found, backend.summary.into()]);
    }
    output.json(&list)?;
    output.text(table(&rows).trim_end())
}

fn overview(output: &mut Output<'_>) -> Result<()> {
    let heads = [
        "architecture",
        "pixels",
        "parameters",
        "MACs",
        "top-1",
        "licence",
        "",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    let mut list = Vec::new();
    for architecture in ARCHITECTURES {
        let graph = architecture.graph(&architecture.imagenet())?;
        rows.push(vec![
            architecture.name.into(),
            architecture.image_size.to_string(),
            millions(graph.parameter_count()),
            millions(graph.macs()),
            format!("{:.1}%", architecture.accuracy),
            architecture.terms.licence.into(),
            architecture.summary.into(),
        ]);
        list.push(entry(architecture, &graph));
    }
    let recipes: Vec<_> = RECIPES
        .iter()
        .map(|recipe| json!({"name": recipe.name, "summary": recipe.summary}))
        .collect();
    output.json(&json!({"architectures": list, "recipes": recipes}))?;
    output.text(by_family(&table(&rows)))?;
    for terms in terms() {
        output.text(terms)?;
    }
    for recipe in RECIPES {
        output.text(format_args!("recipe {}: {}", recipe.name, recipe.summary))?;
    }
    Ok(())
}

/// An architecture and what is known of its published weights.
fn entry(architecture: &Architecture, graph: &Graph) -> serde_json::Value {
    json!({
        "name": architecture.name,
        "family": architecture.family,
        "paper": architecture.paper,
        "summary": architecture.summary,
        "image_size": graph.image_size(),
        "parameters": graph.parameter_count(),
        "macs": graph.macs(),
        "imagenet_top1": architecture.accuracy,
        "measured_by": architecture.terms.measured_by,
        "licence": architecture.terms.licence,
        "licence_note": architecture.terms.note,
    })
}

/// The table of architectures with a line above each family.
fn by_family(table: &str) -> String {
    let mut lines = table.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or_default());
    let mut family = "";
    for (architecture, line) in ARCHITECTURES.iter().zip(lines) {
        if architecture.family != family {
            family = architecture.family;
            text.push_str(&format!("-- {family} ({})\n", architecture.paper));
        }
        text.push_str(&format!("{line}\n"));
    }
    text
}

/// A line for each publisher of weights.
fn terms() -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for Architecture { terms, .. } in ARCHITECTURES {
        let line = format!(
            "top-1 on ImageNet by {}: {}",
            terms.measured_by, terms.licence
        );
        let line = match terms.note {
            "" => line,
            note => format!("{line}; {note}"),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// A row of an architecture's table.
#[derive(Serialize)]
struct Layer<'a> {
    name: &'a str,
    op: &'static str,
    shape: &'a [usize],
    parameters: u64,
    macs: u64,
}

fn layers(graph: &Graph) -> Vec<Layer<'_>> {
    let layer = |node: &'_ crate::graph::Node| -> u64 {
        let learned = node
            .op
            .slots()
            .into_iter()
            .filter(|slot| slot.role.is_learned());
        learned
            .map(|slot| slot.shape.iter().product::<usize>() as u64)
            .sum()
    };
    graph
        .nodes()
        .iter()
        .map(|node| Layer {
            name: &node.name,
            op: node.op.name(),
            shape: &node.shape,
            parameters: layer(node),
            macs: node.op.macs(&node.shape),
        })
        .collect()
}

fn described(architecture: &Architecture, args: &InfoArgs, output: &mut Output<'_>) -> Result<()> {
    let options = Options {
        classes: args.classes as usize,
        image_size: args
            .image_size
            .map_or(architecture.image_size, |size| size as usize),
        ..architecture.imagenet()
    };
    let graph = architecture.graph(&options)?;
    let layers = layers(&graph);
    let mut described = entry(architecture, &graph);
    described["freeze_until"] = json!(graph.layers());
    described["layers"] = json!(layers);
    output.json(&described)?;
    let mut rows = vec![
        ["layer", "operator", "output", "parameters", "MACs"]
            .map(String::from)
            .to_vec(),
    ];
    for layer in &layers {
        let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
        rows.push(vec![
            layer.name.into(),
            layer.op.into(),
            shape.join("x"),
            counted(layer.parameters),
            counted(layer.macs),
        ]);
    }
    rows.push(vec![
        "total".into(),
        "".into(),
        "".into(),
        counted(graph.parameter_count()),
        counted(graph.macs()),
    ]);
    output.text(table(&rows))?;
    output.text(format_args!(
        "{}: {} ({}), {}; {:.1}% of ImageNet right, measured by {} at {} pixels; licence {}",
        architecture.name,
        architecture.family,
        architecture.paper,
        architecture.summary,
        architecture.accuracy,
        architecture.terms.measured_by,
        architecture.image_size,
        architecture.terms.licence,
    ))?;
    output.text(format_args!(
        "layers for --freeze-until: {}",
        graph.layers().join(", ")
    ))
}

fn model(path: &Path, output: &mut Output<'_>) -> Result<()> {
    let (bundle, sha256) = Bundle::read(path)?;
    let manifest = &bundle.manifest;
    let graph = manifest.graph().with_context(|| shown(path))?;
    output.json(&json!({
        "file": shown(path),
        "sha256": sha256,
        "parameters": graph.parameter_count(),
        "macs": graph.macs(),
        "manifest": manifest,
    }))?;
    output.text(facts(path, manifest, &graph, &sha256))
}

fn facts(path: &Path, manifest: &Manifest, graph: &Graph, sha256: &str) -> String {
    let labels: Vec<String> = manifest.labels.names().iter().map(shown).collect();
    let input = &manifest.preprocessing;
    let head = match manifest.head.hidden {
        Some(units) => format!(
            "{} classes, with a hidden layer of {units} units",
            labels.len()
        ),
        None => format!("{} classes", labels.len()),
    };
    let metrics = manifest.metrics.clone().unwrap_or_default();
    let val_accuracy = metrics.val_accuracy().map(|value| format!("{value:.4}"));
    let epoch = metrics.epoch().map(|epoch| epoch.to_string());
    let unknown = || "unknown".to_owned();
    let lines = [
        ("test accuracy", tested(manifest)),
        ("file", shown(path)),
        ("sha256", sha256.into()),
        ("architecture", manifest.architecture.clone()),
        ("parameters", counted(graph.parameter_count())),
        ("MACs", counted(graph.macs())),
        ("classifier", head),
        ("labels", labels.join(", ")),
        (
            "input",
            format!(
                "shorter side resized to {}, {}x{} centre crop, mean {:?}, std {:?}",
                input.resize, input.crop, input.crop, input.mean, input.std
            ),
        ),
        ("weights", numbers(manifest)),
        ("val accuracy", val_accuracy.unwrap_or_else(unknown)),
        ("best epoch", epoch.unwrap_or_else(unknown)),
        (
            "split",
            manifest.split_sha256.clone().unwrap_or_else(unknown),
        ),
        (
            "written by",
            format!("flowers {}", shown(&manifest.flowers_version)),
        ),
    ];
    let rows: Vec<String> = lines
        .iter()
        .map(|(key, value)| format!("{key:<13} {value}"))
        .collect();
    rows.join("\n")
}

/// Accuracy on the test photos with its 95% interval, as the end of the training measured it.
fn tested(manifest: &Manifest) -> String {
    let test = manifest.metrics.as_ref().and_then(TrainingMetrics::test);
    let Some(test) = test else {
        return "not measured; `flowers eval` measures it".into();
    };
    let (accuracy, [low, high], photos) = (test.accuracy, test.interval, test.photos);
    let before = match manifest.quantization {
        Some(_) => ", measured before quantization",
        None => "",
    };
    format!("{accuracy:.4} (95% interval {low:.4} to {high:.4}, {photos} photos{before})")
}

fn numbers(manifest: &Manifest) -> String {
    match &manifest.quantization {
        Some(quantization) => format!("int8, {}", quantization.method),
        None => "float32".into(),
    }
}

fn millions(count: u64) -> String {
    format!("{:.1} M", count as f64 / 1e6)
}

/// A count with its thousands apart.
fn counted(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
