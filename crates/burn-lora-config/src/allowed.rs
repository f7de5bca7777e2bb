//! What may stand at a key: how it is put into words, read, and written, in one value.
//!
//! A range is given once, as a Rust range; the words of it and the check come from there. Larger kinds
//! are made from smaller ones: `number(0.0..1.0).or_off(0.0)` is an `Option<f64>` that 0 leaves out.

use std::fmt::Display;
use std::ops::{Bound, Range, RangeBounds};
use std::path::PathBuf;

use toml::de::DeValue;
use toml::{Spanned, Value};

use burn_lora_files::home;

use crate::keys::Fallback;
use crate::named::Named;
use burn_lora_text::nearest;

type Read<T> = Box<dyn Fn(&Spanned<DeValue<'_>>) -> Result<T, Mismatch>>;
type Write<T> = Box<dyn Fn(&T) -> Result<Option<Value>, String>>;

/// What may stand at a key whose value is a `T`.
pub(crate) struct Allowed<T> {
    /// In words; part of every message about the key.
    pub(crate) words: String,
    read: Read<T>,
    write: Write<T>,
}

/// What is wrong with a value.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// Where in the file.
    pub(crate) span: Range<usize>,
    /// What was found there.
    pub(crate) found: String,
    /// What may have been meant.
    pub(crate) hint: Option<String>,
}

impl Mismatch {
    /// The value as it is described in a message.
    fn of(value: &Spanned<DeValue<'_>>) -> Self {
        Self::found(value, describe(value.get_ref()))
    }

    pub(crate) fn found(value: &Spanned<DeValue<'_>>, found: String) -> Self {
        Self { span: value.span(), found, hint: None }
    }
}

impl<T: 'static> Allowed<T> {
    /// A kind of value. TOML can hold every `T`.
    pub(crate) fn new(
        words: impl Into<String>,
        read: impl Fn(&Spanned<DeValue<'_>>) -> Result<T, Mismatch> + 'static,
        write: impl Fn(&T) -> Value + 'static,
    ) -> Self {
        Self::new_fallible(words, read, move |value| Ok(Some(write(value))))
    }

    /// A kind of value that TOML cannot hold always.
    pub(crate) fn new_fallible(
        words: impl Into<String>,
        read: impl Fn(&Spanned<DeValue<'_>>) -> Result<T, Mismatch> + 'static,
        write: impl Fn(&T) -> Result<Option<Value>, String> + 'static,
    ) -> Self {
        Self { words: words.into(), read: Box::new(read), write: Box::new(write) }
    }

    /// The value that stands there.
    ///
    /// # Errors
    ///
    /// What stands there is not of this kind.
    pub(crate) fn read(&self, value: &Spanned<DeValue<'_>>) -> Result<T, Mismatch> {
        (self.read)(value)
    }

    /// What to write for the value; nothing where the key is left out.
    ///
    /// # Errors
    ///
    /// Why TOML cannot hold it.
    pub(crate) fn write(&self, value: &T) -> Result<Option<Value>, String> {
        (self.write)(value)
    }

    /// How a default of this value is listed.
    pub(crate) fn fallback(&self, default: &T) -> Fallback {
        match self.write(default) {
            Ok(Some(value)) => Fallback::Value(value),
            Ok(None) | Err(_) => Fallback::Words("none"),
        }
    }

    /// Only those values that hold.
    pub(crate) fn only(self, holds: impl Fn(&T) -> bool + 'static) -> Self {
        let read = self.read;
        let read = move |value: &Spanned<DeValue<'_>>| {
            let read = read(value)?;
            if holds(&read) { Ok(read) } else { Err(Mismatch::of(value)) }
        };
        Self { read: Box::new(read), ..self }
    }

    /// The same under other words.
    pub(crate) fn called(self, words: impl Into<String>) -> Self {
        Self { words: words.into(), ..self }
    }

    /// A key that may be left out.
    pub(crate) fn optional(self) -> Allowed<Option<T>> {
        let Self { words, read, write } = self;
        Allowed {
            words,
            read: Box::new(move |value| read(value).map(Some)),
            write: Box::new(move |value| value.as_ref().map_or(Ok(None), &write)),
        }
    }

    /// A key that `off` leaves out, and that is written as `off` then.
    pub(crate) fn or_off(self, off: T) -> Allowed<Option<T>>
    where
        T: PartialEq + Copy,
    {
        let Self { words, read, write } = self;
        Allowed {
            words,
            read: Box::new(move |value| Ok(Some(read(value)?).filter(|value| *value != off))),
            write: Box::new(move |value| write(&value.unwrap_or(off))),
        }
    }
}

/// `true` or `false`.
pub(crate) fn flag() -> Allowed<bool> {
    let read =
        |value: &Spanned<DeValue<'_>>| value.get_ref().as_bool().ok_or_else(|| Mismatch::of(value));
    Allowed::new("true or false", read, |value| Value::Boolean(*value))
}

/// Whole numbers of the range, as far as TOML's reach.
pub(crate) fn whole<T>(range: impl RangeBounds<i64> + 'static) -> Allowed<T>
where
    T: TryFrom<i64> + TryInto<i64> + Copy + 'static,
{
    let words = format!("whole number {}", in_words(&range));
    let read = move |value: &Spanned<DeValue<'_>>| {
        let number = integer(value.get_ref()).filter(|number| range.contains(number));
        number.and_then(|number| number.try_into().ok()).ok_or_else(|| Mismatch::of(value))
    };
    let write = |value: &T| {
        let number = (*value).try_into().map_err(|_| "it is beyond TOML's whole numbers")?;
        Ok(Some(Value::Integer(number)))
    };
    Allowed { words, read: Box::new(read), write: Box::new(write) }
}

