//! Files other than JSON Lines.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn parse(name: &str, text: &str) -> Result<RowFile, DataError> {
    RowFile::parse(text, Path::new(name), &Reading::default())
}

fn first(rows: usize) -> Reading {
    Reading { limit: Some(rows), ..Reading::default() }
}

/// Checks lines and texts of the rows of a file with a `text` in each.
fn check_texts(name: &str, text: &str, expected: &[(usize, &str)]) {
    let file = parse(name, text).unwrap();
    let rows: Vec<_> = file.rows.into_iter().map(|placed| (placed.place, placed.row)).collect();
    let row = |(line, text): &(usize, &str)| (Place::Line(*line), Row::Text((*text).into()));
    let expected: Vec<_> = expected.iter().map(row).collect();
    assert_eq!(rows, expected, "{text}");
}

fn check_error(name: &str, text: &str, message: &str) {
    let error = parse(name, text).unwrap_err().to_string();
    assert_eq!(error, format!("{name}:{message}"), "{text}");
}

#[test]
fn a_json_file_may_be_lines_or_one_list() {
    check_texts("a.json", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n", &[(1, "a"), (2, "b")]);
    check_texts("a.JSON", "[{\"text\": \"a\"}, {\"text\": \"b\"}]", &[(1, "a"), (1, "b")]);
    let pretty = "\u{feff}\n[\n  {\n    \"text\": \"a\",\n    \"tags\": [\"},\", {}]\n  },\n\n  \
                  {\"text\": \"\\\\\"}, {\n\"text\": \"[\\\"\u{e9},\"}\n]\n";
    check_texts("a.json", pretty, &[(3, "a"), (8, "\\"), (8, "[\"\u{e9},")]);
    let limited = RowFile::parse(pretty, Path::new("a.json"), &first(1)).unwrap();
    assert_eq!(limited.rows.len(), 1);
}

#[test]
fn a_broken_list_is_reported_where_it_breaks() {
    check_error(
        "a.json",
        "[\n{\"text\": \"a\"},\n{\"text\" \"b\"}\n]",
        "3: not JSON (column 9): expected `:`; the file is one list of JSON objects",
    );
    check_error(
        "a.json",
        "[{\"text\": \"a\"}\n",
        "2: not JSON (column 0): EOF while parsing a list; the file is one list of JSON objects",
    );
    check_error(
        "a.json",
        "[{\"text\": \"a\"},\n 3,\n{\"text\": 4}]",
        "2: the line is not a JSON object: write {\"key\": value, …}\na.json:3: `text` must be a string, but is a number",
    );
    check_error("a.json", "[]", " the file has no rows: write one JSON object a line");
}

#[test]
fn a_csv_header_gives_the_keys_and_quotes_keep_what_they_hold() {
    let text =
        "id, text\r\n1,\"a, b\"\r\n\r\n2,\"two\nlines \"\"quoted\"\"\"\r\n3,\"\r\n\"\r\n4,plain";
    let expected = [(2, "a, b"), (4, "two\nlines \"quoted\""), (6, "\r\n"), (8, "plain")];
    check_texts("a.csv", text, &expected);
    check_texts("a.csv", "\u{feff}\n\ntext\n\n\na\nb\n\n", &[(6, "a"), (7, "b")]);
    let limited = RowFile::parse(text, Path::new("a.csv"), &first(2)).unwrap();
    assert_eq!(limited.rows.len(), 2);
}

#[test]
fn csv_labels_are_numbers_where_they_are_written_as_such() {
    let labels = |column: &str| {
        let text = format!("text,label\n{}", column.replace(' ', "\n"));
        let rows = parse("a.csv", &text).unwrap().rows;
        let label = |placed: PlacedRow| match placed.row {
            Row::Classification { label, .. } => label,
            other => panic!("{other:?}"),
        };
        rows.into_iter().map(label).collect::<Vec<_>>()
    };
    let name = |name: &str| Label::Name(name.into());
    assert_eq!(labels("t,10 t,-9"), [Label::Number(10), Label::Number(-9)]);
    assert_eq!(labels("t,a t,007 t,+7 t,1.5"), [name("a"), name("007"), name("+7"), name("1.5")]);
    let empty = "`label` is empty: write the row's class, or leave the row out";
    check_error("a.csv", "text,label\nt,a\nt,\n", &format!("3: {empty}"));
    let lines = "{\"text\": \"t\", \"label\": \"a\"}\n{\"text\": \"t\", \"label\": \"\"}\n";
    check_error("a.jsonl", lines, &format!("2: {empty}"));
    // Any other column is what it is written as.
    check_texts("a.csv", "text\n12\n", &[(2, "12")]);
}

/// Two files that were put behind each other, each with its mark.
#[test]
fn a_byte_order_mark_amid_lines_is_no_part_of_a_row() {
    let text = "\u{feff}{\"text\": \"a\"}\n\u{feff}{\"text\": \"b\"}\n";
    assert_eq!(parse("a.jsonl", text).unwrap().rows.len(), 2);
}

/// Columns that had gaps somewhere come with a point from pandas; cells have no lists.
#[test]
fn what_a_table_program_makes_of_values_is_read_as_what_it_was() {
    let rows =
        parse("a.jsonl", "{\"text\": \"t\", \"label\": 1.0}\n{\"text\": \"t\", \"label\": -2.0}\n");
    let labels = rows.unwrap().rows.into_iter().map(|placed| match placed.row {
        Row::Classification { label, .. } => label,
        other => panic!("{other:?}"),
    });
    assert_eq!(labels.collect::<Vec<_>>(), [Label::Number(1), Label::Number(-2)]);
    for broken in ["0.5", "1e300"] {
        let row = format!("{{\"text\": \"t\", \"label\": {broken}}}\n");
        let said = parse("a.jsonl", &row).unwrap_err().to_string();
        assert!(said.contains("must be a string or a whole number"), "{said}");
    }
    let turns = |key: &str, from: &str, text: &str, names: [&str; 2]| {
        format!(
            "[{{{key:?}: {0:?}, {from:?}: \"a\"}}, {{{key:?}: {1:?}, {from:?}: {text:?}}}]",
            names[0], names[1]
        )
    };
    for (column, turns) in [
        ("messages", turns("role", "content", "b, c", ["user", "assistant"])),
        ("conversations", turns("from", "value", "b, c", ["human", "gpt"])),
    ] {
        let table = format!("{column}\n\"{}\"\n", turns.replace('"', "\"\""));
        let lines = format!("{{{column:?}: {turns}}}\n");
        let row =
            |file: RowFile| file.rows.into_iter().map(|placed| placed.row).collect::<Vec<_>>();
        assert_eq!(row(parse("a.csv", &table).unwrap()), row(parse("a.jsonl", &lines).unwrap()));
    }
}

#[test]
fn tables_of_spreadsheets_are_read_by_what_stands_between_their_values() {
    for mark in [',', ';', '\t', '|'] {
        let text = format!("id{mark}text\n1{mark}\"a{mark}b\"\n2{mark}c\n");
        let expected = [(2, format!("a{mark}b")), (3, "c".to_owned())];
        let expected = expected.each_ref().map(|(line, text)| (*line, text.as_str()));
        check_texts("a.csv", &text, &expected);
        let declared = [(3, expected[0].1), (4, expected[1].1)];
        check_texts("a.csv", &format!("sep={mark}\r\n{text}"), &declared);
        // What opens a quote and does not close it once took every row behind it, where no comma stands before it.
        check_error(
            "a.csv",
            &format!("id{mark}text\n1{mark}\"a\n2{mark}b\n"),
            "2: the quote that opens a cell here is never closed; a quote within a cell is doubled",
        );
    }
}

#[test]
fn a_file_of_one_conversation_is_one_row() {
    for key in ["conversation", "dialog"] {
        let text = format!("{{{key:?}: [{{\"role\": \"user\", \"content\": \"a\"}}]}}\n");
        let error = parse("a.jsonl", &text).unwrap_err().to_string();
        let said = format!(
            "a.jsonl:1: the keys `{key}` fit no format: the nearest is messages: rename `{key}` to `messages`; "
        );
        assert!(error.starts_with(&said), "{error}");
    }
}

#[test]
fn csv_rows_that_do_not_fit_the_header_are_reported_with_their_lines() {
    let hint =
        "a cell with commas, quotes or line breaks stands in \"…\", a quote within it is doubled";
    check_error(
        "a.csv",
        "prompt,completion\na,b\na,b,c\n\"x\ny\",z\nd\n",
        &format!(
            "3: the row has 3 cells, but the header names 2: {hint}\na.csv:6: the row has 1 cells, but the header names 2: {hint}"
        ),
    );
    check_error(
        "a.csv",
        "text\na\n\"b\nc\n",
        "3: the quote that opens a cell here is never closed; a quote within a cell is doubled",
    );
    let escaped = parse("a.csv", "text\n\"she said \\\"x\\\" to me\"\n").unwrap_err().to_string();
    assert!(escaped.starts_with("a.csv:2: text stands behind a quote"), "{escaped}");
    check_texts(
        "a.csv",
        "text\n\"she said \"\"x\"\" to me\"\n\"b\" \n",
        &[(2, "she said \"x\" to me"), (3, "b ")],
    );
    check_error(
        "a.csv",
        "\ntext,a,text\n",
        "2: the header names `text` twice: name every column once",
    );
    let empty = " the file has no rows: write a header row, then a row of values a line";
    check_error("a.csv", "text\n", empty);
    check_error("a.csv", "", empty);
    let error = parse("a.csv", "promt,completion\na,b\n").unwrap_err().to_string();
    assert!(error.starts_with("a.csv:2: the keys `promt`, `completion` fit no format: the nearest is prompt-completion: rename `promt` to `prompt`; "), "{error}");
}

#[test]
fn a_csv_instruction_with_an_empty_input_has_none() {
    let file = parse("a.csv", "instruction,input,output\nadd,1 2,3\nsay,,hi\n").unwrap();
    assert_eq!(file.format, Format::Instruction);
    let asked: Vec<_> = file
        .rows
        .iter()
        .map(|placed| match &placed.row {
            Row::Messages(messages) => messages[0].content().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, ["add\n\n1 2", "say"]);
}

const SQUAD: &str = r#"{
 "version": "v2.0",
 "data": [
  {"title": "Rivers", "paragraphs": [
   {"context": "The Rhine flows north.", "qas": [
    {"question": "Where to?", "id": "r1", "answers": [{"text": "north", "answer_start": 16}], "is_impossible": false},
    {"question": "How long?", "id": "r2", "answers": [], "is_impossible": true, "plausible_answers": []}]},
   {"context": "It is long.", "qas": [{"question": "What?", "id": "r3", "answers": [{"text": "It"}]}]}]},
  {"title": "Hills", "paragraphs": [
   {"context": "High.", "qas": [{"question": "How?", "id": "h1", "answers": [{"text": "High"}]}]}]}
 ]
}"#;

#[test]
fn the_questions_of_articles_are_rows_named_by_article_and_id() {
    let pretty = parse("a.json", SQUAD).unwrap();
    let line = parse("a.json", &SQUAD.replace('\n', "")).unwrap();
    assert_eq!(pretty, line);
    assert_eq!(pretty.format, Format::Squad);
    let rows: Vec<_> = pretty
        .rows
        .iter()
        .map(|placed| match &placed.row {
            Row::PromptCompletion { prompt, completion, .. } => {
                (placed.place.to_string(), placed.article, prompt.as_str(), completion.as_str())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let row = |place: &str, article, prompt, completion| {
        (format!(": {place}"), Some(article), prompt, completion)
    };
    assert_eq!(
        rows,
        [
            row(
                "article `Rivers`, question `r1`",
                0,
                "The Rhine flows north.\n\nQuestion: Where to?\nAnswer:",
                " north"
            ),
            row(
                "article `Rivers`, question `r2`",
                0,
                "The Rhine flows north.\n\nQuestion: How long?\nAnswer:",
                " unanswerable"
            ),
            row(
                "article `Rivers`, question `r3`",
                0,
                "It is long.\n\nQuestion: What?\nAnswer:",
                " It"
            ),
            row("article `Hills`, question `h1`", 1, "High.\n\nQuestion: How?\nAnswer:", " High"),
        ]
    );
    let (kept, held) = pretty.hold_out(0.25, 0).unwrap();
    let articles = |file: &RowFile| file.rows.iter().map(|row| row.article).collect::<Vec<_>>();
    // A quarter is a row, and a row is of an article that goes along.
    assert!(articles(&kept).iter().all(|article| !articles(&held).contains(article)));
}

#[test]
fn what_is_wrong_with_articles_is_told_by_article_and_question() {
    let broken = SQUAD
        .replace("\"question\": \"Where to?\"", "\"question\": 3")
        .replace("\"context\": \"It is long.\",", "")
        .replace(
            "\"paragraphs\": [\n   {\"context\": \"High.\"",
            "\"paragraph\": [\n   {\"context\": \"High.\"",
        );
    check_error(
        "a.json",
        &broken,
        " article `Rivers`, question `r1`: `question` must be a string, but is a number\n\
         a.json: article `Rivers`, question `r3`: `context` must be a string, but is null\n\
         a.json: article `Hills`: `paragraphs` must be a list of {context, qas}, but is nothing",
    );
    check_error(
        "a.json",
        &SQUAD.replace("\"qas\": [{\"question\": \"How?\"", "\"qs\": [{\"question\": \"How?\""),
        " article `Hills`, paragraph 1: `qas` must be a list of {question, id, answers}, but is nothing",
    );
    check_error(
        "a.json",
        "{\n\"data\": [}",
        "2: not JSON (column 10): expected value; the file is JSON objects, one after another",
    );
    check_error(
        "a.json",
        "{\n\"texts\": \"a\"\n}",
        "1: the file is one object with the keys `texts`: a .json file is a list of objects, an object a line, or SQuAD's `data` of `paragraphs` of `qas`",
    );
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_the_feature_parquet_files_name_it() {
    assert_eq!(
        RowFile::read("rows.parquet", &Reading::default()).unwrap_err().to_string(),
        "rows.parquet: this build does not read such files: build with `--features parquet`, or convert the file to JSON Lines"
    );
}

/// A cell as RFC 4180 writes it.
fn quoted(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
}

proptest! {
    #[test]
    fn csv_and_json_lists_read_back_what_was_written(
        cells in prop::collection::vec("[a-c,\"\\\\\\[{\n\r\u{e9} ]{0,8}", 1..12),
        blank in 0_usize..3,
    ) {
        let texts = |file: RowFile| {
            let text = |placed: PlacedRow| match placed.row {
                Row::PromptCompletion { prompt, completion, .. } if completion == "c" => prompt,
                other => panic!("{other:?}"),
            };
            file.rows.into_iter().map(text).collect::<Vec<_>>()
        };
        let gap = "\n".repeat(blank);
        let rows: String = cells.iter().map(|cell| format!("{},c\n{gap}", quoted(cell))).collect();
        let file = parse("a.csv", &format!("prompt,completion\n{gap}{rows}")).unwrap();
        let mut line = 2 + blank;
        for (row, cell) in file.rows.iter().zip(&cells) {
            prop_assert_eq!(&row.place, &Place::Line(line));
            line += 1 + blank + cell.matches('\n').count();
        }
        prop_assert_eq!(&texts(file), &cells);

        let objects: Vec<_> =
            cells.iter().map(|p| serde_json::json!({"prompt": p, "completion": "c"})).collect();
        let pretty = serde_json::to_string_pretty(&objects).unwrap();
        let file = parse("a.json", &pretty).unwrap();
        // Pretty-printed, an object takes four lines.
        prop_assert!(file.rows.iter().enumerate().all(|(at, row)| row.place == Place::Line(2 + 4 * at)));
        prop_assert_eq!(&texts(file), &cells);
        let file = parse("a.json", &serde_json::to_string(&objects).unwrap()).unwrap();
        prop_assert_eq!(texts(file), cells);
    }
}

#[test]
fn json_that_is_not_a_line_a_row_is_read_all_the_same() {
    let both = [(2, "a"), (5, "b")];
    check_texts("a.jsonl", "\n{\n\"text\": \"a\"}\n\n {\"text\":\n\"b\"\n}", &both);
    check_texts("a.jsonl", "[\n{\"text\": \"a\"},\n\n\n{\"text\": \"b\"}]", &both);
    check_texts("a.txt", "[{\"text\": \"a\"}]", &[(1, "a")]);
    for text in
        ["{\"version\": 2, \"rows\": [{\"text\": \"a\"}]}", "{\n\"data\": [{\"text\": \"a\"}]}"]
    {
        let rows = parse("a.json", text).unwrap().rows;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].row, Row::Text("a".into()));
        assert!(matches!(&rows[0].place, Place::Named(place) if place.ends_with("[0]`")));
    }
    let columns = parse("a.json", "{\"prompt\": [\"a\"], \"completion\": [\"b\"]}").unwrap_err();
    assert!(columns.to_string().contains("object of columns"), "{columns}");
}

#[test]
fn spreadsheets_write_semicolons_and_tabs() {
    check_texts("a.csv", "id;text\n1;a, b\n2;\"c; d\"\n", &[(2, "a, b"), (3, "c; d")]);
    check_texts("a.tsv", "id\ttext\n1\ta; b, c\n", &[(2, "a; b, c")]);
    check_texts("a.csv", "text\na;b\n", &[(2, "a;b")]);
}
