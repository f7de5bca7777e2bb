//! A template's text as tokens, with the white space around tags taken away as Jinja does with `trim_blocks` and `lstrip_blocks`.

use super::fault::{Fault, failed};

/// The longest name of a variable, an attribute, a filter.
const LONGEST_NAME: usize = 200;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text between tags.
    Data(String),
    PrintBegin,
    PrintEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Text(String),
    Int(i128),
    Float(f64),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 26] = [
    "==", "!=", ">=", "<=", "//", "**", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

/// The tokens of a template, each with its line, counted from 1.
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, usize)>, Fault> {
    // Python's Jinja knows only this line end once it has read a template, and leaves out the last.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { rest: source, line: 1, at_line_start: true, tokens: Vec::new() };
    lexer.template()?;
    lexer.put(Token::End);
    Ok(lexer.tokens)
}

/// Python's white space.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    /// Whether what stands before begins a line.
    at_line_start: bool,
    tokens: Vec<(Token, usize)>,
}

impl<'a> Lexer<'a> {
    fn template(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest;
            let begin =
                |at: &usize| matches!(rest.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#'));
            let Some(at) = rest.match_indices('{').map(|(at, _)| at).find(begin) else {
                let data = self.take(rest.len());
                self.data(data.to_owned());
                return Ok(());
            };
            let data = self.take(at);
            let tag = self.take(2);
            let sign = self.sign();
            self.data_before(data, sign, tag != "{{");
            match tag {
                "{#" => self.comment().map_err(|fault| fault.at(self.line))?,
                "{%" => match raw_begin(self.rest) {
                    Some((length, cut)) => {
                        self.take(length);
                        if cut {
                            self.skip_space();
                        }
                        self.raw().map_err(|fault| fault.at(self.line))?;
                    }
                    None => {
                        self.put(Token::BlockBegin);
                        self.tag("%}", Token::BlockEnd).map_err(|fault| fault.at(self.line))?;
                    }
                },
                _ => {
                    self.put(Token::PrintBegin);
                    self.tag("}}", Token::PrintEnd).map_err(|fault| fault.at(self.line))?;
                }
            }
        }
    }

    fn put(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    fn data(&mut self, data: String) {
        if !data.is_empty() {
            self.put(Token::Data(data));
        }
    }

    /// Text before a tag: `{%-` takes away the white space at its end, and blocks and comments that of their line.
    fn data_before(&mut self, data: &str, sign: Option<u8>, lstrip: bool) {
        let kept = match sign {
            Some(b'-') => data.trim_end_matches(is_space),
            None if lstrip => {
                let line = data.rfind('\n').map_or(0, |at| at + 1);
                let alone = line > 0 || self.at_line_start;
                if alone && data[line..].chars().all(is_space) { &data[..line] } else { data }
            }
            _ => data,
        };
        self.data(kept.to_owned());
        self.at_line_start = false;
    }

    /// The next bytes, whose line ends are counted.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
        taken
    }

    fn sign(&mut self) -> Option<u8> {
        let sign = self.rest.bytes().next().filter(|byte| matches!(byte, b'-' | b'+'));
        self.take(usize::from(sign.is_some()));
        sign
    }

    fn skip_space(&mut self) {
        let length = self.rest.len() - self.rest.trim_start_matches(is_space).len();
        self.at_line_start = self.take(length).ends_with('\n');
    }

    /// Behind a block or a comment, one line end goes with it.
    fn skip_line_end(&mut self) {
        self.at_line_start = self.rest.starts_with('\n');
        self.take(usize::from(self.at_line_start));
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let Some(at) = self.rest.find("#}") else { return failed("a comment is not closed") };
        let sign = self.take(at).bytes().last();
        self.take(2);
        match sign {
            Some(b'-') => self.skip_space(),
            Some(b'+') => self.at_line_start = false,
            _ => self.skip_line_end(),
        }
        Ok(())
    }

