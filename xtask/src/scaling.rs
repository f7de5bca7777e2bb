//! `cargo xtask scaling`: what more ranks are worth, on paper and on this machine.
//!
//! - [`model`]: the seconds of a step that ranks share; [`stragglers`]: what is waited for;
//! - [`shapes`], [`mod@drawn`]: published models, and the model drawn for them to 1,024 ranks, as a part of `docs/scaling.md` with plots
//!   beside it;
//! - [`measured`]: what `benches/scaling.sh` measured, beside what the model makes of the machine's own figures.

use std::path::{Path, PathBuf};

mod drawn;
mod measured;
mod model;
mod shapes;
mod stragglers;

use drawn::{Drawn, drawn};

use crate::root;

/// The folder of the plots, beside the page.
const FOLDER: &str = "scaling";
/// What stands before the part of the page that is written here, and after it.
const MARKS: [&str; 2] = ["<!-- cargo xtask scaling -->\n", "<!-- end of cargo xtask scaling -->"];

/// Draws the model of a step that ranks share into docs/scaling.md, or compares it with what was measured
#[derive(clap::Args)]
pub struct Scaling {
    /// A folder that benches/scaling.sh has left: its medians beside the model's, and nothing is written
    #[arg(long, value_name = "DIR")]
    measured: Option<PathBuf>,
}

type Done = Result<(), Box<dyn std::error::Error>>;

/// Runs the verb.
pub fn run(scaling: &Scaling) -> Done {
    if let Some(dir) = &scaling.measured {
        println!("{}", measured::compared(dir)?);
        return Ok(());
    }
    let docs = root().join("docs");
    let page = docs.join("scaling.md");
    let Drawn { text, plots } = drawn(&shapes::all()?, FOLDER)?;
    for (name, svg) in plots {
        burn_lora_files::write(&docs.join(FOLDER).join(name), svg.as_bytes())?;
    }
    let with = placed(&burn_lora_files::read_text(&page)?, &text).ok_or_else(|| no_marks(&page))?;
    burn_lora_files::write(&page, with.as_bytes())?;
    println!("{text}");
    Ok(())
}

fn no_marks(page: &Path) -> String {
    let [start, end] = MARKS;
    format!("{}: there is no `{}` with `{end}` after it", page.display(), start.trim_end())
}

/// The page with this text between the marks; none where it has none.
fn placed(page: &str, text: &str) -> Option<String> {
    let [start, end] = MARKS;
    let (before, rest) = page.split_once(start)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{start}\n{text}\n\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_on_scaling_holds_what_is_drawn_and_every_plot_is_there() {
        let docs = root().join("docs");
        let page = std::fs::read_to_string(docs.join("scaling.md")).unwrap();
        let Drawn { text, plots } = drawn(&shapes::all().unwrap(), FOLDER).unwrap();
        let with = placed(&page, &text).expect("the page has both marks");
        assert!(with == page, "`cargo xtask scaling` writes the part anew:\n{text}");
        for (name, _) in plots {
            assert!(docs.join(FOLDER).join(&name).exists(), "{name}");
        }
    }

    #[test]
    fn text_is_placed_between_the_marks_and_the_rest_stays() {
        let [start, end] = MARKS;
        let page = format!("# Page\n\n{start}old\n{end}\n\nend\n");
        let with = placed(&page, "new").unwrap();
        assert_eq!(with, format!("# Page\n\n{start}\nnew\n\n{end}\n\nend\n"));
        assert_eq!(placed(&with, "new").unwrap(), with);
        assert_eq!(placed("no marks", "new"), None);
    }
}
