//! JSON that is not a line a row: objects over several lines, one object whose only list are the rows, and SQuAD's own file: one object whose `data` are articles of paragraphs, each with a context and
//! questions on it. A question is a row, with the context and the article's title added to its keys;
//! it is named by the article and its own id.

use serde_json::Value;

use super::{Found, Kind, Objects, lines};
use crate::elsewhere::elsewhere;
use crate::format::Format;
use crate::object::{Object, wrong};
use crate::problem::RowProblem;
use crate::row::Place;

pub(super) const KIND: Kind =
    Kind { extension: None, is, objects, remedy: "write `data` of `paragraphs` of `qas`" };

/// Objects over several lines, or one line that is a whole file: otherwise, lines are rows.
fn is(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let Some(first) = lines.next() else { return false };
    match serde_json::from_str::<Object>(first) {
        Ok(object) if has_articles(&object) => true,
        Ok(object) => {
            lines.next().is_none()
                && elsewhere(&object).is_none()
                && (is_columns(&object)
                    || is_table(&object)
                    || (Format::of(&object).is_none()
                        && (!lists(&object).is_empty() || is_by_name(&object))))
        }
        Err(error) => error.is_eof() && first.trim_start().starts_with('{'),
    }
}

fn articles(object: &Object) -> Option<&Vec<Value>> {
    object.get("data").and_then(Value::as_array)
}

fn has_articles(object: &Object) -> bool {
    articles(object)
        .is_some_and(|articles| articles.iter().any(|article| article.get("paragraphs").is_some()))
}

/// The lists of objects that an object has, as `{"data": [{…}, {…}]}`.
fn lists(object: &Object) -> Vec<(&str, &Vec<Value>)> {
    let lists = object.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_array()?)));
    let of_objects = lists.filter(|(_, list)| {
        !list.is_empty() && list.iter().all(Value::is_object) && !list.iter().all(is_turn)
    });
    of_objects.collect()
}

/// Whether an object has rows by their names, as `{"0": {…}, "1": {…}}`.
fn is_by_name(object: &Object) -> bool {
    let is_row = |value: &Value| value.as_object().is_some_and(|row| Format::of(row).is_some());
    object.len() > 1 && object.values().all(is_row)
}

/// Whether an object is a turn of a conversation, a list of which is one row and not many.
fn is_turn(object: &Value) -> bool {
    let has = |key: &str| object.get(key).is_some();
    (has("role") && (has("content") || has("parts"))) || (has("from") && has("value"))
}

/// Whether an object holds a list of values for each key, as a table by columns does, or values by the numbers of their rows, as pandas
/// writes one.
fn is_columns(object: &Object) -> bool {
    let is_values = |value: &Value| match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(|value| !value.is_object()),
        Value::Object(column) => {
            let of_row = |(row, value): (&String, &Value)| {
                row.bytes().all(|digit| digit.is_ascii_digit()) && !value.is_object()
            };
            !column.is_empty() && column.iter().all(of_row)
        }
        _ => false,
    };
    // Rows of lists they are, too: a conversation, ids of tokens.
    let is_row =
        ["messages", "conversations", "input_ids"].iter().any(|key| object.contains_key(*key));
    !is_row && !object.is_empty() && object.values().all(is_values)
}

/// Whether an object is a table as pandas splits it: the names of the columns, and lists of values in their order.
fn is_table(object: &Object) -> bool {
    let list =
        |key: &str| object.get(key).and_then(Value::as_array).filter(|list| !list.is_empty());
    let (Some(names), Some(rows)) = (list("columns"), list("data")) else { return false };
    names.iter().all(Value::is_string)
        && rows.iter().all(|row| row.as_array().is_some_and(|row| row.len() == names.len()))
}

/// Whether an object is an answer of Hugging Face's viewer: rows, each with its number.
fn is_of_viewer(object: &Object) -> bool {
    let rows = object.get("rows").and_then(Value::as_array);
    let is_row =
        |row: &Value| row.get("row_idx").is_some() && row.get("row").is_some_and(Value::is_object);
    rows.is_some_and(|rows| !rows.is_empty() && rows.iter().all(is_row))
}

