//! From the text of a crate's files to its modules.

use std::collections::{HashMap, HashSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, ExprConst, ImplItemFn, Item, ItemConst, ItemFn, ItemMacro, ItemMod, ItemUse, Macro,
    Meta, PatIdent, Path, UseTree, Visibility,
    visit::{self, Visit},
};

use super::{Crate, Definition, Kind, Module, Reference, Sources};

/// Reads the crate of that root file, with all files that its `mod` items lead to.
pub(super) fn read(root: &str, sources: &Sources) -> Crate {
    let mut reader = Reader {
        sources,
        krate: Crate { modules: Vec::new(), errors: Vec::new() },
        module: 0,
        folder: parent(root).to_owned(),
        variables: HashSet::new(),
        in_constant: false,
        module_makers: HashSet::new(),
    };
    reader.file(root, None, false);
    reader.krate
}

struct Reader<'a> {
    sources: &'a Sources,
    krate: Crate,
    /// The module that is being read.
    module: usize,
    /// Where the files of the modules below it are.
    folder: String,
    /// The variables of the function that is being read.
    variables: HashSet<String>,
    /// Whether what is read is worked out by the compiler.
    in_constant: bool,
    /// The macros of the crate that make a `mod` of a name they are given.
    module_makers: HashSet<String>,
}

