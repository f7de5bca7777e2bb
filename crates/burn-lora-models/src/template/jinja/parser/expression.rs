//! Expressions, from what binds least to what binds most.

use super::Parser;
use crate::template::jinja::ast::{Arguments, Comparison, Expression, Operator, Post, Postfix};
use crate::template::jinja::fault::Fault;
use crate::template::jinja::lexer::Token;
use crate::template::jinja::text::Text;

impl Parser {
    /// One or, with commas between them, several; choices among them only where `choices`.
    pub(super) fn tuple(&mut self, choices: bool) -> Result<Expression, Fault> {
        let read = |parser: &mut Self| {
            if choices { parser.expression() } else { parser.deeper(Self::or) }
        };
        let first = read(self)?;
        if !self.skip(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while !self.ends_tuple() {
            items.push(read(self)?);
            if !self.skip(",") {
                break;
            }
        }
        Ok(Expression::Tuple(items))
    }

    fn ends_tuple(&self) -> bool {
        matches!(self.peek(), Token::PrintEnd | Token::BlockEnd | Token::End | Token::Sign(")"))
            || self.is_word("recursive")
    }

    pub(super) fn expression(&mut self) -> Result<Expression, Fault> {
        self.deeper(Self::choice)
    }

    fn choice(&mut self) -> Result<Expression, Fault> {
        let mut value = self.or()?;
        let mut pairs = Vec::new();
        while self.skip_word("if") {
            pairs.push((value, self.or()?));
            if !self.skip_word("else") {
                return Ok(Expression::Choose(pairs, None));
            }
            value = self.or()?;
        }
        if pairs.is_empty() {
            return Ok(value);
        }
        Ok(Expression::Choose(pairs, Some(Box::new(value))))
    }

    fn or(&mut self) -> Result<Expression, Fault> {
        self.joined("or", Self::and, Expression::Or)
    }

    fn and(&mut self) -> Result<Expression, Fault> {
        self.joined("and", Self::not, Expression::And)
    }

    /// Parts with a word between them, in one list however many they are; a part alone stays what it is.
    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Expression, Fault>,
        whole: fn(Vec<Expression>) -> Expression,
    ) -> Result<Expression, Fault> {
        let first = part(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut values = vec![first];
        while self.skip_word(word) {
            values.push(part(self)?);
        }
        Ok(whole(values))
    }

    fn not(&mut self) -> Result<Expression, Fault> {
        let mut count = 0;
        while self.skip_word("not") {
            count += 1;
        }
        let value = self.comparison()?;
        if count == 0 {
            return Ok(value);
        }
        Ok(Expression::Not { odd: count % 2 == 1, of: Box::new(value) })
    }

    fn comparison(&mut self) -> Result<Expression, Fault> {
        let first = self.sum()?;
        let mut others = Vec::new();
        loop {
            let comparison = match self.peek() {
                Token::Sign(sign) => match *sign {
                    "==" => Comparison::Equal,
                    "!=" => Comparison::Different,
                    "<" => Comparison::Less,
                    "<=" => Comparison::LessOrEqual,
                    ">" => Comparison::Greater,
                    ">=" => Comparison::GreaterOrEqual,
                    _ => break,
                },
                Token::Name(name) if name == "in" => Comparison::In,
                Token::Name(name) if name == "not" && self.word_follows("in") => {
                    self.next();
                    Comparison::NotIn
                }
                _ => break,
            };
            self.next();
            others.push((comparison, self.sum()?));
        }
        if others.is_empty() {
            return Ok(first);
        }
        Ok(Expression::Compare(Box::new(first), others))
    }

    fn word_follows(&self, word: &str) -> bool {
        let token = self.tokens.get(self.at + 1).map(|(token, _)| token);
        matches!(token, Some(Token::Name(name)) if name == word)
    }

    /// Operators of one rank, from left to right.
    fn chain(
        &mut self,
        operator: impl Fn(&str) -> Option<Operator>,
        next: impl Fn(&mut Self) -> Result<Expression, Fault>,
    ) -> Result<Expression, Fault> {
        let first = next(self)?;
        let mut others = Vec::new();
        while let Token::Sign(sign) = *self.peek() {
            let Some(operator) = operator(sign) else { break };
            self.next();
            others.push((operator, next(self)?));
        }
        if others.is_empty() {
            return Ok(first);
        }
        Ok(Expression::Chain(Box::new(first), others))
    }

    fn sum(&mut self) -> Result<Expression, Fault> {
        let operator = |sign: &str| match sign {
            "+" => Some(Operator::Add),
            "-" => Some(Operator::Subtract),
            _ => None,
        };
        self.chain(operator, Self::concatenation)
    }

    fn concatenation(&mut self) -> Result<Expression, Fault> {
        let first = self.product()?;
        let mut parts = vec![first];
        while self.skip("~") {
            parts.push(self.product()?);
        }
        match parts.pop() {
            Some(only) if parts.is_empty() => Ok(only),
            last => {
                parts.extend(last);
                Ok(Expression::Concat(parts))
            }
        }
    }

    fn product(&mut self) -> Result<Expression, Fault> {
        let operator = |sign: &str| match sign {
            "*" => Some(Operator::Multiply),
            "/" => Some(Operator::Divide),
            "//" => Some(Operator::FloorDivide),
            "%" => Some(Operator::Remainder),
            _ => None,
        };
        self.chain(operator, Self::power)
    }

    fn power(&mut self) -> Result<Expression, Fault> {
        let operator = |sign: &str| (sign == "**").then_some(Operator::Power);
        self.chain(operator, Self::signed)
    }

    fn signed(&mut self) -> Result<Expression, Fault> {
        let mut signs = Vec::new();
        while let Token::Sign(sign @ ("-" | "+")) = *self.peek() {
            signs.push(sign == "-");
            self.next();
        }
        let mut value = self.primary()?;
        // What belongs to the value comes first, then its sign, then filters and tests.
        if !signs.is_empty() {
            let own = self.steps(false)?;
            value = Expression::Signs(signs, Box::new(postfixed(value, own)));
        }
        let steps = self.steps(true)?;
        Ok(postfixed(value, steps))
    }

    fn primary(&mut self) -> Result<Expression, Fault> {
        let at = self.at;
        match self.next() {
            Token::Name(name) => Ok(match name.as_str() {
                "true" | "True" => Expression::Bool(true),
                "false" | "False" => Expression::Bool(false),
                "none" | "None" => Expression::None,
                name => {
                    for [more, named] in &mut self.more {
                        *more |= name == "varargs";
                        *named |= name == "kwargs";
                    }
                    Expression::Name(Text::given(name))
                }
            }),
            Token::Text(mut text) => {
                while let Token::Text(more) = self.peek() {
                    text.push_str(more);
                    self.next();
                }
                Ok(Expression::Text(Text::given(&text)))
            }
            Token::Int(number) => Ok(Expression::Int(number)),
            Token::Float(number) => Ok(Expression::Float(number)),
            Token::Sign("(") => {
                if self.skip(")") {
                    return Ok(Expression::Tuple(Vec::new()));
                }
                let value = self.tuple(true)?;
                self.expect(")")?;
                Ok(value)
            }
            Token::Sign("[") => {
                let mut items = Vec::new();
                self.separated("]", |parser| {
                    items.push(parser.expression()?);
                    Ok(())
                })?;
                Ok(Expression::List(items))
            }
            Token::Sign("{") => {
                let mut entries = Vec::new();
                self.separated("}", |parser| {
                    let key = parser.expression()?;
                    parser.expect(":")?;
                    entries.push((key, parser.expression()?));
                    Ok(())
                })?;
                Ok(Expression::Dict(entries))
            }
            _ => {
                self.at = at;
                self.unexpected("a value")
            }
        }
    }

    /// What is done with a value: attributes, items, calls, and filters and tests if those may follow.
    fn steps(&mut self, filters: bool) -> Result<Vec<Postfix>, Fault> {
        let mut steps = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.peek() {
                Token::Sign(".") => {
                    self.next();
                    match *self.peek() {
                        Token::Int(index) => {
                            self.next();
                            Post::Item(Expression::Int(index))
                        }
                        _ => Post::Attribute(self.name()?),
                    }
                }
                Token::Sign("[") => {
                    self.next();
                    let item = self.subscript()?;
                    self.expect("]")?;
                    item
                }
                Token::Sign("(") => {
                    self.next();
                    Post::Call(self.arguments()?)
                }
                Token::Sign("|") if filters => {
                    self.next();
                    self.filter()?
                }
                Token::Name(name) if filters && name == "is" => {
                    self.next();
                    self.test()?
                }
                _ => return Ok(steps),
            };
            steps.push(Postfix { line, kind });
        }
    }

