//! The words of the command of `dagrun each`, with the placeholders of GNU parallel in them. What they stand for
//! is made in [`super::pipeline`].

/// What is made of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Form {
    /// `{}`: the item.
    Whole,
    /// `{.}`: without its ending.
    Stem,
    /// `{/}`: without its directory.
    Name,
    /// `{//}`: its directory.
    Folder,
    /// `{/.}`: without directory and ending.
    NameStem,
}

/// A placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    /// `{}`, `{.}`…: of all inputs.
    All(Form),
    /// `{2}`, `{2.}`…: of one input, from 1.
    Input(usize, Form),
    /// `{column}` of a CSV file.
    Column(String),
    /// `{#}`: the number of the instance, from 1.
    Sequence,
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text as it is.
    Text(String),
    /// A placeholder.
    Hole(Hole),
}

const FORMS: [(&str, Form); 5] = [
    ("", Form::Whole),
    (".", Form::Stem),
    ("/", Form::Name),
    ("//", Form::Folder),
    ("/.", Form::NameStem),
];

impl Form {
    /// What it adds to the name of a parameter.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Form::Whole => "",
            Form::Stem => "_stem",
            Form::Name => "_name",
            Form::Folder => "_dir",
            Form::NameStem => "_name_stem",
        }
    }

    /// Makes it of an item.
    pub(super) fn of(self, item: &[u8]) -> Vec<u8> {
        let slash = item.iter().rposition(|byte| *byte == b'/');
        let name = slash.map_or(item, |at| item.get(at + 1..).unwrap_or_default());
        let ending = name.iter().rposition(|byte| *byte == b'.');
        let cut = ending.map_or(0, |at| name.len() - at);
        let without = |text: &[u8]| text.get(..text.len() - cut).unwrap_or_default().to_vec();
        match self {
            Form::Whole => item.to_vec(),
            Form::Stem => without(item),
            Form::Name => name.to_vec(),
            Form::NameStem => without(name),
            Form::Folder => match slash {
                None => b".".to_vec(),
                Some(0) => b"/".to_vec(),
                Some(at) => item.get(..at).unwrap_or_default().to_vec(),
            },
        }
    }
}

/// Splits a word at its placeholders; `columns` are those of a CSV file. All other braces are text, and so is what
/// follows a `$` in a script, where it is the shell's.
pub(super) fn pieces(word: &str, columns: &[String], in_script: bool) -> Vec<Piece> {
    let mut found = Vec::new();
    let (mut text, mut rest) = (String::new(), word);
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        text.push_str(before);
        let inner = from.get(1..).unwrap_or_default();
        let hole =
            inner.split_once('}').and_then(|(name, rest)| Some((hole(name, columns)?, rest)));
        let hole = hole.filter(|_| !(in_script && text.ends_with('$')));
        match hole {
            Some((hole, after)) => {
                if !text.is_empty() {
                    found.push(Piece::Text(std::mem::take(&mut text)));
                }
                found.push(Piece::Hole(hole));
                rest = after;
            }
            None => {
                text.push('{');
                rest = inner;
            }
        }
    }
    text.push_str(rest);
    if !text.is_empty() || found.is_empty() {
        found.push(Piece::Text(text));
    }
    found
}

fn hole(name: &str, columns: &[String]) -> Option<Hole> {
    if name == "#" {
        return Some(Hole::Sequence);
    }
    if columns.iter().any(|column| column == name) {
        return Some(Hole::Column(name.to_owned()));
    }
    let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, form) = name.split_at(digits);
    let (_, form) = FORMS.into_iter().find(|(text, _)| *text == form)?;
    match number {
        "" => Some(Hole::All(form)),
        number => {
            let at = number.parse::<usize>().ok().filter(|at| *at > 0)?;
            Some(Hole::Input(at, form))
        }
    }
}

/// Whether the words are one script for a shell, which they are when there is one with a blank in it.
pub(super) fn script(words: &[String]) -> Option<&str> {
    match words {
        [only] if only.contains(char::is_whitespace) => Some(only),
        _ => None,
    }
}

/// A script whose placeholders have become positional parameters; `at` says which, one or more for each. Within
/// quotes they are put so that they stay one word, and outside each is a word of its own.
///
/// A single command without a placeholder and without a positional parameter of its own is given all items at its end.
pub(super) fn positional(
    script: &str,
    columns: &[String],
    mut at: impl FnMut(&Hole) -> Vec<usize>,
) -> String {
    let mut out = String::new();
    let mut quotes = Quotes::default();
    let mut any = mentions_positional(script);
    for piece in pieces(script, columns, true) {
        match piece {
            Piece::Text(text) => {
                quotes.pass(&text);
                out.push_str(&text);
            }
            Piece::Hole(hole) => {
                any = true;
                let numbers = at(&hole);
                let joined = |before: &str, between: &str, after: &str| {
                    let words = numbers.iter().map(|number| format!("${{{number}}}"));
                    format!("{before}{}{after}", words.collect::<Vec<_>>().join(between))
                };
                out.push_str(&match quotes.current() {
                    Quote::None => joined("\"", "\" \"", "\""),
                    Quote::Double => joined("", " ", ""),
                    Quote::Single => joined("'\"", " ", "\"'"),
                });
            }
        }
    }
    match any || script.contains(JOINED) {
        true => out,
        false => format!("{} \"$@\"", out.trim_end()),
    }
}

