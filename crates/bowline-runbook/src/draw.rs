//! The ways between the steps as a drawing: for a terminal, as Mermaid, as SVG.

use std::fmt::Write as _;

use crate::action::Action;
use crate::check::{Edge, Graph, Way};
use crate::document::{Document, Step};

/// The steps as lines of text, with what follows each.
pub fn terminal(document: &Document) -> String {
    let graph = Graph::of(document);
    let mut text = String::new();
    for (place, step) in document.all_steps().enumerate() {
        let depth = if document.steps.iter().any(|it| it.name == step.name) {
            ""
        } else {
            "  "
        };
        let _ = writeln!(text, "{depth}\u{25cf} {}  {}", step.name.name, action(step));
        let mut falls = false;
        for edge in graph.from(place) {
            let to = target(&graph, edge);
            if edge.way == Way::Sequence && edge.to == Some(place + 1) {
                falls = true;
                continue;
            }
            let line = match edge.way {
                Way::Failure => format!("\u{2717} fails \u{2192} {to}"),
                Way::Continue => format!("\u{2717} fails \u{2192} {to} all the same"),
                Way::Cancel => format!("\u{2298} cancelled \u{2192} {to}"),
                _ => format!("\u{2192} {to}{}", label(step, edge.way)),
            };
            let _ = writeln!(text, "{depth}\u{2502}   {line}");
        }
        if falls {
            let _ = writeln!(text, "{depth}\u{25bc}");
        }
    }
    text
}

/// The steps as a Mermaid flow chart.
pub fn mermaid(document: &Document) -> String {
    let graph = Graph::of(document);
    let mut text = "flowchart TD\n".to_owned();
    for (place, step) in document.all_steps().enumerate() {
        let name = &step.name.name;
        let (open, close) = match step.action {
            Some(Action::Branch) => ("{\"", "\"}"),
            Some(Action::Sleep | Action::Pause | Action::Approve) => ("([\"", "\"])"),
            _ => ("[\"", "\"]"),
        };
        let _ = writeln!(
            text,
            "    s{place}{open}{}<br/>{}{close}",
            escaped(name),
            escaped(action(step))
        );
    }
    let _ = writeln!(text, "    done((end))");
    for edge in &graph.edges {
        let to = edge
            .to
            .map_or_else(|| "done".to_owned(), |to| format!("s{to}"));
        let step = graph
            .names
            .get(edge.from)
            .and_then(|name| document.step(name));
        let words = match edge.way {
            Way::Failure | Way::Continue => "fails".to_owned(),
            Way::Cancel => "cancelled".to_owned(),
            way => step.map_or_else(String::new, |step| label(step, way)),
        };
        let words = escaped(words.trim().trim_matches(['(', ')']));
        let arrow = if edge.way.is_success() { "-->" } else { "-.->" };
        let _ = match words.is_empty() {
            true => writeln!(text, "    s{} {arrow} {to}", edge.from),
            false => writeln!(text, "    s{} {arrow}|\"{words}\"| {to}", edge.from),
        };
    }
    text
}

const BOX: (usize, usize) = (280, 46);
const GAP: usize = 34;
const LANE: usize = 16;

/// The steps as a picture: in their order from above, jumps on the right, failures on the left.
pub fn svg(document: &Document) -> String {
    let graph = Graph::of(document);
    let count = graph.names.len();
    let is_plain =
        |edge: &&Edge| edge.way == Way::Sequence && edge.to.unwrap_or(count) == edge.from + 1;
    let sides = |success: bool| {
        graph
            .edges
            .iter()
            .filter(move |it| it.way.is_success() == success && !is_plain(it))
    };
    let (right, left) = (sides(true).count(), sides(false).count());
    let margin = 24 + left * LANE;
    let width = margin + BOX.0 + 24 + right * LANE;
    let height = (count + 1) * (BOX.1 + GAP) + 24;
    let top = |place: usize| 16 + place * (BOX.1 + GAP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let middle = margin + BOX.0 / 2;
    for edge in graph.edges.iter().filter(is_plain) {
        let (from, to) = (top(edge.from) + BOX.1, top(edge.from + 1));
        let _ = writeln!(
            text,
            "<path d=\"M{middle} {from}V{to}\" stroke=\"#333\" marker-end=\"url(#a)\"/>"
        );
    }
    for (success, color, dash) in [
        (true, "#333", ""),
        (false, "#b00", " stroke-dasharray=\"5 3\""),
    ] {
        for (lane, edge) in sides(success).enumerate() {
            // Starts below the middle and arrives above it, so that lines of one box are apart.
            let from = top(edge.from) + BOX.1 * 2 / 3;
            let to = top(edge.to.unwrap_or(count)) + BOX.1 / 3;
            let (border, turn) = match success {
                true => (margin + BOX.0, margin + BOX.0 + 14 + lane * LANE),
                false => (margin, margin.saturating_sub(14 + lane * LANE)),
            };
            let _ = writeln!(
                text,
                "<path d=\"M{border} {from}H{turn}V{to}H{border}\" fill=\"none\" stroke=\"{color}\"{dash} marker-end=\"url(#a)\"><title>{} to {}</title></path>",
                escaped(graph.names.get(edge.from).map_or("", String::as_str)),
                escaped(&target(&graph, edge)),
            );
        }
    }
    for (place, step) in document.all_steps().enumerate() {
        let y = top(place);
        let round = if step.action == Some(Action::Branch) {
            20
        } else {
            5
        };
        let _ = writeln!(
            text,
            "<rect x=\"{margin}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"{round}\" fill=\"#f4f7fb\" stroke=\"#456\"/>\n\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>\n\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#567\" font-size=\"11\">{}</text>",
            BOX.0,
            BOX.1,
            y + 20,
            escaped(&step.name.name),
            y + 37,
            escaped(action(step)),
        );
    }
    let y = top(count);
    let _ = writeln!(
        text,
        "<rect x=\"{margin}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"23\" fill=\"#fff\" stroke=\"#456\"/>\n<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">end</text>\n</svg>",
        BOX.0,
        BOX.1,
        y + 28
    );
    text
}

fn action(step: &Step) -> &'static str {
    step.action.map_or("?", Action::name)
}

fn target(graph: &Graph, edge: &Edge) -> String {
    let name = edge.to.and_then(|to| graph.names.get(to)).cloned();
    name.unwrap_or_else(|| "end".to_owned())
}

fn label(step: &Step, way: Way) -> String {
    match way {
        Way::Choice(index) => format!("  (choice {})", index + 1),
        Way::Default => "  (otherwise)".to_owned(),
        Way::Body => "  (for each)".to_owned(),
        Way::Sequence if step.action == Some(Action::Branch) => "  (no choice)".to_owned(),
        _ => String::new(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