    fn subscript(&mut self) -> Result<Post, Fault> {
        let mut parts = [None, None, None];
        let mut colons = 0;
        loop {
            if self.skip(":") {
                colons += 1;
                if colons == 3 {
                    return self.unexpected("`]`");
                }
            } else if *self.peek() == Token::Sign("]") || parts[colons].is_some() {
                break;
            } else if colons == 0 {
                parts[0] = Some(Box::new(self.tuple(true)?));
            } else {
                parts[colons] = Some(Box::new(self.expression()?));
            }
        }
        match parts {
            parts if colons > 0 => Ok(Post::Slice(parts)),
            [Some(item), ..] => Ok(Post::Item(*item)),
            _ => self.unexpected("an index"),
        }
    }

    /// Arguments from behind the bracket that opens them.
    fn arguments(&mut self) -> Result<Arguments, Fault> {
        let mut arguments = Arguments::default();
        self.separated(")", |parser| {
            if parser.skip("**") {
                arguments.more_named = Some(Box::new(parser.expression()?));
            } else if parser.skip("*") {
                arguments.more = Some(Box::new(parser.expression()?));
            } else if parser
                .tokens
                .get(parser.at + 1)
                .is_some_and(|next| next.0 == Token::Sign("="))
            {
                let name = parser.name()?;
                parser.expect("=")?;
                arguments.named.push((name, parser.expression()?));
            } else {
                arguments.positional.push(parser.expression()?);
            }
            Ok(())
        })?;
        Ok(arguments)
    }

