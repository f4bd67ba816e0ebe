//! The look of the plots: sizes, fonts, colours, axes, colour bars. They are drawn by plotters at
//! four pixels a unit and halved, which smooths all edges, and written as PNG.
//!
//! All sizes are in units; a PNG has two pixels a unit.

mod contour;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::backend::BitMapBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::Text;
use plotters::prelude::Cartesian2d;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, WHITE, register_font};

pub use contour::{Contours, Grid};

/// Pixels drawn for a unit.
const DRAWN: u32 = 4;
/// Drawn pixels that become one of the picture, in each direction.
const SMOOTHED: u32 = 2;

/// Text, axes, and what stands out.
pub const INK: RGBColor = RGBColor(38, 42, 51);
/// What explains.
pub const FAINT: RGBColor = RGBColor(96, 103, 115);
/// Lines behind the data.
pub const GRID: RGBColor = RGBColor(226, 229, 234);

/// Colours that differ, also by those who see few (Okabe and Ito).
pub const DISTINCT: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

/// From low to high, equally far apart for the eye (viridis).
const RAMP: [RGBColor; 10] = [
    RGBColor(68, 1, 84),
    RGBColor(72, 40, 120),
    RGBColor(62, 74, 137),
    RGBColor(49, 104, 142),
    RGBColor(38, 130, 142),
    RGBColor(31, 158, 137),
    RGBColor(53, 183, 121),
    RGBColor(109, 205, 89),
    RGBColor(180, 222, 44),
    RGBColor(253, 231, 37),
];

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// Something could not be drawn.
    #[error("cannot draw: {0}")]
    Draw(String),
    /// The picture could not be encoded.
    #[error("cannot encode the picture: {0}")]
    Encode(#[from] png::EncodingError),
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> PlotError {
        PlotError::Draw(error.to_string())
    }
}

/// What is drawn on: a picture or a part of one.
pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// An area with two axes.
pub type Chart<'a, 'b> =
    ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// So many units in drawn pixels.
pub fn px(units: f64) -> i32 {
    (units * f64::from(DRAWN)).round() as i32
}

/// Draws a picture of `size` units and writes it as a PNG; the folder is made where it is missing.
///
/// # Errors
///
/// When it cannot be drawn or written.
pub fn save<F>(path: &Path, size: (u32, u32), draw: F) -> Result<(), PlotError>
where
    F: FnOnce(&Area<'_>) -> Result<(), PlotError>,
{
    register_fonts()?;
    let (width, height) = (size.0 * DRAWN, size.1 * DRAWN);
    let mut pixels = vec![255; width as usize * height as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    let (width, height) = (width / SMOOTHED, height / SMOOTHED);
    let file = encode(&smooth(&pixels, width as usize, height as usize), width, height)?;
    let failed = |source| PlotError::Write { path: path.to_owned(), source };
    fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
    fs::write(path, file).map_err(failed)
}

/// The fonts come with the program: a fresh machine may have none.
fn register_fonts() -> Result<(), PlotError> {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| PlotError::Draw("the font is damaged".to_owned()))
}

/// Each pixel becomes the mean of a square of drawn ones.
fn smooth(drawn: &[u8], width: usize, height: usize) -> Vec<u8> {
    let side = SMOOTHED as usize;
    let row = width * side * 3;
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for colour in 0..3 {
                let mut sum = 0;
                for line in drawn[y * side * row..].chunks(row).take(side) {
                    for at in 0..side {
                        sum += usize::from(line[(x * side + at) * 3 + colour]);
                    }
                }
                pixels.push((sum / (side * side)) as u8);
            }
        }
    }
    pixels
}

fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, PlotError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}

/// A style of text, `size` units high.
pub fn font(size: f64, colour: RGBColor, across: HPos, along: VPos) -> TextStyle<'static> {
    TextStyle {
        font: ("sans-serif", px(size)).into_font(),
        color: colour.to_backend_color(),
        pos: Pos::new(across, along),
    }
}

/// Writes a text at a place given in units.
///
/// # Errors
///
/// When it cannot be drawn.
pub fn text(
    area: &Area<'_>,
    text: &str,
    at: (f64, f64),
    style: &TextStyle<'_>,
) -> Result<(), PlotError> {
    let text = Text::new(text.to_owned(), (px(at.0), px(at.1)), style.clone());
    Ok(area.draw(&text)?)
}

/// Writes a title and below it a line that explains it, and returns the area that is left.
///
/// # Errors
///
/// When they cannot be drawn.
pub fn titled<'a>(area: &Area<'a>, title: &str, below: &str) -> Result<Area<'a>, PlotError> {
    text(area, title, (22.0, 28.0), &font(23.0, INK, HPos::Left, VPos::Center))?;
    text(area, below, (22.0, 54.0), &font(14.5, FAINT, HPos::Left, VPos::Center))?;
    Ok(area.split_vertically(px(70.0)).1)
}

