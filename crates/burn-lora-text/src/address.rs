//! Addresses as messages show them.

use std::borrow::Cow;

/// The text without what stands before the hosts of addresses in it: users, passwords and tokens.
///
/// ```
/// use burn_lora_text::without_passwords;
///
/// let text = "`https://me:secret@hub.co/org/name` is no run, a@b.co is left";
/// assert_eq!(without_passwords(text), "`https://hub.co/org/name` is no run, a@b.co is left");
/// ```
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    const MARK: &str = "://";
    if !text.contains(MARK) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let (before, behind) = rest.split_at(at + MARK.len());
        shown.push_str(before);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '`' | '"' | '\'' | '?' | '#');
        let host = &behind[..behind.find(is_end).unwrap_or(behind.len())];
        rest = &behind[host.rfind('@').map_or(0, |user| user + 1)..];
    }
    Cow::Owned(shown + rest)
}

#[cfg(test)]
mod tests {
    use super::without_passwords;

    #[test]
    fn only_what_stands_before_a_host_is_left_out() {
        for (text, shown) in [
            ("http://a@b@c.co x", "http://c.co x"),
            ("http://c.co/a@b http://x:y@d", "http://c.co/a@b http://d"),
            ("http://", "http://"),
            ("org/name@main", "org/name@main"),
            ("\"ftp://u:p@h\"", "\"ftp://h\""),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }
}
