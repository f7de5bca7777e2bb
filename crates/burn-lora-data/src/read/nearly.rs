//! Text that is nearly JSON: what Python prints, JSON5, comments, commas too many. It is told by what it is, once for the whole file, with the
//! command that makes JSON of it; a parser's words on it, line by line, help nobody.
//!
//! Left out: reading it all the same, which would be a guess at what is meant.

use std::fmt;

use crate::object::Object;

/// What a text is written in that is nearly JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearlyJson {
    dialect: Dialect,
    /// Whether the text is one value, and not a value a line.
    whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// What Python prints of a dict.
    Python,
    /// JSON5 and JavaScript: names without quotes, texts in single ones.
    Json5,
    /// Comments, and commas behind the last value.
    Comments,
    /// Numbers that JSON has not.
    NoNumbers,
    /// A comma behind every line.
    Commas,
    /// Several objects in a line.
    Several,
    /// A mark before every object (RFC 7464).
    Sequence,
    /// Objects behind `data:`, as servers send events.
    Events,
    /// Quotes of typography.
    Typography,
    /// Marks of git.
    Conflict,
}

const PYTHON_LINES: &str = "python3 -c 'import ast,json,sys; [print(json.dumps(ast.literal_eval(row))) for row in open(sys.argv[1]) \
                            if row.strip()]' FILE > OTHER";
const PYTHON_WHOLE: &str = "python3 -c 'import ast,json,sys; print(json.dumps(ast.literal_eval(open(sys.argv[1]).read())))' FILE > OTHER";
/// Texts in double quotes stay, those in single ones are Python's as well; comments and commas before a bracket go, names get quotes.
const JSON5: &str = r##"python3 -c 'import ast,json,re,sys; print(re.sub(r"(\"(?:\\.|[^\"\\])*\")|(\x27(?:\\.|[^\x27\\])*\x27)|(?://|#)[^\n]*|/\*.*?\*/|,(?=(?:\s|(?://|#)[^\n]*|/\*.*?\*/)*[]}])|([A-Za-z_$][\w$]*)(?=\s*:)", lambda m: m[1] or (m[2] and json.dumps(ast.literal_eval(m[2]))) or (m[3] and json.dumps(m[3])) or "", open(sys.argv[1]).read(), flags=re.S))' FILE > OTHER"##;
const NO_NUMBERS: &str = r##"python3 -c 'import re,sys; print(re.sub(r"(\"(?:\\.|[^\"\\])*\")|-?\b(?:NaN|Infinity)\b", lambda m: m[1] or "null", open(sys.argv[1]).read()))' FILE > OTHER"##;
const SEVERAL: &str = "jq -c . FILE > OTHER";
const SEQUENCE: &str = "tr -d '\\036' < FILE > OTHER";
const EVENTS: &str = "sed -n 's/^data:[[:space:]]*//p' FILE > OTHER";
const TYPOGRAPHY: &str = "sed 's/“/\"/g; s/”/\"/g; s/„/\"/g' FILE > OTHER";
const CONFLICT: &str = "git show HEAD:./FILE > OTHER";
const COMMAS: &str = "sed 's/,[[:space:]]*$//' FILE > OTHER";

impl NearlyJson {
    /// What a line that should be an object is written in, if it is one of these.
    ///
    /// ```
    /// use burn_lora_data::NearlyJson;
    ///
    /// let found = NearlyJson::of_line("{'prompt': 'a', 'answer': None}").unwrap();
    /// assert!(found.to_string().starts_with("these are dicts of Python"));
    /// assert_eq!(NearlyJson::of_line("{\"prompt\": \"it's\"}"), None);
    /// ```
    pub fn of_line(line: &str) -> Option<Self> {
        Some(Self { dialect: framed(line).or_else(|| dialect(line))?, whole: false })
    }