/// Numbers of the range; never infinite, never NaN.
pub(crate) fn number(range: impl RangeBounds<f64> + 'static) -> Allowed<f64> {
    let words = format!("number {}", in_words(&range));
    let read = move |value: &Spanned<DeValue<'_>>| {
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            other => integer(other).map(|number| number as f64),
        };
        let number = number.filter(|number: &f64| number.is_finite() && range.contains(number));
        number.ok_or_else(|| Mismatch::of(value))
    };
    Allowed::new(words, read, |value| Value::Float(*value))
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Two numbers of the range.
pub(crate) fn two_numbers(range: impl RangeBounds<f64> + 'static) -> Allowed<[f64; 2]> {
    let words = format!("two numbers {}", in_words(&range));
    let list = list(number(range));
    let read = move |value: &Spanned<DeValue<'_>>| {
        (list.read)(value)?.try_into().map_err(|_| Mismatch::of(value))
    };
    let write = |pair: &[f64; 2]| Value::Array(pair.map(Value::Float).to_vec());
    Allowed::new(words, read, write)
}

/// The range above a number, which is not in it.
pub(crate) fn above(number: f64) -> (Bound<f64>, Bound<f64>) {
    (Bound::Excluded(number), Bound::Unbounded)
}

fn in_words<T: Display>(range: &impl RangeBounds<T>) -> String {
    let start = match range.start_bound() {
        Bound::Included(start) => format!("from {start}"),
        Bound::Excluded(start) => format!("above {start}"),
        Bound::Unbounded => String::new(),
    };
    match range.end_bound() {
        Bound::Included(end) => format!("{start} to {end}"),
        Bound::Excluded(end) => format!("{start}, below {end}"),
        Bound::Unbounded => start,
    }
}

/// Any text.
pub(crate) fn text() -> Allowed<String> {
    let read = |value: &Spanned<DeValue<'_>>| {
        value.get_ref().as_str().map(str::to_owned).ok_or_else(|| Mismatch::of(value))
    };
    Allowed::new("string", read, |text| Value::String(text.clone()))
}

/// Text that is not empty.
pub(crate) fn name() -> Allowed<String> {
    text().only(|text| !text.is_empty())
}

/// A path; `what` says of what, as in "a file". A run reads its files more than once, so that standard input is none.
pub(crate) fn path_of(what: &str) -> Allowed<PathBuf> {
    let name = name();
    Allowed {
        words: format!("path of {what}"),
        read: Box::new(move |value| match name.read(value)?.as_str() {
            "-" => {
                let hint = "`-` stands for standard input, which can be read only once: write it into a file, and name that (`./-` is \
                            one of that name);";
                Err(Mismatch { hint: Some(hint.to_owned()), ..Mismatch::of(value) })
            }
            path => Ok(home::expanded(path)),
        }),
        write: Box::new(|path| match path.to_str() {
            Some(text) => Ok(Some(Value::String(text.to_owned()))),
            None => Err(format!("the path {} is not UTF-8", path.display())),
        }),
    }
}

/// A list of such values.
pub(crate) fn list<T: 'static>(item: Allowed<T>) -> Allowed<Vec<T>> {
    let Allowed { words, read, write } = item;
    Allowed {
        words: format!("list of {words}"),
        read: Box::new(move |value| {
            let items = value.get_ref().as_array().ok_or_else(|| Mismatch::of(value))?;
            let read = items.iter().map(|item| {
                let inside = |inner: Mismatch| {
                    let found = format!("a list with {}", inner.found);
                    Mismatch { found, ..inner }
                };
                read(item).map_err(inside)
            });
            read.collect()
        }),
        write: Box::new(move |items| {
            let items: Result<Vec<_>, _> = items.iter().map(&write).collect();
            Ok(Some(Value::Array(items?.into_iter().flatten().collect())))
        }),
    }
}

/// A list of names, called by their plural.
pub(crate) fn names(plural: &str) -> Allowed<Vec<String>> {
    list(name()).called(format!("list of {plural}"))
}

/// The words of an enum.
pub(crate) fn word<T: Named + PartialEq>() -> Allowed<T> {
    word_of(T::ALL)
}

/// The words of some variants of an enum.
pub(crate) fn word_of<T: Named + PartialEq>(some: &[T]) -> Allowed<T> {
    words(some.iter().map(|variant| (variant.name(), *variant)).collect())
}

/// The words of an enum, or one that stands for none of them.
pub(crate) fn word_or<T: Named + PartialEq>(none: &'static str) -> Allowed<Option<T>> {
    let all = T::ALL.iter().map(|variant| (variant.name(), Some(*variant)));
    words([(none, None)].into_iter().chain(all).collect())
}

fn words<T: PartialEq + Copy + 'static>(words: Vec<(&'static str, T)>) -> Allowed<T> {
    let quoted: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let listed = match &quoted[..] {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    };
    let name = {
        let words = words.clone();
        move |value: &T| {
            words.iter().find(|(_, named)| named == value).map_or("", |(word, _)| *word)
        }
    };
    let read = move |value: &Spanned<DeValue<'_>>| {
        let given = value.get_ref().as_str().ok_or_else(|| Mismatch::of(value))?;
        let found = words.iter().find(|(word, _)| *word == given);
        found.map(|(_, meant)| *meant).ok_or_else(|| {
            let near = nearest(given, words.iter().map(|(word, _)| *word));
            let hint = near.map(|word| format!("did you mean \"{word}\"?"));
            Mismatch { hint, ..Mismatch::found(value, format!("\"{given}\"")) }
        })
    };
    Allowed::new(listed, read, move |value| Value::String(name(value).to_owned()))
}

/// A value as it is named in a message.
pub(crate) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(items) if items.is_empty() => "an empty list".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
