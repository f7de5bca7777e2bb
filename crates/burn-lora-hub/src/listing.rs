//! What the hub says a repository has at a revision.

use serde::Deserialize;

use crate::client::Client;
use crate::id::is_commit;
use crate::{HubError, HubId, url};

/// No honest listing is longer; about a hundred bytes a file.
const MAX_BYTES: u64 = 64 << 20;

/// The files of a repository at one commit.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The commit that the revision stands for.
    pub(crate) commit: String,
    /// The names of all files, relative to the repository, with `/` between directories.
    pub(crate) names: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Listing {
    /// Asks the hub.
    pub(crate) fn request(client: &Client, id: &HubId) -> Result<Self, HubError> {
        let revision = url::encode(id.revision(), false);
        let answer = client.get(&format!("/api/models/{}/revision/{revision}", id.repo()), None)?;
        let answer = client.check(answer, id, None)?;
        let url = url::shown(&answer.url);
        let bytes = answer.read_all(MAX_BYTES)?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| {
            let problem = format!("the listing is not JSON with `sha` and `siblings`: {error}");
            HubError::Protocol { url: url.clone(), problem }
        })?;
        if !is_commit(&answer.sha) {
            let problem = format!("`{}` is no commit", answer.sha);
            return Err(HubError::Protocol { url, problem });
        }
        let names: Vec<_> = answer.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        match names.iter().find(|name| !stays_inside(name)) {
            Some(name) => Err(HubError::UnsafeName { id: id.clone(), name: name.clone() }),
            None => Ok(Self { commit: answer.sha, names }),
        }
    }

    /// Whether there is a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|other| other == name)
    }
}

/// Whether a name, joined to a directory, stays below it: relative, with plain components only.
pub(crate) fn stays_inside(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let foreign = |c: char| c.is_control() || c == '\\' || (cfg!(windows) && c == ':');
    name.split('/').all(plain) && !name.contains(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_a_directory_are_told() {
        for name in ["model.safetensors", ".gitattributes", "onnx/model.onnx", "a..b/c...d"] {
            assert!(stays_inside(name), "{name}");
        }
        for name in
            ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "./x", "a/", "..\\x", "a\0b"]
        {
            assert!(!stays_inside(name), "{name:?}");
        }
    }
}
