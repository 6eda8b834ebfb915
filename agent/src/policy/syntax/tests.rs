//! The tree against the `toml` crate's document.

use toml::de::DeTable;

use super::{
    build::build,
    tree::{Item, Made, Table, Value},
};

/// Pieces that right and wrong documents are made of.
const PIECES: &[&str] = &[
    "[a]\n",
    "[a.b]\n",
    "[a.b.c]\n",
    "[b]\n",
    "[[a]]\n",
    "[[c]]\n",
    "[[c.d]]\n",
    "[c.d.e]\n",
    "[e.x]\n",
    "[e.b.x]\n",
    "[\"q r\".'s']\n",
    "[a . b]# remark\n",
    "a = 1\n",
    "b = \"text\"\n",
    "a.b = 2\n",
    "a.c = true\n",
    "b.c.d = 'x'\n",
    "d = [1, 2.5, [], [\"a\\u0041\", { b = 1 }], ]\n",
    "d = [\n  { b = 1, c.d = 2, c.e = 3 }, # remark\n  {},\n]\n",
    "e = { a = 1, b.c = [2], b.d = { e = 0x1F } }\n",
    "e.f = \"\"\"\n two\n lines \"\"\"\n",
    "f = '''\nraw'''\n",
    "g = 1979-05-27\n",
    "g = 1979-13-27\n",
    "h = { a = 1, a = 2 }\n",
    "h = { a.b = 1, a = 2 }\n",
    "i = +0o17\r\n",
    "\"\" = -7_000\n",
    "j = inf",
    "# remark\n",
    "\n",
    "  \t",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "a",
    "1",
    "\"",
    "'",
    "# \u{1}\n",
    "\r",
    "ü = \"é\"\n",
    "\\",
];

/// What is told apart while the tree is made only, is the same.
fn plain(table: &mut Table<'_>) {
    table.made = Made::Header;
    table.entries.sort_by(|(one, _), (other, _)| one.text().cmp(other.text()));
    for (_, value) in &mut table.entries {
        plain_value(value);
    }
}

fn plain_value(value: &mut Value<'_>) {
    if let Item::Tables(tables) = &mut value.item {
        value.item = Item::Array(std::mem::take(tables));
    }
    match &mut value.item {
        Item::Array(values) => values.iter_mut().for_each(plain_value),
        Item::Table(table) => plain(table),
        _ => {}
    }
}

/// Compares; whether the text is right, and whether the tree was made.
fn compare(text: &str) -> (bool, bool) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let built = build(text);
    let made = built.is_some();
    if let Some(mut built) = built {
        assert!(errors.is_empty(), "{text:?}: {errors:?}");
        let mut document = Table::from(document.into_inner());
        plain(&mut built);
        plain(&mut document);
        assert_eq!(built, document, "{text:?}");
    }
    (errors.is_empty(), made)
}

#[test]
fn random_documents_have_the_toml_crate_s_result() {
    let mut seed = 1_u64;
    let mut below = |end: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % end
    };
    let (mut right, mut both) = (0, 0);
    for _ in 0..if cfg!(debug_assertions) { 20_000 } else { 500_000 } {
        let text: String = (0..below(9)).map(|_| PIECES[below(PIECES.len())]).collect();
        let (is_right, is_made) = compare(&text);
        right += usize::from(is_right);
        both += usize::from(is_right && is_made);
    }
    assert!(both * 10 > right * 8, "{both} of {right}");
}

#[test]
fn unusual_order_of_tables_is_left_to_the_toml_crate() {
    for text in [
        "[a.b]\n[a]\nc = 1\n",
        "a = 1979-05-27\n",
        &format!("a = {}1{}\n", "[".repeat(70), "]".repeat(70)),
        &(0..1_100).map(|number| format!("k{number} = 1\n")).collect::<String>(),
    ] {
        assert_eq!(compare(text), (true, false), "{text:?}");
    }
}

#[test]
fn documents_of_many_pieces_have_the_toml_crate_s_result() {
    let rules: String =
        (0..3_000).map(|rule| format!("  {{ paths = [\"/{rule}\"], access = [] }},\n")).collect();
    let tools: String = (0..500)
        .map(|tool| format!("[t{tool}]\nx.y = [\"[\"]\n[[t{tool}.f]]\na = 1 # ]\n"))
        .collect();
    for text in [format!("a = [\n{rules}]\n{tools}"), format!("{tools}[z]\na = [\n{rules}]")] {
        assert_eq!(compare(&text), (true, true));
    }
}
