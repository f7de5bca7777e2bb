//! What stands in a directory in the place of what was looked for, and what to do with it.

/// What others leave: how the names of their files begin, how they end, and what to do.
pub type Known = (&'static str, &'static str, &'static str);

/// Archives and compressed files, in which what was looked for may be.
pub const ARCHIVES: [Known; 15] = [
    ("", ".tar", "unpack it there: `tar xf FILE`"),
    ("", ".tgz", "unpack it there: `tar xf FILE`"),
    ("", ".tbz2", "unpack it there: `tar xf FILE`"),
    ("", ".txz", "unpack it there: `tar xf FILE`"),
    ("", ".tar.gz", "unpack it there: `tar xf FILE`"),
    ("", ".tar.bz2", "unpack it there: `tar xf FILE`"),
    ("", ".tar.xz", "unpack it there: `tar xf FILE`"),
    ("", ".tar.zst", "unpack it there: `tar xf FILE`"),
    ("", ".gz", "unpack it there: `gzip -d FILE`"),
    ("", ".bz2", "unpack it there: `bzip2 -d FILE`"),
    ("", ".xz", "unpack it there: `xz -d FILE`"),
    ("", ".zst", "unpack it there: `zstd -d FILE`"),
    ("", ".zip", "unpack it there: `unzip FILE`"),
    ("", ".7z", "unpack it there: `7z x FILE`"),
    ("", ".rar", "unpack it there: `unrar x FILE`"),
];

/// What to say of an archive among the names: of the one in which `wanted` must be, by its name, or else of the first; nothing where there
/// is none.
///
/// ```
/// use burn_lora_files::instead::archive;
///
/// let names = ["data.zip", "tokenizer.json.gz"].map(str::to_owned);
/// let note = archive(&names, "tokenizer.json");
/// assert_eq!(note.as_deref(), Some("; `tokenizer.json.gz` is there: unpack it there: `gzip -d FILE`"));
/// ```
pub fn archive(names: &[String], wanted: &str) -> Option<String> {
    let own: Vec<String> = names.iter().filter(|name| name.starts_with(wanted)).cloned().collect();
    note(&own, &ARCHIVES).or_else(|| note(names, &ARCHIVES))
}

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
