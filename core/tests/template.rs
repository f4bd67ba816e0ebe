//! Splitting texts at their placeholders.

use dagrun_core::template::{RawPart, ScanError, parse_index_format, scan};
use proptest::prelude::*;

fn written(parts: &[RawPart]) -> String {
    let part = |part: &RawPart| match part {
        RawPart::Literal(text) => text.replace('{', "{{").replace('}', "}}"),
        RawPart::Hole { text, .. } => format!("{{{text}}}"),
    };
    parts.iter().map(part).collect()
}

proptest! {
    #[test]
    fn what_is_scanned_can_be_written_again(
        pieces in proptest::collection::vec(
            prop_oneof!["[a-z{}é ]{1,6}".prop_map(Ok), "[a-z.:0-9]{1,6}".prop_map(Err)], 0..8),
    ) {
        let text: String = pieces
            .iter()
            .map(|piece| match piece {
                Ok(literal) => literal.replace('{', "{{").replace('}', "}}"),
                Err(hole) => format!("{{{hole}}}"),
            })
            .collect();
        let parts = scan(&text).unwrap();
        prop_assert_eq!(written(&parts), text.clone());
        for part in &parts {
            if let RawPart::Hole { text: hole, span } = part {
                prop_assert_eq!(&text[span.clone()], format!("{{{hole}}}"));
            }
        }
        let holes = parts.iter().filter(|part| matches!(part, RawPart::Hole { .. })).count();
        prop_assert_eq!(holes, pieces.iter().filter(|piece| piece.is_err()).count());
    }

    #[test]
    fn no_text_panics(text in "[{}a é]{0,12}") {
        match scan(&text) {
            Ok(parts) => prop_assert_eq!(written(&parts), text),
            Err(error) => prop_assert!(text.get(error.span()).is_some()),
        }
    }
}

#[test]
fn mistakes_are_located() {
    assert_eq!(scan("é{x"), Err(ScanError::Unclosed { span: 2..3 }));
    assert_eq!(scan("a{b{c}"), Err(ScanError::Unclosed { span: 1..2 }));
    assert_eq!(scan("a}"), Err(ScanError::Stray { span: 1..2 }));
    assert_eq!(scan("{a}}"), Err(ScanError::Stray { span: 3..4 }));
    assert_eq!(scan("{ }"), Err(ScanError::Empty { span: 0..3 }));
    assert_eq!(scan("").unwrap(), []);
    assert_eq!(scan("}}{{").unwrap(), [RawPart::Literal("}{".to_owned())]);
}

#[test]
fn index_formats() {
    let formats = ["03", "020", "021", "3", "0", "00", "0x", "", "003"];
    let widths = [Some(3), Some(20), None, None, None, None, None, None, None];
    assert_eq!(formats.map(parse_index_format), widths);
}
