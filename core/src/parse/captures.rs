//! Patterns of paths with names: `fastq/{sample}_R{read}.fastq.gz`. A name stands for a part of a path
//! between slashes, at least one byte long and as long as possible; a name that is there twice
//! stands for the same text each time. A backslash makes the character after it mean itself.
//!
//! Which paths there are is found with the plain pattern, in which `*` stands for each name.

/// A pattern of paths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathPattern {
    /// The pattern without names and backslashes: `*`, `**`, `?` and `[…]` only.
    pub(super) plain: String,
    /// The names, each once, in the order of the pattern.
    pub(super) names: Vec<String>,
    tokens: Vec<Token>,
}

/// Why a text is no pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error("`{{` is never closed")]
    Unclosed,
    #[error("`}}` without `{{`")]
    Stray,
    #[error("`{{{0}}}` is not a name")]
    Name(String),
    #[error("a backslash at the end")]
    Backslash,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Many,
    /// `**/` or `**` at the end.
    Deep,
    /// `[a-z]`, `[!a-z]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// A name, by its position.
    Name(usize),
}

/// So many steps are made at most to match one path.
const STEPS: u32 = 1_000_000;

impl PathPattern {
    pub(super) fn new(text: &str) -> Result<PathPattern, PatternError> {
        let mut pattern =
            PathPattern { plain: String::new(), names: Vec::new(), tokens: Vec::new() };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            rest = match c {
                '\\' => {
                    let next = after.chars().next().ok_or(PatternError::Backslash)?;
                    pattern.literal(next);
                    &after[next.len_utf8()..]
                }
                '{' => {
                    let (name, after) = after.split_once('}').ok_or(PatternError::Unclosed)?;
                    pattern.name(name)?;
                    after
                }
                '}' => return Err(PatternError::Stray),
                '*' => pattern.stars(after),
                '?' => {
                    pattern.plain.push('?');
                    pattern.tokens.push(Token::One);
                    after
                }
                '[' => pattern.class(after),
                _ => {
                    pattern.plain.push(c);
                    pattern.bytes(c);
                    after
                }
            };
        }
        Ok(pattern)
    }

    fn bytes(&mut self, c: char) {
        let mut buffer = [0; 4];
        self.tokens.extend(c.encode_utf8(&mut buffer).bytes().map(Token::Byte));
    }

    fn literal(&mut self, c: char) {
        match c {
            '*' | '?' | '[' | ']' => self.plain.extend(['[', c, ']']),
            _ => self.plain.push(c),
        }
        self.bytes(c);
    }

    fn name(&mut self, name: &str) -> Result<(), PatternError> {
        if !crate::spelling::is_name(name) {
            return Err(PatternError::Name(name.to_owned()));
        }
        // Two stars in a row would mean something else.
        if !self.plain.ends_with('*') {
            self.plain.push('*');
        }
        let at = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        self.tokens.push(Token::Name(at));
        Ok(())
    }

    fn stars<'t>(&mut self, after: &'t str) -> &'t str {
        let starts = self.plain.is_empty() || self.plain.ends_with('/');
        if let (true, Some(after)) = (starts, after.strip_prefix("*/")) {
            self.plain.push_str("**/");
            self.tokens.push(Token::Deep);
            return after;
        }
        if let (true, "*") = (starts, after) {
            self.plain.push_str("**");
            self.tokens.push(Token::Deep);
            return "";
        }
        if !self.plain.ends_with('*') {
            self.plain.push('*');
        }
        self.tokens.push(Token::Many);
        after
    }

    /// A class; what is none is left to whoever lists the paths, who refuses it.
    fn class<'t>(&mut self, after: &'t str) -> &'t str {
        let negated = after.starts_with(['!', '^']);
        let inner = if negated { &after[1..] } else { after };
        // A bracket that closes may be the first of the class.
        let from = inner.chars().next().map_or(0, char::len_utf8);
        let Some(end) = inner.get(from..).and_then(|rest| rest.find(']')).map(|at| at + from)
        else {
            self.plain.push('[');
            self.bytes('[');
            return after;
        };
        let mut ranges = Vec::new();
        let chars: Vec<char> = inner[..end].chars().collect();
        let mut at = 0;
        while let Some(&first) = chars.get(at) {
            match (chars.get(at + 1), chars.get(at + 2)) {
                (Some('-'), Some(&last)) => {
                    ranges.push((first, last));
                    at += 3;
                }
                _ => {
                    ranges.push((first, first));
                    at += 1;
                }
            }
        }
        self.plain.push('[');
        self.plain.push_str(if negated { "!" } else { "" });
        self.plain.push_str(&inner[..=end]);
        self.tokens.push(Token::Class { negated, ranges });
        &inner[end + 1..]
    }

    /// What the names stand for in a path; `None` when it does not match.
    pub(super) fn captures(&self, path: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut found = vec![None; self.names.len()];
        let mut steps = STEPS;
        let mut search = Search { path, found: &mut found, steps: &mut steps };
        search.matches(&self.tokens, 0).then_some(())?;
        found.into_iter().map(|range| Some(path.get(range?)?.to_vec())).collect()
    }
}

/// A path that is being matched.
struct Search<'s> {
    path: &'s [u8],
    found: &'s mut Vec<Option<std::ops::Range<usize>>>,
    steps: &'s mut u32,
}

