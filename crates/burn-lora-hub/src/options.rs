//! Which hub, which cache, and as whom: by the rules of Python's `huggingface_hub`.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_lora_files::{IoError, home};

use crate::HubError;
use crate::url::{endpoint_without_secrets, hidden};

/// What a [`Hub`](crate::Hub) needs to know.
#[derive(Clone, PartialEq, Eq)]
pub struct HubOptions {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// The directory that has the `models--org--name` directories.
    pub cache: PathBuf,
    /// The token that is sent to the hub, and to no other server.
    pub token: Option<String>,
    /// Whether no request is made at all.
    pub offline: bool,
    /// The wait before a failed request of a file is made again. It doubles with each failure in a row.
    pub pause: Duration,
}

impl HubOptions {
    /// The public hub.
    pub const DEFAULT_ENDPOINT: &'static str = "https://huggingface.co";

    /// No token, online, with a second's pause.
    pub fn new(endpoint: impl Into<String>, cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: endpoint.into().trim_end_matches('/').to_owned(),
            cache: cache.into(),
            token: None,
            offline: false,
            pause: Duration::from_secs(1),
        }
    }

    /// What the environment says:
    ///
    /// - endpoint: `HF_ENDPOINT`;
    /// - cache: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`, which is
    ///   `huggingface` in `XDG_CACHE_HOME` or `~/.cache` where it is not set;
    /// - token: `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file that `HF_TOKEN_PATH` names, which
    ///   is `token` in `HF_HOME` where it is not set; none if `HF_HUB_DISABLE_IMPLICIT_TOKEN` is true;
    /// - offline: `HF_HUB_OFFLINE`, else `TRANSFORMERS_OFFLINE`; `1`, `on`, `yes` and `true` are true.
    ///
    /// A variable that is set to nothing counts as not set. `~` and `$HOME` at a path's start are the home directory.
    ///
    /// # Errors
    ///
    /// [`HubError::NoHome`] where a home directory is needed and there is none; [`HubError::Io`] where
    /// there is a token file that cannot be read.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(|name| std::env::var_os(name), std::env::home_dir())
    }

    fn from_variables(
        get: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Self, HubError> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let text = |name: &str| get(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str| match get(name) {
            Some(value) => expand(Path::new(&value), home.as_deref()).map(Some),
            None => Ok(None),
        };
        let holds = |name: &str| text(name).is_some_and(|value| is_true(&value));
        let hf_home = || match (path("HF_HOME")?, path("XDG_CACHE_HOME")?) {
            (Some(home), _) => Ok(home),
            (None, Some(caches)) => Ok(caches.join("huggingface")),
            (None, None) => {
                let home = home.as_deref().ok_or(HubError::NoHome)?;
                Ok(home.join(".cache").join("huggingface"))
            }
        };

        let cache = match (path("HF_HUB_CACHE")?, path("HUGGINGFACE_HUB_CACHE")?) {
            (Some(cache), _) | (None, Some(cache)) => cache,
            (None, None) => hf_home()?.join("hub"),
        };
        let token = if holds("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            None
        } else {
            match text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")) {
                Some(token) => clean(&token),
                None => match path("HF_TOKEN_PATH")? {
                    Some(file) => read_token(&file)?,
                    None => match hf_home() {
                        Ok(home) => read_token(&home.join("token"))?,
                        Err(HubError::NoHome) => None,
                        Err(other) => return Err(other),
                    },
                },
            }
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| Self::DEFAULT_ENDPOINT.to_owned());
        let offline = match text("HF_HUB_OFFLINE") {
            Some(value) => is_true(&value),
            None => holds("TRANSFORMERS_OFFLINE"),
        };
        Ok(Self { token, offline, ..Self::new(endpoint, cache) })
    }
}

/// Shows whether there is a token, and not which.
impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field(
                "endpoint",
                &hidden(&endpoint_without_secrets(&self.endpoint), self.token.as_deref()),
            )
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("offline", &self.offline)
            .field("pause", &self.pause)
            .finish()
    }
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
}