    fn raw(&mut self) -> Result<(), Fault> {
        let rest = self.rest;
        let mut ends = rest.match_indices("{%");
        let found = ends.find_map(|(at, _)| Some((at, raw_end(&rest[at..])?)));
        let Some((at, end)) = found else { return failed("a raw block is not closed") };
        let data = self.take(at);
        self.data_before(data, end.opens, true);
        self.take(end.length);
        match end.closes {
            Some(b'-') => self.skip_space(),
            Some(_) => self.at_line_start = false,
            None => self.skip_line_end(),
        }
        Ok(())
    }

    /// The tokens of a tag up to its end.
    fn tag(&mut self, close: &'static str, end: Token) -> Result<(), Fault> {
        let mut open: Vec<&'static str> = Vec::new();
        let mut after_dot = false;
        loop {
            let space = self.rest.len() - self.rest.trim_start_matches(is_space).len();
            self.take(space);
            after_dot &= space == 0;
            if open.is_empty() && self.ends(close) {
                self.put(end);
                return Ok(());
            }
            let Some(first) = self.rest.chars().next() else {
                return failed("a tag is not closed");
            };
            let dot = std::mem::replace(&mut after_dot, false);
            match first {
                '0'..='9' => self.number(dot)?,
                '\'' | '"' => self.text(first)?,
                c if c.is_alphabetic() || c == '_' => self.name()?,
                _ => {
                    let sign = SIGNS.into_iter().find(|sign| self.rest.starts_with(sign));
                    let Some(sign) = sign else {
                        return failed(format!("unexpected {:?}", first));
                    };
                    self.balance(&mut open, sign)?;
                    self.take(sign.len());
                    self.put(Token::Sign(sign));
                    after_dot = sign == ".";
                }
            }
        }
    }

    /// Whether the tag ends here; it is taken then, with the white space behind it that goes with it.
    fn ends(&mut self, close: &str) -> bool {
        let sign = self.rest.bytes().next().filter(|byte| match close {
            "%}" => matches!(byte, b'-' | b'+'),
            _ => *byte == b'-',
        });
        let length = usize::from(sign.is_some());
        if !self.rest[length..].starts_with(close) {
            return false;
        }
        self.take(length + 2);
        match sign {
            Some(b'-') => self.skip_space(),
            None if close == "%}" => self.skip_line_end(),
            _ => self.at_line_start = false,
        }
        true
    }

    fn balance(&self, open: &mut Vec<&'static str>, sign: &'static str) -> Result<(), Fault> {
        match sign {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" => match open.pop() {
                Some(expected) if expected == sign => {}
                Some(expected) => {
                    return failed(format!("unexpected `{sign}`, expected `{expected}`"));
                }
                None => return failed(format!("unexpected `{sign}`")),
            },
            _ => {}
        }
        Ok(())
    }

    fn name(&mut self) -> Result<(), Fault> {
        let length =
            self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        if length > LONGEST_NAME {
            return failed(format!("a name of {length} bytes, at most {LONGEST_NAME} are read"));
        }
        let name = self.take(length).to_owned();
        self.put(Token::Name(name));
        Ok(())
    }

    /// Digits, among which underscores may stand; behind a dot, always an index.
    fn number(&mut self, after_dot: bool) -> Result<(), Fault> {
        let lower = |rest: &str| rest.get(..2).map(str::to_ascii_lowercase);
        let radix = match lower(self.rest).as_deref() {
            Some("0x") => Some(16),
            Some("0o") => Some(8),
            Some("0b") => Some(2),
            _ => None,
        };
        if let Some(radix) = radix {
            let digits = self.rest[2..].find(|c: char| !c.is_digit(radix) && c != '_');
            let text = self.take(2 + digits.unwrap_or(self.rest.len() - 2));
            return match i128::from_str_radix(&text[2..].replace('_', ""), radix) {
                Ok(number) => {
                    self.put(Token::Int(number));
                    Ok(())
                }
                Err(_) => failed("a number that cannot be read"),
            };
        }
        let digits =
            |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
        let mut length = digits(self.rest);
        let whole = length;
        if !after_dot {
            let bytes = self.rest.as_bytes();
            if bytes.get(length) == Some(&b'.')
                && bytes.get(length + 1).is_some_and(u8::is_ascii_digit)
            {
                length += 1 + digits(&self.rest[length + 1..]);
            }
            if matches!(bytes.get(length), Some(b'e' | b'E')) {
                let signed = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
                if bytes.get(length + 1 + signed).is_some_and(u8::is_ascii_digit) {
                    length += 1 + signed + digits(&self.rest[length + 1 + signed..]);
                }
            }
        }
        let text = self.take(length).replace('_', "");
        let token = if length == whole {
            text.parse().ok().map(Token::Int)
        } else {
            text.parse().ok().map(Token::Float)
        };
        match token {
            Some(token) => {
                self.put(token);
                Ok(())
            }
            None => failed("a number that cannot be read"),
        }
    }

    fn text(&mut self, mark: char) -> Result<(), Fault> {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        while bytes.get(at).is_some_and(|byte| *byte != mark as u8) {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        if at >= bytes.len() {
            return failed("a text is not closed");
        }
        let line = self.line;
        let quoted = self.take(at + 1);
        self.tokens.push((Token::Text(unescaped(&quoted[1..at])?), line));
        Ok(())
    }
}

