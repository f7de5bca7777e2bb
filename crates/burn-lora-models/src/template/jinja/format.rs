//! Values put into texts: Python's `%` in [`percent`], `str.format` in [`braces`], and what both need.

pub(super) mod braces;
pub(super) mod percent;

use super::fault::{Fault, failed};
use super::meter;
use super::text::TextMaker;

/// The most digits behind the point.
const MOST_DIGITS: usize = 400;

/// At which side a text stands in its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    /// With an odd one to the right, as `format` has it.
    Middle,
    /// With an odd one to the left of a field of odd width, as `str.center` has it.
    Center,
    Right,
    /// The fill stands between a number and its sign.
    Inside,
}

/// A text, filled up to a width.
pub(super) fn padded(
    text: &str,
    width: usize,
    fill: &str,
    align: Align,
    out: &mut TextMaker,
) -> Result<(), Fault> {
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let left = match align {
        Align::Left => 0,
        Align::Middle => missing / 2,
        Align::Center => missing / 2 + (missing & width & 1),
        Align::Right => missing,
        Align::Inside => {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+', ' '])));
            out.push(sign)?;
            out.push_times(fill, missing)?;
            return out.push(digits);
        }
    };
    out.push_times(fill, left)?;
    out.push(text)?;
    out.push_times(fill, missing - left)
}

/// A float in one of the ways `e`, `f`, `g` and their capitals.
pub(super) fn float(
    number: f64,
    kind: char,
    digits: usize,
    keep_zeros: bool,
) -> Result<String, Fault> {
    if digits > MOST_DIGITS {
        return failed(format!("at most {MOST_DIGITS} digits are written"));
    }
    let magnitude = number.abs();
    // Digits before the point, too, are found one by one.
    let before = if magnitude.is_finite() { magnitude.max(1.0).log10() as usize } else { 0 };
    meter::steps(digits + before)?;
    let text = if !number.is_finite() {
        if number.is_nan() { "nan" } else { "inf" }.to_owned()
    } else {
        match kind.to_ascii_lowercase() {
            'e' => exponential(magnitude, digits),
            'g' => general(magnitude, digits.max(1), keep_zeros),
            _ => format!("{magnitude:.digits$}"),
        }
    };
    let sign = if number.is_sign_negative() && !number.is_nan() { "-" } else { "" };
    let text = format!("{sign}{text}");
    Ok(if kind.is_ascii_uppercase() { text.to_uppercase() } else { text })
}

fn exponential(magnitude: f64, digits: usize) -> String {
    let text = format!("{magnitude:.digits$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

fn general(magnitude: f64, digits: usize, keep_zeros: bool) -> String {
    let behind = digits - 1;
    let rounded = format!("{magnitude:.behind$e}");
    let exponent: i32 = rounded.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let short = |text: &str| match text.contains('.') && !keep_zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let text = exponential(magnitude, digits - 1);
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", short(digits));
    }
    let behind = (digits as i32 - 1 - exponent).max(0) as usize;
    short(&format!("{magnitude:.behind$}"))
}

/// The digits of a whole number's magnitude; `None` for a letter that names no way to write one.
pub(super) fn digits(number: i128, kind: char, prefix: bool) -> Option<String> {
    let magnitude = number.unsigned_abs();
    let (mark, text) = match kind {
        'd' => ("", magnitude.to_string()),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'o' => ("0o", format!("{magnitude:o}")),
        'b' => ("0b", format!("{magnitude:b}")),
        _ => return None,
    };
    Some(if prefix { format!("{mark}{text}") } else { text })
}
