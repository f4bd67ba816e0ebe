//! Words for a shell: an argv on one line, to be pasted and run.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

/// The words, quoted where need be, with spaces between.
pub(crate) fn line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        push_word(&mut text, word.as_ref().as_bytes());
    }
    text
}

/// One word, quoted where need be.
pub(crate) fn word(word: impl AsRef<OsStr>) -> String {
    line([word])
}

fn push_word(text: &mut String, word: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./=:,@%+".contains(byte);
    match std::str::from_utf8(word) {
        Ok(word) if !word.is_empty() && word.bytes().all(|b| plain(&b)) => text.push_str(word),
        Ok(word) if !word.chars().any(char::is_control) => {
            text.push('\'');
            text.push_str(&word.replace('\'', r"'\''"));
            text.push('\'');
        }
        _ => push_escaped(text, word),
    }
}

/// The `$'…'` form of bash, which alone keeps control characters and broken UTF-8 on one line.
fn push_escaped(text: &mut String, word: &[u8]) {
    text.push_str("$'");
    for chunk in word.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                '\'' => text.push_str("\\'"),
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => {
                    let mut buffer = [0; 4];
                    push_bytes(text, c.encode_utf8(&mut buffer).as_bytes());
                }
                c => text.push(c),
            }
        }
        push_bytes(text, chunk.invalid());
    }
    text.push('\'');
}

/// Octal, as a hexadecimal escape may take a following digit for its own.
fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\{byte:03o}");
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_eq!(line(["./price", "--strike=80.0", "a/b"]), "./price --strike=80.0 a/b");
    }

    #[test]
    fn bash_reads_back_every_word() {
        let words: Vec<&OsStr> =
            ["", "a b", "it's", "$(x)", "new\nline\t'\\", "~", "{a,b}", "\u{7}1"]
                .iter()
                .map(OsStr::new)
                .chain([OsStr::from_bytes(b"caf\xe9 1"), OsStr::from_bytes(b"\xff7\n")])
                .collect();
        let script = format!("printf '%s\\0' {}", line(&words));
        assert!(!script.contains('\n'));
        let output = Command::new("bash").arg("-c").arg(script).output().unwrap();
        let read: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        let expected: Vec<&[u8]> =
            words.iter().map(|word| word.as_bytes()).chain([&b""[..]]).collect();
        assert_eq!(read, expected);
    }
}