    /// What a text that should be one value is written in, if it is one of these.
    pub fn of_whole(text: &str) -> Option<Self> {
        let dialect = dialect(text).filter(|dialect| *dialect != Dialect::Commas)?;
        Some(Self { dialect, whole: true })
    }

    /// The command that writes JSON into OTHER.
    fn command(self) -> &'static str {
        match (self.dialect, self.whole) {
            (Dialect::Python, false) => PYTHON_LINES,
            (Dialect::Python, true) => PYTHON_WHOLE,
            (Dialect::Json5 | Dialect::Comments, _) => JSON5,
            (Dialect::NoNumbers, _) => NO_NUMBERS,
            (Dialect::Commas, _) => COMMAS,
            (Dialect::Several, _) => SEVERAL,
            (Dialect::Sequence, _) => SEQUENCE,
            (Dialect::Events, _) => EVENTS,
            (Dialect::Typography, _) => TYPOGRAPHY,
            (Dialect::Conflict, _) => CONFLICT,
        }
    }
}

impl fmt::Display for NearlyJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.dialect {
            Dialect::Python => "dicts of Python, not JSON",
            Dialect::Json5 => {
                "JSON5 or JavaScript, not JSON: names and texts without double quotes"
            }
            Dialect::Comments => {
                "JSON with comments, or commas behind the last value, which JSON has not"
            }
            Dialect::NoNumbers => "rows with NaN or Infinity, which JSON has not",
            Dialect::Commas => "JSON objects with a comma behind each line",
            Dialect::Several => "several JSON objects in one line, where a line is one",
            Dialect::Sequence => "JSON objects with a record separator before each",
            Dialect::Events => "JSON objects behind `data:`, as a server sends events",
            Dialect::Typography => "rows with typographic quotes in the place of \"",
            Dialect::Conflict => {
                return write!(
                    f,
                    "this is the mark of a conflict that git could not merge: choose a side of each in the file, or take the file as it was before the merge: `{}`",
                    self.command()
                );
            }
        };
        write!(f, "these are {what}; convert the file: `{}`", self.command())
    }
}

/// What a text has that JSON has not.
#[derive(Debug, Default)]
struct Signs {
    single_quotes: bool,
    /// `True`, `None`.
    python_words: bool,
    /// `true`, `null`.
    json_words: bool,
    bare_names: bool,
    /// `//` or `/*`.
    slashes: bool,
    hashes: bool,
    /// A comma before a bracket that closes.
    comma_within: bool,
    /// A comma at the end.
    comma_behind: bool,
    no_numbers: bool,
    /// Words that none of these has: it is something else.
    other: bool,
}

/// What stands around the objects of a line, or in the place of their quotes: without it, there are objects.
fn framed(line: &str) -> Option<Dialect> {
    let objects = |text: &str| {
        let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Object>();
        let count = objects.by_ref().take_while(Result::is_ok).count();
        if objects.byte_offset() >= text.trim_end().len() { count } else { 0 }
    };
    let line = line.trim_start();
    if ["<<<<<<< ", ">>>>>>> ", "||||||| "].iter().any(|mark| line.starts_with(mark)) {
        return Some(Dialect::Conflict);
    }
    if line.strip_prefix('\u{1e}').is_some_and(|rest| objects(rest) > 0) {
        return Some(Dialect::Sequence);
    }
    if line.strip_prefix("data:").is_some_and(|rest| objects(rest) > 0) {
        return Some(Dialect::Events);
    }
    if line.contains(['“', '”', '„']) && objects(&line.replace(['“', '”', '„'], "\"")) > 0
    {
        return Some(Dialect::Typography);
    }
    (objects(line) > 1).then_some(Dialect::Several)
}