/// Where `raw` ends behind `{%` and its sign, and whether the white space behind it goes.
fn raw_begin(rest: &str) -> Option<(usize, bool)> {
    let behind =
        rest.trim_start_matches(is_space).strip_prefix("raw")?.trim_start_matches(is_space);
    let (close, cut) = match behind.strip_prefix("-%}") {
        Some(close) => (close, true),
        None => (behind.strip_prefix("%}")?, false),
    };
    Some((rest.len() - close.len(), cut))
}

/// The tag that ends a raw block.
struct RawEnd {
    length: usize,
    opens: Option<u8>,
    closes: Option<u8>,
}

fn raw_end(tag: &str) -> Option<RawEnd> {
    let sign = |text: &str| text.bytes().next().filter(|byte| matches!(byte, b'-' | b'+'));
    let rest = tag.strip_prefix("{%")?;
    let opens = sign(rest);
    let rest = rest[usize::from(opens.is_some())..].trim_start_matches(is_space);
    let rest = rest.strip_prefix("endraw")?.trim_start_matches(is_space);
    let closes = sign(rest);
    let rest = rest[usize::from(closes.is_some())..].strip_prefix("%}")?;
    Some(RawEnd { length: tag.len() - rest.len(), opens, closes })
}

/// A text's content, with Python's escapes.
fn unescaped(quoted: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let Some(first) = escape.chars().next() else { break };
        let plain = match first {
            '\n' => Some(""),
            '\\' => Some("\\"),
            '\'' => Some("'"),
            '"' => Some("\""),
            'a' => Some("\u{7}"),
            'b' => Some("\u{8}"),
            'f' => Some("\u{c}"),
            'n' => Some("\n"),
            'r' => Some("\r"),
            't' => Some("\t"),
            'v' => Some("\u{b}"),
            _ => None,
        };
        let coded = match first {
            'x' => Some((1, 2, 16)),
            'u' => Some((1, 4, 16)),
            'U' => Some((1, 8, 16)),
            '0'..='7' => Some((
                0,
                escape.bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count(),
                8,
            )),
            _ => None,
        };
        rest = match (plain, coded) {
            (Some(plain), _) => {
                out.push_str(plain);
                &escape[first.len_utf8()..]
            }
            (None, Some((skipped, length, radix))) => {
                let digits = escape.get(skipped..skipped + length);
                let code = digits.and_then(|digits| u32::from_str_radix(digits, radix).ok());
                let Some(c) = code.and_then(char::from_u32) else {
                    return failed("a text has an escape that is no character");
                };
                out.push(c);
                &escape[skipped + length..]
            }
            (None, None) => {
                out.push('\\');
                out.push(first);
                &escape[first.len_utf8()..]
            }
        };
    }
    out.push_str(rest);
    Ok(out)
}