    /// Filters of a block: the first without its bar if `bare`.
    pub(super) fn filters(&mut self, bare: bool) -> Result<Vec<Postfix>, Fault> {
        let mut filters = Vec::new();
        while (bare && filters.is_empty()) || self.skip("|") {
            let line = self.line();
            filters.push(Postfix { line, kind: self.filter()? });
        }
        Ok(filters)
    }

    fn filter(&mut self) -> Result<Post, Fault> {
        let name = self.name()?;
        let arguments = if self.skip("(") { self.arguments()? } else { Arguments::default() };
        Ok(Post::Filter(name, arguments))
    }

    /// A test, whose argument may stand without brackets.
    fn test(&mut self) -> Result<Post, Fault> {
        let negated = self.skip_word("not");
        let name = self.name()?;
        let follows = match self.peek() {
            Token::Name(word) => {
                !matches!(word.as_str(), "else" | "or" | "and" | "if" | "is" | "not" | "in")
            }
            Token::Text(_) | Token::Int(_) | Token::Float(_) => true,
            Token::Sign(sign) => matches!(*sign, "[" | "{"),
            _ => false,
        };
        let arguments = if self.skip("(") {
            self.arguments()?
        } else if follows {
            let value = self.deeper(|parser| {
                let value = parser.primary()?;
                Ok(postfixed(value, parser.steps(false)?))
            })?;
            Arguments { positional: vec![value], ..Arguments::default() }
        } else {
            Arguments::default()
        };
        Ok(Post::Test { name, arguments, negated })
    }
}

fn postfixed(value: Expression, steps: Vec<Postfix>) -> Expression {
    if steps.is_empty() { value } else { Expression::Postfix(Box::new(value), steps) }
}
