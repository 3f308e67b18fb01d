//! Imports between files point one way: a circle of files is one file in pieces.
//!
//! Reads every file as the compiler does (`syn`), follows each path to the file that defines what it names, through the doors (`pub use` in a
//! `mod.rs`), and looks for circles. Tests are no part of it, and neither is a door's own `pub use` of its room.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use syn::visit::Visit;
use syn::{Attribute, File, Item, ItemMod, UseTree, Visibility};

/// A module by its path within a crate.
type Module = Vec<String>;

/// Looks at all crates.
pub(crate) fn check() -> anyhow::Result<()> {
    let crates = ["flow", "ebpf", "border", "media", "calls", "relay", "control", "loadtest", "benches", "xtask"];
    let mut circles = Vec::new();
    for name in crates {
        let root = Path::new(name).join("src");
        let root = if root.is_dir() { root } else { Path::new(name).to_owned() };
        let files = Files::read(&root).with_context(|| format!("cannot read {}", root.display()))?;
        for circle in files.circles() {
            let files: Vec<String> = circle.iter().map(|module| module.join("/")).collect();
            circles.push(format!("{name}: {}", files.join(", ")));
        }
    }
    if circles.is_empty() {
        return Ok(());
    }
    bail!("files import each other in a circle:\n  {}", circles.join("\n  "))
}

/// What one file says.
#[derive(Default)]
struct Said {
    /// The paths that it names, from the root of its crate.
    paths: Vec<Module>,
    /// What it makes visible under another path: the name, and where that is.
    doors: BTreeMap<String, Module>,
}

/// The files of a crate, by module.
#[derive(Default)]
struct Files(BTreeMap<Module, Said>);

