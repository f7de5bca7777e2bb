//! Filters of lists.

use super::{apply as filtered, at_path};
use crate::template::jinja::arguments::{Args, count, needed, of_text};
use crate::template::jinja::ast::Operator;
use crate::template::jinja::checks;
use crate::template::jinja::compare::{self, Keyed};
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::meter;
use crate::template::jinja::methods::text::cased;
use crate::template::jinja::operators;
use crate::template::jinja::print;
use crate::template::jinja::text::{Text, TextMaker};
use crate::template::jinja::value::{ListMaker, Value};

pub(super) fn apply(name: &str, value: &Value, args: Args) -> Result<Value, Fault> {
    match name {
        "list" => ListMaker::of(&value.items()?.items)?.list(),
        "first" | "last" => {
            let [] = args.bind(name, [])?;
            let items = value.items()?;
            let item = if name == "first" { items.items.first() } else { items.items.last() };
            Ok(item
                .cloned()
                .unwrap_or_else(|| Value::Undefined(Text::given("an item of an empty list"))))
        }
        "reverse" => {
            let [] = args.bind(name, [])?;
            let mut list = ListMaker::of(&value.items()?.items)?;
            list.as_mut_slice().reverse();
            let list = list.list()?;
            match value {
                Value::Text(_) => join(&list, "", None),
                _ => Ok(list),
            }
        }
        "join" => {
            let [between, attribute] = args.bind(name, ["d", "attribute"])?;
            let between = between.map_or(Ok(Text::given("")), |between| print::soft(&between))?;
            join(value, &between, attribute.and_then(Value::given_or_none))
        }
        // Whatever is not true is as good as empty to these.
        "map" | "select" | "reject" | "selectattr" | "rejectattr" if !value.is_true() => {
            ListMaker::new().list()
        }
        "map" => map(value, args),
        "select" | "reject" | "selectattr" | "rejectattr" => select(name, value, args),
        "sort" => {
            let [reverse, case, attribute] =
                args.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let (reverse, case) = (is_true(&reverse), is_true(&case));
            let mut keyed = Keys::new(value)?;
            for item in &value.items()?.items {
                keyed.add(sort_key(item, attribute.as_ref(), case)?, item.clone());
            }
            list_of(keyed.sorted(reverse)?)
        }
        "dictsort" => {
            let [case, by, reverse] = args.bind(name, ["case_sensitive", "by", "reverse"])?;
            let by = by.map_or(Ok(Text::given("key")), |by| of_text(name, "by", &by))?;
            let place = match &*by {
                "key" => 0,
                "value" => 1,
                _ => return failed("dictsort: `by` must be key or value"),
            };
            let pairs = filtered("items", value.clone(), Args::default())?;
            let mut keyed = Keys::new(&pairs)?;
            for pair in &pairs.items()?.items {
                let key = pair.items()?.items[place].clone();
                keyed.add(if is_true(&case) { key } else { folded(key)? }, pair.clone());
            }
            list_of(keyed.sorted(is_true(&reverse))?)
        }
        "min" | "max" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let wanted =
                if name == "min" { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
            let mut best: Option<(Value, Value)> = None;
            for item in &value.items()?.items {
                let key = key(item, attribute.as_ref(), is_true(&case))?;
                let better = match &best {
                    Some((known, _)) => compare::order(&key, known)? == Some(wanted),
                    None => true,
                };
                if better {
                    best = Some((key, item.clone()));
                }
            }
            let none = || Value::Undefined(Text::given("an item of an empty list"));
            Ok(best.map_or_else(none, |(_, item)| item))
        }
        "sum" => {
            let [attribute, start] = args.bind(name, ["attribute", "start"])?;
            let mut sum = start.unwrap_or(Value::Int(0));
            let attribute = attribute.and_then(Value::given_or_none);
            for item in &value.items()?.items {
                meter::step()?;
                let item = attribute
                    .as_ref()
                    .map_or_else(|| Ok(item.clone()), |path| at_path(item, path))?;
                sum = operators::apply(Operator::Add, &sum, &item)?;
            }
            Ok(sum)
        }
        "unique" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let (mut seen, mut list) = (ListMaker::new(), ListMaker::new());
            for item in &value.items()?.items {
                let key = key(item, attribute.as_ref(), is_true(&case))?;
                if !holds(seen.as_mut_slice(), &key)? {
                    seen.push(key)?;
                    list.push(item.clone())?;
                }
            }
            list.list()
        }
        "groupby" => groups(value, args),
        "batch" => {
            let [width, fill] = args.bind(name, ["linecount", "fill_with"])?;
            let width = count(name, "linecount", &needed(name, "linecount", width)?)?;
            if width == 0 {
                return failed("batch: `linecount` must not be 0");
            }
            let mut list = ListMaker::new();
            for items in value.items()?.items.chunks(width) {
                let mut row = ListMaker::of(items)?;
                if let Some(fill) = fill.clone().filter(|fill| !matches!(fill, Value::None)) {
                    for _ in items.len()..width {
                        row.push(fill.clone())?;
                    }
                }
                list.push(row.list()?)?;
            }
            list.list()
        }
        _ => {
            let [slices, fill] = args.bind(name, ["slices", "fill_with"])?;
            let slices = count(name, "slices", &needed(name, "slices", slices)?)?;
            if slices == 0 {
                return failed("slice: `slices` must not be 0");
            }
            let items = value.items()?;
            let (each, more) = (items.items.len() / slices, items.items.len() % slices);
            let (mut list, mut at) = (ListMaker::new(), 0);
            for slice in 0..slices {
                let length = each + usize::from(slice < more);
                let mut part = ListMaker::of(&items.items[at..at + length])?;
                at += length;
                if let Some(fill) = fill.clone().filter(|fill| !matches!(fill, Value::None))
                    && slice >= more
                {
                    part.push(fill)?;
                }
                list.push(part.list()?)?;
            }
            list.list()
        }
    }
}

