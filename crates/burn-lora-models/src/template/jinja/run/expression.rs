//! The value of an expression.

use super::{Object, Run, place};
use crate::template::jinja::access;
use crate::template::jinja::arguments::Args;
use crate::template::jinja::ast::{Arguments, Comparison, Expression, Post, Postfix};
use crate::template::jinja::checks;
use crate::template::jinja::compare;
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::filters;
use crate::template::jinja::meter;
use crate::template::jinja::methods;
use crate::template::jinja::operators;
use crate::template::jinja::print;
use crate::template::jinja::text::{Text, TextMaker};
use crate::template::jinja::value::{DictMaker, Function, Kind, ListMaker, Value};

/// The most arguments of one call, those of `*values` among them.
const MOST_ARGUMENTS: usize = 1000;

impl<'a> Run<'a> {
    pub(super) fn value(&mut self, expression: &'a Expression) -> Result<Value, Fault> {
        meter::step()?;
        match expression {
            Expression::None => Ok(Value::None),
            Expression::Bool(value) => Ok(Value::Bool(*value)),
            Expression::Int(number) => Ok(Value::Int(*number)),
            Expression::Float(number) => Ok(Value::Float(*number)),
            Expression::Text(text) => Ok(Value::Text(text.clone())),
            Expression::Name(name) => self.lookup(name),
            compound => {
                let _deeper = meter::deeper()?;
                self.compound(compound)
            }
        }
    }

    fn compound(&mut self, expression: &'a Expression) -> Result<Value, Fault> {
        match expression {
            Expression::List(items) => self.all(items)?.list(),
            Expression::Tuple(items) => self.all(items)?.tuple(),
            Expression::Dict(entries) => {
                let mut dict = DictMaker::new();
                for (key, value) in entries {
                    let key = self.value(key)?;
                    dict.insert(key, self.value(value)?)?;
                }
                dict.dict()
            }
            Expression::Postfix(value, steps) => {
                let value = self.value(value)?;
                self.steps(value, steps)
            }
            Expression::Signs(signs, value) => {
                let mut value = self.value(value)?;
                for minus in signs.iter().rev() {
                    meter::step()?;
                    value = operators::signed(*minus, &value)?;
                }
                Ok(value)
            }
            Expression::Not { odd, of } => Ok(Value::Bool(self.value(of)?.is_true() != *odd)),
            Expression::And(values) => self.until(values, false),
            Expression::Or(values) => self.until(values, true),
            Expression::Compare(first, others) => self.compare(first, others),
            Expression::Chain(first, others) => {
                let mut value = self.value(first)?;
                for (operator, other) in others {
                    let other = self.value(other)?;
                    value = operators::apply(*operator, &value, &other)?;
                }
                Ok(value)
            }
            Expression::Concat(parts) => {
                let mut text = TextMaker::new();
                for part in parts {
                    print::write(&self.value(part)?, &mut text)?;
                }
                text.value()
            }
            Expression::Choose(pairs, otherwise) => {
                for (value, condition) in pairs {
                    if self.value(condition)?.is_true() {
                        return self.value(value);
                    }
                }
                match otherwise {
                    Some(value) => self.value(value),
                    None => Ok(Value::Undefined(Text::given("a choice without `else`"))),
                }
            }
            // Those that are no compounds have a value of their own.
            simple => self.value(simple),
        }
    }

    fn all(&mut self, expressions: &'a [Expression]) -> Result<ListMaker, Fault> {
        let mut list = ListMaker::new();
        for expression in expressions {
            list.push(self.value(expression)?)?;
        }
        Ok(list)
    }

    /// The first value that is as true as `stop`, or else the last.
    fn until(&mut self, values: &'a [Expression], stop: bool) -> Result<Value, Fault> {
        let mut last = Value::None;
        for value in values {
            last = self.value(value)?;
            if last.is_true() == stop {
                break;
            }
        }
        Ok(last)
    }