impl Files {
    fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Self::default();
        files.walk(root, &[])?;
        Ok(files)
    }

    fn walk(&mut self, folder: &Path, module: &[String]) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
            if stem == "tests" || stem == "fuzz_targets" {
                continue;
            }
            if path.is_dir() {
                self.walk(&path, &[module, &[stem]].concat())?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let of = match stem.as_str() {
                    "mod" | "lib" | "main" => module.to_vec(),
                    _ => [module, &[stem]].concat(),
                };
                let file = syn::parse_file(&std::fs::read_to_string(&path)?)
                    .with_context(|| format!("{} is no Rust", path.display()))?;
                self.add(of, &file);
            }
        }
        Ok(())
    }

    fn add(&mut self, module: Module, file: &File) {
        let mut reader = Reader { module: module.clone(), said: Said::default() };
        reader.visit_file(file);
        let said = self.0.entry(module).or_default();
        said.paths.append(&mut reader.said.paths);
        said.doors.append(&mut reader.said.doors);
    }

    /// The module that defines what a path names.
    fn definition(&self, path: &[String], depth: usize) -> Option<Module> {
        let mut module = Vec::new();
        for (at, word) in path.iter().enumerate() {
            let inner = [&module[..], std::slice::from_ref(word)].concat();
            if self.0.contains_key(&inner) {
                module = inner;
            } else if let Some(target) = self.0.get(&module).and_then(|said| said.doors.get(word)) {
                let rest = path.get(at + 1..).unwrap_or_default();
                // A door may lead to a door; one that leads to itself is the compiler's to refuse.
                return if depth == 0 { None } else { self.definition(&[target, rest].concat(), depth - 1) };
            } else {
                break;
            }
        }
        Some(module)
    }

    /// Groups of files of which each leads to every other.
    fn circles(&self) -> Vec<Vec<Module>> {
        let mut edges: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
        for (module, said) in &self.0 {
            let imports = said.paths.iter().filter_map(|path| self.definition(path, 8));
            edges.insert(module, imports.filter(|target| target != module).collect());
        }
        let reached = |from: &Module| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = open.pop() {
                for next in edges.get(&module).into_iter().flatten() {
                    if seen.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&Module, BTreeSet<Module>> =
            self.0.keys().map(|module| (module, reached(module))).collect();
        let mut circles: BTreeSet<Vec<Module>> = BTreeSet::new();
        for (module, all) in &reached {
            let leads_back = |other: &&Module| reached.get(other).is_some_and(|back| back.contains(*module));
            let mut circle: Vec<Module> = all.iter().filter(leads_back).cloned().collect();
            if !circle.is_empty() {
                circle.push((*module).clone());
                circle.sort();
                circle.dedup();
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

/// Reads what a file names.
struct Reader {
    module: Module,
    said: Said,
}

impl Reader {
    /// A path from the root of the crate; `None` when it is another crate's, or a name of this file's own.
    fn rooted(&self, words: &[String]) -> Option<Module> {
        let (first, rest) = words.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([&self.module[..], rest].concat()),
            "super" => {
                let mut module = self.module.clone();
                let mut words = words;
                while let Some(("super", rest)) = words.split_first().map(|(word, rest)| (word.as_str(), rest)) {
                    module.pop()?;
                    words = rest;
                }
                Some([&module[..], words].concat())
            }
            _ => None,
        }
    }

    fn leaves(tree: &UseTree, before: &[String], leaves: &mut Vec<(String, Vec<String>)>) {
        match tree {
            UseTree::Path(path) => {
                Self::leaves(&path.tree, &[before, &[path.ident.to_string()]].concat(), leaves);
            }
            UseTree::Name(name) if name.ident == "self" => {
                let last = before.last().cloned().unwrap_or_default();
                leaves.push((last, before.to_vec()));
            }
            UseTree::Name(name) => leaves.push((name.ident.to_string(), [before, &[name.ident.to_string()]].concat())),
            UseTree::Rename(rename) => {
                leaves.push((rename.rename.to_string(), [before, &[rename.ident.to_string()]].concat()));
            }
            UseTree::Glob(_) => leaves.push(("*".to_owned(), before.to_vec())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| Self::leaves(tree, before, leaves)),
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string().contains("test"))
    })
}

impl<'ast> Visit<'ast> for Reader {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most kinds of items are somebody else's business")]
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if is_for_tests(attributes) {
            return;
        }
        let Item::Use(item) = item else { return syn::visit::visit_item(self, item) };
        let mut leaves = Vec::new();
        Self::leaves(&item.tree, &[], &mut leaves);
        for (name, path) in leaves {
            let is_door = !matches!(item.vis, Visibility::Inherited);
            // In a door, what begins with no keyword is of the room.
            let rooted = self.rooted(&path).or_else(|| is_door.then(|| [&self.module[..], &path].concat()));
            match rooted {
                Some(rooted) if is_door => drop(self.said.doors.insert(name, rooted)),
                Some(rooted) => self.said.paths.push(rooted),
                None => {}
            }
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        // A module within the file is the file's.
        syn::visit::visit_item_mod(self, item);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // Who may see something is no import.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.said.paths.extend(self.rooted(&words));
        syn::visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<Module>> {
        let mut all = Files::default();
        for (path, text) in files {
            let module = path.split('/').filter(|word| !word.is_empty()).map(str::to_owned).collect();
            all.add(module, &syn::parse_file(text).unwrap());
        }
        all.circles()
    }

    #[test]
    fn files_that_import_each_other_are_found_in_every_spelling() {
        for import in ["use crate::b::B;", "use super::b::B;", "fn f() { crate::b::g() }", "use crate::{b::{self, B}};"]
        {
            assert_eq!(circles(&[("", ""), ("a", import), ("b", "use crate::a::A;")]).len(), 1, "{import}");
        }
    }

    #[test]
    fn a_circle_through_a_door_is_one_and_a_door_alone_is_none() {
        let door = ("room", "pub(crate) use one::One; pub(crate) use two::Two;");
        let chain = [("", ""), door, ("room/one", "use crate::room::Two;"), ("room/two", "")];
        assert!(circles(&chain).is_empty());
        let circle = [("", ""), door, ("room/one", "use crate::room::Two;"), ("room/two", "use crate::room::One;")];
        assert_eq!(
            circles(&circle),
            [[vec!["room", "one"], vec!["room", "two"]]
                .map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>())]
        );
    }

    #[test]
    fn tests_are_no_part_of_it() {
        assert!(
            circles(&[("", ""), ("a", "#[cfg(test)] mod tests { use crate::b::B; }"), ("b", "use crate::a::A;")])
                .is_empty()
        );
    }
}
