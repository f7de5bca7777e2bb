//! What stands in a directory in the place of what was looked for, and what to do with it.

/// What others leave: how the names of their files begin, how they end, and what to do.
pub type Known = (&'static str, &'static str, &'static str);

/// What to say of the first kind that one of the names is of; nothing where none is known.
///
/// ```
/// use burn_lora_files::instead::note;
///
/// let known = [("", ".gguf", "name that file"), ("model", ".bin", "a pickle is not read")];
/// let names = ["README.md", "model-1.bin", "model-2.bin"].map(str::to_owned);
/// let note = note(&names, &known);
/// assert_eq!(note.as_deref(), Some("; `model-1.bin` is there: a pickle is not read"));
/// ```
pub fn note(names: &[String], known: &[Known]) -> Option<String> {
    known.iter().find_map(|(start, end, remedy)| {
        let name = names.iter().find(|name| name.starts_with(start) && name.ends_with(end))?;
        Some(format!("; `{name}` is there: {remedy}"))
    })
}
