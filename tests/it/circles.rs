//! Files of the library import each other one way only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path below the crate, such as `data::split`.
type Module = Vec<String>;

/// The code of every module, without comments and unit tests.
fn modules() -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
    let rust = files.filter(|file| file.path().extension().is_some_and(|end| end == "rs"));
    rust.map(|file| {
        let path = file.path().strip_prefix(&root).unwrap().with_extension("");
        let mut module: Module = path
            .iter()
            .map(|part| part.to_str().unwrap().into())
            .collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        (module, code(&std::fs::read_to_string(file.path()).unwrap()))
    })
    .collect()
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths that code names behind `super` and `crate`, with braces written out.
fn paths(code: &str, module: &Module) -> Vec<Module> {
    let parent = &module[..module.len().saturating_sub(1)];
    let mut found = Vec::new();
    for (word, base) in [("super::", parent), ("crate::", &[][..])] {
        for (at, _) in code.match_indices(word) {
            let rest = &code[at + word.len()..];
            let tails = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').collect(),
                None => vec![rest],
            };
            for tail in tails {
                let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                let tail = tail.trim_start();
                let end = tail.find(|c| !is_path(c)).unwrap_or(tail.len());
                let names = tail[..end].split("::").filter(|name| !name.is_empty());
                found.push(
                    base.iter()
                        .cloned()
                        .chain(names.map(String::from))
                        .collect(),
                );
            }
        }
    }
    found
}

/// The modules that each module imports; its own ancestors, whose items it may share, are left out.
fn imports(modules: &BTreeMap<Module, String>) -> BTreeMap<&Module, BTreeSet<&Module>> {
    let target = |path: &Module| {
        let prefixes = (1..=path.len()).rev().map(|length| &path[..length]);
        let mut known = prefixes.filter_map(|prefix| modules.get_key_value(prefix));
        known.next().map(|(module, _)| module)
    };
    let of = |(module, code): (&'_ Module, &String)| {
        let paths = paths(code, module);
        let targets = paths.iter().filter_map(target);
        let others = targets.filter(|target| !module.starts_with(target));
        others.collect::<BTreeSet<_>>()
    };
    let modules = modules.iter();
    modules.map(|entry| (entry.0, of(entry))).collect()
}

/// A way from a module back to itself.
fn circle<'a>(
    module: &'a Module,
    imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> Option<Vec<&'a Module>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![module]];
    while let Some(way) = ways.pop() {
        for next in &imports[way.last().unwrap()] {
            if *next == module {
                return Some(way);
            }
            if seen.insert(*next) {
                ways.push([&way[..], &[*next]].concat());
            }
        }
    }
    None
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let modules = modules();
    assert!(modules.len() > 100, "only {} modules", modules.len());
    let imports = imports(&modules);
    let circles = modules.keys().filter_map(|module| circle(module, &imports));
    let named = circles.map(|way| {
        let names = way.iter().map(|module| module.join("::"));
        names.collect::<Vec<_>>().join(" -> ")
    });
    let circles: Vec<String> = named.collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn imports_are_found() {
    let module: Module = vec!["data".into(), "cut".into()];
    let code = "use super::split::Split;\nuse super::{listed, parts::Row};\ncrate::files::read(x)";
    let found: Vec<String> = paths(code, &module).iter().map(|p| p.join("::")).collect();
    let expected = [
        "data::split::Split",
        "data::listed",
        "data::parts::Row",
        "files::read",
    ];
    assert_eq!(found, expected);
}
