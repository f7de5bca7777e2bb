//! Calls: macros, functions, and what they return that changes.

use super::{NAMED, Object, Run, Scope, put};
use crate::template::jinja::arguments::{Args, of_text};
use crate::template::jinja::ast::{Expression, Macro, Post};
use crate::template::jinja::compare::undefined;
use crate::template::jinja::fault::{Cause, Fault, failed};
use crate::template::jinja::meter;
use crate::template::jinja::methods;
use crate::template::jinja::operators;
use crate::template::jinja::print;
use crate::template::jinja::text::{Text, TextMaker};
use crate::template::jinja::value::{DictMaker, Function, Kind, ListMaker, Value};
use crate::template::time;

/// The longest message of `raise_exception` that is passed on, in characters.
const LONGEST_MESSAGE: usize = 2000;

impl<'a> Run<'a> {
    pub(super) fn call(&mut self, value: &Value, args: Args) -> Result<Value, Fault> {
        match value {
            Value::Function(function) => self.function(*function, args),
            Value::Method(method) => methods::call(&method.0, &method.1, args),
            Value::Object(Kind::Macro, at) => self.call_macro(*at, args),
            Value::Object(Kind::Joiner, at) => match &mut self.objects[*at] {
                Object::Joiner { between, used: true } => Ok(between.clone()),
                Object::Joiner { used, .. } => {
                    *used = true;
                    Value::text("")
                }
                _ => Value::text(""),
            },
            Value::Loop(number) => self.recurse(*number, args),
            Value::Undefined(name) if &**name == "strftime_now" => Err(Cause::NoTime.into()),
            Value::Undefined(name) => undefined(name),
            other => failed(format!("a {} cannot be called", other.kind())),
        }
    }

    /// A call whose callee may call the body of a `call` block.
    pub(super) fn call_with(
        &mut self,
        call: &'a Expression,
        caller: Value,
    ) -> Result<Value, Fault> {
        let Expression::Postfix(value, steps) = call else { return failed("`call` needs a call") };
        let Some((last, before)) = steps.split_last() else { return failed("`call` needs a call") };
        let Post::Call(arguments) = &last.kind else { return failed("`call` needs a call") };
        let value = self.value(value)?;
        let callee = self.steps(value, before)?;
        let mut args = self.arguments(arguments)?;
        args.named.push((Text::given("caller"), caller));
        self.call(&callee, args)
    }

    fn function(&mut self, function: Function, args: Args) -> Result<Value, Fault> {
        match function {
            Function::Range => operators::range(args),
            Function::Dict => dict(args)?.dict(),
            Function::Namespace => {
                let Value::Dict(made) = dict(args)?.dict()? else { return Ok(Value::None) };
                let mut scope = Scope::new();
                for (name, value) in &made.entries {
                    put(&mut scope, print::soft(name)?, value.clone())?;
                }
                let items = scope.len();
                self.object(Kind::Namespace, Object::Namespace(scope), items)
            }
            Function::Joiner => {
                let [between] = args.bind("joiner", ["sep"])?;
                let between = between.map_or_else(|| Value::text(", "), Ok)?;
                self.object(Kind::Joiner, Object::Joiner { between, used: false }, 0)
            }
            Function::Cycler => {
                let items = args.positional;
                if items.is_empty() {
                    return failed("cycler: at least one item is needed");
                }
                let count = items.len();
                self.object(Kind::Cycler, Object::Cycler { items, at: 0 }, count)
            }
            Function::RaiseException => {
                let [message] = args.bind("raise_exception", ["message"])?;
                let message =
                    message.map_or(Ok(Text::given("")), |message| print::soft(&message))?;
                Err(Cause::Raised(message.chars().take(LONGEST_MESSAGE).collect()).into())
            }
            Function::StrftimeNow => {
                let [format] = args.bind("strftime_now", ["format"])?;
                let format = match format {
                    Some(format) => of_text("strftime_now", "format", &format)?,
                    None => return failed("strftime_now: `format` is missing"),
                };
                let Some(seconds) = self.time else { return Err(Cause::NoTime.into()) };
                // A directive of two characters becomes at most some twenty.
                let _room = meter::room(20 * format.len())?;
                match time::strftime(&format, seconds) {
                    Ok(text) => Value::text(&text),
                    Err(message) => failed(message),
                }
            }
        }
    }

