//! Files that exist in tests only.

use dagrun_core::parse::{FileError, Files};
use dagrun_core::value::RawString;

/// A directory with a few files.
#[derive(Debug)]
pub(crate) struct TestFiles;

const FILES: [(&str, &[u8]); 14] = [
    ("data/a.txt", b"a"),
    ("data/b.txt", b"b"),
    ("points.csv", b"h,k\n0.10,cg\n0.20,gmres\n"),
    ("points.json", br#"[{"h": 0.10, "name": "a"}, {"h": 1e-9, "name": "b"}]"#),
    ("values.json", br#"[1, "two", 3.50]"#),
    ("ids.txt", b"x1\nx2\n\nx4\n"),
    ("empty.txt", b""),
    ("ragged.csv", b"a,b\n1,2\n3\n"),
    ("badname.csv", b"a,my column\n1,2\n"),
    ("object.json", br#"{"a": 1}"#),
    ("ragged.json", br#"[{"a": 1, "b": 2}, {"a": 3}]"#),
    ("mixed.json", br#"[{"a": 1}, 2]"#),
    ("broken.json", br#"[1, 2"#),
    (
        "hostile.json",
        br#"["; rm -rf ~", "it's", "\"", "$(id)", "`id`", "a\nb", "{index}", "{{", "*"]"#,
    ),
];

impl Files for TestFiles {
    fn glob(&self, pattern: &str) -> Result<Vec<RawString>, FileError> {
        match pattern {
            "data/[" => Err(FileError::new("unclosed bracket")),
            "hostile/*" => Ok(vec![
                RawString(b"hostile/$(id).txt".to_vec()),
                RawString(b"hostile/a\nb.txt".to_vec()),
                RawString(b"hostile/{index}.txt".to_vec()),
                RawString(b"hostile/\xff\xfe.txt".to_vec()),
            ]),
            _ => {
                let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
                let paths = FILES.iter().map(|(path, _)| *path);
                let found = paths.filter(|path| path.starts_with(start) && path.ends_with(end));
                Ok(found.map(RawString::from).collect())
            }
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let file = FILES.iter().find(|(known, _)| *known == path);
        file.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| FileError::new("no such file"))
    }

    fn exists(&self, path: &str) -> Result<bool, FileError> {
        Ok(FILES.iter().any(|(known, _)| *known == path))
    }
}
