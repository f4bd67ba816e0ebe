//! From terms to positions of axes: bisection where values are computed, a look at each row of an
//! axis where they are written out.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::columns::Columns;
use super::parse::states;
use super::selection::Level;
use super::test::{Choice, Constant, Op, Test};
use super::{IndexRange, Name, SelectError, Selection, Selector, Term};
use crate::payload;
use crate::recipe::Items;
use crate::space::{Line, Runs};
use crate::spelling::{did_you_mean, listed};
use crate::status::State;
use crate::value::{Value, compare_numbers};

type Result<T> = std::result::Result<T, SelectError>;

/// The values of which some are selected.
trait Axis {
    fn len(&self) -> u32;
    /// How many of the first are in order, up or down.
    fn monotonic(&self) -> u32;
    fn value(&self, at: u32) -> Cow<'_, Value>;
}

impl Axis for Line<'_> {
    fn len(&self) -> u32 {
        Line::len(self)
    }

    fn monotonic(&self) -> u32 {
        Line::monotonic(self)
    }

    fn value(&self, at: u32) -> Cow<'_, Value> {
        Line::value(self, at)
    }
}

/// The items of a scatter, one for each part.
struct Parts<'a>(&'a Items, u32);

impl Axis for Parts<'_> {
    fn len(&self) -> u32 {
        self.1
    }

    fn monotonic(&self) -> u32 {
        0
    }

    fn value(&self, at: u32) -> Cow<'_, Value> {
        let part = self.0.part(at);
        let json = part.as_deref().and_then(|part| payload::to_json(part).ok());
        let value = json.and_then(|json| Value::from_json(&json).ok());
        Cow::Owned(value.unwrap_or(Value::Null))
    }
}

/// Fields of the values of another axis.
struct Fields<'a>(&'a dyn Axis, &'a [String]);

impl Axis for Fields<'_> {
    fn len(&self) -> u32 {
        self.0.len()
    }

    fn monotonic(&self) -> u32 {
        if self.1.is_empty() { self.0.monotonic() } else { 0 }
    }

    fn value(&self, at: u32) -> Cow<'_, Value> {
        let value = self.0.value(at);
        if self.1.is_empty() {
            return value;
        }
        let field = value.field_path(self.1).map(Cow::into_owned);
        Cow::Owned(field.unwrap_or(Value::Null))
    }
}

impl Selector {
    /// Whether [`Columns::select`] needs the items of the scatter: a term is about them.
    #[must_use]
    pub fn needs_items(&self, columns: &Columns) -> bool {
        let known = |name: &str| columns.params().iter().any(|param| param.name == name);
        let about = |term: &Term| matches!(term, Term::Value(name, _) if name.name == "item" && !known("item"));
        columns.items().is_some() && self.terms.iter().any(about)
    }
}

impl Columns {
    /// The instances that a selector means, of a task that has `width` of them.
    ///
    /// # Errors
    /// When an index is beyond the end, a name is unknown, or a value is one that its axis has not.
    pub fn select(
        &self,
        selector: &Selector,
        width: u32,
        items: Option<&Items>,
    ) -> Result<Selection> {
        let mut levels = self.levels(width);
        let mut bounds: Option<Runs> = None;
        let mut states_wanted: Option<Vec<State>> = None;
        for term in &selector.terms {
            match term {
                Term::Index(ranges) => narrow(&mut bounds, indices(selector, ranges, width)?),
                Term::Value(name, test) => match self.meaning(selector, name)? {
                    Meaning::Param(at) => {
                        let param = &self.params()[at];
                        let grid = &self.grids[param.grid];
                        let line = Line::new(grid, param.slot);
                        let kept = Found::of(&line, &name.fields).runs(selector, name, test)?;
                        let level = levels.get_mut(self.first_grid() + param.grid);
                        if let Some(Level::Grid(chosen)) = level {
                            chosen.narrow(param.slot, &kept);
                        }
                    }
                    Meaning::Item => {
                        let inner = self.inner_width().max(1);
                        let empty = Items::new(crate::pipeline::Split::Each);
                        let items = items.unwrap_or(&empty);
                        let parts = Parts(items, (width / inner).min(clamp(items.parts())));
                        let kept = Found::of(&parts, &name.fields).runs(selector, name, test)?;
                        if let Some(Level::Open(_, runs)) = levels.first_mut() {
                            narrow(runs, kept);
                        }
                    }
                    Meaning::Index => narrow(&mut bounds, by_index(selector, test, width)?),
                    Meaning::State => {
                        let found = states(selector, test)?;
                        states_wanted = Some(match states_wanted {
                            Some(known) => {
                                known.into_iter().filter(|state| found.contains(state)).collect()
                            }
                            None => found,
                        });
                    }
                },
            }
        }
        Ok(Selection::new(width, levels, bounds, states_wanted))
    }

