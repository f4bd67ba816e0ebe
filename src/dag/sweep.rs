//! Parameter sweeps: axes, crossed or paired, with points taken out and added.

use dagrun_core::check;
use dagrun_core::problem::Problem;
use dagrun_core::space::{self, Ends, Points, Space};
use dagrun_core::value::Value;
use serde::Serialize;

use super::record::Record;

/// A parameter space: the product of its axes, the last of which varies fastest.
///
/// A function that is mapped over it takes a struct with a field for each parameter. Where there is one
/// parameter, of the same name as the function's input, the input is its value.
///
/// ```
/// use dagrun::{Dag, Sweep, linspace};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Option { strike: f64, sigma: f64, kind: String }
///
/// #[dagrun::task]
/// fn price(option: Option) -> f64 {
///     option.strike * option.sigma * f64::from(u8::from(option.kind == "call"))
/// }
///
/// let dag = Dag::new("options");
/// let sweep = Sweep::new()
///     .axis("strike", linspace(80.0, 120.0, 15))
///     .axis("sigma", [0.1, 0.2, 0.4])
///     .axis("kind", ["call", "put"]);
/// let prices = dag.map(price, sweep);
/// assert_eq!(prices.width(), Some(90));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    space: Space,
    problems: Vec<Problem>,
}

/// The points of an axis, which are numbers: see [`linspace`], [`geomspace`], [`logspace`], [`range`].
#[derive(Clone, Debug)]
pub struct Axis(Points);

/// `n` numbers at equal distances, both ends included.
#[must_use]
pub fn linspace(from: f64, to: f64, n: u32) -> Axis {
    Axis(Points::Linspace(Ends { from, to, n }))
}

/// `n` numbers at equal ratios, both ends included.
#[must_use]
pub fn geomspace(from: f64, to: f64, n: u32) -> Axis {
    Axis(Points::Geomspace(Ends { from, to, n }))
}

/// `n` powers of ten, at equal distances of their exponents; both ends included.
#[must_use]
pub fn logspace(from: f64, to: f64, n: u32) -> Axis {
    Axis(Points::Logspace(Ends { from, to, n }))
}

/// `n` integers, `step` apart.
#[must_use]
pub fn range(first: i64, step: i64, n: u32) -> Axis {
    Axis(Points::Range { first, step, n })
}

/// What can be the points of an axis: an [`Axis`], or an iterator over values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no points for an axis",
    label = "neither `linspace(..)` and its like nor a list of values that implement `Serialize`"
)]
pub trait IntoAxis {
    #[doc(hidden)]
    fn points(self) -> Result<Axis, String>;
}

impl IntoAxis for Axis {
    fn points(self) -> Result<Axis, String> {
        Ok(self)
    }
}

impl<T: Serialize, I: IntoIterator<Item = T>> IntoAxis for I {
    fn points(self) -> Result<Axis, String> {
        let rows = self.into_iter().map(|value| Ok(vec![json(&value)?]));
        rows.collect::<Result<_, String>>().map(Points::Rows).map(Axis)
    }
}

/// A parameter's value: what JSON makes of it.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<Value, String> {
    let json = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    Value::from_json(&json).map_err(|error| error.to_string())
}

/// Names of parameters with values: `("tol", 1e-9)`, or a tuple of such pairs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no row of parameters",
    label = "write `(\"name\", value)` or a tuple of such pairs"
)]
pub trait IntoRow {
    #[doc(hidden)]
    fn row(self) -> Result<Vec<(String, Value)>, String>;
}

impl<T: Serialize> IntoRow for (&str, T) {
    fn row(self) -> Result<Vec<(String, Value)>, String> {
        Ok(vec![(self.0.to_owned(), json(&self.1)?)])
    }
}

macro_rules! into_row {
    ($($value:ident),+) => {
        impl<$($value: Serialize),+> IntoRow for ($((&str, $value),)+) {
            #[allow(non_snake_case)]
            fn row(self) -> Result<Vec<(String, Value)>, String> {
                let ($($value,)+) = self;
                Ok(vec![$(($value.0.to_owned(), json(&$value.1)?)),+])
            }
        }
    };
}

into_row!(A);
into_row!(A, B);
into_row!(A, B, C);
into_row!(A, B, C, D);
into_row!(A, B, C, D, E);
into_row!(A, B, C, D, E, F);

impl Sweep {
    /// A space without axes: one point, without parameters.
    #[must_use]
    pub fn new() -> Sweep {
        Sweep::default()
    }

    /// Adds an axis. Its values are what JSON makes of them.
    #[must_use]
    pub fn axis(mut self, name: &str, points: impl IntoAxis) -> Sweep {
        self.problems.extend(check::parameter(name));
        let Axis(points) = points.points().unwrap_or_else(|error| {
            self.problems.push(format!("axis `{name}`: {error}").into());
            Axis(Points::Rows(Vec::new()))
        });
        let (name, names) = (name.to_owned(), vec![name.to_owned()]);
        self.space.axes.push(space::Axis { name, names, points });
        self
    }

    /// Pairs these axes instead of crossing them; they are equally long.
    #[must_use]
    pub fn zip<'n>(mut self, axes: impl IntoIterator<Item = &'n str>) -> Sweep {
        let axes: Vec<_> = axes.into_iter().map(str::to_owned).collect();
        self.problems.extend(check::paired(axes.len()));
        self.space.zip.push(axes);
        self
    }

    /// Takes out all points that have these values.
    #[must_use]
    pub fn exclude(mut self, row: impl IntoRow) -> Sweep {
        match row.row() {
            Ok(row) => self.space.exclude.push(row),
            Err(error) => self.problems.push(format!("a row of `exclude`: {error}").into()),
        }
        self
    }

    /// Adds a point, a value for each parameter.
    #[must_use]
    pub fn include(mut self, row: impl IntoRow) -> Sweep {
        match row.row() {
            Ok(row) => self.space.include.push(row),
            Err(error) => self.problems.push(format!("a row of `include`: {error}").into()),
        }
        self
    }

    /// The space; what is wrong with it is reported of the next task.
    pub(super) fn space(self, record: &mut Record) -> Space {
        let task = record.next();
        for mut problem in self.problems {
            problem.message.insert_str(0, "its sweep: ");
            record.problem(task, problem);
        }
        if let Err(error) = self.space.compile() {
            record.problem(task, format!("its sweep: {error}"));
        }
        self.space
    }
}
