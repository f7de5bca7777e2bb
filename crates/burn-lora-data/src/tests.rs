use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use burn_lora_models::conversation::Message;
use burn_lora_models::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

use super::*;

const EOS: u32 = 0;
const CLS: u32 = 1;
const SEP: u32 = 2;
const START: u32 = 3;
const END: u32 = 4;
const LETTERS: u32 = 100;

/// What a tokenizer has in which every letter is a token.
#[derive(Default)]
struct Letters {
    /// Special tokens, beside those around a text.
    named: &'static [(&'static str, u32)],
    /// Whether `CLS` stands before and `SEP` behind a text.
    special: bool,
    /// Whether it has a chat template: `[role]content;` for a turn.
    template: bool,
}

impl Letters {
    fn tokenizer(self) -> Tokenizer {
        let around: &[_] = if self.special { &[("<cls>", CLS), ("<sep>", SEP)] } else { &[] };
        let added = self.named.iter().chain(around).map(|(token, id)| {
            json!({"id": id, "content": token, "special": true, "single_word": false,
                   "lstrip": false, "rstrip": false, "normalized": false})
        });
        let letters = ('\n'..='~').map(|letter| (letter.to_string(), LETTERS + u32::from(letter)));
        let named = self.named.iter().chain(around).map(|(token, id)| (token.to_string(), *id));
        let part = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
        let special = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
        let text = json!({"Sequence": {"id": "A", "type_id": 0}});
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
            "added_tokens": added.collect::<Vec<_>>(),
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?s)."}, "behavior": "Isolated", "invert": false},
            "post_processor": self.special.then(|| json!({
                "type": "TemplateProcessing",
                "single": [part("<cls>"), text, part("<sep>")],
                "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"<cls>": special("<cls>", CLS), "<sep>": special("<sep>", SEP)},
            })),
            // A letter that is not in the vocabulary cannot be encoded: the unknown one is not either.
            "model": {"type": "WordLevel", "unk_token": "<unknown>",
                      "vocab": letters.chain(named).collect::<BTreeMap<_, _>>()},
        });
        let mut config = Map::new();
        if self.named.contains(&END_OF_TEXT) {
            config.insert("eos_token".into(), END_OF_TEXT.0.into());
        }
        if self.template {
            config.insert("chat_template".into(), CHAT_TEMPLATE.into());
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let config = Value::Object(config).to_string();
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        Tokenizer::from_dir(dir.path()).unwrap()
    }
}

const END_OF_TEXT: (&str, u32) = ("<eos>", EOS);

const CHAT_TEMPLATE: &str = "{% for m in messages %}\
    {% if m.role == 'tool' %}{{ raise_exception('no tool is known') }}{% endif %}\
    [{{ m.role }}]{{ m.content }};{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

static PLAIN: LazyLock<Tokenizer> =
    LazyLock::new(|| Letters { named: &[END_OF_TEXT], ..Letters::default() }.tokenizer());
static WITH_SPECIAL: LazyLock<Tokenizer> =
    LazyLock::new(|| Letters { named: &[END_OF_TEXT], special: true, template: false }.tokenizer());
static CHAT_ML: LazyLock<Tokenizer> = LazyLock::new(|| {
    let named = &[("<|im_start|>", START), ("<|im_end|>", END)];
    Letters { named, ..Letters::default() }.tokenizer()
});
static NO_END: LazyLock<Tokenizer> = LazyLock::new(|| Letters::default().tokenizer());
static TEMPLATE: LazyLock<Tokenizer> = LazyLock::new(|| {
    Letters { named: &[("<|im_start|>", START)], special: true, template: true }.tokenizer()
});

fn parse(text: &str) -> Result<RowFile, DataError> {
    RowFile::parse(text, Path::new("rows.jsonl"), &Reading::default())
}

fn how(max_length: usize) -> Tokenization {
    Tokenization {
        limit: max_length.into(),
        separator: "\n".into(),
        eos: true,
        answers: Answers::All,
    }
}

/// Ids as text: letters, `$` the end token, `<` and `>` ChatML's, `(` and `)` the special ones.
fn spell(ids: impl IntoIterator<Item = u32>) -> String {
    let spell = |id| match id {
        EOS => '$',
        CLS => '(',
        SEP => ')',
        START => '<',
        END => '>',
        letter => char::from_u32(letter - LETTERS).unwrap(),
    };
    ids.into_iter().map(spell).collect()
}

/// Checks the ids of the one example of a row and its targets, `_` where there is none.
fn check_example(row: &str, tokenizer: &Tokenizer, max_length: usize, ids: &str, targets: &str) {
    let (examples, report) =
        token_examples(&parse(row).unwrap(), tokenizer, &how(max_length)).unwrap();
    let [example] = &examples[..] else { panic!("{examples:?}") };
    assert_eq!(spell(example.ids.iter().copied()), ids);
    let of = |target: &Option<u32>| target.map_or("_".into(), |id| spell([id]));
    assert_eq!(example.targets.iter().map(of).collect::<String>(), targets);
    assert_eq!(report.tokens, example.ids.len());
    assert_eq!(report.target_tokens, example.target_tokens());
}

