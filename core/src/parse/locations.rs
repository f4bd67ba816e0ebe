//! Texts that say where something lies: paths and URLs.

use super::diagnostic::Diagnostic;
use super::names::Names;
use super::placeholders::{Field, References};
use super::text::Text;
use crate::ids::TaskId;
use crate::template::{Part, Template};
use crate::url::{self, Location, UrlError};

impl Names<'_, '_, '_> {
    /// A path or a URL; tells of a scheme that nobody knows as far as it can be seen.
    pub(super) fn path(
        &mut self,
        task: TaskId,
        text: &Text<'_>,
        field: Field,
        references: &mut References,
    ) -> Template {
        let template = self.template(task, text, field, references);
        let Some(Part::Literal(start)) = template.parts.first() else { return template };
        match Location::of(start.as_bytes()) {
            // What follows may complete it.
            Err(UrlError::Incomplete(_) | UrlError::Host) if template.parts.len() > 1 => {}
            Err(error) => {
                let problem = Diagnostic::at(text.span.clone(), error.to_string());
                self.reader.add(problem);
            }
            Ok(_) => {}
        }
        template
    }

    /// The path of a directory.
    pub(super) fn directory(
        &mut self,
        task: TaskId,
        text: &Text<'_>,
        references: &mut References,
    ) -> Template {
        let template = self.path(task, text, Field::Other, references);
        if let Some(Part::Literal(start)) = template.parts.first()
            && let Some("s3" | "http" | "https") = url::scheme(start.as_bytes())
        {
            let message = "`working-dir` is a directory, not a URL";
            self.reader.add(Diagnostic::at(text.span.clone(), message));
        }
        template
    }
}
