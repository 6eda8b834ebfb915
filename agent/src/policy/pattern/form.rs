//! The syntax of path patterns, and the errors for texts that are none.

use std::{borrow::Cow, fmt};

use agent_common::limits::{AFFIX_BYTES, NAME_BYTES, PATH_BYTES};

use super::component::Component;
use crate::policy::{diagnostic::quote, value::Problem};

/// A piece of a component.
pub(super) enum Piece<'a> {
    /// Literal text, or `*`.
    Text(&'a str),
    /// A variable's name.
    Variable(&'a str),
    /// The name of a variable that need not have a value.
    Optional(&'a str),
}

impl<'a> Piece<'a> {
    /// The variable's name, if it is one.
    pub(super) fn variable(&self) -> Option<&'a str> {
        match self {
            Self::Text(_) => None,
            Self::Variable(name) | Self::Optional(name) => Some(name),
        }
    }
}

/// The variable at a path's beginning, and what follows it.
pub(super) fn head(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('{')?.split_once('}')?;
    Some((name.strip_suffix('?').unwrap_or(name), rest))
}

/// Whether a text can be a variable's name.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Splits a component at its variables.
pub(super) fn pieces(component: &str) -> Result<Vec<Piece<'_>>, Problem> {
    let mut pieces = Vec::new();
    let mut rest = component;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, from) = rest.split_at(at);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let Some((name, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}'))
        else {
            return Err(Problem::new(format!("a brace in {} has no partner", quote(component)))
                .help("variables are written `{name}`"));
        };
        let (name, kind): (_, fn(_) -> _) = match name.strip_suffix('?') {
            Some(name) => (name, Piece::Optional),
            None => (name, Piece::Variable),
        };
        if !is_variable_name(name) {
            return Err(Problem::new(format!("`{{{name}}}` is not a variable's name"))
                .help("lower-case letters, digits and `_`, as in `{workdir}`"));
        }
        pieces.push(kind(name));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// A text in quotes, which are added only when it is shown: most patterns have no error.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&quote(self.0))
    }
}

/// Checks the syntax of a pattern.
pub(super) fn check(text: &str) -> Result<(), Problem> {
    if is_plain(text) { Ok(()) } else { check_closely(text) }
}

/// Whether a quick check shows that a text is a valid pattern without variables, as it does for most. It treats all
/// bytes alike, so that the compiler can vectorize it.
fn is_plain(text: &str) -> bool {
    let path = text.strip_suffix("/**").unwrap_or(text).as_bytes();
    let Some((b'/', names)) = path.split_first() else { return false };
    // If the whole path is no longer than an affix may be, no affix or name in it is too long.
    names.last().is_some_and(|last| *last != b'/')
        && path.len() <= AFFIX_BYTES
        && !any(path.iter(), |byte| matches!(byte, 0 | b'{' | b'}'))
        && !any(path.iter().zip(names), |two| matches!(two, (b'/', b'/' | b'.')))
        && path.iter().filter(|byte| **byte == b'*').count() <= 1
}

/// Whether something holds for any item. All items are tested, so that the compiler can vectorize it.
fn any<T>(all: impl Iterator<Item = T>, holds: impl Fn(T) -> bool) -> bool {
    all.fold(false, |any, one| any | holds(one))
}

/// The components of a valid pattern, and whether it is for everything below too; `None` if it has variables or means
/// the session's own processes.
pub(super) fn plain_components(text: &str) -> Option<(impl Iterator<Item = Component<'_>>, bool)> {
    let (path, below) = text.strip_suffix("/**").map_or((text, false), |path| (path, true));
    let star = any(path.bytes(), |byte| byte == b'*');
    let component = move |name| match if star { split_at_star(name) } else { None } {
        Some(([], b"*")) => Component::Deep,
        Some((prefix, suffix)) => Component::Affixes(prefix.into(), suffix.into()),
        None => Component::Literal(Cow::Borrowed(name)),
    };
    let names = path.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    let special = any(path.bytes(), |byte| byte == b'{') || is_own_process(path);
    (!special).then(|| (names.map(component), below))
}

/// The text before and after the `*` of a component.
pub(super) fn split_at_star(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let star = part.iter().position(|byte| *byte == b'*')?;
    Some((part.get(..star)?, part.get(star + 1..)?))
}

