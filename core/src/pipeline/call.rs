//! Calls of functions, and their arguments.

use serde::{Deserialize, Serialize};

use crate::ids::TaskId;
use crate::template::Template;
use crate::value::{RawString, Value};

/// A call of a function that workers have by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its name.
    pub function: String,
    /// The signature that it must have; any when the caller does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<u64>,
    /// Its arguments.
    pub args: Args,
    /// Whether it is a fold: a function of two values that returns one of the same type, applied
    /// from the left to all values of its only argument, a list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fold: bool,
}

impl Call {
    /// The templates of all arguments.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        let mut open: Vec<&Arg> = self.args.iter().collect();
        let mut templates = Vec::new();
        while let Some(arg) = open.pop() {
            match arg {
                Arg::Text(template) => templates.push(template),
                Arg::List(args) => open.extend(args),
                Arg::Table(args) => open.extend(args.iter().map(|(_, arg)| arg)),
                Arg::Value(_) | Arg::Payload(_) | Arg::Params | Arg::Gathered(_) => {}
            }
        }
        templates
    }

    /// The tasks whose values are passed to it as one list.
    pub(crate) fn gathered(&self) -> Vec<TaskId> {
        let mut open: Vec<&Arg> = self.args.iter().collect();
        let mut gathered = Vec::new();
        while let Some(arg) = open.pop() {
            match arg {
                Arg::Gathered(upstream) => gathered.push(*upstream),
                Arg::List(args) => open.extend(args),
                Arg::Table(args) => open.extend(args.iter().map(|(_, arg)| arg)),
                Arg::Value(_) | Arg::Payload(_) | Arg::Params | Arg::Text(_) => {}
            }
        }
        gathered
    }

    /// Renumbers every task that an argument mentions.
    pub(crate) fn renumber(&mut self, renumber: &dyn Fn(&mut TaskId)) {
        let mut open: Vec<&mut Arg> = self.args.iter_mut().collect();
        while let Some(arg) = open.pop() {
            match arg {
                Arg::Gathered(upstream) => renumber(upstream),
                Arg::List(args) => open.extend(args),
                Arg::Table(args) => open.extend(args.iter_mut().map(|(_, arg)| arg)),
                Arg::Text(template) => template.upstreams_mut().for_each(renumber),
                Arg::Value(_) | Arg::Payload(_) | Arg::Params => {}
            }
        }
    }
}

/// The arguments of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Args {
    /// By the names of the function's parameters; or the fields of its only parameter.
    Named(Vec<(String, Arg)>),
    /// By position.
    Listed(Vec<Arg>),
}

impl Args {
    /// The top-level arguments, without those nested in others.
    pub fn iter(&self) -> impl Iterator<Item = &Arg> {
        let (named, listed) = match self {
            Args::Named(named) => (named.as_slice(), &[][..]),
            Args::Listed(listed) => (&[][..], listed.as_slice()),
        };
        named.iter().map(|(_, arg)| arg).chain(listed)
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Arg> {
        let (named, listed) = match self {
            Args::Named(named) => (named.as_mut_slice(), &mut [][..]),
            Args::Listed(listed) => (&mut [][..], listed.as_mut_slice()),
        };
        named.iter_mut().map(|(_, arg)| arg).chain(listed)
    }
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arg {
    /// The same for all instances. Pipelines that older versions stored have payloads here too, as
    /// text whose bytes begin with [`crate::payload::TAG`].
    Value(Value),
    /// The same for all instances, a payload: see [`crate::payload`].
    Payload(RawString),
    /// Text. A text that consists of one placeholder is that value itself, not its text.
    Text(Template),
    /// A list.
    List(Vec<Arg>),
    /// A table.
    Table(Vec<(String, Arg)>),
    /// A table of all parameters of the instance.
    Params,
    /// The values of the instances that the task gathers of this upstream, in index order.
    Gathered(TaskId),
}
