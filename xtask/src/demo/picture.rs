//! A picture of a terminal, as SVG: some steps of what the demo printed, in the colours that it printed them in.
//! It must not know what is told.

use std::{fmt::Write as _, ops::Range};

/// What begins a step: an empty line, then a bold one.
const STEP: &str = "\n\n\x1b[1m";
/// What begins a colour.
const ESCAPE: &str = "\x1b[";
/// A hundred characters, the height of a line, and the border, in pixels.
const HUNDRED: usize = 783;
const LINE: usize = 18;
const BORDER: usize = 16;

/// Draws the steps with these numbers, the first being 0. `None` where there are not as many.
pub(super) fn draw(printed: &str, steps: Range<usize>) -> Option<String> {
    let printed = printed.replace('\r', "");
    let all: Vec<&str> = printed.split(STEP).skip(1).collect();
    let shown = all.get(steps)?.iter().map(|step| format!("{ESCAPE}1m{step}"));
    let text = shown.collect::<Vec<_>>().join("\n\n");
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let longest = lines.iter().map(|line| pieces(line).map(|(_, text)| text.chars().count()).sum());
    let columns: usize = longest.max().unwrap_or_default();
    let width = (columns * HUNDRED).div_ceil(100) + 2 * BORDER;
    let height = lines.len() * LINE + 2 * BORDER;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">\n<title>What `cargo xtask demo` prints</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#161b22\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"13\" \
         fill=\"#d1d7e0\" style=\"white-space:pre\" xml:space=\"preserve\">\n"
    );
    for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.is_empty()) {
        let y = BORDER + number * LINE - 5;
        let _ = write!(svg, "<text x=\"{BORDER}\" y=\"{y}\">");
        for (style, text) in pieces(line) {
            let text = escaped(text);
            let _ = match style {
                "" => write!(svg, "{text}"),
                style => write!(svg, "<tspan {style}>{text}</tspan>"),
            };
        }
        svg.push_str("</text>\n");
    }
    svg.push_str("</g>\n</svg>\n");
    Some(svg)
}

/// The pieces of a line: how each looks, and its text.
fn pieces(line: &str) -> impl Iterator<Item = (&'static str, &str)> {
    let (first, rest) = line.split_once(ESCAPE).unwrap_or((line, ""));
    let coloured = rest.split(ESCAPE).filter_map(|piece| piece.split_once('m'));
    let coloured = coloured.map(|(colour, text)| {
        let style = match colour {
            "1" => "font-weight=\"bold\" fill=\"#ffffff\"",
            "2" => "fill=\"#9198a1\"",
            "32" => "fill=\"#3fb950\"",
            "36" => "fill=\"#39c5cf\"",
            _ => "",
        };
        (style, text)
    });
    std::iter::once(("", first)).chain(coloured).filter(|(_, text)| !text.is_empty())
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str =
        "Hello.\n\n\x1b[1mOne.\x1b[0m\n\x1b[32m$\x1b[0m a < b\n\n\x1b[1mTwo.\x1b[0m\nc\n";

    #[test]
    fn draw_shows_the_steps_that_are_asked_for_with_their_colours() {
        let svg = draw(PRINTED, 0..1).unwrap();
        assert!(
            svg.contains("<tspan font-weight=\"bold\" fill=\"#ffffff\">One.</tspan></text>"),
            "{svg}"
        );
        assert!(svg.contains("<tspan fill=\"#3fb950\">$</tspan> a &lt; b</text>"), "{svg}");
        assert!(!svg.contains("Hello") && !svg.contains("Two"), "{svg}");
    }

    #[test]
    fn draw_has_no_picture_of_steps_that_are_not_there() {
        assert_eq!(draw(PRINTED, 1..3), None);
    }
}
