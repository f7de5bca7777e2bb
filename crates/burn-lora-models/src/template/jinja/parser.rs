//! Tokens to a tree: statements here, expressions in [`expression`].

mod expression;

use super::ast::{Expression, For, Kind, Macro, Post, Program, Statement, Target};
use super::fault::{Fault, failed};
use super::lexer::{Token, tokens};
use super::text::Text;

/// How deep blocks and brackets may stand in each other. It bounds the stack that reading, running and freeing a template take.
const MAX_DEPTH: usize = 100;

impl Program {
    /// A template from its text.
    pub(in crate::template) fn parse(source: &str) -> Result<Self, Fault> {
        let mut parser = Parser {
            tokens: tokens(source)?,
            at: 0,
            depth: 0,
            macros: Vec::new(),
            more: Vec::new(),
        };
        let body = parser.body(&[]).map_err(|fault| fault.at(parser.line()))?.0;
        let macros = parser.macros.into_iter().flatten().collect();
        Ok(Self { body, macros })
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
    /// By number; `None` while one is read.
    macros: Vec<Option<Macro>>,
    /// Of each macro that is being read, whether it names `varargs` and `kwargs`.
    more: Vec<[bool; 2]>,
}

impl Parser {
    fn peek(&self) -> &Token {
        // The last token is `End`, which is never passed.
        &self.tokens[self.at].0
    }

    fn line(&self) -> usize {
        self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn skip(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if found {
            self.next();
        }
        found
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if name == word)
    }

