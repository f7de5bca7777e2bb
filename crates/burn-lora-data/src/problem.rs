//! What can be wrong with one row of a file.

use burn_lora_text::listed;

use crate::format::Format;
use crate::row::Place;

/// Makes rows of columns: lists of values, or values by the names of their rows, as pandas writes them.
const COLUMNS: &str = "python3 -c 'import json,sys; table=json.load(open(sys.argv[1])); \
    columns=[list(c.values()) if isinstance(c,dict) else c for c in table.values()]; \
    [print(json.dumps(dict(zip(table,row)))) for row in zip(*columns)]' FILE > OTHER";

/// A row that is not what its file's format asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRow {
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it.
    pub problem: RowProblem,
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// What should be JSON is not.
    #[error("not JSON (column {column}): {message}; {expected}")]
    NotJson {
        /// Where the parser stopped, from 1.
        column: usize,
        /// What it says.
        message: String,
        /// What stands in such a file.
        expected: &'static str,
    },
    /// The file is one JSON object, but not one of articles.
    #[error(
        "the file is one object with the keys {}: a .json file is a list of objects, an object a line, or SQuAD's `data` of `paragraphs` of `qas`",
        listed(found)
    )]
    NoArticles {
        /// The keys of the object.
        found: Vec<String>,
    },
    /// The file is a table by columns.
    #[error(
        "the file is one object of columns, {}: write a row an object: `{}`",
        listed(found),
        COLUMNS
    )]
    Columns {
        /// The keys of the object.
        found: Vec<String>,
    },
    /// The file is a table of names and of lists of values.
    #[error(
        "the file is one table, whose `columns` name the values of `data`: write a row an object: `jq -c '.columns as $names|.data[]|[$names,.]|transpose|map({{key:.[0],value:.[1]}})|from_entries' FILE > OTHER`"
    )]
    Table,
    /// The file is what a viewer of datasets gives of one.
    #[error(
        "the file is an answer of a viewer of datasets, whose rows stand in `rows[].row`, and are perhaps not all: `jq -c '.rows[].row' FILE > OTHER`"
    )]
    Viewer,
    /// The file is one object of several lists of rows.
    #[error(
        "the file is one object with several lists of rows, {}: write each into a file of its own (`jq -c '.[\"{}\"][]' FILE > OTHER`)",
        listed(found),
        found.first().map_or("", String::as_str)
    )]
    Splits {
        /// The keys of the lists.
        found: Vec<String>,
    },
    /// The file is one object of rows by name.
    #[error(
        "the file is one object of {count} rows by name, the first `{first}`: write the rows alone (`jq -c '.[]' FILE > OTHER`)"
    )]
    RowsByName {
        /// The first name.
        first: String,
        /// How many there are.
        count: usize,
    },
    /// An object has a key twice, of which only one value could be used.
    #[error(
        "the key `{key}` stands twice in one object, and one of its values would be lost: leave one out"
    )]
    KeyTwice {
        /// The key.
        key: String,
    },
    /// A whole number that the parser would round.
    #[error(
        "{number} has more digits than 64 bits hold, and would be read as a rounded number: write it as a text, in quotes, or leave the key out"
    )]
    Rounded {
        /// As it stands there.
        number: String,
    },
    /// A string that holds an object.
    #[error(
        "the line is a string that holds a JSON object: take it out of it (`jq -c fromjson FILE > OTHER`)"
    )]
    Quoted,
    /// What stands there is JSON, but not an object.
    #[error("the line is not a JSON object: write {{\"key\": value, …}}")]
    NotObject,
    /// A row of a CSV file has more or fewer cells than the header.
    #[error(
        "the row has {found} cells, but the header names {keys}: a cell with commas, quotes or line breaks stands in \"…\", a quote within it is doubled"
    )]
    Cells {
        /// Cells of the row.
        found: usize,
        /// Keys that the header names.
        keys: usize,
    },
    /// The header of a CSV file has a key twice.
    #[error("the header names `{key}` twice: name every column once")]
    NamedTwice {
        /// The key.
        key: String,
    },
    /// A quoted cell of a CSV file goes on to the end of the file.
    #[error("the quote that opens a cell here is never closed; a quote within a cell is doubled")]
    OpenQuote,
    /// Text behind the quote that closes a cell of a CSV file.
    #[error(
        "text stands behind a quote that closes a cell: a quote within a cell is doubled, and not written as \\\" (Python's csv module reads that with escapechar=\"\\\\\", doublequote=False, and writes it doubled)"
    )]
    BehindQuote,
    /// A row of a CSV file cannot be read.
    #[error("not CSV: {message}")]
    NotCsv {
        /// What the parser says.
        message: String,
    },
    /// Keys that no format has.
    #[error("the keys {} fit no format: {advice}", listed(found))]
    NoFormat {
        /// The keys of the row.
        found: Vec<String>,
        /// What to do.
        advice: String,
    },
    /// A row in the shape that another interface has for it.
    #[error("this is {what}: {way}")]
    Elsewhere {
        /// What it is.
        what: &'static str,
        /// What to do.
        way: String,
    },
    /// Keys that the format needs are missing.
    #[error(
        "the file is {format}, but the row has no {}; its keys are {}{}",
        listed(missing),
        listed(found),
        other_format(*other)
    )]
    Keys {
        /// The format of the file.
        format: Format,
        /// The keys that are missing.
        missing: Vec<&'static str>,
        /// The keys of the row.
        found: Vec<String>,
        /// The format that the row would fit.
        other: Option<Format>,
    },
    /// A value of the wrong type.
    #[error("`{key}` must be {expected}, but is {found}")]
    Type {
        /// Path of the value.
        key: String,
        /// What must stand there.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A content in several texts.
    #[error(
        "`{key}` is a list of {count} texts, where one is needed: join them as the model should see them"
    )]
    Texts {
        /// Path of the content.
        key: String,
        /// How many there are.
        count: usize,
    },
    /// A content with something that is no text in it.
    #[error(
        "`{key}` has a part of the type `{kind}`, and texts alone are learned from: {}, or leave the row out",
        as_text(kind)
    )]
    Part {
        /// Path of the content.
        key: String,
        /// What the part says to be.
        kind: String,
    },
    /// Another tool's way to take an answer out of training.
    #[error(
        "`{key}` says what is learned of an answer, and is not read: write `train` (true or false) for a whole answer, or leave it out"
    )]
    Mask {
        /// Path of the key.
        key: String,
    },
    /// A conversation in the place of a text.
    #[error("`{key}` is a list of messages: write it and the answer as one list, `messages`")]
    Turns {
        /// The key.
        key: &'static str,
    },
    /// A list of references with nothing in it.
    #[error("`references` is an empty list: write at least one text, as [\"…\"]")]
    NoReferences,
    /// A text of a list, without a word.
    #[error("`{key}` is empty: write a text that is right for the prompt, or leave it out")]
    Empty {
        /// Path of the text.
        key: String,
    },
    /// A row to classify without a class.
    #[error("`label` is empty: write the row's class, or leave the row out")]
    NoLabel,
    /// Something that a row says and that no text would be written of.
    #[error(
        "`{key}` is not written into conversations, so nothing of it would be learned: write it into the `content` of a message as the model should see it, or leave it out"
    )]
    NotUsed {
        /// What it is.
        key: String,
    },
    /// A conversation all of whose answers are taken out of training.
    #[error("no answer is to be learned: `weight` or `train` takes all of them out")]
    NothingLearned,
    /// A conversation in which there is nothing to learn.
    #[error(
        "no message has the role `assistant`; the roles are {}: call the one whose answers are learned `assistant`{}",
        listed(roles),
        way.as_ref().map(|way| format!("; {way}")).unwrap_or_default()
    )]
    NoAssistant {
        /// The roles that there are.
        roles: Vec<String>,
        /// How to do that, where they are known.
        way: Option<String>,
    },
}

fn other_format(other: Option<Format>) -> String {
    other.map(|format| format!(", which fit format = \"{format}\"")).unwrap_or_default()
}

/// How a part of a content that is no text is written here.
fn as_text(kind: &str) -> &'static str {
    match kind {
        "tool_use" | "toolUse" | "function_call" | "functionCall" | "tool_call" => {
            "write the call into `tool_calls` of the message, as [{\"type\": \"function\", \"function\": {\"name\": …, \"arguments\": …}}]"
        }
        "tool_result" | "toolResult" | "function_response" | "functionResponse" => {
            "write it as a message of its own, of the role `tool`"
        }
        "thinking" | "reasoning" | "redacted_thinking" => {
            "write it into `reasoning_content` of the message"
        }
        _ => "write what it says as text",
    }
}
