//! Keeps `src/wire/v1.rs` and `src/wire/shapes.rs` what `proto/` says. Refresh both with
//! `UPDATE_GENERATED=1 cargo test --test generated`.

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

const HEADER: &str = "//! Messages and services of `proto/secretd/v1`, generated: edit those, then run\n\
                      //! `UPDATE_GENERATED=1 cargo test --test generated`.\n\n";

const SHAPES_HEADER: &str = "//! What the messages of `proto/secretd/v1` consist of, generated: edit those, then run\n\
                             //! `UPDATE_GENERATED=1 cargo test --test generated`.\n\n\
                             use super::{shape::{Field, Shape, Shaped, entry}, v1};\n";

/// Variants that dwarf their neighbours.
const BOXED: [&str; 4] = [
    "secretd.v1.Command.command.found",
    "secretd.v1.Command.command.create_service",
    "secretd.v1.Command.command.update_service",
    "secretd.v1.TaskChange.change.create",
];

fn compile(root: &Path) -> FileDescriptorSet {
    let mut files: Vec<_> = fs::read_dir(root.join("proto/secretd/v1"))
        .expect("proto/ is there")
        .map(|entry| entry.expect("proto/ can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "proto"))
        .collect();
    files.sort();
    protox::compile(&files, [root.join("proto")]).expect("proto/ compiles")
}

/// The text that belongs into `src/wire/v1.rs`.
fn messages(descriptors: FileDescriptorSet) -> String {
    let out = tempfile::tempdir().expect("there is room");
    let mut builder = tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        // Weighs a message before it decodes it.
        .codec_path("crate::wire::codec::Codec")
        // The same labels must give the same bytes on every replica.
        .btree_map(".")
        // Has a Debug of its own that prints nothing, see wire/payload.rs.
        .skip_debug(["secretd.v1.Payload"]);
    for path in BOXED {
        builder = builder.boxed(path);
    }
    builder.compile_fds(descriptors).expect("the messages can be generated");
    let file = out.path().join("secretd.v1.rs");
    HEADER.to_owned() + &fs::read_to_string(file).expect("it was just written")
}

/// Every message by its full name, those of maps too.
type Messages<'a> = BTreeMap<String, &'a DescriptorProto>;

fn collect<'a>(found: &mut Messages<'a>, within: &str, messages: &'a [DescriptorProto]) {
    for message in messages {
        let name = format!("{within}.{}", message.name());
        collect(found, &name, &message.nested_type);
        found.insert(name, message);
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// `.secretd.v1.Command.Found` as `v1::command::Found`.
fn path_of(name: &str) -> String {
    let mut parts: Vec<&str> =
        name.strip_prefix(".secretd.v1.").expect("ours").split('.').collect();
    let last = parts.pop().expect("a name");
    let modules: String = parts.iter().map(|part| snake(part) + "::").collect();
    format!("v1::{modules}{last}")
}

/// `.secretd.v1.Command.Found` as `COMMAND_FOUND`.
fn static_of(name: &str) -> String {
    let name = name.strip_prefix(".secretd.v1.").expect("ours").replace('.', "");
    snake(&name).to_uppercase()
}

fn is_map(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

/// The Rust type of a key or a value of a map.
fn rust_type(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::String => "String".to_owned(),
        Type::Bytes => "Vec<u8>".to_owned(),
        Type::Message => path_of(field.type_name()),
        _ => "u64".to_owned(),
    }
}

fn field(message: &str, field: &FieldDescriptorProto) -> Option<String> {
    let repeated = field.label() == Label::Repeated;
    let boxed = BOXED.iter().any(|path| {
        let name = path.rsplit('.').next().expect("a name");
        let within = path.rsplitn(3, '.').nth(2).expect("a message");
        message == format!(".{within}") && field.name() == name
    });
    let kind = match (field.r#type(), repeated) {
        (Type::Message, _) => {
            let how = if repeated {
                "Each"
            } else if boxed {
                "Boxed"
            } else {
                "One"
            };
            format!("{how}(&{})", static_of(field.type_name()))
        }
        (Type::String | Type::Bytes, true) => "Texts".to_owned(),
        (Type::Group, _) => panic!("{message} has a group"),
        (_, true) => "Numbers".to_owned(),
        (_, false) => return None,
    };
    Some(format!("({}, Field::{kind})", field.number()))
}

/// The text that belongs into `src/wire/shapes.rs`.
fn shapes(descriptors: &FileDescriptorSet) -> String {
    let mut all = Messages::new();
    for file in &descriptors.file {
        collect(&mut all, &format!(".{}", file.package()), &file.message_type);
    }
    let mut text = SHAPES_HEADER.to_owned();
    for (name, message) in &all {
        let fields: Vec<_> = message.field.iter().filter_map(|f| field(name, f)).collect();
        let (shape, fields) = (static_of(name), fields.join(", "));
        let size = if is_map(message) {
            let types: Vec<_> = message.field.iter().map(rust_type).collect();
            format!("entry::<{}>()", types.join(", "))
        } else {
            format!("size_of::<{}>()", path_of(name))
        };
        write!(text, "\nstatic {shape}: Shape = Shape {{ size: {size}, fields: &[{fields}] }};\n")
            .expect("strings take everything");
        if !is_map(message) {
            let path = path_of(name);
            writeln!(
                text,
                "impl Shaped for {path} {{\n    const SHAPE: &'static Shape = &{shape};\n}}"
            )
            .expect("strings take everything");
        }
    }
    text
}

#[test]
fn the_generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = compile(root);
    for (file, fresh) in
        [("shapes.rs", shapes(&descriptors)), ("v1.rs", messages(descriptors.clone()))]
    {
        let path = root.join("src/wire").join(file);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, fresh).unwrap();
            continue;
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == fresh,
            "src/wire/{file} does not match proto/: run `UPDATE_GENERATED=1 cargo test --test generated` and commit it"
        );
    }
}
