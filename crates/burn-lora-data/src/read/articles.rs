//! SQuAD's own file: one object whose `data` are articles of paragraphs, each with a context and
//! questions on it. A question is a row, with the context and the article's title added to its keys;
//! it is named by the article and its own id.

use serde_json::Value;

use super::{Found, Kind, Objects, lines};
use crate::object::{Object, wrong};
use crate::problem::RowProblem;
use crate::row::Place;

pub(super) const KIND: Kind =
    Kind { extension: Some("json"), is, objects, remedy: "write `data` of `paragraphs` of `qas`" };

/// One object over several lines, or on one line with articles in it: otherwise, lines are rows.
fn is(text: &str) -> bool {
    let Some(first) = text.lines().find(|line| !line.trim().is_empty()) else { return false };
    match serde_json::from_str::<Object>(first) {
        Ok(object) => articles(&object).is_some_and(|articles| {
            articles.iter().any(|article| article.get("paragraphs").is_some())
        }),
        Err(error) => error.is_eof() && first.trim_start().starts_with('{'),
    }
}

fn articles(object: &Object) -> Option<&Vec<Value>> {
    object.get("data").and_then(Value::as_array)
}

fn objects(text: &str) -> Objects<'_> {
    let file: Object = match serde_json::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            let problem = lines::not_json(&error, "the file is one JSON object");
            return Box::new(std::iter::once(Found::at(error.line(), Err(problem))));
        }
    };
    let mut rows = Vec::new();
    match articles(&file) {
        Some(articles) => {
            for (number, article) in articles.iter().enumerate() {
                read_article(number, article, &mut rows);
            }
        }
        None => {
            let found = file.keys().cloned().collect();
            rows.push(Found::at(1, Err(RowProblem::NoArticles { found })));
        }
    }
    Box::new(rows.into_iter())
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
