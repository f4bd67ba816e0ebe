//! Where an attempt may run and what it occupies there: `targets`, `memory`, `resources`, and
//! `priority`.

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::Node;
use super::reader::Reader;
use crate::check;
use crate::pipeline::Targets;
use crate::problem::Syntax;

/// Bytes of each unit.
const UNITS: [(&str, f64); 9] = [
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
];

impl Reader<'_> {
    /// A worker's name or label, a list of them, or `"each"`.
    pub(super) fn targets(&mut self, node: &Node<'_>) -> Option<Targets> {
        if let DeValue::String(text) = node.get_ref()
            && text == "each"
        {
            return Some(Targets::Each);
        }
        let names = self.names(node, "a worker's name or label, or a list of them")?;
        for name in &names {
            if !self.report(name.span.clone(), check::worker(name.text)) {
                return None;
            }
        }
        let targets = Targets::Named(names.into_iter().map(|name| name.text.to_owned()).collect());
        self.report(node.span(), check::targets(&targets)).then_some(targets)
    }

    /// A number of bytes, or text with a unit.
    pub(super) fn memory(&mut self, node: &Node<'_>) -> Option<u64> {
        let bytes = match node.get_ref() {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(|bytes| u64::try_from(bytes).ok())
                .filter(|bytes| check::amount(*bytes).is_none()),
            DeValue::String(text) => parse_bytes(text),
            _ => {
                let problem = self
                    .mismatch(node, "an amount of memory")
                    .help("write text such as \"512MB\" or \"2GiB\", or a number of bytes");
                self.add(problem);
                return None;
            }
        };
        if bytes.is_none() {
            let spelling = self.source.get(node.span()).unwrap_or_default();
            let message = format!("`memory` is not an amount of memory: {spelling}");
            let problem = Diagnostic::at(node.span(), message)
                .help("write text such as \"512MB\" or \"2GiB\", or a number of bytes");
            self.add(problem);
        }
        bytes
    }

    /// `{ gpu = 1 }`; what is zero is left out.
    pub(super) fn resources(&mut self, node: &Node<'_>) -> Vec<(String, u64)> {
        let mut resources = Vec::new();
        for (key, value) in self.table(node, "a table of resources").unwrap_or_default() {
            let name = &**key.get_ref();
            if !self.report(key.span(), check::resource(name, Syntax::Toml)) {
                continue;
            }
            match self.count(value, &format!("`{name}`")) {
                Some(amount) if amount > 0 => resources.push((name.to_owned(), amount.into())),
                _ => {}
            }
        }
        resources
    }

    /// A whole number of 32 bits.
    pub(super) fn priority(&mut self, node: &Node<'_>) -> Option<i32> {
        let DeValue::Integer(integer) = node.get_ref() else {
            let problem = self.mismatch(node, "an integer");
            self.add(problem);
            return None;
        };
        let priority = i32::from_str_radix(integer.as_str(), integer.radix()).ok();
        if priority.is_none() {
            let message = format!("`priority` must be between {} and {}", i32::MIN, i32::MAX);
            self.add(Diagnostic::at(node.span(), message));
        }
        priority
    }
}

/// An amount of memory in bytes: `512MB`, `1.5 GiB`; the case of the unit does not matter.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim_start().to_ascii_lowercase();
    let (_, bytes) = UNITS.into_iter().find(|(known, _)| *known == unit)?;
    let total = (number * bytes).round();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (0.0..=check::MOST_BYTES as f64).contains(&total).then_some(total as u64)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn units_of_memory() {
        for (text, bytes) in [
            ("512MB", 512_000_000),
            ("2GiB", 2_147_483_648),
            ("1.5 kib", 1536),
            ("0b", 0),
            ("3TB", 3_000_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "5", "GB", "-1GB", "1 G", "1e3MB", "9999999TB", "1.2.3MB", "1GBs"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