#[test]
fn the_keys_of_the_first_row_tell_the_format() {
    let message = r#"{"messages": [{"role": "assistant", "content": "a"}]}"#;
    let cases = [
        (message, Format::Messages),
        (r#"{"prompt": "p", "completion": "c", "id": 3}"#, Format::PromptCompletion),
        (r#"{"references": ["r"], "text": "t", "prompt": "p"}"#, Format::PromptCompletion),
        (r#"{"conversations": [{"from": "gpt", "value": "a"}]}"#, Format::Messages),
        (r#"{"instruction": "i", "output": "o", "text": "t"}"#, Format::Instruction),
        (r#"{"context": "c", "question": "q", "answers": []}"#, Format::Squad),
        (r#"{"text": "t"}"#, Format::Text),
        (r#"{"text": "t", "label": "l"}"#, Format::Classification),
        (r#"{"label": 4, "text": "t"}"#, Format::Classification),
        // Columns of joined tables, which are another row's.
        (r#"{"prompt": "p", "completion": "c", "messages": null}"#, Format::PromptCompletion),
        (r#"{"text": "t", "prompt": null, "completion": null}"#, Format::Text),
    ];
    for (row, format) in cases {
        assert_eq!(parse(row).unwrap().format, format, "{row}");
    }
    let as_text = Reading { format: Some(Format::Text), ..Reading::default() };
    let named = RowFile::parse(cases[7].0, Path::new("f"), &as_text).unwrap();
    assert_eq!(
        named.rows,
        [PlacedRow { place: Place::Line(1), article: None, row: Row::Text("t".into()) }]
    );
}

#[test]
fn rows_keep_their_lines_and_a_limit_counts_rows() {
    let text = "\u{feff}\n{\"text\": \"a\"}\r\n\n  \n{\"text\": \"b\"}\n{\"text\"";
    let two = Reading { limit: Some(2), ..Reading::default() };
    let file = RowFile::parse(text, Path::new("f"), &two).unwrap();
    let rows: Vec<_> = file.rows.into_iter().map(|placed| (placed.place, placed.row)).collect();
    let row = |line, text: &str| (Place::Line(line), Row::Text(text.into()));
    assert_eq!(rows, [row(2, "a"), row(5, "b")]);
}

#[test]
fn broken_rows_are_reported_at_once_with_line_keys_and_remedy() {
    let text = r#"{"prompt": "p", "completion": "c"}
{"prompt": "p" "completion": "c"}
[1]
{"prompt": "p", "reference": ["c"]}
{"text": "t", "label": 1}
{"prompt": "p", "completion": null}
"#;
    assert_eq!(
        parse(text).unwrap_err().to_string(),
        "rows.jsonl:2: not JSON (column 16): expected `,` or `}`; every line is one whole JSON object\n\
         rows.jsonl:3: the line is not a JSON object: write {\"key\": value, …}\n\
         rows.jsonl:4: the file is prompt-completion, but the row has no `completion`; its keys are `prompt`, `reference`\n\
         rows.jsonl:5: the file is prompt-completion, but the row has no `prompt`, `completion`; its keys are `text`, `label`, which fit format = \"classification\"\n\
         rows.jsonl:6: `completion` must be a string, but is null"
    );
}

#[test]
fn the_first_reference_is_learned_and_all_are_there_for_scoring() {
    let text = r#"{"prompt": "ab", "references": ["xy", "z", "xy"], "id": 3}
{"prompt": "ab", "completion": "c"}
{"prompt": "d", "references": ["r"], "completion": null}
{"prompt": "d", "references": "of the article", "completion": "c"}
"#;
    let file = parse(text).unwrap();
    let row = |prompt: &str, completion: &str, alternatives: &[&str]| Row::PromptCompletion {
        prompt: prompt.into(),
        completion: completion.into(),
        alternatives: alternatives.iter().map(ToString::to_string).collect(),
    };
    let rows: Vec<_> = file.rows.iter().map(|placed| placed.row.clone()).collect();
    // Beside a completion, references are a key like any other that the format does not have.
    let expected = [
        row("ab", "xy", &["z", "xy"]),
        row("ab", "c", &[]),
        row("d", "r", &[]),
        row("d", "c", &[]),
    ];
    assert_eq!(rows, expected);
    let made = prompts(&file, &PLAIN, &how(99)).unwrap();
    let references: Vec<Vec<&str>> = made.iter().map(|p| p.references().collect()).collect();
    assert_eq!(references, [vec!["xy", "z", "xy"], vec!["c"], vec!["r"], vec!["c"]]);
    assert_eq!((made[0].text.as_str(), made[0].expected.as_str()), ("ab\n", "xy"));
    let first = r#"{"prompt": "ab", "references": ["xy", "z"]}"#;
    check_example(first, &PLAIN, 20, "ab\nxy$", "__xy$_");
}

#[test]
fn references_that_are_no_list_of_texts_are_refused_with_what_to_write() {
    let check = |references: &str, message: &str| {
        let row = format!("\n{{\"prompt\": \"p\", \"references\": {references}}}");
        assert_eq!(parse(&row).unwrap_err().to_string(), format!("rows.jsonl:2: {message}"));
    };
    check(r#""c""#, r#"`references` must be a list of strings, as ["…", "…"], but is a string"#);
    check("null", r#"`references` must be a list of strings, as ["…", "…"], but is null"#);
    check("[]", r#"`references` is an empty list: write at least one text, as ["…"]"#);
    check(r#"["c", 4]"#, "`references[1]` must be a string, but is a number");
    check("[[\"c\"]]", "`references[0]` must be a string, but is a list");
    check(
        r#"["c", "d", " "]"#,
        "`references[2]` is empty: write a text that is right for the prompt, or leave it out",
    );
}

#[test]
fn keys_that_fit_no_format_are_told_their_names_here() {
    let needs = "a row has `messages` (messages), or `prompt`, `completion` (prompt-completion), or `instruction`, `output` (instruction), or `context`, `question`, `answers` (squad), or `text`, `label` (classification), or `text` (text)";
    assert_eq!(
        parse(r#"{"question": "a", "answer": "b"}"#).unwrap_err().to_string(),
        format!(
            "rows.jsonl:1: the keys `question`, `answer` fit no format: the nearest is prompt-completion: rename `question` to `prompt`, rename `answer` to `completion`; {needs}"
        )
    );
    assert_eq!(
        parse(r#"{"a": "b"}"#).unwrap_err().to_string(),
        format!("rows.jsonl:1: the keys `a` fit no format: {needs}")
    );
}

#[test]
fn a_file_in_a_wrong_format_lists_only_its_first_rows() {
    let text = "{\"text\": 1}\n".repeat(13);
    let message = parse(&text).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 11);
    assert!(message.ends_with("\nrows.jsonl: and 3 more rows"), "{message}");
}

#[test]
fn conversations_are_checked_turn_by_turn() {
    let check = |messages: &str, message: &str| {
        let row = format!("{{\"messages\": {messages}}}");
        assert_eq!(parse(&row).unwrap_err().to_string(), format!("rows.jsonl:1: {message}"));
    };
    check(
        "\"hello\"",
        "`messages` must be a list of {role, content}, or a text of JSON with one, but is a string",
    );
    check(
        r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": 4}]"#,
        "`messages[1].content` must be a string, but is a number",
    );
    check(
        r#"[{"role": "user", "content": "a"}]"#,
        "no message has the role `assistant`; the roles are `user`: call the one whose answers are learned `assistant`",
    );
}

#[test]
fn files_without_rows_are_refused() {
    let message = "rows.jsonl: the file has no rows: write one JSON object a line";
    assert_eq!(parse("\n \n").unwrap_err().to_string(), message);
    let error = RowFile::read("no/such.jsonl", &Reading::default()).unwrap_err().to_string();
    assert_eq!(error, "no/such.jsonl: there is no such data file: `no` is not there either");
}

#[test]
fn prompts_carry_no_loss_and_completions_end_with_the_end_token() {
    let row = r#"{"prompt": "ab", "completion": "xyz"}"#;
    check_example(row, &PLAIN, 20, "ab\nxyz$", "__xyz$_");
    // Special tokens stand around the prompt alone, as nothing may stand inside the row twice.
    check_example(row, &WITH_SPECIAL, 20, "(ab\n)xyz$", "____xyz$_");
    check_example(row, &PLAIN, 5, "ab\nxy", "__xy_");
}

#[test]
fn every_token_of_a_text_is_learned_but_the_first() {
    check_example(r#"{"text": "abc"}"#, &PLAIN, 20, "abc$", "bc$_");
    check_example(r#"{"text": "abc"}"#, &WITH_SPECIAL, 20, "(abc)$", "abc)$_");
}

const TALK: &str = r#"{"messages": [
    {"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "ab"},
    {"role": "user", "content": "v"}, {"role": "assistant", "content": "c"}]}"#;

#[test]
fn the_assistant_and_its_end_marker_are_learned() {
    let talk = TALK.replace('\n', "");
    check_example(
        &talk,
        &CHAT_ML,
        200,
        "<system\ns>\n<user\nu>\n<assistant\nab>\n<user\nv>\n<assistant\nc>",
        &format!("{}ab>{}c>_", "_".repeat(30), "_".repeat(21)),
    );
    check_example(
        &talk,
        &PLAIN,
        200,
        "system: s\nuser: u\nassistant: ab$\nuser: v\nassistant: c$",
        &format!("{} ab${} c$_", "_".repeat(27), "_".repeat(19)),
    );
}

#[test]
fn a_chat_template_is_asked_before_anything_else() {
    // It needs no end token, and nothing is put around its segments.
    check_example(
        &TALK.replace('\n', ""),
        &TEMPLATE,
        200,
        "[system]s;[user]u;[assistant]ab;[user]v;[assistant]c;",
        &format!("{}ab;{}c;_", "_".repeat(28), "_".repeat(19)),
    );
    let tool = r#"{"messages": [{"role": "tool", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    assert_eq!(
        token_examples(&parse(tool).unwrap(), &TEMPLATE, &how(99)).unwrap_err().to_string(),
        "rows.jsonl:1: the row cannot be tokenised: the chat template refuses these messages: no tool is known"
    );
}

#[test]
fn an_instruction_is_a_conversation_with_its_input_below_it() {
    let row = r#"{"instruction": "add", "input": "1 2", "output": "3"}"#;
    let talk = "[user]add\n\n1 2;[assistant]3;";
    check_example(row, &TEMPLATE, 99, talk, &format!("{}3;_", "_".repeat(25)));
    check_example(
        row,
        &PLAIN,
        99,
        "user: add\n\n1 2\nassistant: 3$",
        &format!("{} 3$_", "_".repeat(24)),
    );
    for input in ["", "\"input\": \"\", ", "\"input\": \" \", ", "\"input\": null, "] {
        let row = format!("{{\"instruction\": \"add\", {input}\"output\": \"3\"}}");
        check_example(
            &row,
            &TEMPLATE,
            99,
            "[user]add;[assistant]3;",
            &format!("{}3;_", "_".repeat(20)),
        );
    }
    assert_eq!(
        parse(r#"{"instruction": "add", "input": 3, "output": "3"}"#).unwrap_err().to_string(),
        "rows.jsonl:1: `input` must be a string, but is a number"
    );
}

#[test]
fn share_gpt_is_read_with_the_names_of_here() {
    let row = r#"{"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]}"#;
    let turn = |role: &str, content: &str| Message::new(role, content);
    let messages =
        Row::Messages(vec![turn("system", "s"), turn("user", "u"), turn("assistant", "a")].into());
    assert_eq!(parse(row).unwrap().rows[0].row, messages);
    // Each name of the list goes with each shape of turn.
    let mixed = row.replace("conversations", "messages");
    assert_eq!(parse(&mixed).unwrap().rows[0].row, messages);
    let check = |row: &str, message: &str| {
        assert_eq!(parse(row).unwrap_err().to_string(), format!("rows.jsonl:1: {message}"));
    };
    check(
        r#"{"conversations": [{"from": "human"}]}"#,
        "`conversations[0].value` must be a string, but is nothing",
    );
    check(
        r#"{"conversations": [{"value": "a"}]}"#,
        "`conversations[0].from` must be a string, but is nothing",
    );
    check(
        r#"{"conversations": {}}"#,
        "`conversations` must be a list of {from, value}, or a text of JSON with one, but is an object",
    );
}

#[test]
fn without_an_end_token_a_line_ends_the_answer() {
    let file = parse(&TALK.replace('\n', "")).unwrap();
    let how = Tokenization { eos: false, ..how(200) };
    let (examples, _) = token_examples(&file, &NO_END, &how).unwrap();
    let text = "system: s\nuser: u\nassistant: ab\nuser: v\nassistant: c\n";
    assert_eq!(spell(examples[0].ids.iter().copied()), text);
    assert_eq!(spell(examples[0].targets.iter().copied().flatten()), " ab\n c\n");
}

#[test]
fn rows_whose_target_is_cut_away_are_left_out_and_counted() {
    let text = r#"{"prompt": "abcd", "completion": "x"}
{"prompt": "a", "completion": "xyz"}
{"prompt": "ab", "completion": "x"}
"#;
    let (examples, report) = token_examples(&parse(text).unwrap(), &PLAIN, &how(5)).unwrap();
    let rows: Vec<_> = examples.iter().map(|e| spell(e.ids.iter().copied())).collect();
    assert_eq!(rows, ["a\nxyz", "ab\nx$"]);
    assert_eq!((report.rows, report.used(), report.without_target, report.cut), (3, 2, 1, 2));
    assert_eq!((report.tokens, report.target_tokens, report.longest), (10, 5, 5));
    assert_eq!(
        report.to_string(),
        "rows.jsonl: 3 prompt-completion rows, 10 tokens, 5 with loss (50.0 %), longest 5; 2 cut to 5 tokens; 1 left out, with no target left: raise data.max_length"
    );
    assert_eq!(
        token_examples(&parse(text).unwrap(), &PLAIN, &how(2)).unwrap_err().to_string(),
        "rows.jsonl: none of the 3 rows has a target within 2 tokens: raise data.max_length"
    );
}

#[test]
fn over_long_rows_are_dropped_and_counted_or_refused_with_their_places() {
    let text = r#"{"prompt": "abcd", "completion": "xy"}
{"prompt": "a", "completion": "x"}

{"prompt": "ab", "completion": "xyz"}
"#;
    let limit = |over_long| Limit { max_length: 5, over_long };
    let how = |over_long| Tokenization { limit: limit(over_long), ..how(5) };
    let file = parse(text).unwrap();
    let (examples, report) = token_examples(&file, &PLAIN, &how(OverLong::Drop)).unwrap();
    assert_eq!(examples.len(), 1);
    assert_eq!((report.rows, report.used(), report.dropped, report.cut), (3, 1, 2, 0));
    assert_eq!(
        report.to_string(),
        "rows.jsonl: 3 prompt-completion rows, 4 tokens, 2 with loss (50.0 %), longest 4; 2 left out, over 5 tokens"
    );
    // Prompt, separator, completion and end token.
    assert_eq!(
        token_examples(&file, &PLAIN, &how(OverLong::Refuse)).unwrap_err().to_string(),
        "rows.jsonl:1: 8 tokens, but at most 5 are allowed\n\
         rows.jsonl:4: 7 tokens, but at most 5 are allowed\n\
         raise data.max_length, or let over-long rows be cut or dropped"
    );
    let many = parse(&"{\"text\": \"abcdefgh\"}\n".repeat(13)).unwrap();
    let error = token_examples(&many, &PLAIN, &how(OverLong::Refuse)).unwrap_err().to_string();
    assert!(error.contains("\nrows.jsonl: and 3 more rows\n"), "{error}");
    let none = token_examples(&many, &PLAIN, &how(OverLong::Drop)).unwrap_err();
    assert!(matches!(none, DataError::NoTargets { rows: 13, .. }), "{none}");
}

#[test]
fn over_long_classification_rows_are_dropped_or_refused_too() {
    let file =
        parse("{\"text\": \"ab\", \"label\": 0}\n{\"text\": \"abc\", \"label\": 1}\n").unwrap();
    let classes = Classes::of([&file]).unwrap();
    let with = |over_long| {
        let limit = Limit { max_length: 4, over_long };
        label_examples(&file, &WITH_SPECIAL, &classes, limit)
    };
    let (examples, report) = with(OverLong::Drop).unwrap();
    assert_eq!((examples.len(), report.dropped, report.used()), (1, 1, 1));
    assert_eq!(
        with(OverLong::Refuse).unwrap_err().to_string(),
        "rows.jsonl:2: 5 tokens, but at most 4 are allowed\n\
         raise data.max_length, or let over-long rows be cut or dropped"
    );
}

#[test]
fn reports_tell_what_was_held_out() {
    let file = parse(&"{\"text\": \"abc\"}\n".repeat(10)).unwrap();
    let (kept, held) = file.hold_out(0.2, 0).unwrap();
    let report = |file: &RowFile| token_examples(file, &PLAIN, &how(9)).unwrap().1.to_string();
    assert_eq!(
        report(&kept),
        "rows.jsonl: 8 text rows beside 2 held out, 32 tokens, 24 with loss (75.0 %), longest 4"
    );
    assert_eq!(
        report(&held),
        "rows.jsonl: 2 text rows held out of 10, 8 tokens, 6 with loss (75.0 %), longest 4"
    );
}

#[test]
fn a_tokenizer_without_an_end_token_is_refused_where_one_is_needed() {
    let file = parse(r#"{"text": "abc"}"#).unwrap();
    let error = token_examples(&file, &NO_END, &how(9)).unwrap_err();
    assert!(matches!(error, DataError::NoEndToken { unknown: None }), "{error}");
    let how = Tokenization { eos: false, ..how(9) };
    let (examples, _) = token_examples(&file, &NO_END, &how).unwrap();
    assert_eq!(spell(examples[0].ids.iter().copied()), "abc");
}

#[test]
fn a_text_that_cannot_be_encoded_names_its_line() {
    let file = parse("{\"text\": \"abc\"}\n\n{\"text\": \"\u{fffd}\"}").unwrap();
    let error = token_examples(&file, &PLAIN, &how(9)).unwrap_err().to_string();
    assert!(error.starts_with("rows.jsonl:3: the row cannot be tokenised: tokenizer "), "{error}");
}

#[test]
fn what_is_generated_from_is_what_stands_before_the_target() {
    let check = |row: &str, tokenizer: &Tokenizer, ids: &str, expected: &str| {
        let file = parse(row).unwrap();
        let made = prompts(&file, tokenizer, &how(200)).unwrap();
        let [prompt] = &made[..] else { panic!("{made:?}") };
        assert_eq!(spell(prompt.ids.iter().copied()), ids);
        assert_eq!(prompt.expected, expected);
        // Then the row is that prompt, and goes on with what is learned.
        let (examples, _) = token_examples(&file, tokenizer, &how(200)).unwrap();
        assert!(examples[0].ids.starts_with(&prompt.ids));
        assert!(examples[0].targets[prompt.ids.len() - 1].is_some());
    };
    let pair = r#"{"prompt": "ab", "completion": "xyz"}"#;
    check(pair, &PLAIN, "ab\n", "xyz");
    check(pair, &WITH_SPECIAL, "(ab\n)", "xyz");
    let talk = TALK.replace('\n', "");
    check(&talk, &PLAIN, "system: s\nuser: u\nassistant: ab$\nuser: v\nassistant:", "c");
    let before = "<system\ns>\n<user\nu>\n<assistant\nab>\n<user\nv>\n<assistant\n";
    check(&talk, &CHAT_ML, before, "c");
    check(&talk, &TEMPLATE, "[system]s;[user]u;[assistant]ab;[user]v;[assistant]", "c");
    // What a model says ends before its end token, whether the data has that or not.
    check(r#"{"prompt": "ab", "completion": "xyz<eos>"}"#, &PLAIN, "ab\n", "xyz");
    let ended = talk.replace(r#""ab""#, r#""ab<|im_end|>""#).replace(r#""c""#, r#""c<|im_end|>""#);
    assert_ne!(ended, talk);
    check(&ended, &CHAT_ML, before, "c");
    let text = parse(r#"{"text": "abc"}"#).unwrap();
    assert_eq!(prompts(&text, &PLAIN, &how(9)).unwrap(), []);
}

fn labelled(labels: &[&str]) -> RowFile {
    let row = |label: &&str| format!("{{\"text\": \"abc\", \"label\": {label}}}\n");
    parse(&labels.iter().map(row).collect::<String>()).unwrap()
}

#[test]
fn classes_are_the_sorted_labels_numbers_by_value() {
    let names = |labels: &[&str]| Classes::of([&labelled(labels)]).unwrap().names().to_vec();
    assert_eq!(names(&["\"b\"", "\"a\"", "\"b\"", "\"B\""]), ["B", "a", "b"]);
    assert_eq!(names(&["10", "9", "-1", "9"]), ["-1", "9", "10"]);
    assert_eq!(
        Classes::of([&labelled(&["1", "\"b\""])]).unwrap_err().to_string(),
        "rows.jsonl:2: label `b` is a name, but the labels before it are numbers: use one kind in the whole file"
    );
}

#[test]
fn a_number_counts_in_classes_that_are_named() {
    let named = Classes::named(vec!["no".into(), "yes".into()]);
    assert_eq!(named.index(&Label::Number(1)), Some(1));
    assert_eq!(named.index(&Label::Number(2)), None);
    assert_eq!(named.index(&Label::Number(-1)), None);
    assert_eq!(named.index(&Label::Name("no".into())), Some(0));
    let found = Classes::of([&labelled(&["4", "7"])]).unwrap();
    assert_eq!(found.index(&Label::Number(7)), Some(1));
    assert_eq!(found.index(&Label::Number(1)), None);
}

/// `LABEL_10` sorts before `LABEL_2`, and `neg` before `pos`, whatever a head has learned.
#[test]
fn classes_that_a_head_has_are_in_its_order() {
    let names = |labels: &[&str], head: &[&str]| {
        let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
        let files = [labelled(labels)];
        let classes = Classes::of_head(&files, &head).unwrap();
        let last = Label::Number(head.len() as i64 - 1);
        (classes.names().to_vec(), classes.index(&last))
    };
    let head = ["pos", "neu", "neg"];
    assert_eq!(names(&["\"neg\"", "\"pos\""], &head).0, head, "a class without a row stays");
    assert_eq!(names(&["0", "2"], &head), (head.map(str::to_owned).to_vec(), Some(2)));
    assert_eq!(names(&["\"neg\"", "\"bad\""], &head).0, ["bad", "neg"]);
    assert_eq!(names(&["1", "3"], &head).0, ["1", "3"]);
    let many: Vec<String> = (0..11).map(|at| format!("LABEL_{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(names(&["\"LABEL_10\"", "\"LABEL_2\""], &many).0, many);
    assert_eq!(names(&["0", "1"], &["LABEL_0", "LABEL_1"]).0, ["0", "1"]);
}

#[test]
fn classification_rows_keep_their_special_tokens_when_they_are_cut() {
    let file = labelled(&["\"b\"", "\"a\""]);
    let classes = Classes::of([&file]).unwrap();
    let (examples, report) = label_examples(&file, &WITH_SPECIAL, &classes, 4).unwrap();
    let rows: Vec<_> = examples.iter().map(|e| (spell(e.ids.iter().copied()), e.label)).collect();
    assert_eq!(rows, [("(ab)".to_owned(), 1), ("(ab)".to_owned(), 0)]);
    assert_eq!((report.cut, report.longest, report.tokens), (2, 4, 8));
    assert_eq!(
        report.to_string(),
        "rows.jsonl: 2 classification rows, 8 tokens, longest 4; 2 cut to 4 tokens"
    );
}

#[test]
fn a_label_outside_the_classes_names_its_line_and_the_nearest() {
    let classes = Classes::named(vec!["card_arrival".into(), "exchange_rate".into()]);
    let file = labelled(&["\"exchange_rate\"", "\"card_arival\""]);
    assert_eq!(
        label_examples(&file, &PLAIN, &classes, 9).unwrap_err().to_string(),
        "rows.jsonl:2: label `card_arival` is not one of the 2 classes: did you mean `card_arrival`?"
    );
    let text = parse(r#"{"text": "abc"}"#).unwrap();
    assert_eq!(
        label_examples(&text, &PLAIN, &classes, 9).unwrap_err().to_string(),
        "rows.jsonl: the rows are text, but classification rows are needed here: a model that classifies is trained on classification, one that writes on the others. \
         What a text is classified as stands in `label`: rename `labels` or `class`, if that is what the rows have"
    );
}

fn one(line: &str) -> Result<Row, String> {
    let file = RowFile::parse(line, Path::new("a.jsonl"), &Reading::default());
    file.map(|file| file.rows[0].row.clone()).map_err(|error| error.to_string())
}

#[test]
fn nothing_that_a_conversation_holds_is_left_out_unsaid() {
    let answer = r#"{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}"#;
    for (row, key) in [
        (format!(r#"{{"messages": [{answer}], "tools": "no list"}}"#), "`tools`"),
        (
            r#"{"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{}"}, {"from": "gpt", "value": "b"}]}"#
                .to_owned(),
            "`function_call`",
        ),
        (format!(r#"{{"messages": [{answer}, {{"role": "assistant", "content": "c", "weight": 0.5}}]}}"#), "weight"),
        (r#"{"messages": [{"role": "assistant", "content": "c", "train": false}]}"#.to_owned(), "takes all of them out"),
        // Beside an answer that is learned, those of other names would not be.
        (format!(r#"{{"messages": [{answer}, {{"role": "user", "content": "c"}}, {{"role": "Assistant", "content": "d"}}]}}"#), "Assistant"),
        (format!(r#"{{"messages": [{{"role": "user", "content": "c"}}, {{"role": "gpt", "content": "d"}}, {answer}]}}"#), "gpt"),
        (r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "value": "c"}]}"#.to_owned(), "`messages[1].value`"),
        (r#"{"instruction": "a", "output": "b", "history": ["c"]}"#.to_owned(), "`history[0]`"),
    ] {
        let said = one(&row).unwrap_err();
        assert!(said.contains(key), "{said}");
    }
    // A table with both columns.
    let nulls = r#"{"messages": null, "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}"#;
    assert!(matches!(one(nulls), Ok(Row::Messages(messages)) if messages.len() == 2));
    for (row, lost) in [
        (format!(r#"{{"messages": [{answer}], "conversations": [{answer}]}}"#), "conversations"),
        (
            r#"{"prompt": "a", "completion": "b", "references": ["b", "c"]}"#.to_owned(),
            "references",
        ),
    ] {
        let file = RowFile::parse(&row, Path::new("a.jsonl"), &Reading::default()).unwrap();
        assert_eq!(file.unused.keys().collect::<Vec<_>>(), [lost], "{row}");
    }
    // What says nothing is no reason to refuse a row.
    let bare = format!(r#"{{"messages": [{answer}], "tools": [], "system": null}}"#);
    assert!(matches!(one(&bare), Ok(Row::Messages(messages)) if messages.len() == 2));
}

#[test]
fn tools_of_a_row_are_one_list_however_they_are_written() {
    let answer = r#"{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}"#;
    let tool = r#"{"type": "function", "function": {"name": "t"}}"#;
    let text = serde_json::to_string(&format!("[{tool}]")).unwrap();
    for (key, value) in [
        ("tools", format!("[{tool}]")),
        ("tools", text),
        ("functions", r#"[{"name": "t"}]"#.to_owned()),
    ] {
        let row = format!(r#"{{"messages": [{answer}], "{key}": {value}}}"#);
        let Ok(Row::Messages(conversation)) = one(&row) else { panic!("{:?}", one(&row)) };
        let expected = serde_json::json!([{"type": "function", "function": {"name": "t"}}]);
        assert_eq!(conversation.tools, Some(expected), "{row}");
    }
}

#[test]
fn calls_and_results_of_sharegpt_are_turns_with_calls_and_of_tools() {
    let row = r#"{"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{\"name\": \"t\", \"arguments\": {\"x\": 1}}"}, {"from": "observation", "value": "2"}, {"from": "gpt", "value": "b"}]}"#;
    let Ok(Row::Messages(messages)) = one(row) else { panic!("{:?}", one(row)) };
    let roles: Vec<_> = messages.iter().map(Message::role).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    let function = &messages[1].fields()["tool_calls"][0]["function"];
    assert_eq!(*function, serde_json::json!({"name": "t", "arguments": {"x": 1}}));
    // ms-swift's.
    let row = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "tool_call", "content": "{\"name\": \"t\", \"arguments\": {\"x\": 1}}"}, {"role": "tool_response", "content": "2"}, {"role": "assistant", "content": "b"}]}"#;
    let Ok(Row::Messages(theirs)) = one(row) else { panic!("{:?}", one(row)) };
    assert_eq!(theirs, messages);
}

#[test]
fn each_answer_becomes_an_example_where_that_is_asked_for() {
    let row = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}], "id": 7}"#;
    let file = RowFile::parse(row, Path::new("a.jsonl"), &Reading::default()).unwrap();
    let made = |answers| {
        let how = Tokenization { answers, ..how(200) };
        token_examples(&file, &TEMPLATE, &how).unwrap()
    };
    let (all, report) = made(Answers::All);
    assert_eq!((all.len(), report.rows), (1, 1));
    assert!(report.to_string().ends_with("; keys that had no effect: `id` (1)"), "{report}");
    let (each, report) = made(Answers::Each);
    assert_eq!((each.len(), report.rows), (2, 2));
    let (last, _) = made(Answers::Last);
    assert_eq!(last, each[1..]);
    // Both learn what one example learns, and each ends with its answer.
    let targets: Vec<_> = each.iter().map(TokenExample::target_tokens).collect();
    assert_eq!(targets.iter().sum::<usize>(), all[0].target_tokens());
    assert_eq!(each[0].ids[..], all[0].ids[..each[0].ids.len()]);
}

#[test]
fn system_texts_histories_calls_and_weights_are_used() {
    let row = r#"{"system": "s", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "weight": 0}, {"from": "human", "value": "c"}, {"from": "gpt", "value": "d"}]}"#;
    let Ok(Row::Messages(messages)) = one(row) else { panic!("{:?}", one(row)) };
    let told: Vec<_> = messages.iter().map(|m| (m.role(), m.content(), m.is_learned())).collect();
    let expected = [
        ("system", Some("s"), false),
        ("user", Some("a"), false),
        ("assistant", Some("b"), false),
        ("user", Some("c"), false),
        ("assistant", Some("d"), true),
    ];
    assert_eq!(told, expected);

    let row = r#"{"instruction": "c", "input": "", "output": "d", "system": "s", "history": [["a", "b"]]}"#;
    let Ok(Row::Messages(messages)) = one(row) else { panic!("{:?}", one(row)) };
    let told: Vec<_> = messages.iter().filter_map(|message| message.content()).collect();
    assert_eq!(told, ["s", "a", "b", "c", "d"]);

    let row = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": [{"name": "t"}]}]}"#;
    let Ok(Row::Messages(messages)) = one(row) else { panic!("{:?}", one(row)) };
    assert!(messages[1].has("tool_calls") && messages[1].content() == Some(""));
}

#[test]
fn a_text_to_classify_without_a_token_is_refused_with_its_line() {
    let file = parse("{\"text\": \"a\", \"label\": 0}\n{\"text\": \"\", \"label\": 1}").unwrap();
    let classes = Classes::of([&file]).unwrap();
    let error = label_examples(&file, &PLAIN, &classes, 9).unwrap_err().to_string();
    assert!(error.starts_with("rows.jsonl:2: the text is empty"), "{error}");
    // What stands around a text is something to classify.
    assert_eq!(label_examples(&file, &WITH_SPECIAL, &classes, 9).unwrap().0.len(), 2);
}

#[test]
fn whole_numbers_beyond_64_bits_are_named_and_no_others() {
    for (value, rounded) in [
        ("123456789012345678901234567890", true),
        ("[1, -9223372036854775809]", true),
        ("[18446744073709551615, -9223372036854775808]", false),
        ("18446744073709551616", true),
        (r#""123456789012345678901234567890""#, false),
        (r#"["a\\", "\"", 99999999999999999999]"#, true),
        (r#"["\", 99999999999999999999"]"#, false),
        ("[1e30, 12345678901234567890.5, 1.2345678901234567890e2]", false),
    ] {
        let row = format!(r#"{{"text": "a", "id": {value}}}"#);
        let said = parse(&row).err().map(|error| error.to_string());
        let expected = rounded.then_some("has more digits than 64 bits hold");
        assert_eq!(said.is_some(), rounded, "{row}: {said:?}");
        assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()), "{row}");
    }
}
