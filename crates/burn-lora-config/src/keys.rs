//! What a key of the configuration is, and how a section declares its keys.
//!
//! A key is declared once. The declaration is a field of its section: its help (the field's
//! documentation), its name, its type, its default, and what may stand there ([`Allowed`]):
//!
//! ```text
//! /// Rows that go through the model at once.
//! batch_size: usize = 8, whole(1..);
//! ```
//!
//! - Without a default the key must be given.
//! - A default that follows from other keys is an expression of the fields above it, and is put into
//!   words: `alpha: f64 = 2.0 * rank as f64 => "2 · `rank`", number(0.0..);`.
//! - `decides Evaluation` or `decides Nothing` at the end: a run may go on with another value.
//! - Keys that together say one thing are a [`Part`] of their own, a field `part length: Length, "…";`
//!   that stands before the keys.
//!
//! The struct, the reader, the writer, the comparison of two runs and the reference table all come
//! from the declarations; [`keys!`] writes them out.

use toml::Value;

use crate::reader::Reader;

#[cfg(doc)]
use crate::allowed::Allowed;

/// One key of the configuration, as it is listed.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    /// What it means: the documentation of its field.
    pub(crate) help: &'static str,
    /// What may stand there, in words.
    pub(crate) allowed: String,
    pub(crate) default: Fallback,
}

/// What holds when a key is not given.
#[derive(Debug)]
pub(crate) enum Fallback {
    /// The key must be given.
    Required,
    /// This value.
    Value(Value),
    /// Something that follows from other keys, or nothing, said in words.
    Words(&'static str),
}

/// What another value of a key changes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decides {
    /// Neither what is trained nor what is measured: where, how fast, what is kept and shown.
    Nothing,
    /// What is measured, and when.
    Evaluation,
    /// What is trained.
    Training,
}

/// A value of a key, to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) decides: Decides,
    pub(crate) value: Value,
}

impl Written {
    /// The value of a key, unless it is left out.
    ///
    /// # Errors
    ///
    /// Why TOML cannot hold it.
    pub(crate) fn new(
        section: &'static str,
        name: &'static str,
        decides: Decides,
        value: Result<Option<Value>, String>,
    ) -> Result<Option<Self>, UnwritableError> {
        match value {
            Ok(value) => Ok(value.map(|value| Self { section, name, decides, value })),
            Err(reason) => Err(UnwritableError { key: format!("{section}.{name}"), reason }),
        }
    }
}

/// Something that a configuration holds and that some of its keys stand for.
pub(crate) trait Part: Sized {
    /// Its keys, in the order in which they are written.
    fn keys() -> Vec<Key>;

    /// Reads all of its keys, or leaves the problems with the reader.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;

    /// Adds the keys that it would be read from.
    ///
    /// # Errors
    ///
    /// A value that TOML cannot hold.
    fn write(&self, out: &mut Vec<Written>) -> Result<(), UnwritableError>;
}

/// A value that no TOML file could hold, so that it did not come from one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} cannot be written to a file: {reason}")]
pub struct UnwritableError {
    /// The key, `section.name`.
    pub key: String,
    /// What is wrong with the value.
    pub reason: String,
}

/// Declares the keys of a section: `pub struct Name in "section" { … }`; or those of a type that there
/// is already: `impl Name in "section" { … }`, or, of a type that may grow, `impl Name in "section" from
/// EXPRESSION => { … }`, whose fields the keys then set.
macro_rules! keys {
    (
        $(#[$meta:meta])*
        pub struct $Part:ident in $section:literal {
            $( part $part:ident: $P:ty, $doc:literal; )*
            $(
                $(#[doc = $help:literal])+
                $name:ident: $T:ty $(= $default:expr $(=> $words:literal)?)?, $allowed:expr
                $(, decides $decides:ident)?;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Part {
            $( #[doc = $doc] pub $part: $P, )*
            $( $(#[doc = $help])+ pub $name: $T, )*
        }

        keys! {
            impl $Part in $section {
                $( part $part: $P, $doc; )*
                $(
                    $(#[doc = $help])+
                    $name: $T $(= $default $(=> $words)?)?, $allowed $(, decides $decides)?;
                )*
            }
        }
    };
    (
        impl $Part:ident in $section:literal $(from $start:expr =>)? {
            $( part $part:ident: $P:ty, $doc:literal; )*
            $(
                $(#[doc = $help:literal])+
                $name:ident: $T:ty $(= $default:expr $(=> $words:literal)?)?, $allowed:expr
                $(, decides $decides:ident)?;
            )*
        }
    ) => {
        const _: () = {
            use $crate::allowed::Allowed;
            use $crate::keys::{Decides, Key, Part, UnwritableError, Written};
            use $crate::reader::Reader;

            impl Part for $Part {
                fn keys() -> Vec<Key> {
                    let mut keys = Vec::new();
                    $( keys.extend(<$P as Part>::keys()); )*
                    $(
                        let allowed: Allowed<$T> = $allowed;
                        let help = concat!($($help),+).trim_ascii();
                        let default = keys!(@fallback allowed $($default $(=> $words)?)?);
                        keys.push(Key {
                            section: $section, name: stringify!($name), help, default, allowed: allowed.words
                        });
                    )*
                    keys
                }

                fn read(reader: &mut Reader<'_>) -> Option<Self> {
                    // Every key is read before the first `?`, so that no problem hides another.
                    $( let $part = <$P as Part>::read(reader); )*
                    let ($($name,)*): ($(Allowed<$T>,)*) = ($($allowed,)*);
                    $( let $name = reader.read(
                        concat!($section, ".", stringify!($name)), &$name, keys!(@required $($default)?)
                    ); )*
                    $( let $part = $part?; )*
                    $( let $name: $T = match $name? {
                        Some(value) => value,
                        None => keys!(@default $($default)?),
                    }; )*
                    keys!(@build ($($start)?) $($part)* $($name)*)
                }

                fn write(&self, out: &mut Vec<Written>) -> Result<(), UnwritableError> {
                    $( Part::write(&self.$part, out)?; )*
                    $(
                        let allowed: Allowed<$T> = $allowed;
                        let decides = keys!(@decides $($decides)?);
                        out.extend(Written::new(
                            $section, stringify!($name), decides, allowed.write(&self.$name)
                        )?);
                    )*
                    Ok(())
                }
            }
        };
    };

    (@build () $($field:ident)*) => { Some(Self { $($field),* }) };
    (@build ($start:expr) $($field:ident)*) => {{
        let mut built: Self = $start;
        $( built.$field = $field; )*
        Some(built)
    }};
    (@fallback $allowed:ident) => { $crate::keys::Fallback::Required };
    (@fallback $allowed:ident $default:expr) => { $allowed.fallback(&$default) };
    (@fallback $allowed:ident $default:expr => $words:literal) => { $crate::keys::Fallback::Words($words) };
    (@required) => { true };
    (@required $default:expr) => { false };
    (@default) => { return None };
    (@default $default:expr) => { $default };
    (@decides) => { Decides::Training };
    (@decides $decides:ident) => { Decides::$decides };
}

pub(crate) use keys;