fn expand(path: &Path, home: Option<&Path>) -> Result<PathBuf, HubError> {
    home::within(path, home).ok_or(HubError::NoHome)
}

fn read_token(path: &Path) -> Result<Option<String>, HubError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(clean(&text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(IoError::at("read the token file", path)(error).into()),
    }
}

fn clean(token: &str) -> Option<String> {
    let token = token.replace(['\r', '\n'], "").trim().to_owned();
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], home: Option<&Path>) -> Result<HubOptions, HubError> {
        let get = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        HubOptions::from_variables(get, home.map(Path::to_owned))
    }

    /// With a home directory that has no token.
    fn check_cache(variables: &[(&str, &str)], expected: &str) {
        let options = of(variables, Some(Path::new("/no/home"))).unwrap();
        assert_eq!(options.cache, Path::new(expected), "{variables:?}");
        assert_eq!(options.token, None);
    }

    #[test]
    fn an_empty_environment_means_the_public_hub_and_the_usual_cache() {
        let options = of(&[], Some(Path::new("/no/home"))).unwrap();
        assert_eq!(
            options,
            HubOptions::new("https://huggingface.co", "/no/home/.cache/huggingface/hub")
        );
        assert!(matches!(of(&[], None), Err(HubError::NoHome)));
    }

    #[test]
    fn the_cache_goes_by_the_nearest_variable() {
        let xdg = ("XDG_CACHE_HOME", "/no/x");
        let home = ("HF_HOME", "/no/h");
        let old = ("HUGGINGFACE_HUB_CACHE", "/no/o");
        let cache = ("HF_HUB_CACHE", "/no/c");
        check_cache(&[xdg], "/no/x/huggingface/hub");
        check_cache(&[xdg, home], "/no/h/hub");
        check_cache(&[xdg, home, old], "/no/o");
        check_cache(&[xdg, home, old, cache], "/no/c");
        check_cache(&[("HF_HOME", "~/hf")], "/no/home/hf/hub");
        check_cache(&[("HF_HUB_CACHE", "$HOME/hub")], "/no/home/hub");
        check_cache(&[("HF_HOME", "")], "/no/home/.cache/huggingface/hub");
    }

    #[test]
    fn the_token_comes_from_the_variable_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("token"), " hf_file \n").unwrap();
        let token = |variables: &[(&str, &str)]| {
            of(&[&[("HF_HOME", home)], variables].concat(), None).unwrap().token
        };
        assert_eq!(token(&[]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[("HF_TOKEN", "hf_new\n")]).as_deref(), Some("hf_new"));
        assert_eq!(token(&[("HUGGING_FACE_HUB_TOKEN", "hf_old")]).as_deref(), Some("hf_old"));
        assert_eq!(token(&[("HF_TOKEN_PATH", "/no/token")]), None);
        assert_eq!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "yes")]), None);
    }

    #[test]
    fn offline_is_what_hugging_face_takes_for_true() {
        let offline =
            |variables: &[(&str, &str)]| of(variables, Some(Path::new("/no"))).unwrap().offline;
        assert!(offline(&[("HF_HUB_OFFLINE", "1")]) && offline(&[("HF_HUB_OFFLINE", "True")]));
        assert!(offline(&[("TRANSFORMERS_OFFLINE", "on")]));
        assert!(!offline(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]));
    }

    #[test]
    fn a_slash_at_the_endpoints_end_is_dropped() {
        let options = of(&[("HF_ENDPOINT", "http://mirror/hf/")], Some(Path::new("/no"))).unwrap();
        assert_eq!(options.endpoint, "http://mirror/hf");
    }

    #[test]
    fn the_token_is_never_shown() {
        let mut options = HubOptions::new("http://hub", "/no");
        options.token = Some("hf_secret".to_owned());
        options.endpoint = "https://me:hf_secret@hub".to_owned();
        assert!(!format!("{options:?}").contains("hf_secret"));
    }
}
