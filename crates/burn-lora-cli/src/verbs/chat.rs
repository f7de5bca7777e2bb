//! `burn-lora chat MODEL`: a conversation on the terminal, with adapters to switch between.

use std::io::BufRead;
use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::chat::{Change, Command, Help, Input, Session};
use burn_lora_app::generator::{Generator, NamedAdapter, Writing};
use burn_lora_train::elsewhere::computing;

use super::generate::{Choice, print};
use crate::place::{named_place, place};
use crate::{output, terminal};

/// Talk to a model, with or without adapters
#[derive(clap::Args)]
pub struct Chat {
    /// A run directory, a model directory or .gguf file, or a model of the hub
    #[arg(value_parser = place())]
    model: PathBuf,
    /// An adapter to switch to with /adapter NAME; may be repeated
    #[arg(long, value_name = "NAME=DIR", value_parser = named_place())]
    adapter: Vec<String>,
    /// The system text
    #[arg(long)]
    system: Option<String>,
    #[command(flatten)]
    choice: Choice,
    /// The device to run on
    #[arg(long, default_value = "auto")]
    device: String,
}

impl Chat {
    pub fn run(self) -> Result<(), AppError> {
        let device = self.device.clone();
        computing(&device, || self.talk())
    }

    fn talk(self) -> Result<(), AppError> {
        let adapters: Vec<NamedAdapter> =
            self.adapter.iter().map(|text| NamedAdapter::parse(text)).collect();
        let observer = terminal::observer(false);
        let mut generator = Generator::open(&self.model, &adapters, &self.device, &observer)?;
        let mut session = Session::new(generator.selected().map(str::to_owned));
        if let Some(text) = self.system {
            change(&mut generator, &mut session, Command::System(Some(text)))?;
        }
        let how = self.choice.writing(1);
        output::note("/help shows the commands, /quit ends");
        let mut lines = std::io::stdin().lock().lines();
        loop {
            output::prompt(&format!("{}> ", generator.selected().unwrap_or("base")));
            let Some(Ok(line)) = lines.next() else { break };
            match Input::parse(&line) {
                Ok(Input::Empty) => {}
                Ok(Input::Message(text)) => answer(&generator, &mut session, text, &how)?,
                Ok(Input::Command(command)) => {
                    if change(&mut generator, &mut session, command)? {
                        break;
                    }
                }
                Err(error) => output::note(&error.to_string()),
            }
        }
        Ok(())
    }
}

/// Asks, and prints the answer as it comes; what cannot be asked is said and forgotten.
fn answer(
    generator: &Generator,
    session: &mut Session,
    text: String,
    how: &Writing,
) -> Result<(), AppError> {
    let context = generator.context().unwrap_or(usize::MAX);
    let room = context.saturating_sub(how.max_tokens).max(1);
    let count = |messages: &[_]| generator.conversation(messages).map_or(0, |ids| ids.len());
    let asked = session.ask(text).and_then(|()| session.fit(room, &count));
    match asked {
        Ok(0) => {}
        Ok(dropped) => {
            output::note(&format!("(the first {dropped} turns no longer fit and are forgotten)"));
        }
        Err(error) => {
            output::note(&error.to_string());
            session.undo();
            return Ok(());
        }
    }
    // A template may refuse a system text, or what was said; the next message may be another.
    let prompt = match generator.conversation(&session.messages()) {
        Ok(prompt) => prompt,
        Err(error) => {
            output::note(&error.to_string());
            if session.system().is_some() {
                output::note("/system without a text takes the system text away");
            }
            session.undo();
            return Ok(());
        }
    };
    let answer = generator.write(prompt, how, &mut print)?;
    output::line("")?;
    if let Err(error) = session.answer(answer) {
        output::note(&error.to_string());
    }
    Ok(())
}

/// Does what a command says; whether it ends the chat.
fn change(
    generator: &mut Generator,
    session: &mut Session,
    command: Command,
) -> Result<bool, AppError> {
    let known: Vec<String> = generator.adapters().into_iter().map(str::to_owned).collect();
    match session.apply(command, &known) {
        Ok(Change::Nothing) => {}
        Ok(Change::Switch { adapter, scale }) => generator.select(adapter.as_deref(), scale)?,
        Ok(Change::Scale(scale)) => generator.set_scale(scale)?,
        Ok(Change::ShowAdapters) if known.is_empty() => {
            output::note("there are none: --adapter NAME=DIR");
        }
        Ok(Change::ShowAdapters) => output::note(&known.join("\n")),
        Ok(Change::ShowHelp) => {
            for Help { usage, does, .. } in Help::ALL {
                output::note(&format!("{usage:16} {does}"));
            }
        }
        Ok(Change::Quit) => return Ok(true),
        Err(error) => output::note(&error.to_string()),
    }
    Ok(false)
}
