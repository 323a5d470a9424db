//! The graph as a file: SVG, DOT, Mermaid. Pure; JSON is the API's own.

use mesh_api::graph::NodeKind;

use super::choice::Label;
use super::paint::{Palette, label, width_of};
use super::scene::{Card, Scene};
use crate::format;
use crate::health::Health;

/// Room round the picture.
const MARGIN: f64 = 24.0;

fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // What XML does not allow at all.
            letter if letter.is_control() => {}
            letter => safe.push(letter),
        }
    }
    safe
}

/// The picture as a file of its own, in the colours of the theme in force.
pub fn svg(scene: &Scene, shown: Label, palette: &Palette) -> String {
    let (left, top, width, height) = scene.bounds();
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{:.0}" height="{:.0}" viewBox="{:.1} {:.1} {:.1} {:.1}" font-family="Inter, system-ui, sans-serif">"#,
        width + 2.0 * MARGIN,
        height + 2.0 * MARGIN,
        left - MARGIN,
        top - MARGIN,
        width + 2.0 * MARGIN,
        height + 2.0 * MARGIN
    );
    out.push_str(&format!(
        r#"<rect x="{:.1}" y="{:.1}" width="100%" height="100%" fill="{}"/>"#,
        left - MARGIN,
        top - MARGIN,
        palette.ground
    ));
    for frame in &scene.boxes {
        out.push_str(&format!(
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="12" fill="{}" stroke="{}"/><text x="{:.1}" y="{:.1}" font-size="11" font-weight="600" fill="{}">{}</text>"#,
            frame.x,
            frame.y,
            frame.width,
            frame.height,
            palette.frame,
            palette.frame_line,
            frame.x + 16.0,
            frame.y + 23.0,
            palette.frame_text,
            xml(&frame.namespace)
        ));
    }
    for line in &scene.lines {
        let points: Vec<String> = line
            .curve
            .points()
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let dash = if line.tcp {
            r#" stroke-dasharray="7 5""#
        } else {
            ""
        };
        let colour = palette.of_line(line);
        out.push_str(&format!(
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="{:.1}"{dash}/>"#,
            points.join(" "),
            width_of(line, scene.seconds)
        ));
        out.push_str(&arrow(line, colour));
    }
    for line in &scene.lines {
        let text = label(line, scene.seconds, shown);
        if !text.is_empty() {
            let (x, y) = line.curve.at(line.curve.length() / 2.0);
            let room = format::number(u64::try_from(text.chars().count()).unwrap_or(0)) * 6.4 + 12.0;
            out.push_str(&format!(
                r#"<rect x="{:.1}" y="{:.1}" width="{room:.1}" height="18" rx="9" fill="{}" stroke="{}"/><text x="{x:.1}" y="{:.1}" font-size="11" text-anchor="middle" fill="{}">{}</text>"#,
                x - room / 2.0,
                y - 9.0,
                palette.label,
                palette.frame_line,
                y + 4.0,
                palette.label_text,
                xml(&text)
            ));
        }
    }
    for card in &scene.cards {
        out.push_str(&face(card, scene.seconds, palette));
    }
    out.push_str("</svg>");
    out
}

fn arrow(line: &super::scene::Line, colour: &str) -> String {
    let length = line.curve.length();
    let (tip, back) = (line.curve.at(length), line.curve.at((length - 9.0).max(0.0)));
    let (sin, cos) = (tip.1 - back.1).atan2(tip.0 - back.0).sin_cos();
    format!(
        r#"<path d="M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z" fill="{colour}"/>"#,
        tip.0,
        tip.1,
        tip.0 - 9.0 * cos - 4.5 * sin,
        tip.1 - 9.0 * sin + 4.5 * cos,
        tip.0 - 9.0 * cos + 4.5 * sin,
        tip.1 - 9.0 * sin - 4.5 * cos
    )
}

fn face(card: &Card, seconds: f64, palette: &Palette) -> String {
    let (left, top) = (card.x - card.width / 2.0, card.y - card.height / 2.0);
    let dash = if card.kind == NodeKind::Unknown {
        r#" stroke-dasharray="4 3""#
    } else {
        ""
    };
    format!(
        r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" rx="9" fill="{}" stroke="{}"{dash}/><circle cx="{:.1}" cy="{:.1}" r="6" fill="{}"/><text x="{:.1}" y="{:.1}" font-size="13" font-weight="600" fill="{}">{}</text><text x="{:.1}" y="{:.1}" font-size="11" fill="{}">{}</text>"#,
        card.width,
        card.height,
        palette.card,
        palette.frame_line,
        left + 20.0,
        card.y,
        palette.of(card.health()),
        left + 38.0,
        top + 22.0,
        palette.text,
        xml(&format::shorten(&format!("{} {}", card.title, card.version), 22)),
        left + 38.0,
        top + 38.0,
        palette.frame_text,
        xml(&format!("{}/s", format::rate(card.requests, seconds)))
    )
}

fn quoted(text: &str) -> String {
    let mut safe = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                safe.push('\\');
                safe.push(letter);
            }
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe.push('"');
    safe
}

