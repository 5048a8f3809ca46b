//! The layers of src/: each file imports from its own layer and those below, and no two files import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest; layers in one row may not import each other.
const LAYERS: [&[&str]; 12] = [
    &["escape"],
    &["model"],
    &["sys"],
    &["config"],
    &["error"],
    &["policy"],
    &["plan"],
    &["apply", "report"],
    &["kernel"],
    &["check"],
    &["commands"],
    &["fuzz", "lib"],
];

/// Below this directory, with the path of each file's module.
fn files(directory: &Path, module: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = match stem {
            "mod" => module.to_owned(),
            _ if module.is_empty() => stem.to_owned(),
            _ => format!("{module}::{stem}"),
        };
        if path.is_dir() {
            files(&path, &name, found);
        } else {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The modules that a file names after `crate::`, each as the longest path that is a file.
fn imports<'a>(source: &str, modules: &'a BTreeMap<String, String>) -> BTreeSet<&'a str> {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let paths = code.split("crate::").skip(1).flat_map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
        let (path, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let group = rest
            .strip_prefix('{')
            .and_then(|rest| rest.split('}').next());
        let names = group.unwrap_or("").split(',').map(str::trim);
        names
            .map(move |name| format!("{path}{name}"))
            .collect::<Vec<_>>()
    });
    paths
        .filter_map(|path| {
            let parts: Vec<&str> = path.split("::").collect();
            (1..=parts.len()).rev().find_map(|length| {
                let (module, _) = modules.get_key_value(&parts[..length].join("::"))?;
                Some(module.as_str())
            })
        })
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    let top = module.split("::").next().unwrap();
    LAYERS.iter().position(|row| row.contains(&top))
}

#[test]
fn a_file_imports_from_its_own_layer_and_those_below_and_no_two_import_each_other() {
    let mut modules = BTreeMap::new();
    let source: PathBuf = [env!("CARGO_MANIFEST_DIR"), "src"].iter().collect();
    files(&source, "", &mut modules);
    modules.retain(|module, _| !module.split("::").any(|part| part == "tests"));
    assert!(modules.len() > 40, "{:?}", modules.keys());

    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, source) in modules.iter().filter(|(module, _)| *module != "entry") {
        let from = layer(module).unwrap_or_else(|| panic!("{module} is in no layer"));
        for import in imports(source, &modules) {
            let to = layer(import).unwrap_or_else(|| panic!("{module} imports {import}"));
            let same = import.split("::").next() == module.split("::").next();
            assert!(
                to < from || same,
                "{module} imports {import}, which stands above it"
            );
            if import != module {
                arrows.entry(module).or_default().insert(import);
            }
        }
    }
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 200);

    // What imports nothing that is left stands in no circle.
    while let Some(done) = arrows
        .iter()
        .find(|(_, imports)| imports.iter().all(|import| !arrows.contains_key(import)))
        .map(|(module, _)| *module)
    {
        arrows.remove(done);
    }
    assert!(arrows.is_empty(), "these import each other: {arrows:?}");
}
