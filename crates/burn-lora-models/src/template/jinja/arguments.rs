//! What a call was given, and which parameter each argument is for.

use super::compare::{Number, undefined};
use super::fault::{Fault, failed};
use super::text::Text;
use super::value::Value;

/// The arguments of a call.
#[derive(Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Text, Value)>,
}

impl Args {
    /// The arguments in the order of the parameters.
    pub(super) fn bind<const N: usize>(
        self,
        call: &str,
        names: [&str; N],
    ) -> Result<[Option<Value>; N], Fault> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            return failed(format!("{call}: at most {N} arguments are taken"));
        }
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|known| **known == *name) {
                Some(at) if bound[at].is_none() => bound[at] = Some(value),
                Some(_) => return failed(format!("{call}: `{}` is given twice", &*name)),
                None => return failed(format!("{call}: there is no parameter `{}`", &*name)),
            }
        }
        Ok(bound)
    }
}

/// A whole number.
pub(super) fn int(call: &str, name: &str, value: &Value) -> Result<i128, Fault> {
    match Number::of(value) {
        Some(Number::Int(number)) => Ok(number),
        _ => wrong(call, name, "a whole number", value),
    }
}

/// A whole number that counts something; less than nothing is nothing.
pub(super) fn count(call: &str, name: &str, value: &Value) -> Result<usize, Fault> {
    let number = int(call, name, value)?.max(0);
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// A text.
pub(super) fn of_text(call: &str, name: &str, value: &Value) -> Result<Text, Fault> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        _ => wrong(call, name, "a text", value),
    }
}

/// What a call cannot do without.
pub(super) fn needed(call: &str, name: &str, value: Option<Value>) -> Result<Value, Fault> {
    match value {
        Some(value) => Ok(value),
        None => failed(format!("{call}: `{name}` is missing")),
    }
}

fn wrong<T>(call: &str, name: &str, wanted: &str, value: &Value) -> Result<T, Fault> {
    match value {
        Value::Undefined(name) => undefined(name),
        value => failed(format!("{call}: `{name}` must be {wanted}, not {}", value.kind())),
    }
}
