//! Lines, conversations and streams, compared with what they are by hand.

use std::convert::Infallible;

use burn_lora_models::conversation::Message;
use proptest::prelude::*;

use super::*;

const KNOWN: [&str; 3] = ["pirate", "poet", "pirate-long"];

fn command(line: &str) -> Command {
    match Input::parse(line) {
        Ok(Input::Command(command)) => command,
        other => panic!("{line} is {other:?}"),
    }
}

fn message(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn every_command_is_read() {
    for (line, wanted) in [
        ("/adapter pirate", Command::Adapter("pirate".to_owned())),
        ("  /adapter   my adapter \r\n", Command::Adapter("my adapter".to_owned())),
        ("/adapters", Command::Adapters),
        ("/base\n", Command::Base),
        ("/scale 0.5", Command::Scale(0.5)),
        ("/scale 100", Command::Scale(100.0)),
        ("/scale -0", Command::Scale(0.0)),
        ("/scale 1e-3", Command::Scale(0.001)),
        ("/system You are  a poet.", Command::System(Some("You are  a poet.".to_owned()))),
        ("/system", Command::System(None)),
        ("/clear", Command::Clear),
        ("/help ", Command::Help),
        ("/quit", Command::Quit),
    ] {
        assert_eq!(command(line), wanted, "{line}");
    }
    assert!(matches!(command("/scale -0"), Command::Scale(zero) if zero.is_sign_positive()));
    // Each command in the help is one that is read.
    for help in Help::ALL {
        let line = help.usage.replace("NUMBER", "1");
        assert!(matches!(Input::parse(&line), Ok(Input::Command(_))), "{line}");
        assert!(help.usage.starts_with(&format!("/{}", help.name)));
    }
}

#[test]
fn what_is_no_command_is_a_message() {
    for (line, wanted) in [
        ("Hello\n", "Hello"),
        ("  indented ", "  indented"),
        ("1 / 2", "1 / 2"),
        ("//etc/hosts", "/etc/hosts"),
        ("///", "//"),
        ("// a comment", "/ a comment"),
    ] {
        assert_eq!(Input::parse(line), Ok(Input::Message(wanted.to_owned())), "{line}");
    }
    for line in ["", "\n", " \t\r\n"] {
        assert_eq!(Input::parse(line), Ok(Input::Empty));
    }
}

fn check_refused(line: &str, said: &str) {
    assert_eq!(Input::parse(line).unwrap_err().to_string(), said, "{line}");
}

#[test]
fn an_unknown_command_is_met_by_the_nearest() {
    let slashes = "(a message that begins with a slash is written with two)";
    for (line, nearest) in [
        ("/adaptr pirate", "adapter"),
        ("/adapers", "adapters"),
        ("/Quit", "quit"),
        ("/hlep", "help"),
        ("/scael 2", "scale"),
    ] {
        let name = line[1..].split(' ').next().unwrap();
        let said = format!("there is no command `/{name}` {slashes}: did you mean `/{nearest}`?");
        check_refused(line, &said);
    }
    let all = "`/adapter`, `/adapters`, `/base`, `/scale`, `/system`, `/clear`, `/help`, `/quit`";
    check_refused("/etc/hosts", &format!("there is no command `/etc/hosts` {slashes}: try {all}"));
    check_refused("/", &format!("there is no command `/` {slashes}: try {all}"));
}

#[test]
fn a_command_with_a_wrong_argument_says_what_is_allowed() {
    check_refused("/adapter", "`/adapter` needs a name: write `/adapter NAME`");
    check_refused("/scale ", "`/scale` needs a number: write `/scale NUMBER`");
    check_refused(
        "/clear all",
        "`/clear` takes nothing after it, and there is `all`: write `/clear` alone",
    );
    for found in ["-1", "101", "NaN", "inf", "1,5", "half", "1 2"] {
        check_refused(
            &format!("/scale {found}"),
            &format!(
                "`{found}` is no scale: allowed are numbers from 0 (the base model) over 1 (as \
                 trained) to 100, written with a point"
            ),
        );
    }
}

#[test]
fn commands_say_what_is_left_to_do() {
    let mut session = Session::new(None);
    let mut apply = |line: &str| session.apply(command(line), &KNOWN);
    let switch = |adapter: Option<&str>, scale| {
        Ok(Change::Switch { adapter: adapter.map(str::to_owned), scale })
    };
    assert_eq!(apply("/base"), Ok(Change::Nothing));
    assert_eq!(apply("/scale 2"), Err(ChatError::NoAdapter));
    assert_eq!(apply("/adapter pirate"), switch(Some("pirate"), 1.0));
    assert_eq!(apply("/adapter pirate"), Ok(Change::Nothing));
    assert_eq!(apply("/scale 0.5"), Ok(Change::Scale(0.5)));
    assert_eq!(apply("/scale 0.5"), Ok(Change::Nothing));
    assert_eq!(apply("/adapter poet"), switch(Some("poet"), 0.5));
    assert_eq!(apply("/base"), switch(None, 0.5));
    assert_eq!(apply("/system Be brief."), Ok(Change::Nothing));
    assert_eq!(apply("/adapters"), Ok(Change::ShowAdapters));
    assert_eq!(apply("/help"), Ok(Change::ShowHelp));
    assert_eq!(apply("/quit"), Ok(Change::Quit));
    assert_eq!(
        (session.system(), session.adapter(), session.scale()),
        (Some("Be brief."), None, 0.5)
    );
}

#[test]
fn an_unknown_adapter_is_met_by_the_nearest_and_changes_nothing() {
    let mut session = Session::new(Some("poet".to_owned()));
    let before = session.clone();
    let mut said =
        |line: &str, known: &[&str]| session.apply(command(line), known).unwrap_err().to_string();
    assert_eq!(
        said("/adapter pirat", &KNOWN),
        "there is no adapter `pirat`: did you mean `pirate`?"
    );
    assert_eq!(
        said("/adapter zzz", &KNOWN),
        "there is no adapter `zzz`: there are `pirate`, `poet`, `pirate-long`"
    );
    assert_eq!(said("/adapter zzz", &[]), "there is no adapter `zzz`: none is loaded");
    assert_eq!(session, before);
}

#[test]
fn questions_and_answers_alternate() {
    let mut session = Session::new(None);
    assert_eq!(session.answer("?"), Err(ChatError::NothingAsked));
    assert_eq!(session.undo(), None);
    session.ask("a").unwrap();
    assert_eq!(session.ask("b"), Err(ChatError::Unanswered));
    assert_eq!(session.undo().as_deref(), Some("a"));
    session.ask("c").unwrap();
    session.answer("d").unwrap();
    assert_eq!(session.undo(), None);
    assert_eq!(session.answer("e"), Err(ChatError::NothingAsked));
    session.apply(command("/system s"), &KNOWN).unwrap();
    assert_eq!(
        session.messages(),
        [message("system", "s"), message("user", "c"), message("assistant", "d")]
    );
    session.apply(command("/clear"), &KNOWN).unwrap();
    assert_eq!(session.messages(), [message("system", "s")]);
    session.apply(command("/system"), &KNOWN).unwrap();
    assert!(session.messages().is_empty());
}

/// A token a letter.
fn letters(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.content().map_or(0, str::len)).sum()
}

