//! `{% generation %}`, the tags by which transformers finds what the assistant writes.
//!
//! The engine knows no tags but its own. These two are a scope whose content is rendered, as
//! `{% with %}` without variables is, so the words are exchanged before the template is parsed: in
//! tags only, not in comments, raw blocks and texts.

/// The template with scopes in place of `generation` blocks.
pub(super) fn as_scopes(source: &str) -> String {
    let mut written = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = next_tag(rest) {
        written.push_str(&rest[..at]);
        rest = &rest[at..];
        let (tag, kind) = tag(rest);
        match kind {
            Kind::Word { at, word: "generation" } if only_closes(&tag[at + 10..]) => {
                written.extend([&tag[..at], "with", &tag[at + 10..]]);
            }
            Kind::Word { at, word: "endgeneration" } if only_closes(&tag[at + 13..]) => {
                written.extend([&tag[..at], "endwith", &tag[at + 13..]]);
            }
            _ => written.push_str(tag),
        }
        rest = &rest[tag.len()..];
        if let Kind::Word { word: "raw", .. } = kind {
            let end = raw_end(rest);
            written.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    written.push_str(rest);
    written
}

/// What a tag is, as far as it matters here.
#[derive(Clone, Copy)]
enum Kind<'a> {
    /// A statement, with its first word and where that stands.
    Word { at: usize, word: &'a str },
    /// An expression or a comment.
    Other,
}

/// Where the next `{{`, `{%` or `{#` stands.
fn next_tag(text: &str) -> Option<usize> {
    text.match_indices('{')
        .map(|(at, _)| at)
        .find(|at| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// The tag at the start of `text`, whole, or all of `text` if it does not end.
fn tag(text: &str) -> (&str, Kind<'_>) {
    match text.as_bytes().get(1) {
        Some(b'#') => {
            let end = text.find("#}").map_or(text.len(), |at| at + 2);
            (&text[..end], Kind::Other)
        }
        Some(b'%') => {
            let tag = &text[..expression_end(text, "%}")];
            let word = tag[2..].trim_start_matches(['-', '+']).trim_start();
            let at = tag.len() - word.len();
            let length = word.find(|c: char| !c.is_alphanumeric() && c != '_');
            (tag, Kind::Word { at, word: &word[..length.unwrap_or(word.len())] })
        }
        _ => (&text[..expression_end(text, "}}")], Kind::Other),
    }
}

/// Where the tag at the start of `text` ends: after the first `close` outside of brackets and texts.
fn expression_end(text: &str, close: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 2);
    while let Some(&byte) = bytes.get(at) {
        if depth == 0 && bytes[at..].starts_with(close.as_bytes()) {
            return at + 2;
        }
        match byte {
            b'\'' | b'"' => at = quoted_end(bytes, at),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Where the quote that opens at `open` closes.
fn quoted_end(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            _ if byte == bytes[open] => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Where the tag that ends a raw block begins.
fn raw_end(text: &str) -> usize {
    text.match_indices("{%")
        .map(|(at, _)| at)
        .find(|at| text[at + 2..].trim_start_matches(['-', '+']).trim_start().starts_with("endraw"))
        .unwrap_or(text.len())
}

/// Whether nothing but the end of the tag is left.
fn only_closes(rest: &str) -> bool {
    matches!(rest.trim_start(), "%}" | "-%}" | "+%}")
}

#[cfg(test)]
mod tests {
    use super::as_scopes;

    #[test]
    fn the_words_are_exchanged_in_tags() {
        assert_eq!(
            as_scopes("{% generation %}{{ a }}{%- endgeneration -%}\n{%+generation%}"),
            "{% with %}{{ a }}{%- endwith -%}\n{%+with%}"
        );
    }

    #[test]
    fn what_is_no_tag_stays() {
        for text in [
            "generation {# {% generation %} #}",
            "{% raw %}{% generation %}{% endraw %}",
            "{{ '{% generation %}' }}{{ {'a': {'b': '}}{% generation %}'}} }}",
            "{% set generation = 1 %}{% if generation %}{% generation = 2 %}",
            "{% generation",
            "{{ 'not closed {% generation %}",
            "{",
        ] {
            assert_eq!(as_scopes(text), text);
        }
    }
}
