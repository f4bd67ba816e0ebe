//! Draws the 10 × 10 frequencies as a heat map: red pairs occur more often than the mean, blue ones
//! less often.

use plotters::backend::BitMapBackend;
use plotters::prelude::{
    DrawingArea, DrawingBackend, IntoDrawingArea, IntoFont, PathElement, RGBColor, Rectangle,
    SVGBackend, Text, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, ShapeStyle, TextStyle, register_font};

use crate::error::Error;

/// Width and height of the picture in units; the PNG has [`PNG_SCALE`] pixels a unit.
const SIZE: (u32, u32) = (940, 870);
const PNG_SCALE: i32 = 2;

const CELL: i32 = 68;
const LEFT: i32 = 84;
const TOP: i32 = 158;
const BAR_LEFT: i32 = LEFT + 10 * CELL + 36;
const BAR_WIDTH: i32 = 24;

const INK: RGBColor = RGBColor(38, 42, 51);
const FAINT: RGBColor = RGBColor(105, 112, 124);

/// From few to many: blue, pale, red, at equal distances.
const COLOURS: [RGBColor; 7] = [
    RGBColor(33, 82, 145),
    RGBColor(86, 145, 195),
    RGBColor(172, 205, 226),
    RGBColor(246, 244, 240),
    RGBColor(244, 189, 160),
    RGBColor(211, 110, 90),
    RGBColor(150, 28, 48),
];

/// The picture as SVG.
pub fn svg(pairs: &[u64]) -> Result<String, Error> {
    register_fonts()?;
    let mut text = String::new();
    Picture::new(SVGBackend::with_string(&mut text, SIZE), 1, pairs).draw()?;
    Ok(text)
}

/// The picture as PNG.
pub fn png(pairs: &[u64]) -> Result<Vec<u8>, Error> {
    register_fonts()?;
    let (width, height) = (SIZE.0 * PNG_SCALE as u32, SIZE.1 * PNG_SCALE as u32);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
    Picture::new(backend, PNG_SCALE, pairs).draw()?;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Best);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}

/// The fonts come with the program: a fresh machine may have none.
fn register_fonts() -> Result<(), Error> {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .and_then(|()| {
            register_font("monospace", FontStyle::Normal, epaint_default_fonts::HACK_REGULAR)
        })
        .map_err(|_| Error::Draw("the font is damaged".to_owned()))
}

struct Picture<'a, B: DrawingBackend> {
    area: DrawingArea<B, plotters::coord::Shift>,
    scale: i32,
    pairs: &'a [u64],
    mean: f64,
    /// Standard deviation of a count, if pairs were drawn at random.
    sigma: f64,
    /// The deviation from the mean, in counts, that the ends of the colour bar stand for.
    reach: f64,
}