/// Whether a pattern means the procfs folders of the session's own processes, or paths below them.
pub(super) fn is_own_process(text: &str) -> bool {
    text.strip_prefix("/proc/self").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check_closely(text: &str) -> Result<(), Problem> {
    let quoted = Quoted(text);
    if text.is_empty() {
        return Err(Problem::new("the path is empty")
            .help("`/` is the root folder itself, `/**` everything"));
    }
    if text.contains('\0') {
        return Err(Problem::new(format!("{quoted} has a NUL byte")));
    }
    if text.len() >= PATH_BYTES {
        let len = text.len();
        return Err(Problem::new(format!("the path has {len} bytes, the kernel takes 4095")));
    }
    if text == "/" {
        return Ok(());
    }
    let rest = if text.starts_with('/') {
        text
    } else {
        match head(text) {
            Some((_, rest)) if rest.is_empty() || rest.starts_with('/') => rest,
            Some((name, rest)) => {
                return Err(Problem::new(format!(
                    "{quoted} goes on after `{{{name}}}` without `/`"
                ))
                .help(format!(
                    "at the beginning a variable is a whole path: `{{{name}}}/{rest}`"
                )));
            }
            None => {
                return Err(Problem::new(format!("{quoted} is not an absolute path")).help(
                    format!("`/{text}`, or `{{workdir}}/{}`", text.trim_start_matches("./")),
                ));
            }
        }
    };
    if let Some((name, _)) = head(text) {
        pieces(&format!("{{{name}}}"))?;
    }
    let parts: Vec<_> = rest.split('/').skip(1).collect();
    for (at, part) in parts.iter().enumerate() {
        check_component(text, part, at + 1 == parts.len())?;
        if *part == "**" && parts.get(at + 1) == Some(part) {
            return Err(Problem::new(format!("`**` stands twice in a row in {quoted}"))
                .help("one `**` is any depth already"));
        }
    }
    Ok(())
}

fn check_component(text: &str, part: &str, last: bool) -> Result<(), Problem> {
    let quoted = Quoted(text);
    match part {
        "" if last => {
            let folder = text.trim_end_matches('/');
            return Err(Problem::new(format!("{quoted} ends in `/`"))
                .help(format!("`{folder}` is the folder itself, `{folder}/**` it and all below")));
        }
        "" | "." | ".." => {
            let wrong = if part.is_empty() { "//" } else { part };
            return Err(Problem::new(format!("{quoted} has `{wrong}` in it"))
                .help(format!("the kernel sees `{}`", normalised(text))));
        }
        "**" => return Ok(()),
        _ => {}
    }
    if part.contains("**") {
        return Err(Problem::new(format!("`**` in {quoted} does not stand alone")).help(
            "`*` stands for any characters of a name, `**` between two `/` for any depth, at the end for all below",
        ));
    }
    let pieces = pieces(part)?;
    if part.matches('*').count() > 1 {
        return Err(Problem::new(format!("{} has more than one `*`", quote(part)))
            .help("one `*` in each name"));
    }
    let fixed: usize =
        pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
    let stars = part.matches('*').count();
    if fixed - stars > NAME_BYTES {
        return Err(Problem::new(format!(
            "a name in the path has {fixed} bytes, the kernel takes 255"
        )));
    }
    if let Some((prefix, suffix)) = part.split_once('*') {
        for affix in [prefix, suffix] {
            if !affix.contains('{') && affix.len() > AFFIX_BYTES {
                let len = affix.len();
                return Err(Problem::new(format!(
                    "the text beside `*` has {len} bytes, the kernel's tables take {AFFIX_BYTES}"
                )));
            }
        }
    }
    Ok(())
}

/// The path without `//`, `.` and `..`.
fn normalised(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    if path.starts_with('{') { path } else { format!("/{path}") }
}

/// The warning on a valid pattern that matches less than it seems to.
pub(in crate::policy) fn remark(text: &str) -> Option<Problem> {
    let mut parts = text.strip_prefix("/proc/")?.split('/');
    let second = parts.next()?;
    if second == "thread-self" {
        let help = "`/proc/self/task/*` are the threads' folders";
        return Some(
            Problem::new(format!("{} is a link: no file is reached by it", quote(text))).help(help),
        );
    }
    let (prefix, suffix) = second.split_once('*').unwrap_or((second, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if second.is_empty() || matches!(second, "*" | "**") || !digits(prefix) || !digits(suffix) {
        return None;
    }
    let message = format!("{} does not hold for the session's own processes", quote(text));
    Some(Problem::new(message).help("`/proc/self` means those, `/proc/*` every process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_passes_the_quick_check_passes_the_full_one() {
        const PIECES: &[&str] =
            &["/", "/", "a", "b/", "*", "**", ".", "..", "{x}", "{", "}", "\0", "ü"];
        let mut seed = 1_u64;
        let mut below = |end: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % end
        };
        let mut plain = 0;
        for round in 0..100_000 {
            let mut text: String = (0..below(9)).map(|_| PIECES[below(PIECES.len())]).collect();
            if round % 4 == 0 {
                text = format!("/{}{text}", "x".repeat(240 + below(20)));
            }
            if is_plain(&text) {
                plain += 1;
                assert!(check_closely(&text).is_ok(), "{text:?}");
            }
        }
        assert!(plain > 1_000, "{plain}");
        assert!(is_plain("/srv/p1/*.log") && is_plain("/a/b/**") && !is_plain("/a/.ssh"));
    }
}