    fn skip_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.skip(sign) { Ok(()) } else { self.unexpected(&format!("`{sign}`")) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Fault> {
        if self.skip_word(word) { Ok(()) } else { self.unexpected(&format!("`{word}`")) }
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, Fault> {
        let found = match self.peek() {
            Token::Name(name) => format!("`{name}`"),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::Text(_) => "a text".to_owned(),
            Token::Int(_) | Token::Float(_) => "a number".to_owned(),
            Token::PrintEnd | Token::BlockEnd => "the end of the tag".to_owned(),
            Token::End => "the end of the template".to_owned(),
            Token::Data(_) | Token::PrintBegin | Token::BlockBegin => "text".to_owned(),
        };
        failed(format!("unexpected {found}, expected {expected}"))
    }

    fn name(&mut self) -> Result<Text, Fault> {
        match self.peek() {
            Token::Name(name) => {
                let name = Text::given(name);
                self.next();
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return failed(format!(
                "blocks and brackets are nested deeper than {MAX_DEPTH} levels"
            ));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Statements up to a tag with one of these words, which is read up to behind the word.
    fn body(&mut self, ends: &[&str]) -> Result<(Vec<Statement>, String), Fault> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.next() {
                Token::Data(text) => Kind::Data(Text::given(&text)),
                Token::PrintBegin => {
                    let value = self.tuple(true)?;
                    if !matches!(self.peek(), Token::PrintEnd) {
                        return self.unexpected("the end of the tag");
                    }
                    self.next();
                    Kind::Print(value)
                }
                Token::BlockBegin => {
                    let Token::Name(word) = self.peek().clone() else {
                        return self.unexpected("the name of a tag");
                    };
                    self.next();
                    if ends.contains(&word.as_str()) {
                        return Ok((body, word));
                    }
                    self.deeper(|parser| parser.statement(&word))?
                }
                _ if ends.is_empty() => return Ok((body, String::new())),
                _ => return failed(format!("the template ends before `{}`", ends[ends.len() - 1])),
            };
            body.push(Statement { line, kind });
        }
    }

    /// The end of a tag.
    fn close(&mut self) -> Result<(), Fault> {
        self.skip(":");
        match self.peek() {
            Token::BlockEnd => {
                self.next();
                Ok(())
            }
            _ => self.unexpected("the end of the tag"),
        }
    }

    /// The body of a block up to its end tag, that tag included.
    fn block(&mut self, end: &str) -> Result<Vec<Statement>, Fault> {
        self.close()?;
        Ok(self.body(&[end])?.0)
    }

    fn statement(&mut self, word: &str) -> Result<Kind, Fault> {
        let kind = match word {
            "if" => self.condition()?,
            "for" => self.for_loop()?,
            "set" => self.set()?,
            "macro" => {
                let name = self.name()?;
                self.expect("(")?;
                Kind::Macro(self.macro_of(name, "endmacro")?)
            }
            "call" => self.call()?,
            "filter" => {
                let filters = self.filters(true)?;
                Kind::FilterBlock { filters, body: self.block("endfilter")? }
            }
            "with" => {
                let mut variables = Vec::new();
                while !matches!(self.peek(), Token::BlockEnd) {
                    if !variables.is_empty() {
                        self.expect(",")?;
                    }
                    let target = self.target()?;
                    self.expect("=")?;
                    variables.push((target, self.expression()?));
                }
                Kind::With(variables, self.block("endwith")?)
            }
            "generation" => Kind::Scope(self.block("endgeneration")?),
            "autoescape" => {
                if !matches!(self.expression()?, Expression::Bool(false)) {
                    return failed("nothing is escaped: `autoescape` can be false only");
                }
                Kind::Scope(self.block("endautoescape")?)
            }
            "block" => {
                self.name()?;
                while self.skip_word("scoped") || self.skip_word("required") {}
                let body = self.block("endblock")?;
                // The name may stand once more.
                if matches!(self.peek(), Token::Name(_)) {
                    self.next();
                }
                Kind::Block(body)
            }
            "do" => Kind::Do(self.tuple(true)?),
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "include" | "import" | "extends" | "from" => {
                while !matches!(self.peek(), Token::BlockEnd | Token::End) {
                    self.next();
                }
                Kind::Include
            }
            word => return failed(format!("unknown tag `{word}`")),
        };
        self.close()?;
        Ok(kind)
    }

    fn condition(&mut self) -> Result<Kind, Fault> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(false)?;
            self.close()?;
            let (body, end) = self.body(&["elif", "else", "endif"])?;
            branches.push((condition, body));
            match end.as_str() {
                "elif" => {}
                "else" => {
                    let otherwise = self.block("endif")?;
                    return Ok(Kind::If { branches, otherwise });
                }
                _ => return Ok(Kind::If { branches, otherwise: Vec::new() }),
            }
        }
    }

    fn for_loop(&mut self) -> Result<Kind, Fault> {
        let target = self.target()?;
        self.expect_word("in")?;
        let over = self.tuple(false)?;
        let condition = if self.skip_word("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_word("recursive");
        self.close()?;
        let (body, end) = self.body(&["else", "endfor"])?;
        let otherwise = if end == "else" { self.block("endfor")? } else { Vec::new() };
        let node = For { target, over, condition, recursive, body, otherwise };
        Ok(Kind::For(Box::new(node)))
    }

    fn set(&mut self) -> Result<Kind, Fault> {
        let target = self.target()?;
        if self.skip("=") {
            return Ok(Kind::Set(target, self.tuple(true)?));
        }
        let filters = self.filters(false)?;
        Ok(Kind::SetBlock { target, filters, body: self.block("endset")? })
    }

    fn call(&mut self) -> Result<Kind, Fault> {
        // The parameters of the body come before the call, which the body stands behind.
        let parameters = if self.skip("(") { self.parameters()? } else { Vec::new() };
        let line = self.line();
        let call = self.expression()?;
        let is_call = matches!(&call, Expression::Postfix(_, steps)
            if matches!(steps.last().map(|step| &step.kind), Some(Post::Call(_))));
        if !is_call {
            return failed("`call` needs a call").map_err(|fault: Fault| fault.at(line));
        }
        let macro_of_body = self.macro_with(Text::given("caller"), parameters, "endcall")?;
        Ok(Kind::Call { macro_of_body, call })
    }

    /// A macro from behind the bracket that opens its parameters.
    fn macro_of(&mut self, name: Text, end: &str) -> Result<usize, Fault> {
        let parameters = self.parameters()?;
        self.macro_with(name, parameters, end)
    }

    fn macro_with(
        &mut self,
        name: Text,
        parameters: Vec<(Text, Option<Expression>)>,
        end: &str,
    ) -> Result<usize, Fault> {
        let number = self.macros.len();
        self.macros.push(None);
        self.more.push([false; 2]);
        let body = self.block(end)?;
        let [takes_more, takes_more_named] = self.more.pop().unwrap_or_default();
        self.macros[number] = Some(Macro { name, parameters, body, takes_more, takes_more_named });
        Ok(number)
    }

    /// What stands between commas up to a sign, before which there may be one more.
    fn separated(
        &mut self,
        end: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !self.skip(end) {
            item(self)?;
            if self.skip(end) {
                break;
            }
            self.expect(",")?;
        }
        Ok(())
    }

    fn parameters(&mut self) -> Result<Vec<(Text, Option<Expression>)>, Fault> {
        let mut parameters = Vec::new();
        self.separated(")", |parser| {
            let name = parser.name()?;
            let default = if parser.skip("=") { Some(parser.expression()?) } else { None };
            parameters.push((name, default));
            Ok(())
        })?;
        Ok(parameters)
    }

    /// What a value is put into: a name, an attribute of one, several with commas between them.
    fn target(&mut self) -> Result<Target, Fault> {
        let mut targets = Vec::new();
        let mut several = false;
        loop {
            if self.skip("(") {
                targets.push(self.deeper(Self::target)?);
                self.expect(")")?;
            } else {
                let name = self.name()?;
                targets.push(if self.skip(".") {
                    Target::Attribute(name, self.name()?)
                } else {
                    Target::Name(name)
                });
            }
            if !self.skip(",") {
                break;
            }
            several = true;
            if self.is_word("in") || matches!(self.peek(), Token::Sign("=" | ")")) {
                break;
            }
        }
        match targets.pop() {
            Some(only) if !several => Ok(only),
            last => {
                targets.extend(last);
                Ok(Target::Several(targets))
            }
        }
    }
}
