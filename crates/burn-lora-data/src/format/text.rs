//! `text`: a text to go on writing.

use super::{Holds, Key, Spec};
use crate::object::string;
use crate::row::Row;

pub(super) const SPEC: Spec = Spec {
    name: "text",
    keys: &[Key::new("text", &["sentence", "content", "document"])],
    optional: &[],
    holds: Holds::Text,
    read: |row, _| Ok(Row::Text(string(row, "text")?)),
};
