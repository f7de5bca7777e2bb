//! A JSON file that is one list of objects.
//!
//! The file is checked as a whole first; what is cut into elements afterwards is known to be JSON,
//! so that cutting need only tell strings and brackets apart.

use serde::de::IgnoredAny;

use super::{Found, Kind, Objects, lines};

pub(super) const KIND: Kind = Kind {
    extension: None,
    is: |text| text.trim_start().starts_with('[') && !is_lines_of_lists(text),
    objects,
    remedy: lines::KIND.remedy,
};

/// Whether each line is a list of its own.
fn is_lines_of_lists(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_list =
        |line: &str| line.starts_with('[') && serde_json::from_str::<IgnoredAny>(line).is_ok();
    lines.next().is_some_and(is_list) && lines.next().is_some_and(is_list)
}

fn objects(text: &str) -> Objects<'_> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let problem = lines::not_json(&error, "the file is one list of JSON objects");
        return Box::new(std::iter::once(Found::at(error.line(), Err(problem))));
    }
    let at = text.find('[').map_or(text.len(), |at| at + 1);
    let line = 1 + text[..at].matches('\n').count();
    let elements = Elements { text, at, line };
    Box::new(elements.map(|(line, element)| Found::at(line, lines::object(element))))
}

/// The elements of a list in valid JSON, each with the line that it starts on.
struct Elements<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at)
            && (*byte == b',' || byte.is_ascii_whitespace())
        {
            self.line += usize::from(*byte == b'\n');
            self.at += 1;
        }
        if matches!(bytes.get(self.at), None | Some(b']')) {
            return None;
        }
        let (start, line) = (self.at, self.line);
        let (mut depth, mut quoted) = (0_usize, false);
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                // What is escaped cannot end the string.
                b'\\' if quoted => self.at += 1,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b',' | b']' if depth == 0 => break,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                b'\n' => self.line += 1,
                _ => {}
            }
            self.at += 1;
        }
        Some((line, self.text.get(start..self.at).unwrap_or_default()))
    }
}