/// For Graphviz.
pub fn dot(scene: &Scene, shown: Label) -> String {
    let mut out = String::from("digraph mesh {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n");
    for (place, frame) in scene.boxes.iter().enumerate() {
        out.push_str(&format!(
            "  subgraph cluster_{place} {{\n    label={};\n",
            quoted(&frame.namespace)
        ));
        for card in scene
            .cards
            .iter()
            .filter(|card| card.namespace == frame.namespace && card.kind != NodeKind::Unknown)
        {
            out.push_str(&format!(
                "    {} [label={}];\n",
                quoted(&card.id),
                quoted(&name(card))
            ));
        }
        out.push_str("  }\n");
    }
    let boxed = |card: &&Card| {
        card.kind != NodeKind::Unknown && scene.boxes.iter().any(|frame| frame.namespace == card.namespace)
    };
    for card in scene.cards.iter().filter(|card| !boxed(card)) {
        out.push_str(&format!(
            "  {} [label={}, style=dashed];\n",
            quoted(&card.id),
            quoted(&name(card))
        ));
    }
    for line in &scene.lines {
        let colour = match line.health() {
            Health::Ok => "#009e73",
            Health::Warn => "#e69f00",
            Health::Fail => "#d55e00",
            Health::Unknown => "#7b8894",
        };
        let style = if line.tcp { ", style=dashed" } else { "" };
        out.push_str(&format!(
            "  {} -> {} [label={}, color=\"{colour}\"{style}];\n",
            quoted(&line.source),
            quoted(&line.target),
            quoted(&label(line, scene.seconds, shown))
        ));
    }
    out.push_str("}\n");
    out
}

fn name(card: &Card) -> String {
    if card.version.is_empty() {
        card.title.clone()
    } else {
        format!("{} {}", card.title, card.version)
    }
}

/// For Markdown that knows Mermaid.
pub fn mermaid(scene: &Scene, shown: Label) -> String {
    let place = |id: &str| {
        scene
            .cards
            .iter()
            .position(|card| card.id == id)
            .map(|at| format!("n{at}"))
    };
    // Its own brackets and quotes, as entities.
    let text = |text: &str| {
        text.chars()
            .map(|letter| match letter {
                '"' => "#quot;".to_owned(),
                '<' => "#lt;".to_owned(),
                '>' => "#gt;".to_owned(),
                '#' => "#35;".to_owned(),
                '|' => "#124;".to_owned(),
                letter if letter.is_control() => " ".to_owned(),
                letter => letter.to_string(),
            })
            .collect::<String>()
    };
    let mut out = String::from("flowchart LR\n");
    for (at, frame) in scene.boxes.iter().enumerate() {
        out.push_str(&format!("  subgraph s{at}[\"{}\"]\n", text(&frame.namespace)));
        for card in scene
            .cards
            .iter()
            .filter(|card| card.namespace == frame.namespace && card.kind != NodeKind::Unknown)
        {
            if let Some(id) = place(&card.id) {
                out.push_str(&format!("    {id}[\"{}\"]\n", text(&name(card))));
            }
        }
        out.push_str("  end\n");
    }
    for card in scene.cards.iter().filter(|card| {
        card.kind == NodeKind::Unknown || !scene.boxes.iter().any(|frame| frame.namespace == card.namespace)
    }) {
        if let Some(id) = place(&card.id) {
            out.push_str(&format!("  {id}([\"{}\"])\n", text(&name(card))));
        }
    }
    for line in &scene.lines {
        if let (Some(from), Some(to)) = (place(&line.source), place(&line.target)) {
            let arrow = if line.tcp { "-.->" } else { "-->" };
            let label = label(line, scene.seconds, shown);
            if label.is_empty() {
                out.push_str(&format!("  {from} {arrow} {to}\n"));
            } else {
                out.push_str(&format!("  {from} {arrow}|\"{}\"| {to}\n", text(&label)));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use mesh_api::graph::{Edge, Graph, GraphType, Node};
    use mesh_api::layout::{Layout, NamespaceBox, Path, Place};

    use super::*;

    /// Names as an attacker would choose them.
    fn scene() -> Scene {
        let evil = "a/<script>\"x|y\"\\";
        let node = |id: &str| Node {
            id: id.into(),
            namespace: "a".into(),
            workload: id.trim_start_matches("a/").into(),
            ..Node::default()
        };
        let place = |id: &str| Place {
            id: id.into(),
            width: 184.0,
            height: 52.0,
            ..Place::default()
        };
        let graph = Graph {
            nodes: vec![node(evil), node("a/y")],
            edges: vec![Edge {
                source: "a/y".into(),
                target: evil.into(),
                requests: 60,
                protocol: "tcp".into(),
                ..Edge::default()
            }],
            seconds: 60.0,
            ..Graph::default()
        };
        let layout = Layout {
            nodes: vec![place(evil), place("a/y")],
            edges: vec![Path {
                source: "a/y".into(),
                target: evil.into(),
                points: vec![(0.0, 0.0), (90.0, 0.0)],
            }],
            boxes: vec![NamespaceBox {
                namespace: "a".into(),
                width: 300.0,
                height: 100.0,
                ..NamespaceBox::default()
            }],
            ..Layout::default()
        };
        Scene::new(&graph, &layout, GraphType::Workload)
    }

    #[test]
    fn hostile_names_stay_names() {
        let svg = svg(&scene(), Label::Rate, &Palette::default());
        assert!(
            !svg.contains("<script>") && svg.contains("&lt;script&gt;"),
            "{svg}"
        );
        let dot = dot(&scene(), Label::Rate);
        assert!(dot.contains(r#""a/y" -> "a/<script>\"x|y\"\\""#), "{dot}");
        let mermaid = mermaid(&scene(), Label::Rate);
        assert!(mermaid.contains("#lt;script#gt;#quot;x#124;y#quot;"), "{mermaid}");
        assert!(mermaid.contains("n1 -.->"), "{mermaid}");
    }
}
