//! Random policies with `*`, `**` in the middle, exceptions and variables, judged by the tables, by `explain`, and by a
//! matcher that follows the words of the reference one by one.

use super::*;

/// What a rule does, of which the model knows no more than its text.
struct Rule {
    /// The tool's number, or none for a denial.
    tool: Option<usize>,
    paths: Vec<String>,
    except: Vec<String>,
    access: &'static str,
}

const TOOLS: usize = 3;
const RIGHTS: [(&str, Right); 3] =
    [("read", Right::Read), ("write", Right::Write), ("delete", Right::Delete)];
const NAMES: [&str; 7] =
    ["a", "b", "ab", "ba", "a.k", ".env", "a-name-that-takes-more-than-one-edge"];

fn name(random: &mut Random) -> String {
    (*random.pick(&NAMES)).to_owned()
}

/// A component of a pattern: a name, with a `*` or with a variable in it.
fn component(random: &mut Random) -> String {
    match random.below(12) {
        0 => "*".to_owned(),
        1 => "a*".to_owned(),
        2 => "*.k".to_owned(),
        3 => "*a".to_owned(),
        4 => "{name}".to_owned(),
        5 => "{name?}*".to_owned(),
        6 => "{other?}".to_owned(),
        _ => name(random),
    }
}

fn pattern(random: &mut Random) -> String {
    let mut text = (*random.pick(&["", "", "", "{workdir}", "{gone?}"])).to_owned();
    let mut is_deep = false;
    for _ in 0..random.below(5) {
        is_deep = !is_deep && random.below(3) == 0;
        text.push('/');
        text.push_str(&if is_deep { "**".to_owned() } else { component(random) });
    }
    if text.is_empty() || (!is_deep && random.below(3) == 0) { text + "/**" } else { text }
}

fn path(random: &mut Random) -> String {
    let start = if random.below(2) == 0 { "/a/b" } else { "" };
    let mut text = start.to_owned();
    for _ in 0..random.below(6) {
        text = text + "/" + &name(random);
    }
    if text.is_empty() { "/".to_owned() } else { text }
}

fn patterns(random: &mut Random, count: usize) -> Vec<String> {
    let mut patterns: Vec<_> = (0..count).map(|_| pattern(random)).collect();
    patterns.sort();
    patterns.dedup();
    patterns
}

/// A pattern with the session's values; none if one is missing.
fn filled(pattern: &str, values: &BTreeMap<String, String>) -> Option<String> {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        text = text + before + values.get(name.trim_end_matches('?'))?;
        rest = after;
    }
    Some(text + rest)
}

/// The naive matcher: all ways in which the pattern's components can stand for the path's.
fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        (["**"], _) | ([], []) => true,
        (["**", rest @ ..], _) => {
            matches(rest, path)
                || path.split_first().is_some_and(|(_, path)| matches(pattern, path))
        }
        ([component, rest @ ..], [name, names @ ..]) => {
            glob(component.as_bytes(), name.as_bytes()) && matches(rest, names)
        }
        _ => false,
    }
}

fn holds(pattern: &str, path: &str, values: &BTreeMap<String, String>) -> bool {
    let parts = |text: &'_ str| -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    filled(pattern, values).is_some_and(|pattern| {
        let (pattern, path) = (parts(&pattern), parts(path));
        let [pattern, path] =
            [&pattern, &path].map(|parts| parts.iter().map(String::as_str).collect::<Vec<_>>());
        matches(&pattern, &path)
    })
}

impl Rule {
    fn random(random: &mut Random) -> Self {
        let tool = Some(random.below(TOOLS + 2)).filter(|tool| *tool < TOOLS);
        let (paths, except) = (1 + random.below(3), random.below(3));
        Self {
            tool,
            paths: patterns(random, paths),
            except: patterns(random, except),
            access: random.pick(&RIGHTS).0,
        }
    }

    fn text(&self) -> String {
        let except = match self.except.as_slice() {
            [] => String::new(),
            except => format!("except = {except:?}, "),
        };
        format!("{{ paths = {:?}, {except}access = [{:?}] }}", self.paths, self.access)
    }

    /// Its paths that count for a path. A tool's rule with an exception that can't be filled in covers nothing.
    fn counting(&self, path: &str, values: &BTreeMap<String, String>) -> Vec<&str> {
        let lacks = |pattern: &String| pattern.contains("{name}") && !values.contains_key("name");
        let is_out = self.tool.is_some() && self.except.iter().any(lacks);
        if is_out || self.except.iter().any(|pattern| holds(pattern, path, values)) {
            return Vec::new();
        }
        let paths = self.paths.iter().filter(|pattern| holds(pattern, path, values));
        paths.map(String::as_str).collect()
    }
}

