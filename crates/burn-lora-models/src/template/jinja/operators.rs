//! Python's arithmetic, and what it does with texts and lists.

use super::arguments::Args;
use super::ast::Operator;
use super::compare::{Number, undefined};
use super::fault::{Fault, failed};
use super::format::percent;
use super::text::TextMaker;
use super::value::{ListMaker, Value};

/// `left operator right`.
pub(super) fn apply(operator: Operator, left: &Value, right: &Value) -> Result<Value, Fault> {
    if let (Operator::Remainder, Value::Text(format)) = (operator, left) {
        return percent::format(format, right);
    }
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return numbers(operator, left, right);
    }
    match (operator, left, right) {
        (_, Value::Undefined(name), _) | (_, _, Value::Undefined(name)) => undefined(name),
        (Operator::Add, Value::Text(a), Value::Text(b)) => {
            let mut text = TextMaker::new();
            if a.is_escaped() == b.is_escaped() {
                text.push(a)?;
                text.push(b)?;
                return if a.is_escaped() { text.escaped() } else { text.value() };
            }
            for part in [a, b] {
                if part.is_escaped() { text.push(part)? } else { text.push_escaped(part)? }
            }
            text.escaped()
        }
        (Operator::Add, Value::List(a), Value::List(b)) => joined(&a.items, &b.items)?.list(),
        (Operator::Add, Value::Tuple(a), Value::Tuple(b)) => joined(&a.items, &b.items)?.tuple(),
        (Operator::Multiply, value, times) | (Operator::Multiply, times, value)
            if matches!(value, Value::Text(_) | Value::List(_) | Value::Tuple(_))
                && matches!(times, Value::Int(_) | Value::Bool(_)) =>
        {
            repeated(value, times)
        }
        _ => failed(format!(
            "unsupported operand types for {}: {} and {}",
            operator.sign(),
            left.kind(),
            right.kind()
        )),
    }
}

fn joined(a: &[Value], b: &[Value]) -> Result<ListMaker, Fault> {
    let mut list = ListMaker::of(a)?;
    list.extend(b)?;
    Ok(list)
}

fn repeated(value: &Value, times: &Value) -> Result<Value, Fault> {
    let times = match Number::of(times) {
        Some(Number::Int(times)) => usize::try_from(times.max(0)).unwrap_or(usize::MAX),
        _ => 0,
    };
    let items = |items: &[Value]| -> Result<ListMaker, Fault> {
        let mut list = ListMaker::new();
        for _ in 0..if items.is_empty() { 0 } else { times } {
            list.extend(items)?;
        }
        Ok(list)
    };
    match value {
        Value::Text(text) => {
            let mut out = TextMaker::new();
            out.push_times(text, times)?;
            out.value()
        }
        Value::List(list) => items(&list.items)?.list(),
        Value::Tuple(tuple) => items(&tuple.items)?.tuple(),
        other => failed(format!("a {} cannot be repeated", other.kind())),
    }
}

fn numbers(operator: Operator, left: Number, right: Number) -> Result<Value, Fault> {
    if let (Number::Int(a), Number::Int(b)) = (left, right) {
        return integers(operator, a, b);
    }
    let (a, b) = (left.float(), right.float());
    let divides =
        matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder);
    if divides && b == 0.0 {
        return failed("division by zero");
    }
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::FloorDivide => divided(a, b).0,
        Operator::Remainder => divided(a, b).1,
        Operator::Power => {
            let power = a.powf(b);
            if !power.is_finite() && a.is_finite() && b.is_finite() {
                return failed("the power is no number that can be written");
            }
            power
        }
    }))
}

/// Quotient and rest of floats, as CPython computes them.
fn divided(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0.0_f64.copysign(b);
    } else if (rest < 0.0) != (b < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64.copysign(a / b), rest);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

fn integers(operator: Operator, a: i128, b: i128) -> Result<Value, Fault> {
    let divides =
        matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder);
    if divides && b == 0 {
        return failed("division by zero");
    }
    let result = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => return Ok(Value::Float(a as f64 / b as f64)),
        Operator::FloorDivide => a.checked_div_euclid(b).map(|_| {
            let quotient = a.wrapping_div(b);
            quotient - i128::from(a.wrapping_rem(b) != 0 && (a < 0) != (b < 0))
        }),
        Operator::Remainder => a
            .checked_rem(b)
            .map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }),
        Operator::Power if b < 0 => return Ok(Value::Float((a as f64).powf(b as f64))),
        Operator::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
    };
    match result {
        Some(number) => Ok(Value::Int(number)),
        None => failed("a whole number has more than 128 bits"),
    }
}

/// `-value`, or `+value`.
pub(super) fn signed(minus: bool, value: &Value) -> Result<Value, Fault> {
    match (Number::of(value), value) {
        (Some(Number::Int(number)), _) if minus => match number.checked_neg() {
            Some(number) => Ok(Value::Int(number)),
            None => failed("a whole number has more than 128 bits"),
        },
        (Some(Number::Int(number)), _) => Ok(Value::Int(number)),
        (Some(Number::Float(number)), _) => Ok(Value::Float(if minus { -number } else { number })),
        (None, Value::Undefined(name)) => undefined(name),
        (None, other) => failed(format!("a {} has no sign", other.kind())),
    }
}

/// `range(stop)`, `range(start, stop)`, `range(start, stop, step)`.
pub(super) fn range(args: Args) -> Result<Value, Fault> {
    let mut numbers = [0; 3];
    let given = args.positional.len();
    for (at, value) in args.positional.iter().enumerate().take(3) {
        numbers[at] = super::arguments::int("range", "a bound", value)?;
    }
    let (mut at, stop, step) = match given {
        1 => (0, numbers[0], 1),
        2 => (numbers[0], numbers[1], 1),
        3 if numbers[2] != 0 => (numbers[0], numbers[1], numbers[2]),
        3 => return failed("range: the step must not be 0"),
        _ => return failed("range: one to three whole numbers are taken"),
    };
    let mut list = ListMaker::new();
    while if step > 0 { at < stop } else { at > stop } {
        list.push(Value::Int(at))?;
        at = at.saturating_add(step);
    }
    list.list()
}
