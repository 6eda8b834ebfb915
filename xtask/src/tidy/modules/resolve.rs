//! From a path in the code to the file that defines the item.

use super::{Arrow, Crate, Definition, Kind, Reference};

/// Imports that lead to imports are followed so far.
const MOST_STEPS: usize = 32;

enum Target {
    /// An item of the module of that number.
    Item(usize),
    Module(usize),
    /// The path of an item of another crate.
    External(Vec<String>),
}

impl Crate {
    /// The arrows between the crate's files, tests left out. Where a module passes an item on (`pub use`), the
    /// arrow goes to the file that defines it.
    pub(in crate::tidy) fn arrows(&self) -> Vec<Arrow> {
        self.collect(|module, reference| {
            let to = match self.target(module, reference)? {
                Target::Item(to) => to,
                Target::Module(to) if reference.kind == Kind::Glob => to,
                _ => return None,
            };
            Some((self.modules[to].file.clone(), self.is_part(to, module)))
        })
    }

    /// The uses of items of other crates, tests left out.
    pub(in crate::tidy) fn externals(&self) -> Vec<Arrow> {
        self.collect(|module, reference| match self.target(module, reference)? {
            Target::External(path) if path.len() > 1 => Some((path.join("::"), false)),
            _ => None,
        })
    }

    /// Whether a module is below another one.
    fn is_part(&self, module: usize, whole: usize) -> bool {
        let mut at = self.modules[module].parent;
        while let Some(number) = at.filter(|number| *number != whole) {
            at = self.modules[number].parent;
        }
        at.is_some()
    }

    fn collect(&self, to: impl Fn(usize, &Reference) -> Option<(String, bool)>) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        let shipped = self.modules.iter().enumerate().filter(|(_, module)| !module.is_test);
        for (number, module) in shipped {
            for reference in &module.references {
                let Some((to, is_part)) = to(number, reference) else { continue };
                if to == module.file {
                    continue;
                }
                arrows.push(Arrow {
                    from: module.file.clone(),
                    line: reference.line,
                    to,
                    path: reference.segments.join("::"),
                    is_part,
                });
            }
        }
        arrows.sort();
        arrows.dedup();
        arrows
    }

    fn target(&self, module: usize, reference: &Reference) -> Option<Target> {
        let segments = &reference.segments;
        match reference.kind {
            Kind::ReExport => None,
            Kind::Name => {
                let names = self.modules[module].names.get(&segments[0])?;
                let passed_on = names.iter().any(|definition| {
                    matches!(definition, Definition::Import { is_passed_on: true, .. })
                });
                if passed_on { self.resolve(module, segments, 0) } else { None }
            }
            Kind::Macro if segments.len() == 1 => self.macro_in_scope(module, &segments[0]),
            _ => self.resolve(module, segments, 0),
        }
    }

    /// A macro is known by its bare name in the module that defines it and in all below.
    fn macro_in_scope(&self, module: usize, name: &str) -> Option<Target> {
        let mut at = Some(module);
        while let Some(number) = at {
            let names = self.modules[number].names.get(name).into_iter().flatten();
            for definition in names {
                match definition {
                    Definition::Macro(of) => return Some(Target::Item(*of)),
                    // The `use` is the arrow.
                    Definition::Import { .. } => return None,
                    _ => {}
                }
            }
            at = self.modules[number].parent;
        }
        None
    }

    fn resolve(&self, module: usize, segments: &[String], steps: usize) -> Option<Target> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "::" => Some(Target::External(rest.to_vec())),
            "crate" => self.inside(0, rest, steps),
            "self" => self.inside(module, rest, steps),
            "super" => {
                let mut at = self.modules[module].parent?;
                let mut rest = rest;
                while rest.first().is_some_and(|next| next == "super") {
                    at = self.modules[at].parent?;
                    rest = &rest[1..];
                }
                self.inside(at, rest, steps)
            }
            "Self" => None,
            _ => self
                .lookup(module, segments, steps)
                .or_else(|| Some(Target::External(segments.to_vec()))),
        }
    }

    /// The target of the rest of a path whose beginning named a module.
    fn inside(&self, module: usize, segments: &[String], steps: usize) -> Option<Target> {
        if segments.is_empty() {
            return Some(Target::Module(module));
        }
        // An item that isn't found was made by a macro.
        self.lookup(module, segments, steps).or(Some(Target::Item(module)))
    }

    fn lookup(&self, module: usize, segments: &[String], steps: usize) -> Option<Target> {
        if steps > MOST_STEPS {
            return None;
        }
        let (first, rest) = segments.split_first()?;
        let names = self.modules[module].names.get(first).map(Vec::as_slice).unwrap_or_default();
        let below = names.iter().find_map(|definition| match definition {
            Definition::Module(number) => Some(*number),
            _ => None,
        });
        // A module and an item may have the same name: in the middle of a path it is the module.
        if let Some(number) = below.filter(|_| !rest.is_empty()) {
            return self.inside(number, rest, steps);
        }
        for definition in names {
            match definition {
                Definition::Item => return Some(Target::Item(module)),
                Definition::Macro(of) => return Some(Target::Item(*of)),
                Definition::Import { path, .. } => {
                    let mut whole = path.clone();
                    whole.extend_from_slice(rest);
                    // An import of its own name: of another crate.
                    if whole == segments {
                        return Some(Target::External(whole));
                    }
                    return self.resolve(module, &whole, steps + 1);
                }
                Definition::Module(_) => {}
            }
        }
        if let Some(number) = below {
            return Some(Target::Module(number));
        }
        self.modules[module].globs.iter().find_map(|path| {
            match self.resolve(module, path, steps + 1)? {
                Target::Module(number) if number != module => {
                    self.lookup(number, segments, steps + 1)
                }
                _ => None,
            }
        })
    }
}