/// Two turns of four letters each and a question of three, with a system text of five.
fn long() -> Session {
    let mut session = Session::new(None);
    session.apply(command("/system brief"), &KNOWN).unwrap();
    for (question, answer) in [("aa", "AA"), ("bbb", "B")] {
        session.ask(question).unwrap();
        session.answer(answer).unwrap();
    }
    session.ask("ccc").unwrap();
    session
}

#[test]
fn the_oldest_turns_are_left_out_until_the_rest_fits() {
    for (room, dropped) in [(99, 0), (16, 0), (15, 1), (12, 1), (11, 2), (8, 2)] {
        let mut session = long();
        assert_eq!(session.fit(room, &letters), Ok(dropped), "{room}");
        let mut wanted = long().messages();
        wanted.drain(1..1 + 2 * dropped);
        assert_eq!(session.messages(), wanted);
        assert!(session.waits());
    }
}

#[test]
fn what_has_to_stay_is_refused_when_it_is_too_long() {
    let mut session = long();
    assert_eq!(session.fit(7, &letters), Err(ChatError::TooLong { tokens: 8, max_tokens: 7 }));
    assert_eq!(session, long());
    // Once it is answered, a turn can go like the others.
    session.answer("C").unwrap();
    assert_eq!(session.fit(7, &letters), Ok(3));
    assert_eq!(session.messages(), [message("system", "brief")]);
    assert_eq!(session.fit(4, &letters), Err(ChatError::TooLong { tokens: 5, max_tokens: 4 }));
}