impl Reader<'_> {
    /// Reads the module that a file is, and all below; gives its number.
    fn file(&mut self, name: &str, above: Option<usize>, is_test: bool) -> usize {
        let number = self.module(name, above, is_test);
        match self.sources.get(name).map(|text| syn::parse_file(text)) {
            None => self.krate.errors.push(format!("{name}: the file of this module is missing")),
            Some(Err(error)) => {
                let line = error.span().start().line;
                self.krate.errors.push(format!("{name}:{line}: no valid Rust: {error}"));
            }
            Some(Ok(file)) => self.items(number, &file.items),
        }
        number
    }

    /// Reads what `mod name;` leads to.
    fn module_of_file(&mut self, name: String, is_test: bool) -> usize {
        let below = format!("{}/{name}", self.folder);
        let outer = std::mem::replace(&mut self.folder, below.clone());
        let number = self.file(&format!("{below}.rs"), Some(self.module), is_test);
        self.folder = outer;
        self.define(name, Definition::Module(number));
        number
    }

    /// Makes the macros of a module known in the one that is being read.
    fn take_macros(&mut self, module: usize) {
        let names = self.krate.modules[module].names.iter();
        let macros = names.flat_map(|(name, definitions)| {
            let own = definitions.iter().filter_map(|definition| match definition {
                Definition::Macro(of) => Some((name.clone(), *of)),
                _ => None,
            });
            Vec::from_iter(own)
        });
        for (name, of) in Vec::from_iter(macros) {
            self.define(name, Definition::Macro(of));
        }
    }

    fn module(&mut self, file: &str, parent: Option<usize>, is_test: bool) -> usize {
        self.krate.modules.push(Module {
            parent,
            file: file.to_owned(),
            is_test,
            names: HashMap::new(),
            globs: Vec::new(),
            references: Vec::new(),
        });
        self.krate.modules.len() - 1
    }

    fn items(&mut self, module: usize, items: &[Item]) {
        let before = std::mem::replace(&mut self.module, module);
        for item in items {
            if let Some(name) = defined_name(item) {
                self.define(name, Definition::Item);
            }
            self.visit_item(item);
        }
        self.module = before;
    }

    fn define(&mut self, name: String, definition: Definition) {
        let names = &mut self.krate.modules[self.module].names;
        names.entry(name).or_default().push(definition);
    }

    fn refer(&mut self, segments: Vec<String>, line: usize, kind: Kind) {
        self.krate.modules[self.module].references.push(Reference {
            segments,
            line,
            kind,
            in_constant: self.in_constant,
        });
    }

    /// Reads a function, and forgets names in it that were its variables.
    fn function(&mut self, read: impl FnOnce(&mut Self)) {
        let before = std::mem::take(&mut self.variables);
        let module = self.module;
        let first = self.krate.modules[module].references.len();
        read(self);
        let references = &mut self.krate.modules[module].references;
        let own = references.split_off(first);
        references.extend(own.into_iter().filter(|reference| {
            reference.kind != Kind::Name || !self.variables.contains(&reference.segments[0])
        }));
        self.variables = before;
    }

    fn constant(&mut self, read: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.in_constant, true);
        read(self);
        self.in_constant = before;
    }

    fn import(&mut self, path: &mut Vec<String>, tree: &UseTree, kind: Kind) {
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(path, &tree.tree, kind);
                path.pop();
            }
            UseTree::Name(tree) if tree.ident == "self" => {
                let name = path.last().cloned();
                self.bind(name, path.clone(), tree.ident.span().start().line, kind);
            }
            UseTree::Name(tree) => {
                let name = tree.ident.to_string();
                let whole = path.iter().cloned().chain([name.clone()]).collect();
                self.bind(Some(name), whole, tree.ident.span().start().line, kind);
            }
            UseTree::Rename(tree) => {
                let mut whole = path.clone();
                if tree.ident != "self" {
                    whole.push(tree.ident.to_string());
                }
                let name = tree.rename.to_string();
                let line = tree.ident.span().start().line;
                self.bind(Some(name).filter(|name| name != "_"), whole, line, kind);
            }
            UseTree::Glob(tree) => {
                self.krate.modules[self.module].globs.push(path.clone());
                let kind = if kind == Kind::Import { Kind::Glob } else { kind };
                self.refer(path.clone(), tree.star_token.span.start().line, kind);
            }
            UseTree::Group(tree) => {
                for tree in &tree.items {
                    self.import(path, tree, kind);
                }
            }
        }
    }

    fn bind(&mut self, name: Option<String>, path: Vec<String>, line: usize, kind: Kind) {
        if let Some(name) = name {
            let is_passed_on = kind == Kind::ReExport;
            self.define(name, Definition::Import { path: path.clone(), is_passed_on });
        }
        self.refer(path, line, kind);
    }

    /// The paths in what a macro is given, or in its definition.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let (mut line, mut colons, mut is_member) = (0, 0, false);
        let outer = self.in_constant;
        for token in tokens {
            match &token {
                TokenTree::Ident(word) if word == "const" => self.in_constant = true,
                TokenTree::Ident(word) if word == "fn" => self.in_constant = outer,
                TokenTree::Punct(mark) if mark.as_char() == ';' => self.in_constant = outer,
                _ => {}
            }
            match &token {
                TokenTree::Ident(word) if path.is_empty() || colons == 2 => {
                    if path.is_empty() {
                        line = word.span().start().line;
                    }
                    path.push(word.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(mark)
                    if mark.as_char() == ':' && !path.is_empty() && colons < 2 =>
                {
                    colons += 1;
                    continue;
                }
                _ => {}
            }
            self.path_in_tokens(&mut path, line, is_member, &token);
            colons = 0;
            is_member = false;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(word) => {
                    line = word.span().start().line;
                    path.push(word.to_string());
                }
                TokenTree::Punct(mark) => is_member = mark.as_char() == '.',
                TokenTree::Literal(_) => {}
            }
        }
        let end = TokenTree::Punct(proc_macro2::Punct::new(';', proc_macro2::Spacing::Alone));
        self.path_in_tokens(&mut path, line, is_member, &end);
        self.in_constant = outer;
    }

    fn path_in_tokens(
        &mut self,
        path: &mut Vec<String>,
        line: usize,
        is_member: bool,
        next: &TokenTree,
    ) {
        let segments = std::mem::take(path);
        if segments.is_empty() || is_member {
            return;
        }
        let is_macro = matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!');
        let is_call =
            matches!(next, TokenTree::Group(group) if group.delimiter() != Delimiter::Bracket);
        let is_type = segments[0].starts_with(char::is_uppercase);
        let kind = match segments.len() {
            _ if is_macro => Kind::Macro,
            1 if is_call || is_type => Kind::Name,
            1 => return,
            _ => Kind::Path,
        };
        self.refer(segments, line, kind);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    // Paths in attributes, documentation and visibilities are no use of what they name.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(item) => self.visit_item_mod(item),
            item if attributes(item).iter().any(is_for_tests) => {}
            item => visit::visit_item(self, item),
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        let above = &self.krate.modules[self.module];
        let is_test = above.is_test || item.attrs.iter().any(is_for_tests);
        let file = above.file.clone();
        let Some((_, items)) = &item.content else {
            let number = self.module_of_file(name, is_test);
            if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_use")) {
                self.take_macros(number);
            }
            return;
        };
        let below = format!("{}/{name}", self.folder);
        let outer = std::mem::replace(&mut self.folder, below);
        let number = self.module(&file, Some(self.module), is_test);
        self.items(number, items);
        self.folder = outer;
        self.define(name, Definition::Module(number));
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let kind = match item.vis {
            Visibility::Inherited => Kind::Import,
            _ => Kind::ReExport,
        };
        let mut path = Vec::from_iter(item.leading_colon.map(|_| "::".to_owned()));
        self.import(&mut path, &item.tree, kind);
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        if let Some(name) = &item.ident {
            self.define(name.to_string(), Definition::Macro(self.module));
            let is_exported =
                item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
            if is_exported && self.module != 0 {
                let root = &mut self.krate.modules[0].names;
                root.entry(name.to_string()).or_default().push(Definition::Macro(self.module));
            }
            if item.mac.tokens.to_string().contains("mod $") {
                self.module_makers.insert(name.to_string());
            }
            self.tokens(item.mac.tokens.clone());
            return;
        }
        if item
            .mac
            .path
            .get_ident()
            .is_some_and(|name| self.module_makers.contains(&name.to_string()))
        {
            for token in item.mac.tokens.clone() {
                let name = token.to_string();
                if self.sources.contains_key(&format!("{}/{name}.rs", self.folder)) {
                    self.module_of_file(name, false);
                }
            }
        }
        self.visit_macro(&item.mac);
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(|reader| visit::visit_item_fn(reader, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !item.attrs.iter().any(is_for_tests) {
            self.function(|reader| visit::visit_impl_item_fn(reader, item));
        }
    }

    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        self.constant(|reader| visit::visit_item_const(reader, item));
    }

    fn visit_expr_const(&mut self, block: &'ast ExprConst) {
        self.constant(|reader| visit::visit_expr_const(reader, block));
    }

    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        self.variables.insert(pattern.ident.to_string());
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.refer(segments(&call.path), line_of(&call.path), Kind::Macro);
        self.tokens(call.tokens.clone());
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments = segments(path);
        let kind = if segments.len() == 1 { Kind::Name } else { Kind::Path };
        self.refer(segments, line_of(path), kind);
        visit::visit_path(self, path);
    }
}

fn segments(path: &Path) -> Vec<String> {
    let mut segments = Vec::from_iter(path.leading_colon.map(|_| "::".to_owned()));
    segments.extend(path.segments.iter().map(|segment| segment.ident.to_string()));
    segments
}

fn line_of(path: &Path) -> usize {
    path.segments.first().map_or(0, |segment| segment.ident.span().start().line)
}

/// Whether it is `#[cfg(test)]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    }
}

/// The folder of a file.
fn parent(file: &str) -> &str {
    file.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

fn defined_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
