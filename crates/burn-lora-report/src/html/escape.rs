//! Text as HTML that shows it and nothing else.

/// The text with every character escaped that means something between tags or in a quoted attribute.
pub fn escaped(text: &str) -> String {
    // This one first, for it is in what the others become.
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
        // HTML has no way to write it.
        .replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        let text = "é<a href=\"x\" id='y'>&amp;\0</a>";
        let html = "é&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;\u{fffd}&lt;/a&gt;";
        assert_eq!(escaped(text), html);
        assert_eq!(escaped(""), "");
    }
}
