//! Pictures as PNG: drawn by plotters at four pixels a unit and halved, which smooths all edges.

use plotters::backend::BitMapBackend;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontStyle, FontTransform, IntoFont as _, RGBColor, WHITE};
use plotters::style::{TextStyle, register_font};

use super::Plot;
use super::picture::{self, Anchor, Canvas, Colour, INK, SIZE};
use crate::exit::{Exit, Failure};

/// Pixels drawn for a unit.
const DRAWN: f64 = 4.0;
/// Drawn pixels that become one of the picture, in each direction.
const SMOOTHED: usize = 2;

fn failed(what: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("the picture cannot be drawn: {what}"))
}

fn px(units: f64) -> i32 {
    (units * DRAWN).round() as i32
}

fn rgb([red, green, blue]: Colour) -> RGBColor {
    RGBColor(red, green, blue)
}

/// The picture of a plot.
pub(super) fn draw(plot: &Plot) -> Result<Vec<u8>, Failure> {
    // A fresh machine may have no fonts: this one comes with the program.
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| failed(&"the font is damaged"))?;
    let (width, height) = (px(SIZE.0) as usize, px(SIZE.1) as usize);
    let mut pixels = vec![255; width * height * 3];
    {
        let size = (width as u32, height as u32);
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        let filled = area.fill(&WHITE);
        filled.map_err(|error| failed(&error))?;
        let mut drawing = Drawing { area, error: None };
        picture::draw(plot, &mut drawing);
        if let Some(error) = drawing.error {
            return Err(failed(&error));
        }
        drawing.area.present().map_err(|error| failed(&error))?;
    }
    let pixels = smooth(&pixels, width);
    encode(&pixels, (width / SMOOTHED) as u32, (height / SMOOTHED) as u32)
        .map_err(|error| failed(&error))
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;
type Problem<'a> =
    DrawingAreaErrorKind<<BitMapBackend<'a> as plotters::backend::DrawingBackend>::ErrorType>;

struct Drawing<'a> {
    area: Area<'a>,
    /// The first thing that went wrong.
    error: Option<Problem<'a>>,
}

impl<'a> Drawing<'a> {
    fn check(&mut self, drawn: Result<(), Problem<'a>>) {
        if let Err(error) = drawn {
            self.error.get_or_insert(error);
        }
    }
}

impl Canvas for Drawing<'_> {
    fn line(&mut self, points: &[(f64, f64)], width: f64, colour: Colour) {
        let points: Vec<(i32, i32)> = points.iter().map(|(x, y)| (px(*x), px(*y))).collect();
        let style = rgb(colour).stroke_width(px(width).unsigned_abs().max(1));
        let drawn = self.area.draw(&PathElement::new(points, style));
        self.check(drawn);
    }

    fn rectangle(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: Colour) {
        let corners = [(px(x), px(y)), (px(x + width), px(y + height))];
        let drawn = self.area.draw(&Rectangle::new(corners, rgb(colour).filled()));
        self.check(drawn);
    }

    fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: Colour) {
        let drawn = self.area.draw(&Circle::new((px(x), px(y)), px(radius), rgb(colour).filled()));
        self.check(drawn);
    }

    fn text(&mut self, (x, y): (f64, f64), text: &str, size: f64, anchor: Anchor) {
        let across = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle | Anchor::Up => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let font = ("sans-serif", px(size)).into_font();
        let font = match anchor {
            Anchor::Up => font.transform(FontTransform::Rotate270),
            _ => font,
        };
        let color = rgb(INK).to_backend_color();
        let style = TextStyle { font, color, pos: Pos::new(across, VPos::Center) };
        // The middle of a line of the font lies above that of its letters.
        let lower = if anchor == Anchor::Up { 0.0 } else { 0.08 * size };
        let at = (px(x), px(y + lower));
        let drawn = self.area.draw(&Text::new(text.to_owned(), at, style));
        self.check(drawn);
    }
}

/// Each pixel becomes the mean of a square of drawn ones.
fn smooth(drawn: &[u8], width: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(drawn.len() / (SMOOTHED * SMOOTHED));
    for rows in drawn.chunks(width * SMOOTHED * 3) {
        for x in (0..width).step_by(SMOOTHED) {
            for colour in 0..3 {
                let square = (0..SMOOTHED * SMOOTHED).map(|at| {
                    let (row, column) = (at / SMOOTHED, x + at % SMOOTHED);
                    rows.get((row * width + column) * 3 + colour).copied().map_or(255, u32::from)
                });
                pixels.push((square.sum::<u32>() / (SMOOTHED * SMOOTHED) as u32) as u8);
            }
        }
    }
    pixels
}

fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}
