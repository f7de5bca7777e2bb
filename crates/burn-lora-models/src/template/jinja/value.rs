//! What a template computes with: Python's values, as far as templates see them.
//!
//! Texts, lists and dictionaries do not change once they are made, as in the sandbox that transformers renders in, and know how deep they
//! are nested. What changes (namespaces, macros, loops) belongs to the rendering, and values name it by number; so nothing refers to itself.

use std::rc::Rc;

use serde_json::{Map, Value as Json};

use super::fault::{Fault, failed};
use super::meter;
use super::text::Text;

/// How deep values may be nested. What walks through them recurses so deep, and freeing them does.
const MAX_DEPTH: usize = 200;
/// Bytes that an item of a list takes.
const SLOT: usize = size_of::<Value>();
/// What a list or a dictionary takes beside its items.
const OVERHEAD: usize = 64;

#[derive(Clone)]
pub(in crate::template) enum Value {
    /// What is not there, by name.
    Undefined(Text),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Text),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    /// A method of a value, not called yet.
    Method(Rc<(Value, Text)>),
    Function(Function),
    Object(Kind, usize),
    Loop(usize),
}

/// What every template can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) enum Function {
    Range,
    Dict,
    Namespace,
    Joiner,
    Cycler,
    RaiseException,
    StrftimeNow,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "range" => Self::Range,
            "dict" => Self::Dict,
            "namespace" => Self::Namespace,
            "joiner" => Self::Joiner,
            "cycler" => Self::Cycler,
            "raise_exception" => Self::RaiseException,
            "strftime_now" => Self::StrftimeNow,
            _ => return None,
        })
    }
}

/// What changes while a template runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) enum Kind {
    Namespace,
    Macro,
    Joiner,
    Cycler,
}

impl Value {
    /// A copy of a text.
    pub(super) fn text(text: &str) -> Result<Self, Fault> {
        Text::made(text).map(Self::Text)
    }

    /// What the template is given; it is not the template's to count.
    pub(in crate::template) fn given(json: &Json) -> Self {
        match json {
            Json::Null => Self::None,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i128() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(Text::given(text)),
            Json::Array(items) => Self::given_list(items.iter().map(Self::given).collect()),
            Json::Object(entries) => Self::given_object(entries),
        }
    }

    pub(in crate::template) fn given_list(items: Vec<Self>) -> Self {
        let depth = 1 + items.iter().map(Self::depth).max().unwrap_or(0);
        Self::List(Rc::new(Items { items, depth, held: 0 }))
    }

    pub(in crate::template) fn given_object(entries: &Map<String, Json>) -> Self {
        let entries = entries.iter();
        let entries: Vec<_> = entries
            .map(|(key, value)| (Self::Text(Text::given(key)), Self::given(value)))
            .collect();
        let depth = 1 + entries.iter().map(|(_, value)| value.depth()).max().unwrap_or(0);
        Self::Dict(Rc::new(Dict { entries, depth, held: 0 }))
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    /// What a parameter was given, unless it is none or undefined.
    pub(super) fn given_or_none(self) -> Option<Self> {
        (!matches!(self, Self::None | Self::Undefined(_))).then_some(self)
    }

    /// Python's truth.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) => !items.items.is_empty(),
            Self::Dict(dict) => !dict.entries.is_empty(),
            Self::Method(_) | Self::Function(_) | Self::Object(..) | Self::Loop(_) => true,
        }
    }

    /// Python's word for the type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "undefined",
            Self::None => "none",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Method(_) => "method",
            Self::Function(_) => "function",
            Self::Object(Kind::Namespace, _) => "namespace",
            Self::Object(Kind::Macro, _) => "macro",
            Self::Object(Kind::Joiner, _) => "joiner",
            Self::Object(Kind::Cycler, _) => "cycler",
            Self::Loop(_) => "loop",
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::List(items) | Self::Tuple(items) => items.depth,
            Self::Dict(dict) => dict.depth,
            Self::Method(method) => method.0.depth(),
            _ => 0,
        }
    }

    /// The items that a loop goes through.
    pub(super) fn items(&self) -> Result<Rc<Items>, Fault> {
        meter::step()?;
        match self {
            Self::List(items) | Self::Tuple(items) => Ok(items.clone()),
            Self::Dict(dict) => {
                let mut keys = ListMaker::new();
                for (key, _) in &dict.entries {
                    keys.push(key.clone())?;
                }
                Ok(Rc::new(keys.finish()?))
            }
            Self::Text(text) => {
                let mut characters = ListMaker::new();
                for c in text.chars() {
                    characters.push(Self::text(c.encode_utf8(&mut [0; 4]))?)?;
                }
                Ok(Rc::new(characters.finish()?))
            }
            Self::Undefined(_) => Ok(Rc::new(ListMaker::new().finish()?)),
            other => failed(format!("a value of the type {} cannot be gone through", other.kind())),
        }
    }
}