/// Tokens are bytes, as those are that a tokenizer falls back on.
fn bytes(ids: &[u32]) -> Result<String, Infallible> {
    let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn check_pieces(text: &[u8], pieces: &[&str], rest: &str) {
    let mut stream = Stream::new(bytes);
    let found: Vec<_> =
        text.iter().map(|byte| stream.push(u32::from(*byte)).unwrap().to_owned()).collect();
    assert_eq!(found, pieces);
    assert_eq!(stream.finish(), rest);
    assert_eq!(stream.text(), pieces.concat() + rest);
}

#[test]
fn a_character_waits_for_its_last_byte() {
    check_pieces("aé😀b".as_bytes(), &["a", "", "é", "", "", "", "😀", "b"], "");
    // What never becomes whole is given out when something follows it, or at the end.
    check_pieces(b"\xf0\x9fa\xc3", &["", "", "\u{fffd}a", ""], "\u{fffd}");
}

#[test]
fn a_token_that_cannot_be_decoded_is_not_taken() {
    let decode =
        |ids: &[u32]| if ids.contains(&9) { Err("nine") } else { Ok("a".repeat(ids.len())) };
    let mut stream = Stream::new(decode);
    assert_eq!(stream.push(1), Ok("a"));
    assert_eq!(stream.push(9), Err("nine"));
    assert_eq!(stream.push(2), Ok("a"));
    assert_eq!(stream.text(), "aa");
}

#[test]
fn a_decoder_that_changes_its_mind_loses_no_text() {
    let texts = ["a ", "a.", "a. b"];
    let decode = |ids: &[u32]| Ok::<_, Infallible>(texts[ids.len() - 1].to_owned());
    let mut stream = Stream::new(decode);
    let pieces: Vec<_> = (0..3).map(|id| stream.push(id).unwrap().to_owned()).collect();
    assert_eq!(pieces, ["a ", "", ""]);
    assert_eq!(stream.finish(), ". b");
}

proptest! {
    /// However the text is cut into tokens, all of it is given out, and what was given out stays.
    #[test]
    fn a_stream_gives_the_whole_text(
        text in "[abé😀]{0,12}",
        cuts in proptest::collection::vec(1_usize..5, 50),
    ) {
        // A token is a few bytes, across characters too.
        let mut tokens: Vec<&[u8]> = Vec::new();
        let mut rest = text.as_bytes();
        for cut in cuts {
            let (token, after) = rest.split_at(cut.min(rest.len()));
            if !token.is_empty() {
                tokens.push(token);
            }
            rest = after;
        }
        let decode = |ids: &[u32]| {
            let bytes: Vec<u8> = ids.iter().flat_map(|id| tokens[*id as usize]).copied().collect();
            Ok::<_, Infallible>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let mut stream = Stream::new(decode);
        let mut given = String::new();
        for id in 0..tokens.len() as u32 {
            given += stream.push(id).unwrap();
        }
        given += stream.finish();
        prop_assert_eq!(given.as_str(), text.as_str());
        prop_assert_eq!(stream.text(), text.as_str());
    }
}
