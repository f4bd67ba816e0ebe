//! `{key}` and `{seed}`: the identity of an instance, independent of its index. Users' files depend
//! on both, so they must never change; see the documentation of [`super`].

use std::borrow::Cow;

use super::frame::Frame;
use crate::hash::StableHash;
use crate::value::{Value, write_canonical_text};

/// Longest readable part of a key, in bytes: a file name can have 255 bytes, including what users
/// add.
const MAX_TEXT: usize = 100;

impl Frame<'_> {
    /// `{key}` of the instance.
    pub(super) fn key(&self) -> String {
        let mut key = String::new();
        let mut exact = Vec::new();
        let mut lossy = false;
        for (name, value) in self.params() {
            let text = value.to_text();
            if !key.is_empty() {
                key.push(',');
            }
            lossy |= push_safe(name.as_bytes(), &mut key);
            key.push('=');
            lossy |= push_safe(&text, &mut key);
            write_canonical_text(name.as_bytes(), &mut exact);
            write_canonical_text(&text, &mut exact);
        }
        if key.is_empty() || self.is_dynamic() {
            return self.index.to_string();
        }
        if lossy || key.len() > MAX_TEXT {
            key.truncate(MAX_TEXT);
            key.push_str(&format!("~{:016x}", StableHash::of(&exact)));
        }
        if self.is_duplicate() {
            key.push_str(&format!("~{}", self.index));
        }
        key
    }

    /// `{seed}` of the instance, which has this item.
    pub(super) fn seed(&self, run_seed: u64, item: Option<&Value>) -> u64 {
        let mut encoded = run_seed.to_le_bytes().to_vec();
        write_canonical_text(self.task_name().as_bytes(), &mut encoded);
        // Neither name can be that of a parameter.
        let item = item.map(|item| ("item", Cow::Borrowed(item)));
        let worker =
            self.worker().map(|worker| ("index", Cow::Owned(Value::Number(worker.to_string()))));
        let mut params: Vec<_> = self.params_by_name().chain(item).chain(worker).collect();
        params.sort_by_key(|(name, _)| *name);
        for (name, value) in params {
            write_canonical_text(name.as_bytes(), &mut encoded);
            value.write_canonical(&mut encoded);
        }
        StableHash::of(&encoded)
    }
}

/// Appends text with `_` for every byte that is not safe in file names on all systems and in
/// shells; returns whether there was one.
fn push_safe(text: &[u8], key: &mut String) -> bool {
    let mut lossy = false;
    for &byte in text {
        let safe = byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        key.push(if safe { char::from(byte) } else { '_' });
        lossy |= !safe;
    }
    lossy
}
