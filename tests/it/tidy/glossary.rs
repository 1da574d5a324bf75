//! Public names use the field's terms, and no words of our own.

use std::path::Path;

use syn::visit::Visit;
use syn::{Fields, Visibility};

use super::assert_tidy;
use super::sources::over_all_files;

/// Words that no public name has, with the field's terms for what they were used for.
const PRIVATE: [(&str, &str); 17] = [
    ("companions", "extra files"),
    ("crew", "ranks of a process"),
    ("divide", "shard"),
    ("divided", "sharded"),
    ("held", "local, resident"),
    ("judge", "observe, check"),
    ("kept", "recomputed (the others)"),
    ("known", "measured, reported"),
    ("listen", "on event"),
    ("meeting", "rendezvous, barrier"),
    ("noise", "dropout key"),
    ("place", "device, index, layer key, location"),
    ("seat", "local rank"),
    ("settle", "wait"),
    ("standing", "best tracker, early stopping"),
    ("tell", "emit, log"),
    ("told", "emitted, returned"),
];

/// The public names of a file.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn add(&mut self, visibility: &Visibility, name: &syn::Ident) {
        if matches!(visibility, Visibility::Public(_)) {
            self.0.push(name.to_string());
        }
    }

    fn add_fields(&mut self, fields: &Fields) {
        for field in fields {
            if let Some(name) = &field.ident {
                self.add(&field.vis, name);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.vis, &item.sig.ident);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.vis, &item.sig.ident);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(&item.vis, &item.ident);
        self.add_fields(&item.fields);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add(&item.vis, &item.ident);
        item.variants.iter().for_each(|variant| self.add(&item.vis, &variant.ident));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.add(&item.vis, &item.ident);
        for member in &item.items {
            if let syn::TraitItem::Fn(function) = member {
                self.add(&item.vis, &function.sig.ident);
            }
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.add(&item.vis, &item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.add(&item.vis, &item.ident);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.add(&item.vis, &item.ident);
        syn::visit::visit_item_mod(self, item);
    }
}

/// The words of a name, in lower case: `RankModel` and `rank_model` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for character in name.chars() {
        if character == '_' || (character.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if character != '_' {
            words.last_mut().unwrap().extend(character.to_lowercase());
        }
        before = character;
    }
    words
}

/// The public names of a file with a word of our own.
fn private_words(path: &Path, text: &str) -> Vec<String> {
    let mut names = Names::default();
    match syn::parse_file(text) {
        Ok(file) => names.visit_file(&file),
        Err(error) => return vec![format!("{}: {error}", path.display())],
    }
    let problem = |name: &String| {
        let words = words(name);
        let (word, terms) = PRIVATE.iter().find(|(word, _)| words.iter().any(|own| own == word))?;
        Some(format!("{}: `{name}` has the word `{word}`; write {terms}", path.display()))
    };
    names.0.iter().filter_map(problem).collect()
}

#[test]
fn public_names_are_the_fields() {
    let of_crates = |path: &Path, text: &str| {
        if path.starts_with("crates") { private_words(path, text) } else { Vec::new() }
    };
    assert_tidy(&over_all_files(of_crates));
}

#[test]
fn a_word_of_our_own_is_found() {
    let found = |text: &str| private_words(Path::new("x.rs"), text).len();
    assert_eq!(words("RankModel"), words("rank_model"));
    assert_eq!(found("pub fn divide() {}\nfn divided() {}"), 1);
    assert_eq!(found("pub struct Standing { pub seat: usize, held: u8 }"), 2);
    assert_eq!(
        found("pub enum Kind { Told, Other }\npub mod noise { pub const KEPT: u8 = 1; }"),
        3
    );
    assert_eq!(
        found("pub trait Listen { fn tell(&self); }\nimpl X { pub fn settle(&self) {} }"),
        3
    );
    assert_eq!(found("pub(crate) fn held() {}\npub fn shard() {}"), 0);
}