/// What a script has that is more than one command.
const JOINED: [char; 9] = [';', '|', '&', '<', '>', '(', ')', '`', '\n'];

/// Whether a script uses `$1`, `${1…`, `$@`, `$*` or `$#`, outside single quotes.
fn mentions_positional(script: &str) -> bool {
    let positional = |c: char| matches!(c, '1'..='9' | '@' | '*' | '#');
    let mut quotes = Quotes::default();
    script.char_indices().any(|(at, c)| {
        quotes.pass(c.encode_utf8(&mut [0; 4]));
        let after = script.get(at + 1..).unwrap_or_default();
        quotes.dollar && after.strip_prefix('{').unwrap_or(after).starts_with(positional)
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Quote {
    #[default]
    None,
    Single,
    Double,
}

/// The quotes that a script stands within, the outermost first: `$(…)` begins anew.
#[derive(Debug, Default)]
struct Quotes {
    now: Quote,
    outer: Vec<Quote>,
    escaped: bool,
    dollar: bool,
}

impl Quotes {
    fn current(&self) -> Quote {
        self.now
    }

    fn pass(&mut self, text: &str) {
        for c in text.chars() {
            let dollar = std::mem::replace(&mut self.dollar, false);
            if std::mem::replace(&mut self.escaped, false) {
                continue;
            }
            match (self.now, c) {
                (Quote::None | Quote::Double, '\\') => self.escaped = true,
                (Quote::None, '\'') => self.now = Quote::Single,
                (Quote::Single, '\'') | (Quote::Double, '"') => self.now = Quote::None,
                (Quote::None, '"') => self.now = Quote::Double,
                (Quote::None | Quote::Double, '$') => self.dollar = true,
                (Quote::None, '(') => self.outer.push(Quote::None),
                (Quote::Double, '(') if dollar => {
                    self.outer.push(Quote::Double);
                    self.now = Quote::None;
                }
                (Quote::None, ')') => self.now = self.outer.pop().unwrap_or_default(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(word: &str) -> String {
        let columns = ["strike".to_owned()];
        let piece = |piece: Piece| match piece {
            Piece::Text(text) => format!("<{text}>"),
            Piece::Hole(hole) => format!("{hole:?}"),
        };
        pieces(word, &columns, false).into_iter().map(piece).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn placeholders_are_those_of_the_list_and_nothing_else() {
        for (word, expected) in [
            ("{}", "All(Whole)"),
            ("a{.}b", "<a> All(Stem) <b>"),
            ("{/}{//}{/.}", "All(Name) All(Folder) All(NameStem)"),
            ("{#}-{12}-{2.}", "Sequence <-> Input(12, Whole) <-> Input(2, Stem)"),
            ("{1/}{1//}{1/.}", "Input(1, Name) Input(1, Folder) Input(1, NameStem)"),
            ("{strike} {other} {0} {-1} {..}", "Column(\"strike\") < {other} {0} {-1} {..}>"),
            ("{{}} ${x} {", "<{> All(Whole) <} ${x} {>"),
            ("", "<>"),
            ("awk '{print $1}'", "<awk '{print $1}'>"),
        ] {
            assert_eq!(shown(word), expected, "{word}");
        }
    }

    #[test]
    fn forms_are_those_of_gnu_parallel() {
        for (item, stem, name, folder, name_stem) in [
            ("a/b.tar.gz", "a/b.tar", "b.tar.gz", "a", "b.tar"),
            ("b", "b", "b", ".", "b"),
            ("/b.c", "/b", "b.c", "/", "b"),
            ("a.d/b", "a.d/b", "b", "a.d", "b"),
            ("", "", "", ".", ""),
            ("a/", "a/", "", "a", ""),
        ] {
            let forms = [Form::Stem, Form::Name, Form::Folder, Form::NameStem];
            let made = forms.map(|form| String::from_utf8(form.of(item.as_bytes())).unwrap());
            assert_eq!(made, [stem, name, folder, name_stem], "{item}");
        }
    }

    #[test]
    fn in_scripts_an_item_stays_one_word() {
        let made = |script: &str| positional(script, &[], |_| vec![1, 2]);
        for (script, expected) in [
            ("echo {} | wc", r#"echo "${1}" "${2}" | wc"#),
            (r#"echo "<{}>""#, r#"echo "<${1} ${2}>""#),
            ("echo '<{}>'", r#"echo '<'"${1} ${2}"'>'"#),
            (r#"echo "$(cat {})" {}"#, r#"echo "$(cat "${1}" "${2}")" "${1}" "${2}""#),
            (r"echo \'{}", r#"echo \'"${1}" "${2}""#),
            ("wc -l", r#"wc -l "$@""#),
            ("echo it; exit 3", "echo it; exit 3"),
            ("echo $1 $HOME", "echo $1 $HOME"),
            ("echo ${2%.c}", "echo ${2%.c}"),
            ("echo ${1}", "echo ${1}"),
            (r"echo \$1", r#"echo \$1 "$@""#),
            ("awk '{print $1}'  ", r#"awk '{print $1}' "$@""#),
        ] {
            assert_eq!(made(script), expected, "{script}");
        }
    }
}
