//! Puts a public item into words, one line for each part that a program can depend on.
//!
//! Main function: [`of`]. Comes in: an item and the `impl` blocks of its crate. Goes out: its kind, fields, variants and
//! methods, and the traits that it implements, with the spaces of Rust as people write it. Bodies and values are no part of
//! an interface, and neither is documentation.

use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, TraitItem, Type, Visibility};

/// The name of an item that can be public, and its visibility.
pub(super) fn name(item: &Item) -> Option<(String, &Visibility)> {
    let (name, visibility) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        Item::Union(item) => (&item.ident, &item.vis),
        _ => return None,
    };
    Some((name.to_string(), visibility))
}

/// The lines of an item.
pub(super) fn of(item: &Item, impls: &[&ItemImpl]) -> Vec<String> {
    match item {
        Item::Const(item) => vec![format!("{}const: {}", marks(&item.attrs), text(&item.ty))],
        Item::Static(item) => vec![format!("{}static: {}", marks(&item.attrs), text(&item.ty))],
        Item::Type(item) => vec![format!("{}type = {}", marks(&item.attrs), text(&item.ty))],
        Item::Fn(item) => {
            let mut signature = item.sig.clone();
            let name = signature.ident.to_string();
            signature.ident = syn::Ident::new("NAME", signature.ident.span());
            let signature = text(&signature).replace(" NAME", "");
            debug_assert!(!signature.contains(&format!("fn {name}")));
            vec![format!("{}{signature}", marks(&item.attrs))]
        }
        Item::Struct(item) => {
            let mut lines = fields(&item.fields);
            let private = match item.fields.iter().any(|field| !is_public(&field.vis)) {
                true => ", with private fields",
                false => "",
            };
            let generics = text(&item.generics);
            lines.push(format!("{}struct{generics}{private}", marks(&item.attrs)));
            lines.extend(of_type(&item.ident, &item.attrs, impls));
            lines
        }
        Item::Enum(item) => {
            let mut lines = vec![format!(
                "{}enum{}",
                marks(&item.attrs),
                text(&item.generics)
            )];
            for variant in &item.variants {
                let mut variant = variant.clone();
                let marks = marks(&variant.attrs);
                variant.attrs.clear();
                for field in &mut variant.fields {
                    field.attrs.clear();
                }
                lines.push(format!("{marks}{}", text(&variant)));
            }
            lines.extend(of_type(&item.ident, &item.attrs, impls));
            lines
        }
        Item::Trait(item) => of_trait(item, impls),
        other => vec![format!("not understood: {}", text(other))],
    }
}

/// `#[doc(hidden)]`: public for a reason that is nobody else's business.
pub(super) fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| text(attribute) == "#[doc(hidden)]")
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn fields(fields: &Fields) -> Vec<String> {
    let public = fields.iter().filter(|field| is_public(&field.vis));
    let public = public.enumerate();
    public
        .map(|(index, field)| {
            let name = field.ident.as_ref();
            let name = name.map_or_else(|| index.to_string(), ToString::to_string);
            format!("{}pub {name}: {}", marks(&field.attrs), text(&field.ty))
        })
        .collect()
}

/// The methods and traits of a type.
fn of_type(name: &syn::Ident, attributes: &[Attribute], impls: &[&ItemImpl]) -> Vec<String> {
    let mut lines = derived(attributes);
    let own = impls.iter().filter(|block| is_for(&block.self_ty, name));
    for block in own {
        if block.trait_.is_some() {
            lines.push(format!("{}{}", marks(&block.attrs), head(block)));
            continue;
        }
        for item in &block.items {
            match item {
                ImplItem::Fn(method) if is_public(&method.vis) => {
                    lines.push(format!("{}{}", marks(&method.attrs), text(&method.sig)));
                }
                ImplItem::Const(constant) if is_public(&constant.vis) => {
                    let (name, ty) = (&constant.ident, text(&constant.ty));
                    lines.push(format!("{}const {name}: {ty}", marks(&constant.attrs)));
                }
                _ => {}
            }
        }
    }
    lines
}

/// The methods of a trait, and what implements it besides the types of this crate.
fn of_trait(item: &syn::ItemTrait, impls: &[&ItemImpl]) -> Vec<String> {
    let above = match item.supertraits.is_empty() {
        true => String::new(),
        false => format!(": {}", text(&item.supertraits)),
    };
    let generics = text(&item.generics);
    let mut lines = vec![format!("{}trait{generics}{above}", marks(&item.attrs))];
    for part in &item.items {
        lines.push(match part {
            TraitItem::Fn(method) => {
                let kind = match method.default {
                    Some(_) => "provided",
                    None => "required",
                };
                format!("{}{}, {kind}", marks(&method.attrs), text(&method.sig))
            }
            other => text(other),
        });
    }
    let blanket = impls.iter().filter(|block| {
        let implemented = block
            .trait_
            .as_ref()
            .and_then(|(_, path, _)| path.segments.last());
        implemented.is_some_and(|last| last.ident == item.ident)
    });
    lines.extend(blanket.map(|block| format!("{}{}", marks(&block.attrs), head(block))));
    lines
}

/// An `impl` block of a trait without its body.
fn head(block: &ItemImpl) -> String {
    let mut block = block.clone();
    block.attrs.clear();
    block.items.clear();
    text(&block).trim_end_matches(['{', '}', ' ']).to_owned()
}

fn is_for(own: &Type, name: &syn::Ident) -> bool {
    match own {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == *name),
        _ => false,
    }
}

fn derived(attributes: &[Attribute]) -> Vec<String> {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|it| it.path().is_ident("derive")) {
        // What is no list of paths is no derive that compiles.
        let _ = attribute.parse_nested_meta(|one| {
            lines.push(format!("impl {}", text(&one.path)));
            Ok(())
        });
    }
    lines
}

/// The attributes that a program can notice.
pub(super) fn marks(attributes: &[Attribute]) -> String {
    let seen = attributes.iter().filter(|attribute| {
        ["cfg", "non_exhaustive"]
            .iter()
            .any(|name| attribute.path().is_ident(name))
    });
    seen.map(|attribute| format!("{} ", text(attribute)))
        .collect()
}

/// Tokens with the spaces that people write.
fn text(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string().replace('\n', " ");
    for (wide, narrow) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        ("& ", "&"),
        ("# [", "#["),
        (" [", "["),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (",)", ")"),
        (" :", ":"),
        (" ;", ";"),
        (", }", " }"),
        // Whether a function changes what it is given is its own affair.
        ("(mut ", "("),
        (", mut ", ", "),
        ("' ", "'"),
    ] {
        text = text.replace(wide, narrow);
    }
    for (narrow, wide) in [
        ("->(", "-> ("),
        ("->[", "-> ["),
        (":[", ": ["),
        ("=[", "= ["),
        (":(", ": ("),
        ("mut[", "mut ["),
        ("mut(", "mut ("),
        (",(", ", ("),
        (",[", ", ["),
        (":<", ": <"),
        ("-><", "-> <"),
    ] {
        text = text.replace(narrow, wide);
    }
    text
}