fn dialect(text: &str) -> Option<Dialect> {
    let signs = Signs::of(text);
    if signs.other || !text.contains(['{', '[']) {
        return None;
    }
    let of_json5 = signs.json_words || signs.bare_names || signs.slashes || signs.no_numbers;
    if signs.python_words || (signs.single_quotes && !of_json5) {
        return (!of_json5).then_some(Dialect::Python);
    }
    if signs.bare_names || signs.single_quotes {
        return Some(Dialect::Json5);
    }
    if signs.slashes || signs.hashes || signs.comma_within {
        return Some(Dialect::Comments);
    }
    if signs.no_numbers {
        return Some(Dialect::NoNumbers);
    }
    signs.comma_behind.then_some(Dialect::Commas)
}

impl Signs {
    fn of(text: &str) -> Self {
        let (mut signs, bytes, mut at) = (Self::default(), text.as_bytes(), 0);
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            at = match byte {
                b'"' => end_of_text(bytes, at),
                b'\'' => {
                    signs.single_quotes = true;
                    end_of_text(bytes, at)
                }
                b'#' | b'/' => match end_of_comment(bytes, at) {
                    Some(end) => {
                        *(if byte == b'#' { &mut signs.hashes } else { &mut signs.slashes }) = true;
                        end
                    }
                    None => at + 1,
                },
                b',' => {
                    match next(bytes, at + 1) {
                        Some(b'}' | b']') => signs.comma_within = true,
                        None => signs.comma_behind = true,
                        _ => {}
                    }
                    at + 1
                }
                _ if is_of_word(byte) => {
                    let rest = bytes[at..].iter().take_while(|byte| is_of_word(**byte));
                    at + rest.count()
                }
                _ => at + 1,
            };
            if is_of_word(byte) && !byte.is_ascii_digit() {
                signs.word(&text[start..at], bytes.get(at).copied(), next(bytes, at));
            }
        }
        signs
    }

    /// A word, the byte behind it, and the next that is no space.
    fn word(&mut self, word: &str, behind: Option<u8>, next: Option<u8>) {
        match word {
            _ if next == Some(b':') => self.bare_names = true,
            "u" | "r" if matches!(behind, Some(b'\'' | b'"')) => self.python_words = true,
            "True" | "False" | "None" => self.python_words = true,
            "true" | "false" | "null" => self.json_words = true,
            "NaN" | "Infinity" => self.no_numbers = true,
            _ => self.other = true,
        }
    }
}

/// Of words and numbers; the bytes of a letter beyond ASCII are all of one.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