/// The items of a list or a tuple.
pub(in crate::template) struct Items {
    pub(super) items: Vec<Value>,
    depth: usize,
    held: usize,
}

impl Drop for Items {
    fn drop(&mut self) {
        meter::release(self.held);
    }
}

/// Keys with their values, in the order in which they came.
pub(in crate::template) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    depth: usize,
    held: usize,
}

impl Drop for Dict {
    fn drop(&mut self) {
        meter::release(self.held);
    }
}

impl Dict {
    /// What is at a key that is a text.
    pub(super) fn named(&self, name: &str) -> Result<Option<&Value>, Fault> {
        meter::steps(self.entries.len() / 8)?;
        for (key, value) in &self.entries {
            if let Value::Text(key) = key
                && key.len() == name.len()
            {
                meter::read(name.len())?;
                if **key == *name {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    /// What is at a key.
    pub(super) fn get(&self, key: &Value) -> Result<Option<&Value>, Fault> {
        if let Value::Text(name) = key {
            return self.named(name);
        }
        for (known, value) in &self.entries {
            if super::compare::equal(known, key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// Room for items, which the meter is asked for before a vector grows.
struct Room {
    depth: usize,
    held: usize,
    slots: usize,
}

impl Room {
    fn new() -> Self {
        Self { depth: 0, held: 0, slots: 0 }
    }

    /// Room for one item more of so many bytes, and how many are to be reserved.
    fn one_more(&mut self, length: usize, bytes: usize, depth: usize) -> Result<usize, Fault> {
        meter::step()?;
        if depth >= MAX_DEPTH {
            return failed(format!("a value is nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth = self.depth.max(depth);
        if length < self.slots {
            return Ok(0);
        }
        let slots = (length + 1).max((2 * length).min(length + (1 << 14)));
        meter::hold((slots - self.slots) * bytes)?;
        self.held += (slots - self.slots) * bytes;
        self.slots = slots;
        Ok(slots - length)
    }

    fn whole(&mut self) -> Result<(usize, usize), Fault> {
        meter::hold(OVERHEAD)?;
        Ok((1 + self.depth, std::mem::take(&mut self.held) + OVERHEAD))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        meter::release(self.held);
    }
}

/// A list in the making.
pub(super) struct ListMaker {
    items: Vec<Value>,
    room: Room,
}

impl ListMaker {
    pub(super) fn new() -> Self {
        Self { items: Vec::new(), room: Room::new() }
    }

    /// A copy of some items.
    pub(super) fn of(items: &[Value]) -> Result<Self, Fault> {
        let mut maker = Self::new();
        maker.extend(items)?;
        Ok(maker)
    }

    pub(super) fn push(&mut self, value: Value) -> Result<(), Fault> {
        let more = self.room.one_more(self.items.len(), SLOT, value.depth())?;
        self.items.reserve_exact(more);
        self.items.push(value);
        Ok(())
    }

    pub(super) fn extend(&mut self, items: &[Value]) -> Result<(), Fault> {
        items.iter().try_for_each(|item| self.push(item.clone()))
    }

    /// To put them into another order.
    pub(super) fn as_mut_slice(&mut self) -> &mut [Value] {
        &mut self.items
    }

    fn finish(mut self) -> Result<Items, Fault> {
        let (depth, held) = self.room.whole()?;
        Ok(Items { items: std::mem::take(&mut self.items), depth, held })
    }

    pub(super) fn list(self) -> Result<Value, Fault> {
        Ok(Value::List(Rc::new(self.finish()?)))
    }

    pub(super) fn tuple(self) -> Result<Value, Fault> {
        Ok(Value::Tuple(Rc::new(self.finish()?)))
    }
}

/// A dictionary in the making.
pub(super) struct DictMaker {
    entries: Vec<(Value, Value)>,
    room: Room,
}

impl DictMaker {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), room: Room::new() }
    }

    /// Puts a value at a key, in the place of one that is there.
    pub(super) fn insert(&mut self, key: Value, value: Value) -> Result<(), Fault> {
        if matches!(key, Value::List(_) | Value::Dict(_)) {
            return failed(format!("a {} cannot be a key", key.kind()));
        }
        let depth = key.depth().max(value.depth());
        let more = self.room.one_more(self.entries.len(), 2 * SLOT, depth)?;
        self.entries.reserve_exact(more);
        for (known, old) in &mut self.entries {
            if super::compare::equal(known, &key)? {
                *old = value;
                return Ok(());
            }
        }
        self.entries.push((key, value));
        Ok(())
    }

    pub(super) fn dict(mut self) -> Result<Value, Fault> {
        let (depth, held) = self.room.whole()?;
        let entries = std::mem::take(&mut self.entries);
        Ok(Value::Dict(Rc::new(Dict { entries, depth, held })))
    }
}
