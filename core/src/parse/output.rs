//! `out.NAME`: a path, or a table that also says whether the output is temporary.

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::Node;
use super::reader::Reader;
use super::text::Text;
use crate::spelling;

const KEYS: &[&str] = &["path", "temp"];

impl Reader<'_> {
    /// `"path"`, or `{ path = "path", temp = true }`: the path, and whether it is temporary.
    pub(super) fn output<'t>(&mut self, node: &'t Node<'_>) -> (Option<Text<'t>>, bool) {
        let DeValue::Table(_) = node.get_ref() else {
            return (self.filled_text(node, "the path"), false);
        };
        let (mut path, mut temp, mut has_path) = (None, false, false);
        for (key, value) in self.table(node, "a table").unwrap_or_default() {
            match &**key.get_ref() {
                "path" => (path, has_path) = (self.filled_text(value, "the path"), true),
                "temp" => temp = self.boolean(value).unwrap_or_default(),
                name => {
                    self.unknown_key(key, "an output", KEYS);
                    has_path |= spelling::closest(name, KEYS.iter().copied()) == Some("path");
                }
            }
        }
        if !has_path {
            let problem = Diagnostic::at(node.span(), "the output lacks `path`");
            self.add(problem.help("write { path = \"reads.bam\", temp = true }"));
        }
        (path, temp)
    }
}
