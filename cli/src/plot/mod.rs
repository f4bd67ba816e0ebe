//! `dagrun table --plot`: results as a picture, in the terminal or in a file.
//!
//! What is drawn follows from what is asked for: over one parameter a curve, or one for each
//! combination of the others; over two a heat map; over anything else points.

mod axis;
mod data;
mod picture;
mod raster;
mod svg;
mod term;

use std::path::Path;

use dagrun_core::table::Sheet;

pub(crate) use data::Gathered;

use crate::exit::Failure;
use crate::table::format::Target;

/// Curves in a picture at most; more become points.
const CURVES: usize = 8;

/// Points that are drawn one by one; of more their density is shown.
const POINTS: usize = 5_000;

/// What is drawn over what: `price:strike,sigma`.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    y: usize,
    x: usize,
    /// The second axis.
    by: Option<usize>,
}

impl Wanted {
    /// Reads `Y:X` or `Y:X,X`.
    pub(crate) fn parse(text: &str, sheet: &Sheet) -> Result<Wanted, Failure> {
        let column = |name: &str| crate::table::column(sheet, name.trim());
        let Some((y, xs)) = text.split_once(':') else {
            return Err(Failure::usage(format!("`{text}` does not say over what it is drawn"))
                .help("as in --plot price:strike, or --plot price:strike,sigma"));
        };
        let mut xs = xs.split(',');
        let (x, by) = (column(xs.next().unwrap_or(""))?, xs.next().map(column).transpose()?);
        if xs.next().is_some() {
            return Err(Failure::usage(format!("`{text}` has more than two axes")));
        }
        Ok(Wanted { y: column(y)?, x, by })
    }
}

/// An axis: its name, and what stands at it when that is no numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scale {
    name: String,
    /// The words at 0, 1, 2, …
    words: Option<Vec<String>>,
    log: bool,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    x: Scale,
    y: Scale,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Curves with their names; one without a name is alone.
    Curves(Vec<(String, Vec<(f64, f64)>)>),
    /// Points, each with a number that is its colour, and what that is.
    Points(Vec<(f64, f64, f64)>, Option<String>),
    /// A cell for each pair of the values of the axes, row by row from the first `y`.
    Cells {
        xs: Vec<f64>,
        ys: Vec<f64>,
        cells: Vec<Option<f64>>,
        /// What the colour is.
        of: String,
    },
}

/// Whether a path names a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    ["svg", "png"].contains(&ending.to_ascii_lowercase().as_str())
}

/// Draws into a file, by its ending, or onto the terminal.
pub(crate) fn draw(plot: &Plot, file: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = file else {
        let mut output = crate::terminal::Output::lock();
        term::lines(plot).into_iter().for_each(|line| output.line(line));
        return Ok(());
    };
    let is_svg = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg"));
    if !is_picture(path) {
        return Err(Failure::usage(format!("{}: its ending names no picture", path.display()))
            .help("pictures are .svg and .png"));
    }
    let bytes = if is_svg { svg::draw(plot) } else { raster::draw(plot)? };
    let mut target = Target::open(Some(path))?;
    target.write(&bytes)?;
    target.finish()
}
