//! Attributes, items and slices of values, by Jinja's rules: an attribute is a method or else a key, an item a key or else a method.

use std::rc::Rc;

use super::arguments::int;
use super::compare::{Number, undefined};
use super::fault::{Fault, failed};
use super::meter;
use super::methods;
use super::text::{Text, TextMaker};
use super::value::{ListMaker, Value};

/// `value.name`, of what does not change.
pub(super) fn attribute(value: &Value, name: &Text) -> Result<Value, Fault> {
    meter::step()?;
    if methods::exists(value, name) {
        return Ok(Value::Method(Rc::new((value.clone(), name.clone()))));
    }
    let found = match value {
        Value::Undefined(name) => return undefined(name),
        Value::Dict(dict) => dict.named(name)?.cloned(),
        // What `groupby` makes is a pair whose parts have names.
        Value::Tuple(pair) if pair.items.len() == 2 && &**name == "grouper" => {
            pair.items.first().cloned()
        }
        Value::Tuple(pair) if pair.items.len() == 2 && &**name == "list" => {
            pair.items.get(1).cloned()
        }
        _ => None,
    };
    Ok(found.unwrap_or_else(|| Value::Undefined(name.clone())))
}

/// `value[key]`, of what does not change.
pub(super) fn item(value: &Value, key: &Value) -> Result<Value, Fault> {
    meter::step()?;
    let found = match (value, Number::of(key)) {
        (Value::Undefined(name), _) => return undefined(name),
        (Value::Dict(dict), _) => dict.get(key)?.cloned(),
        (Value::List(list) | Value::Tuple(list), Some(Number::Int(at))) => {
            place(at, list.items.len()).and_then(|at| list.items.get(at).cloned())
        }
        (Value::Text(text), Some(Number::Int(at))) => {
            meter::read(text.len())?;
            let c = place(at, text.chars().count()).and_then(|at| text.chars().nth(at));
            c.map(|c| Value::text(c.encode_utf8(&mut [0; 4]))).transpose()?
        }
        _ => None,
    };
    match (found, key) {
        (Some(found), _) => Ok(found),
        (None, Value::Text(name)) if methods::exists(value, name) => {
            Ok(Value::Method(Rc::new((value.clone(), name.clone()))))
        }
        (None, Value::Text(name)) => Ok(Value::Undefined(name.clone())),
        (None, _) => Ok(Value::Undefined(Text::given("an item"))),
    }
}

/// The place of an index, which counts from the end if it is negative.
fn place(at: i128, length: usize) -> Option<usize> {
    usize::try_from(if at < 0 { at + length as i128 } else { at }).ok()
}

/// `value[start:stop:step]`.
pub(super) fn slice(value: &Value, bounds: [Option<Value>; 3]) -> Result<Value, Fault> {
    let length = match value {
        Value::List(list) | Value::Tuple(list) => list.items.len(),
        Value::Text(text) => {
            meter::read(text.len())?;
            text.chars().count()
        }
        Value::Undefined(name) => return undefined(name),
        other => return failed(format!("a {} cannot be sliced", other.kind())),
    };
    let mut numbers = [None; 3];
    for (number, bound) in numbers.iter_mut().zip(&bounds) {
        *number = match bound {
            None | Some(Value::None) => None,
            Some(bound) => Some(int("a slice", "a bound", bound)?),
        };
    }
    let [start, stop, step] = numbers;
    let places = Places::new(start, stop, step.unwrap_or(1), length as i128)?;
    match value {
        Value::List(list) => places.of(&list.items)?.list(),
        Value::Tuple(tuple) => places.of(&tuple.items)?.tuple(),
        Value::Text(text) => {
            let mut out = TextMaker::new();
            if places.step == 1 {
                let tail = behind(text, places.first as usize);
                out.push(&tail[..tail.len() - behind(tail, places.count).len()])?;
            } else {
                meter::letters(text.len())?;
                let _room = meter::room(size_of::<char>() * length)?;
                let chars: Vec<char> = text.chars().collect();
                places.all().try_for_each(|at| out.push_char(chars[at]))?;
            }
            out.value()
        }
        other => failed(format!("a {} cannot be sliced", other.kind())),
    }
}

/// A text behind its first characters.
fn behind(text: &str, count: usize) -> &str {
    let mut chars = text.chars();
    if let Some(before) = count.checked_sub(1) {
        chars.nth(before);
    }
    chars.as_str()
}

/// The places that a slice takes.
struct Places {
    first: i128,
    count: usize,
    step: i128,
}

impl Places {
    fn new(
        start: Option<i128>,
        stop: Option<i128>,
        step: i128,
        length: i128,
    ) -> Result<Self, Fault> {
        if step == 0 {
            return failed("the step of a slice must not be 0");
        }
        let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let bound = |at: Option<i128>, default: i128| match at {
            None => default,
            Some(at) if at < 0 => at.saturating_add(length).max(lowest),
            Some(at) => at.min(highest),
        };
        let first = bound(start, if step > 0 { lowest } else { highest });
        let behind = bound(stop, if step > 0 { highest } else { lowest });
        let span = if step > 0 { behind - first } else { first - behind };
        let stride = step.saturating_abs();
        // No more than there are items.
        let count = if span <= 0 { 0 } else { ((span - 1) / stride + 1) as usize };
        Ok(Self { first, count, step })
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        let (first, step) = (self.first, self.step);
        // A step beyond the list is not taken more than once.
        (0..self.count).map(move |index| (first + index as i128 * step) as usize)
    }

    fn of(&self, items: &[Value]) -> Result<ListMaker, Fault> {
        let mut list = ListMaker::new();
        self.all().try_for_each(|at| list.push(items[at].clone()))?;
        Ok(list)
    }
}
