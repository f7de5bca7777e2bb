//! Which values are equal, which comes first, and which holds which.

use std::cmp::Ordering;

use super::fault::{Fault, failed};
use super::meter;
use super::value::{Items, Value};

/// A number, which truths are as well.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Int(i128::from(*value))),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Float(value) => Some(Self::Float(*value)),
            _ => None,
        }
    }

    pub(super) fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
}

/// Python's `==`.
pub(super) fn equal(a: &Value, b: &Value) -> Result<bool, Fault> {
    meter::step()?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(b) == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Value::Text(a), Value::Text(b)) => {
            a.len() == b.len() && {
                meter::read(a.len())?;
                **a == **b
            }
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            if a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, value) in &a.entries {
                match b.get(key)? {
                    Some(other) if equal(value, other)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::None, Value::None) | (Value::Undefined(_), Value::Undefined(_)) => true,
        (Value::Function(a), Value::Function(b)) => a == b,
        (Value::Object(_, a), Value::Object(_, b)) | (Value::Loop(a), Value::Loop(b)) => a == b,
        _ => false,
    })
}

/// Which comes first; `None` where neither does, as with what is not a number.
pub(super) fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, Fault> {
    meter::step()?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(b));
    }
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => {
            meter::read(a.len().min(b.len()))?;
            Ok(Some((**a).cmp(&**b)))
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => items(a, b),
        (Value::Undefined(name), _) | (_, Value::Undefined(name)) => undefined(name),
        _ => failed(format!("{} and {} cannot be put in order", a.kind(), b.kind())),
    }
}

fn items(a: &Items, b: &Items) -> Result<Option<Ordering>, Fault> {
    for (a, b) in a.items.iter().zip(&b.items) {
        if !equal(a, b)? {
            return order(a, b);
        }
    }
    Ok(Some(a.items.len().cmp(&b.items.len())))
}

/// Python's `in`.
pub(super) fn contains(container: &Value, item: &Value) -> Result<bool, Fault> {
    match container {
        Value::Text(text) => match item {
            Value::Text(part) => {
                meter::search(text.len() + part.len())?;
                Ok(text.contains(&**part))
            }
            Value::Undefined(name) => undefined(name),
            other => failed(format!("a text cannot hold a value of the type {}", other.kind())),
        },
        Value::Dict(dict) => Ok(dict.get(item)?.is_some()),
        Value::List(items) | Value::Tuple(items) => {
            for known in &items.items {
                if equal(known, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Undefined(_) => Ok(false),
        other => failed(format!("a value of the type {} holds nothing", other.kind())),
    }
}

/// The refusal to use what is not there.
pub(super) fn undefined<T>(name: &str) -> Result<T, Fault> {
    let name: String = name.chars().take(60).collect();
    failed(format!("`{name}` is undefined"))
}

/// Values with the keys that they are put in order by.
pub(super) type Keyed = Vec<(Value, Value)>;

/// Puts values in order by their keys, and keeps the order of those whose keys are equal.
///
/// The standard library's sorts may panic where an order is none, as that of numbers with NaN among them; this merges.
pub(super) fn sort(mut keyed: Keyed, reverse: bool) -> Result<Keyed, Fault> {
    let _room = meter::room(size_of::<(Value, Value)>().saturating_mul(keyed.len()))?;
    let mut width = 1;
    while width < keyed.len() {
        let mut merged = Vec::with_capacity(keyed.len());
        let mut rest = keyed.into_iter();
        loop {
            let left: Vec<_> = rest.by_ref().take(width).collect();
            let right: Vec<_> = rest.by_ref().take(width).collect();
            if left.is_empty() {
                break;
            }
            merge(left, right, reverse, &mut merged)?;
        }
        keyed = merged;
        width *= 2;
    }
    Ok(keyed)
}

fn merge(left: Keyed, right: Keyed, reverse: bool, merged: &mut Keyed) -> Result<(), Fault> {
    let first = if reverse { Ordering::Greater } else { Ordering::Less };
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if order(&b.0, &a.0)? == Some(first) { &mut right } else { &mut left };
        merged.extend(next.next());
    }
    merged.extend(left.chain(right));
    Ok(())
}