/// Behind the text in quotes that begins at `at`; a line's end ends it, too.
fn end_of_text(bytes: &[u8], at: usize) -> usize {
    let (quote, mut end) = (bytes[at], at + 1);
    while let Some(&byte) = bytes.get(end) {
        match byte {
            b'\\' => end += 2,
            byte if byte == quote || byte == b'\n' => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// Behind the comment that begins at `at`, if one does.
fn end_of_comment(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let line = || rest.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| at + end);
    match rest {
        [b'#', ..] | [b'/', b'/', ..] => Some(line()),
        [b'/', b'*', inner @ ..] => {
            let end = inner.windows(2).position(|pair| pair == b"*/");
            Some(end.map_or(bytes.len(), |end| at + 2 + end + 2))
        }
        _ => None,
    }
}

/// The first byte from `at` on that is neither space nor in a comment.
fn next(bytes: &[u8], mut at: usize) -> Option<u8> {
    loop {
        let byte = *bytes.get(at)?;
        match end_of_comment(bytes, at) {
            Some(end) => at = end,
            None if byte.is_ascii_whitespace() => at += 1,
            None => return Some(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With what each is, and whether it stands for a whole file.
    const CASES: [(&str, Dialect, bool); 20] = [
        (r#"{'prompt': "it's", 'completion': 'b'}"#, Dialect::Python, false),
        (r#"{"prompt": "a", "completion": None}"#, Dialect::Python, false),
        (r#"{u'prompt': u'a', "done": True}"#, Dialect::Python, false),
        ("[{'prompt': 'a',\n 'completion': 'b'},\n]", Dialect::Python, true),
        (r#"{prompt: "a", completion: "b"}"#, Dialect::Json5, false),
        ("{'prompt': 'a', 'done': true}", Dialect::Json5, false),
        ("[{prompt: 'a', /* so */ completion: 'b'}]", Dialect::Json5, true),
        (r#"{"prompt": "a", "completion": "b",}"#, Dialect::Comments, false),
        (r#"{"prompt": "a", "completion": "b"} // said"#, Dialect::Comments, false),
        ("[{\"prompt\": \"a // b\", # said\n \"completion\": \"b\"}, ]", Dialect::Comments, true),
        ("// rows\n[{\"prompt\": \"a\", \"completion\": \"b\"}]", Dialect::Comments, true),
        (r#"{"prompt": "a", "completion": "b", "score": NaN}"#, Dialect::NoNumbers, false),
        (r#"{"prompt": "NaN", "completion": "b", "score": -Infinity}"#, Dialect::NoNumbers, false),
        (r#"{"prompt": "a", "completion": "b"},"#, Dialect::Commas, false),
        ("{\"prompt\": \"a,\", \"completion\": \"b\"}, \r", Dialect::Commas, false),
        (r#"{"prompt": "a"}{"prompt": "b"}"#, Dialect::Several, false),
        ("\u{1e}{\"prompt\": \"a\"}", Dialect::Sequence, false),
        (r#"data: {"prompt": "a"}"#, Dialect::Events, false),
        ("{“prompt”: “a”}", Dialect::Typography, false),
        ("<<<<<<< HEAD", Dialect::Conflict, false),
    ];

    fn found(text: &str, whole: bool) -> Option<NearlyJson> {
        if whole { NearlyJson::of_whole(text) } else { NearlyJson::of_line(text) }
    }

    #[test]
    fn what_is_nearly_json_is_told_by_what_it_is() {
        for (text, dialect, whole) in CASES {
            assert_eq!(found(text, whole), Some(NearlyJson { dialect, whole }), "{text}");
        }
        for text in [
            r#"{"prompt": "True, 'a' // # NaN,]", "n": 1e5}"#,
            r#"{"prompt": "a" "b"}"#,
            r#"{"prompt": "never closed"#,
            r#"{"prompt": undefined, 'b': 1}"#,
            "hello, it's me",
            "True",
            "",
            "{\"prompt\": \"a\\",
        ] {
            assert_eq!(NearlyJson::of_line(text), None, "{text}");
        }
        // Lines of one value end so.
        assert_eq!(NearlyJson::of_whole("[\n{\"a\": 1},"), None);
    }

    /// The advice, followed where its programs are: Python alone, and sed.
    #[cfg(unix)]
    #[test]
    fn the_command_makes_json_of_it() {
        use std::process::Command;
        let has = |program: &str| {
            Command::new(program)
                .arg("--version")
                .output()
                .is_ok_and(|output| output.status.success())
        };
        let (python, jq) = (has("python3"), has("jq"));
        let dir = tempfile::tempdir().unwrap();
        for (text, dialect, whole) in CASES {
            let command = NearlyJson { dialect, whole }.command();
            let lacks = (command.starts_with("python3") && !python)
                || (command.starts_with("jq") && !jq)
                || command.starts_with("git");
            if lacks {
                continue;
            }
            std::fs::write(dir.path().join("FILE"), text).unwrap();
            let done = Command::new("sh").args(["-c", command]).current_dir(dir.path()).status();
            assert!(done.unwrap().success(), "{command}");
            let json = std::fs::read_to_string(dir.path().join("OTHER")).unwrap();
            let mut values = serde_json::Deserializer::from_str(&json).into_iter();
            let value: serde_json::Value = values.next().unwrap().unwrap();
            let row = value.get(0).unwrap_or(&value);
            assert!(row["prompt"].is_string(), "{text}: {json}");
        }
    }
}