/// Whether one of the values is equal to another.
fn holds(values: &[Value], wanted: &Value) -> Result<bool, Fault> {
    for value in values {
        if compare::equal(value, wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_true(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}

/// Values with their keys, with room that was asked for.
struct Keys {
    keyed: Keyed,
    _room: meter::Room,
}

impl Keys {
    fn new(list: &Value) -> Result<Self, Fault> {
        let count = list.items()?.items.len();
        let room = meter::room(size_of::<(Value, Value)>() * count)?;
        Ok(Self { keyed: Vec::with_capacity(count), _room: room })
    }

    fn add(&mut self, key: Value, value: Value) {
        self.keyed.push((key, value));
    }

    fn sorted(&mut self, reverse: bool) -> Result<Keyed, Fault> {
        compare::sort(std::mem::take(&mut self.keyed), reverse)
    }
}

fn list_of(keyed: Keyed) -> Result<Value, Fault> {
    let mut list = ListMaker::new();
    keyed.into_iter().try_for_each(|(_, value)| list.push(value))?;
    list.list()
}

/// What an item is compared by: itself or what is at a path, in small letters unless `case` counts.
fn key(item: &Value, path: Option<&Value>, case: bool) -> Result<Value, Fault> {
    let value = match path {
        Some(path) if !matches!(path, Value::None) => at_path(item, path)?,
        _ => item.clone(),
    };
    if case { Ok(value) } else { folded(value) }
}

/// As [`key`], of several paths with commas between them. It is a list, so that equal keys are not put in order.
fn sort_key(item: &Value, path: Option<&Value>, case: bool) -> Result<Value, Fault> {
    let mut keys = ListMaker::new();
    match path {
        Some(Value::Text(paths)) => {
            for path in paths.split(',') {
                keys.push(key(item, Some(&Value::text(path)?), case)?)?;
            }
        }
        path => keys.push(key(item, path, case)?)?,
    }
    keys.list()
}

fn folded(value: Value) -> Result<Value, Fault> {
    if let Value::Text(text) = &value {
        meter::letters(text.len())?;
        if text.chars().any(char::is_uppercase) {
            return cased(text, "lower");
        }
    }
    Ok(value)
}

fn join(value: &Value, between: &str, attribute: Option<Value>) -> Result<Value, Fault> {
    let mut out = TextMaker::new();
    for (index, item) in value.items()?.items.iter().enumerate() {
        meter::step()?;
        out.push(if index > 0 { between } else { "" })?;
        match &attribute {
            Some(path) => print::write(&at_path(item, path)?, &mut out)?,
            None => print::write(item, &mut out)?,
        }
    }
    out.value()
}

/// Arguments for every item of a list.
fn again(args: &Args) -> Result<Args, Fault> {
    meter::steps(1 + args.positional.len() + args.named.len())?;
    Ok(Args { positional: args.positional.clone(), named: args.named.clone() })
}

fn map(value: &Value, mut args: Args) -> Result<Value, Fault> {
    let mut list = ListMaker::new();
    if args.positional.is_empty() {
        let [attribute, default] = args.bind("map", ["attribute", "default"])?;
        let path = needed("map", "attribute", attribute)?;
        for item in &value.items()?.items {
            let found = at_path(item, &path)?;
            list.push(match &default {
                Some(default) if found.is_undefined() && !matches!(default, Value::None) => {
                    default.clone()
                }
                _ => found,
            })?;
        }
        return list.list();
    }
    let filter = of_text("map", "the filter", &args.positional.remove(0))?;
    for item in &value.items()?.items {
        list.push(filtered(&filter, item.clone(), again(&args)?)?)?;
    }
    list.list()
}

fn select(name: &str, value: &Value, mut args: Args) -> Result<Value, Fault> {
    let by_path = name.ends_with("attr");
    if args.positional.len() < usize::from(by_path) {
        return failed(format!("{name}: the attribute is missing"));
    }
    let path = by_path.then(|| args.positional.remove(0));
    let test = match args.positional.is_empty() {
        true => None,
        false => Some(of_text(name, "the test", &args.positional.remove(0))?),
    };
    let mut list = ListMaker::new();
    for item in &value.items()?.items {
        meter::step()?;
        let tested = path.as_ref().map_or_else(|| Ok(item.clone()), |path| at_path(item, path))?;
        let holds = match &test {
            Some(test) => checks::holds(test, &tested, again(&args)?)?,
            None => tested.is_true(),
        };
        if holds == name.starts_with("select") {
            list.push(item.clone())?;
        }
    }
    list.list()
}

fn groups(value: &Value, args: Args) -> Result<Value, Fault> {
    let [attribute, default, case] =
        args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let path = needed("groupby", "attribute", attribute)?;
    let case = is_true(&case);
    let grouper = |item: &Value| -> Result<Value, Fault> {
        let found = at_path(item, &path)?;
        Ok(match &default {
            Some(default) if found.is_undefined() => default.clone(),
            _ => found,
        })
    };
    let mut keyed = Keys::new(value)?;
    for item in &value.items()?.items {
        let key = grouper(item)?;
        keyed.add(if case { key } else { folded(key)? }, item.clone());
    }
    let mut groups = ListMaker::new();
    let mut group: Option<(Value, Value, ListMaker)> = None;
    let close = |groups: &mut ListMaker, (_, name, items): (Value, Value, ListMaker)| {
        let mut pair = ListMaker::new();
        pair.push(name)?;
        pair.push(items.list()?)?;
        groups.push(pair.tuple()?)
    };
    for (key, item) in keyed.sorted(false)? {
        match &mut group {
            Some((known, _, items)) if compare::equal(known, &key)? => items.push(item)?,
            _ => {
                if let Some(group) = group.take() {
                    close(&mut groups, group)?;
                }
                let name = grouper(&item)?;
                let mut items = ListMaker::new();
                items.push(item)?;
                group = Some((key, name, items));
            }
        }
    }
    if let Some(group) = group {
        close(&mut groups, group)?;
    }
    groups.list()
}