    /// `cycler.next()`, `cycler.reset()`; `None` if there is no such method.
    pub(super) fn turn(&mut self, object: usize, name: &str) -> Result<Option<Value>, Fault> {
        let Object::Cycler { items, at } = &mut self.objects[object] else { return Ok(None) };
        match name {
            "next" => {
                let item = items[*at].clone();
                *at = (*at + 1) % items.len();
                Ok(Some(item))
            }
            "reset" => {
                *at = 0;
                Ok(Some(Value::None))
            }
            _ => Ok(None),
        }
    }

    /// A macro with what it sees where it is defined, beside the template's own variables.
    pub(super) fn closure(&mut self, number: usize) -> Result<Value, Fault> {
        let visible = &self.scopes[self.base.max(1).min(self.scopes.len())..];
        let count = visible.iter().map(Vec::len).sum();
        let _room = meter::room(count * NAMED)?;
        let captured: Scope = visible.iter().flatten().cloned().collect();
        self.object(Kind::Macro, Object::Macro { number, captured }, count)
    }

    fn call_macro(&mut self, object: usize, args: Args) -> Result<Value, Fault> {
        let _deeper = meter::deeper()?;
        let (number, captured) = match &self.objects[object] {
            Object::Macro { number, captured } => (*number, captured),
            _ => return failed("this cannot be called"),
        };
        let _room = meter::room(captured.len() * NAMED)?;
        let mut captured = captured.clone();
        let definition = &self.program.macros[number];
        // A macro can call itself; the body of a `call` block is named by nobody.
        if &*definition.name != "caller" {
            captured.push((definition.name.clone(), Value::Object(Kind::Macro, object)));
        }
        let base = std::mem::replace(&mut self.base, self.scopes.len());
        self.scopes.push(captured);
        self.scopes.push(Scope::new());
        let result = self.run_macro(definition, args);
        self.scopes.truncate(self.base);
        self.base = base;
        result
    }

    fn run_macro(&mut self, definition: &'a Macro, args: Args) -> Result<Value, Fault> {
        let name = &*definition.name;
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        for (parameter, default) in &definition.parameters {
            meter::steps(named.len() / 8)?;
            let given = named.iter().position(|(name, _)| **name == **parameter);
            let value = match (positional.next(), given, default) {
                (Some(_), Some(_), _) => {
                    return failed(format!("{name}: `{}` is given twice", &**parameter));
                }
                (Some(value), ..) => value,
                (None, Some(at), _) => named.remove(at).1,
                (None, None, Some(default)) => self.value(default)?,
                (None, None, None) => Value::Undefined(parameter.clone()),
            };
            self.declare(parameter.clone(), value)?;
        }
        if let Some(at) = named.iter().position(|(name, _)| &**name == "caller") {
            let (name, caller) = named.remove(at);
            self.declare(name, caller)?;
        }
        if definition.takes_more {
            let mut more = ListMaker::new();
            positional.try_for_each(|value| more.push(value))?;
            self.declare(Text::given("varargs"), more.tuple()?)?;
        } else if positional.next().is_some() {
            let most = definition.parameters.len();
            return failed(format!("{name}: at most {most} arguments are taken"));
        }
        if definition.takes_more_named {
            let mut more = DictMaker::new();
            for (name, value) in named {
                more.insert(Value::Text(name), value)?;
            }
            self.declare(Text::given("kwargs"), more.dict()?)?;
        } else if let Some((unknown, _)) = named.first() {
            return failed(format!("{name}: there is no parameter `{}`", &**unknown));
        }
        let mut out = TextMaker::new();
        self.body(&definition.body, &mut out)?;
        out.value()
    }
}

/// `dict(mapping or pairs, **more)`.
fn dict(args: Args) -> Result<DictMaker, Fault> {
    let mut made = DictMaker::new();
    match &args.positional[..] {
        [] => {}
        [Value::Dict(dict)] => {
            for (key, value) in &dict.entries {
                made.insert(key.clone(), value.clone())?;
            }
        }
        [pairs] => {
            for pair in &pairs.items()?.items {
                match &pair.items()?.items[..] {
                    [key, value] => made.insert(key.clone(), value.clone())?,
                    _ => return failed("dict: pairs of key and value are taken"),
                }
            }
        }
        _ => return failed("dict: at most one mapping is taken"),
    }
    for (name, value) in args.named {
        made.insert(Value::Text(name), value)?;
    }
    Ok(made)
}