/// What a pair of axes shows.
#[derive(Clone, Debug)]
pub struct Axes<'a> {
    /// Stands above, on the left; may be empty.
    pub title: &'a str,
    /// The ends of the horizontal axis.
    pub x: Range<f64>,
    /// The ends of the vertical axis.
    pub y: Range<f64>,
    /// What the horizontal axis shows, with its unit.
    pub x_label: &'a str,
    /// What the vertical axis shows, with its unit; nothing stands for an axis without numbers.
    pub y_label: Option<&'a str>,
    /// Digits after the point in the numbers of both axes.
    pub digits: (usize, usize),
    /// About how many numbers stand at each axis.
    pub labels: (usize, usize),
}

impl Axes<'_> {
    /// Draws the axes.
    ///
    /// # Errors
    ///
    /// When they cannot be drawn.
    pub fn draw<'a, 'b>(&self, area: &Area<'b>) -> Result<Chart<'a, 'b>, PlotError> {
        let left = if self.y_label.is_some() { 66.0 } else { 16.0 };
        let title = font(15.5, INK, HPos::Left, VPos::Center);
        text(area, self.title, (left + 10.0, 13.0), &title)?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(px(if self.title.is_empty() { 10.0 } else { 28.0 }))
            .margin_right(px(16.0))
            .margin_left(px(10.0))
            .margin_bottom(px(8.0))
            .y_label_area_size(px(left))
            .x_label_area_size(px(46.0))
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let x_number = |value: &f64| number(*value, self.digits.0);
        let y_number = |value: &f64| number(*value, self.digits.1);
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(WHITE.mix(0.0))
            .bold_line_style(GRID.stroke_width(2))
            .axis_style(INK.stroke_width(3))
            .set_all_tick_mark_size(px(4.0))
            .label_style(font(13.0, INK, HPos::Center, VPos::Center))
            .axis_desc_style(font(14.5, INK, HPos::Center, VPos::Center))
            .x_labels(self.labels.0)
            .y_labels(self.labels.1)
            .x_label_formatter(&x_number)
            .y_label_formatter(&y_number)
            .x_desc(self.x_label);
        match self.y_label {
            Some(label) => mesh.y_desc(label).draw()?,
            None => mesh.disable_mesh().disable_y_axis().draw()?,
        }
        Ok(chart)
    }
}

/// A number with so many digits after the point, and a minus sign where one belongs.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) => format!("−{rest}"),
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// A whole number in groups of three digits.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The colour of a number between 0 and 1.
pub fn ramp(value: f64) -> RGBColor {
    let steps = RAMP.len() - 1;
    let place = value.clamp(0.0, 1.0) * steps as f64;
    let low = (place as usize).min(steps - 1);
    let (from, to, part) = (RAMP[low], RAMP[low + 1], place - low as f64);
    let mixed = |from: u8, to: u8| (f64::from(from) * (1.0 - part) + f64::from(to) * part) as u8;
    RGBColor(mixed(from.0, to.0), mixed(from.1, to.1), mixed(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use plotters::element::Rectangle;

    use super::*;

    #[test]
    fn a_picture_has_two_pixels_a_unit_and_shows_what_was_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/picture.png");
        save(&path, (30, 20), |area| {
            let filled = DISTINCT[0].filled();
            area.draw(&Rectangle::new([(0, 0), (px(15.0) - 1, px(20.0))], filled))?;
            Ok(())
        })
        .unwrap();
        let mut reader =
            png::Decoder::new(std::io::Cursor::new(fs::read(path).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (60, 40));
        assert_eq!(pixels[..3], [0, 114, 178]);
        assert_eq!(pixels[59 * 3..60 * 3], [255, 255, 255]);
    }

    #[test]
    fn a_picture_that_cannot_be_written_is_an_error_with_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let result = save(&file.path().join("x.png"), (4, 4), |_| Ok(()));
        assert!(matches!(result, Err(PlotError::Write { path, .. }) if path.ends_with("x.png")));
    }

    #[test]
    fn numbers_have_a_true_minus_and_zero_has_none() {
        assert_eq!([number(-1.25, 1), number(-0.04, 1), number(3.0, 0)], ["−1.2", "0.0", "3"]);
        assert_eq!([999, 1_000, 100_000_000].map(grouped), ["999", "1,000", "100,000,000"]);
    }

    #[test]
    fn the_ramp_goes_from_end_to_end() {
        assert_eq!(
            [ramp(-1.0), ramp(0.0), ramp(1.0), ramp(2.0)],
            [RAMP[0], RAMP[0], RAMP[9], RAMP[9]]
        );
        assert_eq!(ramp(0.5), RGBColor(34, 144, 139));
    }
}