    fn meaning(&self, selector: &Selector, name: &Name) -> Result<Meaning> {
        if let Some(at) = self.params().iter().rposition(|param| param.name == name.name) {
            return Ok(Meaning::Param(at));
        }
        let plain = name.name.strip_prefix('.').unwrap_or(&name.name);
        match plain {
            "item" if self.items().is_some() && plain == name.name => return Ok(Meaning::Item),
            "index" if name.fields.is_empty() => return Ok(Meaning::Index),
            "state" if name.fields.is_empty() => return Ok(Meaning::State),
            _ => {}
        }
        let own = self.params().iter().map(|param| param.name.as_str());
        let known: Vec<&str> =
            own.chain(self.items().map(|_| "item")).chain(["index", "state"]).collect();
        let message = format!("`{}` has no parameter `{}`", selector.task, name.name);
        let help = did_you_mean(&name.name, known.iter().copied())
            .or_else(|| Some(format!("there are {}", listed(known.iter().copied()))));
        Err(selector.error(&name.span, message).help(help))
    }
}

/// What a name stands for.
enum Meaning {
    Param(usize),
    Item,
    Index,
    State,
}

fn narrow(bounds: &mut Option<Runs>, kept: Runs) {
    *bounds = Some(match bounds.take() {
        Some(known) => known.intersection(&kept),
        None => kept,
    });
}

fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn indices(selector: &Selector, ranges: &[IndexRange], width: u32) -> Result<Runs> {
    let mut runs = Runs::default();
    for range in ranges {
        if range.from >= width.into() {
            let message = match width {
                0 => format!("`{}` has no instances", selector.task),
                1 => format!("`{}` has one instance, 0", selector.task),
                _ => format!(
                    "there is no instance {}: `{}` has {width} instances, counted from 0",
                    range.from, selector.task
                ),
            };
            return Err(selector.error(&range.span, message));
        }
        let end = clamp(range.end.unwrap_or(width.into())).min(width);
        runs = runs.union(&Runs::one(clamp(range.from)..end));
    }
    Ok(runs)
}

/// `index<100`: the indices are numbers like any others.
fn by_index(selector: &Selector, test: &Test, width: u32) -> Result<Runs> {
    struct Indices(u32);
    impl Axis for Indices {
        fn len(&self) -> u32 {
            self.0
        }
        fn monotonic(&self) -> u32 {
            self.0
        }
        fn value(&self, at: u32) -> Cow<'_, Value> {
            Cow::Owned(Value::Number(at.to_string()))
        }
    }
    let name = Name { name: "index".into(), fields: Vec::new(), span: 0..0 };
    Found { axis: Box::new(Indices(width)) }.runs(selector, &name, test)
}

/// An axis that is searched.
struct Found<'a> {
    axis: Box<dyn Axis + 'a>,
}

impl<'a> Found<'a> {
    fn of(axis: &'a dyn Axis, fields: &'a [String]) -> Found<'a> {
        Found { axis: Box::new(Fields(axis, fields)) }
    }
}

/// Where a computed axis changes from below to equal, and from equal to above.
struct Bisection {
    ascending: bool,
    len: u32,
}