fn objects(text: &str) -> Objects<'_> {
    let mut found = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Object>();
    let (mut at, mut line) = (0, 1);
    loop {
        let rest = &text[stream.byte_offset()..];
        let start = stream.byte_offset() + (rest.len() - rest.trim_start().len());
        line += text[at..start].matches('\n').count();
        at = start;
        match stream.next() {
            None => break,
            Some(Ok(object)) => found.push(Found::at(line, Ok(object))),
            Some(Err(error)) => {
                let problem =
                    lines::not_json(&error, "the file is JSON objects, one after another");
                found.push(Found::at(error.line(), Err(problem)));
                break;
            }
        }
    }
    match found.as_slice() {
        [Found { object: Ok(object), .. }]
            if elsewhere(object).is_none()
                && (Format::of(object).is_none() || is_columns(object)) =>
        {
            Box::new(whole(object).into_iter())
        }
        _ => Box::new(found.into_iter()),
    }
}

/// The rows of a file that is one object.
fn whole(object: &Object) -> Vec<Found> {
    if has_articles(object) {
        let mut found = Vec::new();
        for (number, article) in articles(object).into_iter().flatten().enumerate() {
            read_article(number, article, &mut found);
        }
        return found;
    }
    let others = [is_columns, is_table, is_of_viewer];
    let is_rows = !others.iter().any(|is| is(object));
    if let (true, [(key, list)]) = (is_rows, lists(object).as_slice()) {
        let row = |(index, value): (usize, &Value)| Found {
            place: Place::Named(format!("`{key}[{index}]`")),
            article: None,
            object: value.as_object().cloned().ok_or(RowProblem::NotObject),
        };
        return list.iter().enumerate().map(row).collect();
    }
    let found: Vec<String> = object.keys().cloned().collect();
    let lists = lists(object);
    let problem = match found.first() {
        _ if is_table(object) => RowProblem::Table,
        _ if is_of_viewer(object) => RowProblem::Viewer,
        _ if is_columns(object) => RowProblem::Columns { found },
        _ if lists.len() > 1 => {
            RowProblem::Splits { found: lists.iter().map(|(key, _)| (*key).to_owned()).collect() }
        }
        Some(first) if is_by_name(object) => {
            RowProblem::RowsByName { first: first.clone(), count: found.len() }
        }
        _ => RowProblem::NoArticles { found },
    };
    vec![Found::at(1, Err(problem))]
}

fn read_article(number: usize, article: &Value, rows: &mut Vec<Found>) {
    let title = article.get("title").and_then(Value::as_str);
    let name = match title {
        Some(title) => format!("article `{title}`"),
        None => format!("article {}", number + 1),
    };
    let mut push = |place: String, object| {
        rows.push(Found { place: Place::Named(place), article: Some(number), object });
    };
    let Some(Value::Array(paragraphs)) = article.get("paragraphs") else {
        let problem = wrong("paragraphs", "a list of {context, qas}", article.get("paragraphs"));
        return push(name, Err(problem));
    };
    for (index, paragraph) in paragraphs.iter().enumerate() {
        let context = paragraph.get("context").unwrap_or(&Value::Null);
        let Some(Value::Array(questions)) = paragraph.get("qas") else {
            let problem = wrong("qas", "a list of {question, id, answers}", paragraph.get("qas"));
            push(format!("{name}, paragraph {}", index + 1), Err(problem));
            continue;
        };
        for (at, question) in questions.iter().enumerate() {
            let place = match question.get("id") {
                Some(Value::String(id)) => format!("{name}, question `{id}`"),
                _ => format!("{name}, paragraph {}, question {}", index + 1, at + 1),
            };
            let object = match question {
                Value::Object(question) => {
                    let mut row = question.clone();
                    row.insert("context".to_owned(), context.clone());
                    row.insert("title".to_owned(), title.unwrap_or_default().into());
                    Ok(row)
                }
                other => Err(wrong("qas", "a list of {question, id, answers}", Some(other))),
            };
            push(place, object);
        }
    }
}