    fn compare(
        &mut self,
        first: &'a Expression,
        others: &'a [(Comparison, Expression)],
    ) -> Result<Value, Fault> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let mut left = self.value(first)?;
        for (comparison, right) in others {
            let right = self.value(right)?;
            let order = |orders: &[std::cmp::Ordering]| {
                Ok::<_, Fault>(compare::order(&left, &right)?.is_some_and(|o| orders.contains(&o)))
            };
            let holds = match comparison {
                Comparison::Equal => compare::equal(&left, &right)?,
                Comparison::Different => !compare::equal(&left, &right)?,
                Comparison::Less => order(&[Less])?,
                Comparison::LessOrEqual => order(&[Less, Equal])?,
                Comparison::Greater => order(&[Greater])?,
                Comparison::GreaterOrEqual => order(&[Greater, Equal])?,
                Comparison::In => compare::contains(&right, &left)?,
                Comparison::NotIn => !compare::contains(&right, &left)?,
            };
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    /// What is done with a value, one after the other.
    pub(super) fn steps(&mut self, value: Value, steps: &'a [Postfix]) -> Result<Value, Fault> {
        let mut value = value;
        let mut rest = steps.iter();
        while let Some(step) = rest.next() {
            meter::step()?;
            // A method that is called at once needs no value of its own.
            let called = match (&step.kind, rest.as_slice().first().map(|next| &next.kind)) {
                (Post::Attribute(name), Some(Post::Call(arguments))) => Some((name, arguments)),
                _ => None,
            };
            let done = match called {
                Some((name, arguments)) => {
                    rest.next();
                    self.call_method(value, name, arguments)
                }
                None => self.one_step(value, &step.kind),
            };
            value = done.map_err(|fault| fault.at(step.line))?;
        }
        Ok(value)
    }

    fn one_step(&mut self, value: Value, step: &'a Post) -> Result<Value, Fault> {
        match step {
            Post::Attribute(name) => self.attribute(&value, name),
            Post::Item(key) => {
                let key = self.value(key)?;
                match (&value, &key) {
                    (Value::Object(..) | Value::Loop(_), Value::Text(name)) => {
                        self.attribute(&value, name)
                    }
                    _ => access::item(&value, &key),
                }
            }
            Post::Slice(bounds) => {
                let mut values = [const { None }; 3];
                for (value, bound) in values.iter_mut().zip(bounds) {
                    *value = bound.as_deref().map(|bound| self.value(bound)).transpose()?;
                }
                access::slice(&value, values)
            }
            Post::Call(arguments) => {
                let args = self.arguments(arguments)?;
                self.call(&value, args)
            }
            Post::Filter(name, arguments) => {
                let args = self.arguments(arguments)?;
                filters::apply(name, value, args)
            }
            Post::Test { name, arguments, negated } => {
                let args = self.arguments(arguments)?;
                Ok(Value::Bool(checks::holds(name, &value, args)? != *negated))
            }
        }
    }

    fn attribute(&mut self, value: &Value, name: &Text) -> Result<Value, Fault> {
        match value {
            Value::Loop(number) => self.loop_attribute(*number, name),
            Value::Object(Kind::Namespace, at) => match &self.objects[*at] {
                Object::Namespace(scope) => Ok(match place(scope, name)? {
                    Some(at) => scope[at].1.clone(),
                    None => Value::Undefined(name.clone()),
                }),
                _ => Ok(Value::Undefined(name.clone())),
            },
            Value::Object(Kind::Macro, at) if &**name == "name" => match &self.objects[*at] {
                Object::Macro { number, .. } => {
                    Ok(Value::Text(self.program.macros[*number].name.clone()))
                }
                _ => Ok(Value::Undefined(name.clone())),
            },
            Value::Object(Kind::Cycler, at) if &**name == "current" => match &self.objects[*at] {
                Object::Cycler { items, at } => Ok(items[*at].clone()),
                _ => Ok(Value::Undefined(name.clone())),
            },
            value => access::attribute(value, name),
        }
    }

    fn call_method(
        &mut self,
        value: Value,
        name: &'a Text,
        arguments: &'a Arguments,
    ) -> Result<Value, Fault> {
        let args = self.arguments(arguments)?;
        match value {
            Value::Loop(number) => {
                if let Some(done) = self.loop_method(number, name, &args)? {
                    return Ok(done);
                }
            }
            Value::Object(Kind::Cycler, at) => {
                if let Some(done) = self.turn(at, name)? {
                    return Ok(done);
                }
            }
            Value::Function(Function::Dict) if &**name == "fromkeys" => return from_keys(args),
            _ if methods::exists(&value, name) => return methods::call(&value, name, args),
            _ => {}
        }
        let attribute = self.attribute(&value, name)?;
        if attribute.is_undefined() {
            return failed(format!("a {} has no method `{}`", value.kind(), &**name));
        }
        self.call(&attribute, args)
    }

    /// The values of what stands in the brackets of a call.
    pub(super) fn arguments(&mut self, arguments: &'a Arguments) -> Result<Args, Fault> {
        let mut args = Args::default();
        for argument in &arguments.positional {
            args.positional.push(self.value(argument)?);
        }
        for (name, argument) in &arguments.named {
            args.named.push((name.clone(), self.value(argument)?));
        }
        if let Some(more) = &arguments.more {
            let items = self.value(more)?.items()?;
            args.positional.extend(items.items.iter().take(MOST_ARGUMENTS + 1).cloned());
        }
        if let Some(more) = &arguments.more_named {
            match self.value(more)? {
                Value::Dict(dict) => {
                    for (key, value) in dict.entries.iter().take(MOST_ARGUMENTS + 1) {
                        let Value::Text(name) = key else {
                            return failed("the names of arguments must be texts");
                        };
                        args.named.push((name.clone(), value.clone()));
                    }
                }
                other => return failed(format!("`**` takes a dictionary, not {}", other.kind())),
            }
        }
        let count = args.positional.len() + args.named.len();
        if count > MOST_ARGUMENTS && (arguments.more.is_some() || arguments.more_named.is_some()) {
            return failed(format!(
                "a call takes at most {MOST_ARGUMENTS} arguments by `*` and `**`"
            ));
        }
        Ok(args)
    }
}

/// `dict.fromkeys(keys, value)`.
fn from_keys(args: Args) -> Result<Value, Fault> {
    let [keys, value] = args.bind("dict.fromkeys", ["iterable", "value"])?;
    let Some(keys) = keys else { return failed("dict.fromkeys: `iterable` is missing") };
    let value = value.unwrap_or(Value::None);
    let mut made = DictMaker::new();
    for key in &keys.items()?.items {
        made.insert(key.clone(), value.clone())?;
    }
    made.dict()
}
