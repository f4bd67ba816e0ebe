//! Pictures as SVG.

use std::fmt::Write as _;

use super::Plot;
use super::picture::{self, Anchor, Canvas, Colour, SIZE};

/// The text of a picture.
struct Svg(String);

/// The picture of a plot.
pub(super) fn draw(plot: &Plot) -> Vec<u8> {
    let (width, height) = SIZE;
    let mut svg = Svg(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" fill=\"#262a33\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    ));
    picture::draw(plot, &mut svg);
    svg.0.push_str("</svg>\n");
    svg.0.into_bytes()
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

impl Canvas for Svg {
    fn line(&mut self, points: &[(f64, f64)], width: f64, colour: Colour) {
        let points = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}"));
        let (points, colour) = (points.collect::<Vec<_>>().join(" "), hex(colour));
        let _ = writeln!(
            self.0,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"{width}\" stroke-linejoin=\"round\"/>"
        );
    }

    fn rectangle(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: Colour) {
        let colour = hex(colour);
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" \
             fill=\"{colour}\"/>"
        );
    }

    fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: Colour) {
        let colour = hex(colour);
        let _ = writeln!(
            self.0,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"
        );
    }

    fn text(&mut self, (x, y): (f64, f64), text: &str, size: f64, anchor: Anchor) {
        let place = match anchor {
            Anchor::Left => "start",
            Anchor::Middle | Anchor::Up => "middle",
            Anchor::Right => "end",
        };
        let turned = match anchor {
            Anchor::Up => format!(" transform=\"rotate(-90 {x:.1} {y:.1})\""),
            _ => String::new(),
        };
        let mut escaped = String::new();
        for c in text.chars() {
            match c {
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '&' => escaped.push_str("&amp;"),
                // XML has no place for them, not even escaped.
                c if c.is_control() => escaped.push('\u{fffd}'),
                c => escaped.push(c),
            }
        }
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{place}\" \
             dominant-baseline=\"central\"{turned}>{escaped}</text>"
        );
    }
}
