//! A text file of cases, and how it is read, written and compared.

mod edit;

pub use edit::edit;

/// A command, what it is given, and what it answers.
#[derive(Debug, Default)]
pub struct Case {
    pub name: String,
    /// Files that are written first.
    pub files: Vec<(String, String)>,
    /// What is done before the command, in this order.
    pub before: Vec<Step>,
    pub command: String,
    pub answer: Vec<String>,
}

/// What is done to a directory.
#[derive(Debug)]
pub enum Step {
    /// A line of shell.
    Shell(String),
    /// A change that no shell makes.
    Edit(String),
}

/// The whole file.
pub struct Snapshot {
    /// What stands before the first case.
    head: String,
    pub cases: Vec<Case>,
}

impl Snapshot {
    /// Reads the file: `# name`, `> file` with lines behind `|`, `% shell`, `$ command`, and the answer, indented.
    pub fn parse(text: &str) -> Self {
        let (mut head, mut cases) = (String::new(), Vec::<Case>::new());
        for line in text.lines() {
            let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
            let Some(case) = cases.last_mut().filter(|_| mark != "# ") else {
                match mark {
                    "# " => cases.push(Case { name: rest.to_owned(), ..Case::default() }),
                    _ => head += &format!("{line}\n"),
                }
                continue;
            };
            match mark {
                "> " => case.files.push((rest.to_owned(), String::new())),
                "| " | "|" => {
                    let (_, content) = case.files.last_mut().expect("a file was named");
                    *content += &format!("{rest}\n");
                }
                "% " => case.before.push(Step::Shell(rest.to_owned())),
                "& " => case.before.push(Step::Edit(rest.to_owned())),
                "$ " => rest.clone_into(&mut case.command),
                "  " => case.answer.push(rest.to_owned()),
                _ => assert!(line.is_empty(), "no line of a case: {line}"),
            }
            // An empty line within an answer is one of it; the one behind it is cut below.
            if line.is_empty() && !case.answer.is_empty() {
                case.answer.push(String::new());
            }
        }
        for case in &mut cases {
            while case.answer.last().is_some_and(String::is_empty) {
                case.answer.pop();
            }
        }
        Self { head, cases }
    }

    /// The file with these answers.
    pub fn with(&self, answers: &[Vec<String>]) -> String {
        let mut text = self.head.trim_end().to_owned() + "\n";
        for (case, answer) in self.cases.iter().zip(answers) {
            text += &format!("\n# {}\n", case.name);
            for (name, content) in &case.files {
                text += &format!("> {name}\n");
                for line in content.lines() {
                    text += format!("| {line}").trim_end();
                    text += "\n";
                }
            }
            for step in &case.before {
                text += &match step {
                    Step::Shell(line) => format!("% {line}\n"),
                    Step::Edit(line) => format!("& {line}\n"),
                };
            }
            text += &format!("$ {}\n", case.command);
            for line in answer {
                text += &if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
            }
        }
        text
    }
}

/// What was expected and what was said, line by line: `-` only expected, `+` only said.
pub fn difference(expected: &[String], said: &[String]) -> String {
    let same = expected.iter().zip(said).take_while(|(a, b)| a == b).count();
    let rest = (&expected[same..], &said[same..]);
    let end = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(a, b)| a == b).count();
    let marked = |mark: &'static str, lines: &[String]| {
        lines.iter().map(|line| format!("{mark} {line}")).collect::<Vec<_>>()
    };
    [
        marked(" ", &expected[..same]),
        marked("-", &rest.0[..rest.0.len() - end]),
        marked("+", &rest.1[..rest.1.len() - end]),
        marked(" ", &rest.0[rest.0.len() - end..]),
    ]
    .concat()
    .join("\n")
}