impl<'a, B: DrawingBackend> Picture<'a, B> {
    fn new(backend: B, scale: i32, pairs: &'a [u64]) -> Picture<'a, B> {
        let total: u64 = pairs.iter().sum();
        let mean = total as f64 / 100.0;
        let sigma = (total as f64 * 0.01 * 0.99).sqrt().max(f64::MIN_POSITIVE);
        let widest = pairs.iter().map(|&count| (count as f64 - mean).abs()).fold(sigma, f64::max);
        Picture { area: backend.into_drawing_area(), scale, pairs, mean, sigma, reach: widest }
    }

    fn draw(&self) -> Result<(), Error> {
        self.area.fill(&WHITE).map_err(drawing)?;
        self.headings()?;
        for (pair, &count) in self.pairs.iter().enumerate() {
            self.cell(pair as i32 / 10, pair as i32 % 10, count)?;
        }
        for digit in 0..10 {
            let along = digit * CELL + CELL / 2;
            self.text(&digit.to_string(), (LEFT + along, TOP - 16), "monospace", 20, INK)?;
            self.text(&digit.to_string(), (LEFT - 18, TOP + along), "monospace", 20, INK)?;
        }
        self.text("second digit", (LEFT + 5 * CELL, TOP - 42), "sans-serif", 20, FAINT)?;
        self.vertical("first digit", (LEFT - 48, TOP + 5 * CELL))?;
        self.colour_bar()?;
        self.area.present().map_err(drawing)
    }

    fn headings(&self) -> Result<(), Error> {
        let total: u64 = self.pairs.iter().sum();
        let title = format!("Pairs of digits in the first {} decimals of π", grouped(total + 1));
        self.left_text(&title, (LEFT, 36), 34, INK)?;
        let below = format!(
            "{} pairs, {} of each expected, standard deviation {:.0}",
            grouped(total),
            grouped(self.mean.round() as u64),
            self.sigma
        );
        self.left_text(&below, (LEFT, 70), 20, FAINT)
    }

    fn cell(&self, row: i32, column: i32, count: u64) -> Result<(), Error> {
        let (x, y) = (LEFT + column * CELL, TOP + row * CELL);
        let deviation = (count as f64 - self.mean) / self.reach;
        self.rectangle((x + 1, y + 1), (x + CELL - 1, y + CELL - 1), colour(deviation), true)?;
        let ink = if deviation.abs() > 0.62 { WHITE } else { INK };
        let middle = x + CELL / 2;
        self.text(&format!("{row}{column}"), (middle, y + 20), "monospace", 13, ink)?;
        self.text(&count.to_string(), (middle, y + 42), "monospace", self.count_size(), ink)
    }

    /// Long numbers are set smaller, so that a cell holds them.
    fn count_size(&self) -> i32 {
        let digits = self.pairs.iter().max().map_or(1, |count| count.to_string().len());
        if digits <= 5 { 20 } else { (105 / digits as i32).max(8) }
    }

    fn colour_bar(&self) -> Result<(), Error> {
        let height = 10 * CELL;
        for y in 0..height {
            let deviation = 1.0 - 2.0 * f64::from(y) / f64::from(height - 1);
            let (from, to) = ((BAR_LEFT, TOP + y), (BAR_LEFT + BAR_WIDTH, TOP + y + 1));
            self.rectangle(from, to, colour(deviation), true)?;
        }
        self.rectangle((BAR_LEFT, TOP), (BAR_LEFT + BAR_WIDTH, TOP + height), FAINT, false)?;
        let furthest = (self.reach / self.sigma).floor() as i32;
        for sigmas in (-furthest..=furthest).filter(|sigmas| furthest < 8 || sigmas % 2 == 0) {
            let deviation = f64::from(sigmas) * self.sigma / self.reach;
            let y = TOP + (f64::from(height) * (0.5 - deviation / 2.0)).round() as i32;
            let right = BAR_LEFT + BAR_WIDTH;
            self.line((right, y), (right + 6, y))?;
            let label = match sigmas {
                0 => "mean".to_owned(),
                _ => format!("{sigmas:+} σ").replace('-', "−"),
            };
            self.left_text(&label, (right + 12, y), 19, INK)?;
        }
        Ok(())
    }

    fn at(&self, (x, y): (i32, i32)) -> (i32, i32) {
        (x * self.scale, y * self.scale)
    }

    fn rectangle(
        &self,
        from: (i32, i32),
        to: (i32, i32),
        colour: RGBColor,
        filled: bool,
    ) -> Result<(), Error> {
        let style = ShapeStyle { color: colour.to_rgba(), filled, stroke_width: self.stroke() };
        self.area.draw(&Rectangle::new([self.at(from), self.at(to)], style)).map_err(drawing)
    }

    fn line(&self, from: (i32, i32), to: (i32, i32)) -> Result<(), Error> {
        let style = FAINT.stroke_width(self.stroke());
        self.area.draw(&PathElement::new([self.at(from), self.at(to)], style)).map_err(drawing)
    }

    fn stroke(&self) -> u32 {
        self.scale.unsigned_abs()
    }

    fn text(
        &self,
        text: &str,
        at: (i32, i32),
        font: &str,
        size: i32,
        colour: RGBColor,
    ) -> Result<(), Error> {
        let style = TextStyle::from((font, size * self.scale).into_font())
            .color(&colour)
            .pos(Pos::new(HPos::Center, VPos::Center));
        self.put(text, at, style)
    }

    fn left_text(
        &self,
        text: &str,
        at: (i32, i32),
        size: i32,
        colour: RGBColor,
    ) -> Result<(), Error> {
        let style = TextStyle::from(("sans-serif", size * self.scale).into_font())
            .color(&colour)
            .pos(Pos::new(HPos::Left, VPos::Center));
        self.put(text, at, style)
    }

    fn vertical(&self, text: &str, at: (i32, i32)) -> Result<(), Error> {
        let font = ("sans-serif", 20 * self.scale)
            .into_font()
            .transform(plotters::style::FontTransform::Rotate270);
        let style = TextStyle::from(font).color(&FAINT).pos(Pos::new(HPos::Center, VPos::Center));
        self.put(text, at, style)
    }

    fn put(&self, text: &str, at: (i32, i32), style: TextStyle<'_>) -> Result<(), Error> {
        self.area.draw(&Text::new(text.to_owned(), self.at(at), style)).map_err(drawing)
    }
}

fn drawing(error: impl std::error::Error) -> Error {
    Error::Draw(error.to_string())
}

/// The colour of a deviation between −1 and 1.
fn colour(deviation: f64) -> RGBColor {
    let steps = COLOURS.len() - 1;
    let place = (deviation.clamp(-1.0, 1.0) + 1.0) / 2.0 * steps as f64;
    let below = (place as usize).min(steps - 1);
    let share = place - below as f64;
    let mix =
        |from: u8, to: u8| (f64::from(from) * (1.0 - share) + f64::from(to) * share).round() as u8;
    let (from, to) = (COLOURS[below], COLOURS[below + 1]);
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_pale_and_the_ends_are_strong() {
        assert_eq!(colour(0.0), COLOURS[3]);
        assert_eq!(colour(-1.0), COLOURS[0]);
        assert_eq!(colour(1.0), COLOURS[6]);
        assert_eq!(colour(7.0), COLOURS[6]);
    }

    #[test]
    fn both_pictures_show_every_count() {
        let pairs: Vec<u64> = (0..100).map(|pair| 14_900 + pair * 2).collect();
        let text = svg(&pairs).unwrap();
        for count in &pairs {
            assert!(text.contains(&count.to_string()), "{count} is missing");
        }
        let file = png(&pairs).unwrap();
        let reader = png::Decoder::new(file.as_slice()).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (1880, 1740));
    }

    #[test]
    fn equal_counts_and_none_at_all_can_be_drawn() {
        assert!(svg(&[0; 100]).is_ok());
        assert!(png(&[5; 100]).is_ok());
    }

    #[test]
    fn numbers_are_grouped() {
        let shown: Vec<String> = [7, 999, 1_000, 1_500_000].map(grouped).to_vec();
        assert_eq!(shown, ["7", "999", "1,000", "1,500,000"]);
    }
}