impl Bisection {
    fn of(axis: &dyn Axis) -> Bisection {
        let len = axis.monotonic();
        let ascending =
            len < 2 || axis.value(0).order(&axis.value(len - 1)).is_none_or(Ordering::is_le);
        Bisection { ascending, len }
    }

    /// How many of the first values meet a condition that all before the last that meets it do.
    fn partition(&self, mut holds: impl FnMut(u32) -> bool) -> u32 {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The positions whose values stand so beside a constant.
    fn range(&self, axis: &dyn Axis, constant: &Constant, wanted: fn(Ordering) -> bool) -> Runs {
        let order = |at: u32| constant.order(&axis.value(at));
        if self.len == 0 || order(0).is_none() {
            return Runs::default();
        }
        // Seen from the lower end, whichever that is.
        let facing = |order: Ordering| if self.ascending { order } else { order.reverse() };
        let is = |at: u32, wanted: fn(Ordering) -> bool| order(at).map(facing).is_some_and(wanted);
        let first_equal = self.partition(|at| is(at, Ordering::is_lt));
        let behind_equal = self.partition(|at| is(at, Ordering::is_le));
        let mut runs = Runs::default();
        for (from, to, place) in [
            (0, first_equal, Ordering::Less),
            (first_equal, behind_equal, Ordering::Equal),
            (behind_equal, self.len, Ordering::Greater),
        ] {
            if wanted(facing(place)) {
                runs.push(from..to);
            }
        }
        runs
    }
}

impl Found<'_> {
    /// The positions of the values that pass a test.
    fn runs(&self, selector: &Selector, name: &Name, test: &Test) -> Result<Runs> {
        let (axis, len) = (&*self.axis, self.axis.len());
        let bisection = Bisection::of(axis);
        let rows = bisection.len..len;
        let constant = test.choices.first().and_then(|choice| match choice {
            Choice::Value(constant) => Some(constant),
            Choice::Range { .. } => None,
        });
        let runs = match (test.op, constant) {
            (Op::Nearest, Some(constant)) => self.nearest(selector, name, constant)?,
            (Op::Equal | Op::NotEqual, _) => {
                let mut runs = Runs::default();
                for choice in &test.choices {
                    let found = self.choice(&bisection, choice);
                    if let (Choice::Value(constant), true) = (choice, found.is_empty()) {
                        return Err(self.absent(selector, name, constant));
                    }
                    runs = runs.union(&found);
                }
                if test.op == Op::Equal { runs } else { runs.complement(len) }
            }
            (op, Some(constant)) => {
                let wanted = match op {
                    Op::Less => Ordering::is_lt,
                    Op::LessEqual => Ordering::is_le,
                    Op::Greater => Ordering::is_gt,
                    _ => Ordering::is_ge,
                };
                let computed = bisection.range(axis, constant, wanted);
                computed.union(&matching(axis, rows, |value| test.meets(value)))
            }
            (_, None) => Runs::default(),
        };
        Ok(runs)
    }

    fn choice(&self, bisection: &Bisection, choice: &Choice) -> Runs {
        let (axis, len) = (&*self.axis, self.axis.len());
        let all = Runs::one(0..bisection.len);
        let computed = match choice {
            Choice::Value(constant) => bisection.range(axis, constant, Ordering::is_eq),
            Choice::Range { from, to, inclusive } => {
                let from = from.as_ref().map(|from| bisection.range(axis, from, Ordering::is_ge));
                let below = if *inclusive { Ordering::is_le } else { Ordering::is_lt };
                let to = to.as_ref().map(|to| bisection.range(axis, to, below));
                from.unwrap_or_else(|| all.clone()).intersection(&to.unwrap_or(all))
            }
        };
        computed.union(&matching(axis, bisection.len..len, |value| choice.meets(value)))
    }

