//! What the layout is, case by case.

use super::format;

#[track_caller]
fn becomes(text: &str, expected: &str) {
    let formatted = format(text).unwrap();
    assert_eq!(formatted, expected);
    assert_eq!(format(&formatted).unwrap(), expected, "a second time it is another one");
}

#[test]
fn equal_signs_stand_in_columns_as_far_as_a_blank_line() {
    becomes(
        "a=1\nlonger   =2 \n\nb   = 3\n[t]\nxyz=1\n# about y\ny=2",
        "a      = 1\nlonger = 2\n\nb = 3\n\n[t]\nxyz = 1\n# about y\ny   = 2\n",
    );
    becomes("out . a='x'\nb='y'", "out.a = 'x'\nb     = 'y'\n");
}

#[test]
fn brackets_have_one_space_where_one_belongs() {
    becomes("a=[1,2 , 3,]", "a = [1, 2, 3]\n");
    becomes("a={x=1,y=[ ],z={ }}", "a = { x = 1, y = [], z = {} }\n");
    becomes("a = [ -1.5 , 1979-05-27 07:32:00 ,\t'#' ]", "a = [-1.5, 1979-05-27 07:32:00, '#']\n");
}

#[test]
fn what_has_several_lines_keeps_them() {
    becomes(
        "a=[\n\n1,2,# two\n# three\n   3\n\n\n,4\n]\nbcd=1",
        "a   = [\n  1, 2,  # two\n  # three\n  3\n\n  , 4\n]\nbcd = 1\n",
    );
    becomes("a = [{ x = [\n1\n] }]", "a = [{ x = [\n      1\n    ] }]\n");
    let script = "s = '''\n  if  x ;then\n\n\n# no comment\n   '''\n";
    becomes(script, script);
}

#[test]
fn comments_keep_their_places() {
    becomes(
        "# one  \n\n\n#two\n[ a ]# three\n\nb=1#four\ncde=22    # five\n#six",
        "# one\n\n#two\n[a]  # three\nb   = 1   #four\ncde = 22  # five\n#six\n",
    );
    becomes("a=1\n# about b\n[b]\n[b.c]\n[d]", "a = 1\n\n# about b\n[b]\n[b.c]\n\n[d]\n");
}

#[test]
fn the_smallest_files_and_odd_ones() {
    becomes("", "");
    becomes("\n\n# only\n\n", "# only\n");
    becomes("\u{feff}a=1\r\nb='''x\r\ny'''\r\n", "\u{feff}a = 1\nb = '''x\ny'''\n");
    becomes("\"a b\".'c.d' = 1\n[[x . y]]", "\"a b\".'c.d' = 1\n\n[[x.y]]\n");
}

#[test]
fn what_is_no_toml_is_refused() {
    for text in ["a = ", "a = [1", "a = 1\na = 2", "a = 'x\n'"] {
        assert!(!format(text).unwrap_err().is_empty(), "{text}");
    }
}