/// The policy's text: tools `t0` and so on, then the denials.
fn text(rules: &[Rule]) -> String {
    let of = |tool: Option<usize>| rules.iter().filter(move |rule| rule.tool == tool);
    let mut text = String::new();
    for tool in 0..TOOLS {
        let files: Vec<_> = of(Some(tool)).map(Rule::text).collect();
        text.push_str(&format!("[tool.t{tool}]\nfiles = [{}]\n", files.join(", ")));
    }
    for rule in of(None) {
        let body = rule.text();
        let body = body.trim_matches(['{', ' ', '}']);
        text.push_str(&format!("[[deny]]\n{}\n", body.replace("], ", "]\n")));
    }
    text
}

fn round(seed: u64) {
    let mut random = Random(seed);
    let rules: Vec<Rule> = (0..1 + random.below(6)).map(|_| Rule::random(&mut random)).collect();
    let text = text(&rules);
    let mut compiled = compile(&policy(&text));
    let workdir = *random.pick(&["/a", "/a/b", "/b/.env"]);
    let mut values = variables(&[("workdir", workdir)]);
    if random.below(2) == 0 {
        values.insert("name".to_owned(), (*random.pick(&["a", "ab", "x"])).to_owned());
    }
    let own = compiled.instantiate(SLOT, &values).unwrap();
    random::keys_differ(&compiled.tables(&[&own]).rules);
    for _ in 0..100 {
        let path = path(&mut random);
        for (access, right) in RIGHTS {
            let found = compiled.explain_path(&path, Rights::of(right), false, Some(SLOT));
            let counting = rules.iter().filter(|rule| rule.access == access);
            let counting: Vec<_> = counting
                .flat_map(|rule| {
                    let paths = rule.counting(&path, &values);
                    paths.into_iter().map(|path| (rule.tool, path))
                })
                .collect();
            let said = format!("seed {seed}: {access} {path} with {values:?} by\n{text}");
            let mut tools = ToolSet::EMPTY;
            let mut denied = 0;
            for label in &found.labels {
                tools.merge(&label.tools[right as usize]);
                denied |= label.denied;
            }
            for tool in 0..TOOLS {
                let covers = counting.iter().any(|(owner, _)| *owner == Some(tool));
                assert_eq!(tools.contains(ToolBit(tool as u16)), covers, "t{tool}, {said}");
            }
            let denials: Vec<_> = counting.iter().filter(|(tool, _)| tool.is_none()).collect();
            assert_eq!(Rights(denied).has(right), !denials.is_empty(), "denials, {said}");
            // And the explanation names the very rules.
            let mut named: Vec<&str> = found.rules.iter().map(|rule| rule.text.as_str()).collect();
            let mut expected: Vec<&str> = counting.iter().map(|(_, path)| *path).collect();
            named.sort_unstable();
            expected.sort_unstable();
            assert_eq!(named, expected, "{said}");
            let denial = found.denial.map(|rule| rule.text);
            assert_eq!(denial.is_some(), !denials.is_empty(), "{said}");
            assert!(
                denial.is_none_or(|text| denials.iter().any(|(_, path)| *path == text)),
                "{said}"
            );
        }
    }
}

#[test]
fn random_policies_by_tables_by_explanation_and_by_the_model_agree() {
    let rounds = if cfg!(debug_assertions) { 300 } else { 50_000 };
    (0..rounds).for_each(round);
}

#[test]
fn name_below_a_deep_pattern_is_found_in_the_folder_itself_and_at_any_depth() {
    let compiled =
        compile(&readers(&["/x/**/name", "/x/**/*.key/**", "/**/d/e", "/x/**/name/**/end"]));
    for (path, expected) in [
        ("/x", vec![]),
        ("/x/name", vec![0]),
        ("/name", vec![]),
        ("/x/a/b/name", vec![0]),
        ("/x/a/b/name/c", vec![]),
        ("/x/name/name", vec![0]),
        ("/x/a.key", vec![1]),
        ("/x/a/.key/b/c", vec![1]),
        ("/x/a/.key/b/name", vec![0, 1]),
        ("/d/e", vec![2]),
        ("/x/d/d/e", vec![2]),
        ("/x/d/e/f", vec![]),
        ("/x/name/end", vec![3]),
        ("/x/a/name/b/name/c/end", vec![3]),
    ] {
        assert_eq!(tools_reading(&compiled, path, false), expected, "{path}");
    }
}

/// Folders between which everything below keeps its labels are at one node: so the kernel lets a folder move there.
#[test]
fn folders_below_a_deep_pattern_share_a_node() {
    let compiled = compile(&readers(&["/x/**/.env", "/x/**", "/x/b/**/c"]));
    let node = |path: &str| {
        let names = walk::components(path);
        walk::position(&compiled.tables.rules, SHARED_ROOT, &names, false).map_or(0, |at| at.node)
    };
    assert!(node("/x") != 0 && node("/x/a") == node("/x/a/d") && node("/x/a") == node("/x/z"));
    assert_eq!(node("/x/a/.env"), node("/x/a"));
    assert_eq!(node("/x/b/d"), node("/x/b/e/f"));
    assert!(node("/x/b/d") != node("/x/a") && node("/x/b") != node("/x/a"));
    assert_eq!(node("/y"), 0);
}