    /// The numbers that stand next to a constant, below or equal and above or equal.
    fn neighbours(&self, constant: &Constant) -> (Option<Value>, Option<Value>) {
        let axis = &*self.axis;
        let bisection = Bisection::of(axis);
        let (mut below, mut above) = (None, None);
        let mut look = |at: u32| {
            let value = axis.value(at).into_owned();
            if value.as_number().is_none() {
                return;
            }
            let nearer = |known: &Option<Value>, order| {
                known.as_ref().is_none_or(|known: &Value| value.order(known) == Some(order))
            };
            match constant.order(&value) {
                Some(Ordering::Less) if nearer(&below, Ordering::Greater) => below = Some(value),
                Some(Ordering::Greater) if nearer(&above, Ordering::Less) => above = Some(value),
                Some(Ordering::Equal) => (below, above) = (Some(value.clone()), Some(value)),
                _ => {}
            }
        };
        let less = bisection.range(axis, constant, Ordering::is_lt);
        for edge in less.iter().chain(less.complement(bisection.len).iter()) {
            look(edge.start);
            look(edge.end - 1);
        }
        (bisection.len..axis.len()).for_each(look);
        (below, above)
    }

    fn nearest(&self, selector: &Selector, name: &Name, constant: &Constant) -> Result<Runs> {
        let nearest = match self.neighbours(constant) {
            (Some(below), Some(above)) => {
                if is_nearer(&above, &below, constant) {
                    above
                } else {
                    below
                }
            }
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => {
                let message = format!("`{}` has no numbers", name.path());
                return Err(selector.error(&constant.span, message));
            }
        };
        let text = String::from_utf8_lossy(&nearest.to_text()).into_owned();
        let constant = Constant::new(text, false, constant.span.clone());
        Ok(self.choice(&Bisection::of(&*self.axis), &Choice::Value(constant)))
    }

    /// The error that no value is the same as this one.
    fn absent(&self, selector: &Selector, name: &Name, constant: &Constant) -> SelectError {
        let (path, text) = (name.path(), &constant.text);
        let shown = |value: &Value| String::from_utf8_lossy(&value.to_text()).into_owned();
        let say = |message: String, help: Option<String>| {
            selector.error(&constant.span, message).help(help)
        };
        if constant.number().is_some() {
            let nearest = Some(format!("`{path}~{text}` takes the nearest"));
            match self.neighbours(constant) {
                (Some(below), Some(above)) => {
                    let (below, above) = (shown(&below), shown(&above));
                    let message = format!(
                        "`{path}` has no value {text}: it lies between {below} and {above}"
                    );
                    return say(message, nearest);
                }
                (Some(last), None) => {
                    let message =
                        format!("`{path}` has no value {text}: its largest is {}", shown(&last));
                    return say(message, nearest);
                }
                (None, Some(first)) => {
                    let message =
                        format!("`{path}` has no value {text}: its smallest is {}", shown(&first));
                    return say(message, nearest);
                }
                (None, None) => {}
            }
        }
        let mut values: Vec<String> = Vec::new();
        for at in 0..self.axis.len().min(1000) {
            let value = shown(&self.axis.value(at));
            if !values.contains(&value) {
                values.push(value);
            }
        }
        let help = did_you_mean(text, values.iter().map(String::as_str)).or_else(|| {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            (!values.is_empty()).then(|| format!("its values are {}", listed(values)))
        });
        say(format!("`{path}` has no value `{text}`"), help)
    }
}

fn matching(axis: &dyn Axis, rows: Range<u32>, mut meets: impl FnMut(&Value) -> bool) -> Runs {
    Runs::matching(rows, |at| meets(&axis.value(at)))
}

/// Whether one number is nearer to a constant than another.
fn is_nearer(one: &Value, other: &Value, constant: &Constant) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    let at = number(constant.number());
    let distance = |value: &Value| Some((number(value.as_number())? - at?).abs());
    match (distance(one), distance(other)) {
        (Some(one), Some(other)) => one < other,
        _ => one
            .as_number()
            .zip(constant.number())
            .is_some_and(|(one, wanted)| compare_numbers(one, wanted) == Some(Ordering::Equal)),
    }
}

impl Name {
    /// As it was written.
    fn path(&self) -> String {
        let fields = self.fields.iter().map(String::as_str);
        std::iter::once(self.name.as_str()).chain(fields).collect::<Vec<_>>().join(".")
    }
}
