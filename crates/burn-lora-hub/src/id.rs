//! The name of a model on the hub.

use std::fmt;

use crate::url::without_secrets;
use crate::{HubError, address};

/// A model on the hub: `org/name`, and the revision wanted of it.
///
/// ```
/// use burn_lora_hub::HubId;
///
/// let id = HubId::parse("HuggingFaceTB/SmolLM2-135M-Instruct@v1.0")?;
/// assert_eq!(id.repo(), "HuggingFaceTB/SmolLM2-135M-Instruct");
/// assert_eq!(id.revision(), "v1.0");
/// # Ok::<(), burn_lora_hub::HubError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubId {
    repo: String,
    revision: String,
}

impl HubId {
    /// The revision taken where none is named.
    pub const DEFAULT_REVISION: &'static str = "main";

    /// Reads `org/name` or `org/name@revision`; a revision is a branch, a tag or a commit.
    ///
    /// # Errors
    ///
    /// [`HubError::BadId`]: the hub admits no such name, or git no such revision. Both become names of
    /// directories, so this is also what keeps them inside the cache. [`HubError::Address`]: it is the address of a page.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        if let Some(problem) = address::problem(text) {
            return Err(HubError::Address { text: without_secrets(text), problem });
        }
        let (repo, revision) = text.split_once('@').unwrap_or((text, Self::DEFAULT_REVISION));
        let problem = repo_problem(repo).or_else(|| revision_problem(revision));
        match problem {
            Some(problem) => {
                let problem = nearly(text).unwrap_or_else(|| problem.to_owned());
                Err(HubError::BadId { text: without_secrets(text), problem })
            }
            None => Ok(Self { repo: repo.to_owned(), revision: revision.to_owned() }),
        }
    }

    /// `org/name`.
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        if self.revision != Self::DEFAULT_REVISION {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// Whether a text is the full name of a git commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What to write for a text that is a name but for how it ends or what stands between its parts.
fn nearly(text: &str) -> Option<String> {
    let trimmed = text.trim().trim_end_matches('/');
    let tagged = trimmed.split_once(':').filter(|(repo, tag)| {
        repo_problem(repo).is_none() && revision_problem(tag).is_none() && !repo.contains('@')
    });
    if let Some((repo, tag)) = tagged.filter(|(_, tag)| is_quantisation(tag)) {
        return Some(format!(
            "`{tag}` is of the name of a GGUF file: download that file of `{repo}`, and name where it lies"
        ));
    }
    if let Some((repo, tag)) = tagged {
        return Some(format!(
            "a branch, a tag or a commit stands behind `@`: write `{repo}@{tag}`; one of its GGUF files is fetched by the file's name"
        ));
    }
    let of_cache = trimmed.strip_prefix("models--").and_then(|rest| rest.split_once("--"));
    let written = match of_cache {
        Some((org, name)) => format!("{org}/{name}"),
        None => trimmed.to_owned(),
    };
    let (repo, revision) = written.split_once('@').unwrap_or((&written, HubId::DEFAULT_REVISION));
    let is_name = repo_problem(repo).is_none() && revision_problem(revision).is_none();
    (written != text && is_name).then(|| format!("as a model of the hub, write `{written}`"))
}

/// Whether a tag names how weights are held, as in other programs: `Q4_K_M`, `IQ2_XS`, `F16`.
fn is_quantisation(tag: &str) -> bool {
    let tag = tag.to_ascii_uppercase();
    let number = ["IQ", "Q", "BF", "F"].iter().find_map(|start| tag.strip_prefix(start));
    number.is_some_and(|number| number.starts_with(|first: char| first.is_ascii_digit()))
}

/// The rules of `huggingface_hub.utils.validate_repo_id`.
fn repo_problem(repo: &str) -> Option<&'static str> {
    let Some((org, name)) = repo.split_once('/') else {
        return Some("a model is named by its organisation or user and its name, `org/name`");
    };
    if name.contains('/') {
        return Some("there is more than one `/`");
    }
    for part in [org, name] {
        if part.is_empty() || part.len() > 96 {
            return Some("organisation and name have 1 to 96 characters each");
        }
        if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Some("only letters, digits, `-`, `_` and `.` are allowed");
        }
        if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
            return Some("neither part may start or end with `-` or `.`");
        }
    }
    if repo.contains("--") || repo.contains("..") {
        return Some("`--` and `..` are not allowed");
    }
    repo.ends_with(".git").then_some("a name does not end in `.git`")
}

/// The rules of git for names of references, as far as paths and URLs are touched by them.
fn revision_problem(revision: &str) -> Option<&'static str> {
    if revision.is_empty() || revision.len() > 255 {
        return Some("a revision has 1 to 255 characters");
    }
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "\\:?*[~^@\"<>|".contains(c);
    if revision.contains(forbidden) {
        return Some("the revision has a character that git allows in none");
    }
    let hidden = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if revision.contains("..") || revision.split('/').any(hidden) {
        return Some("the revision is no name of a branch, a tag or a commit");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_without_a_revision_means_main() {
        let id = HubId::parse("org_1/Name-2.5B").unwrap();
        assert_eq!((id.repo(), id.revision()), ("org_1/Name-2.5B", "main"));
        assert_eq!(id.to_string(), "org_1/Name-2.5B");
    }

    #[test]
    fn a_revision_may_have_a_slash() {
        let id = HubId::parse("org/name@refs/pr/1").unwrap();
        assert_eq!(id.revision(), "refs/pr/1");
        assert_eq!(id.to_string(), "org/name@refs/pr/1");
    }

    #[test]
    fn what_the_hub_or_git_admits_not_is_refused() {
        let long = format!("org/{}", "a".repeat(97));
        for text in [
            "",
            "name",
            "/name",
            "org/",
            "a/b/c",
            "org/na me",
            "org/né",
            "-org/name",
            "org/name.",
            "org/a--b",
            "org/a..b",
            "../name",
            "org/..",
            "org/name.git",
            "org/name@",
            "org/name@../x",
            "org/name@/x",
            "org/name@a//b",
            "org/name@.x",
            "org/name@a b",
            "org/name@a\\b",
            "org/name@a:b",
            "org/name@x@y",
            &long,
        ] {
            assert!(matches!(HubId::parse(text), Err(HubError::BadId { .. })), "{text}");
        }
    }

    #[test]
    fn what_is_nearly_a_name_is_met_with_the_name_to_write() {
        for (text, name) in [
            ("org/name/", "org/name"),
            (" org/name@v1 ", "org/name@v1"),
            ("models--org--name", "org/name"),
            ("org/name:v2", "org/name@v2"),
        ] {
            let said = HubId::parse(text).unwrap_err().to_string();
            assert!(said.contains(&format!("write `{name}`")), "{text}: {said}");
            assert!(HubId::parse(name).is_ok(), "{name}: the advice works");
        }
        for tag in ["Q4_K_M", "iq2_xs", "F16", "bf16"] {
            let said = HubId::parse(&format!("org/name:{tag}")).unwrap_err().to_string();
            assert!(said.contains("download that file of `org/name`"), "{said}");
        }
        let address = HubId::parse("https://hf.co/org/name").unwrap_err().to_string();
        assert!(address.contains("write `org/name`"), "{address}");
        let secret = HubId::parse("https://me:secret@hf.co/org/name").unwrap_err().to_string();
        assert!(!secret.contains("secret"), "{secret}");
    }

    #[test]
    fn a_commit_is_forty_lower_hexadecimal_digits() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        assert!(!is_commit("0123456789ABCDEF0123456789abcdef01234567"));
        assert!(!is_commit("0123456"));
    }
}