impl Search<'_> {
    // Recursion is as deep as the pattern has wildcards and names.
    fn matches(&mut self, tokens: &[Token], mut at: usize) -> bool {
        for (position, token) in tokens.iter().enumerate() {
            let rest = &tokens[position + 1..];
            let left = self.path.get(at..).unwrap_or_default();
            *self.steps = self.steps.saturating_sub(1);
            if *self.steps == 0 {
                return false;
            }
            match token {
                Token::Byte(byte) if left.first() == Some(byte) => at += 1,
                Token::One | Token::Class { .. } => match one(token, left) {
                    0 => return false,
                    length => at += length,
                },
                Token::Byte(_) => return false,
                Token::Many => {
                    let most = left.iter().take_while(|byte| **byte != b'/').count();
                    return (0..=most).rev().any(|length| self.matches(rest, at + length));
                }
                Token::Deep => return self.deep(rest, at),
                Token::Name(name) => return self.name(*name, rest, at),
            }
        }
        at == self.path.len()
    }

    /// Any number of directories.
    fn deep(&mut self, rest: &[Token], at: usize) -> bool {
        if rest.is_empty() {
            return at < self.path.len();
        }
        if self.matches(rest, at) {
            return true;
        }
        let path = self.path;
        let starts = (at..path.len()).filter(|at| path[*at] == b'/').map(|at| at + 1);
        starts.into_iter().any(|start| self.matches(rest, start))
    }

    fn name(&mut self, name: usize, rest: &[Token], at: usize) -> bool {
        let left = self.path.get(at..).unwrap_or_default();
        if let Some(known) = self.found.get(name).cloned().flatten() {
            let known = self.path.get(known).unwrap_or_default();
            return left.starts_with(known) && self.matches(rest, at + known.len());
        }
        let most = left.iter().take_while(|byte| **byte != b'/').count();
        for length in (1..=most).rev() {
            self.found[name] = Some(at..at + length);
            if self.matches(rest, at + length) {
                return true;
            }
        }
        self.found[name] = None;
        false
    }
}

/// The bytes of the character that a token matches; 0 when it does not.
fn one(token: &Token, left: &[u8]) -> usize {
    let chunk = left.get(..left.len().min(4)).unwrap_or_default();
    let valid = chunk.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    // A byte that is no UTF-8 counts as a character that no class has.
    let (c, length) = match valid.chars().next() {
        Some(c) => (c, c.len_utf8()),
        None => ('\u{fffd}', usize::from(!left.is_empty())),
    };
    let is_there = match token {
        Token::Class { negated, ranges } => {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
        }
        _ => true,
    };
    if is_there && c != '/' { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &str, path: &str) -> Option<Vec<String>> {
        let found = PathPattern::new(pattern).unwrap().captures(path.as_bytes())?;
        Some(found.into_iter().map(|text| String::from_utf8(text).unwrap()).collect())
    }

    #[test]
    fn names_stand_for_as_much_as_possible_between_slashes() {
        for (pattern, path, found) in [
            ("fastq/{sample}_R{read}.fastq.gz", "fastq/a_R1.fastq.gz", Some(vec!["a", "1"])),
            ("fastq/{sample}_R{read}.fastq.gz", "fastq/a_R1_R2.fastq.gz", Some(vec!["a_R1", "2"])),
            ("fastq/{sample}_R{read}.fastq.gz", "fastq/_R1.fastq.gz", None),
            ("{d}/{d}.txt", "a/a.txt", Some(vec!["a"])),
            ("{d}/{d}.txt", "a/b.txt", None),
            ("{d}/x", "a/b/x", None),
            ("**/{f}.txt", "a/b/c.txt", Some(vec!["c"])),
            ("**/{f}.txt", "c.txt", Some(vec!["c"])),
            ("{a}{b}", "xyz", Some(vec!["xy", "z"])),
            ("[ab]?{n}*.txt", "bxcd.txt", Some(vec!["cd"])),
            ("[!ab]{n}", "bx", None),
            ("ü{n}", "üé", Some(vec!["é"])),
            ("\\{x\\}[[]\\[{n}\\*", "{x}[[1*", Some(vec!["1"])),
        ] {
            let found = found.map(|found| found.into_iter().map(str::to_owned).collect());
            assert_eq!(captured(pattern, path), found, "{pattern} {path}");
        }
    }

    #[test]
    fn the_plain_pattern_has_stars_for_names() {
        for (pattern, plain) in [
            ("a/{x}_{y}.txt", "a/*_*.txt"),
            ("a/{x}{y}*", "a/*"),
            ("**/{x}", "**/*"),
            ("a/**", "a/**"),
            ("\\[a\\]\\{b\\}\\*\\\\[c]", "[[]a[]]{b}[*]\\[c]"),
            ("[^a]", "[!a]"),
            ("[", "["),
        ] {
            assert_eq!(PathPattern::new(pattern).unwrap().plain, plain, "{pattern}");
        }
        for (pattern, error) in [
            ("{a", PatternError::Unclosed),
            ("a}", PatternError::Stray),
            ("{a,b}", PatternError::Name("a,b".to_owned())),
            ("{}", PatternError::Name(String::new())),
            ("a\\", PatternError::Backslash),
        ] {
            assert_eq!(PathPattern::new(pattern).unwrap_err(), error, "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = format!("{{a}}x{}", "*x".repeat(30));
        let path = "x".repeat(200) + "y";
        assert_eq!(captured(&pattern, &path), None);
    }
}
