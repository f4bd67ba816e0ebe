//! The format as it comes: what versions 1.3 to 1.5 have in common and how they differ.
//!
//! Up to 1.4 a task is one object in `workflow.tasks` (`jobs` before that), with `runtime` or
//! `runtimeInSeconds` and a list `files`. From 1.5 on `workflow.specification.tasks` has names and
//! edges, `workflow.execution.tasks` what was measured. Whatever else is there is not looked at.

use serde::Deserialize;
use serde_json::Value;

/// A whole file.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) name: Option<String>,
    workflow: Body,
}

#[derive(Debug, Deserialize)]
struct Body {
    specification: Option<Tasks>,
    execution: Option<Tasks>,
    tasks: Option<Vec<RawTask>>,
    jobs: Option<Vec<RawTask>>,
}

#[derive(Debug, Deserialize)]
struct Tasks {
    tasks: Option<Vec<RawTask>>,
}

/// A task as it stands in a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawTask {
    id: Option<Text>,
    name: Option<Text>,
    parents: Option<Vec<Text>>,
    children: Option<Vec<Text>>,
    runtime: Option<f64>,
    runtime_in_seconds: Option<f64>,
    input_files: Option<Vec<Text>>,
    output_files: Option<Vec<Text>>,
    files: Option<Vec<RawFile>>,
}

#[derive(Debug, Deserialize)]
struct RawFile {
    link: Option<String>,
    id: Option<Text>,
    name: Option<Text>,
}

/// A string, or a number that stands for one.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
struct Text(String);

impl TryFrom<Value> for Text {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Text, Self::Error> {
        match value {
            Value::String(text) => Ok(Text(text)),
            Value::Number(number) => Ok(Text(number.to_string())),
            _ => Err("expected a string or a number"),
        }
    }
}

fn texts(list: Option<&Vec<Text>>) -> impl Iterator<Item = &str> {
    list.into_iter().flatten().map(|text| text.0.as_str())
}

impl Document {
    /// The tasks, and what was measured of them where that stands apart.
    pub(crate) fn into_tasks(self) -> Option<(Vec<RawTask>, Vec<RawTask>)> {
        let Body { specification, execution, tasks, jobs } = self.workflow;
        let specified = specification.and_then(|specification| specification.tasks);
        let executed = execution.and_then(|execution| execution.tasks).unwrap_or_default();
        Some((specified.or(tasks).or(jobs)?, executed))
    }
}

impl RawTask {
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_ref().map(|id| id.0.as_str())
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| name.0.as_str())
    }

    /// What it is called in messages.
    pub(crate) fn label(&self) -> Option<&str> {
        self.id().or(self.name())
    }

    pub(crate) fn parents(&self) -> impl Iterator<Item = &str> {
        texts(self.parents.as_ref())
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = &str> {
        texts(self.children.as_ref())
    }

    pub(crate) fn runtime(&self) -> Option<f64> {
        self.runtime_in_seconds.or(self.runtime)
    }

    pub(crate) fn inputs(&self) -> Vec<&str> {
        texts(self.input_files.as_ref()).chain(self.linked("input")).collect()
    }

    pub(crate) fn outputs(&self) -> Vec<&str> {
        texts(self.output_files.as_ref()).chain(self.linked("output")).collect()
    }

    fn linked(&self, link: &'static str) -> impl Iterator<Item = &str> {
        let files = self.files.iter().flatten();
        let linked = files.filter(move |file| file.link.as_deref() == Some(link));
        linked
            .filter_map(|file| file.id.as_ref().or(file.name.as_ref()))
            .map(|name| name.0.as_str())
    }
}
