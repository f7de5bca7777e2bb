//! Addresses: which server they lead to, where a redirect points, and how names are written in them.

use std::fmt;

use ureq::http::Uri;

/// Scheme, host and port: what decides whether a token may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// `None` for anything but `http` and `https` with a host.
    pub(crate) fn of(url: &Uri) -> Option<Self> {
        let scheme = url.scheme_str()?.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let host = url.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        Some(Self { scheme, host, port: url.port_u16().unwrap_or(default) })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme == "https"
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match (scheme.as_str(), port) {
            ("http", 80) | ("https", 443) => write!(f, "{scheme}://{host}"),
            _ => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// Where the `Location` of an answer from `base` points. `None` if it points nowhere.
pub(crate) fn join(base: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?.as_str());
    let absolute = |prefix: &str| {
        location.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let text = if absolute("http://") || absolute("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    text.parse().ok()
}

/// An address as errors show it: the query is left out, which may hold a signature.
pub(crate) fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    let host = url.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{}{}", host.rsplit('@').next().unwrap_or(host), url.path())
}

/// A text as errors show it: of what looks like an address, without the user and the password in it, and without its query.
pub(crate) fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    // Before the host is whatever ends with the last `@` before the path. A password may have a `/` that was not encoded; no port has
    // letters, so that what stands behind the colon tells.
    let host = rest.split('/').next().unwrap_or(rest);
    let port = host.split_once(':').map_or("", |(_, port)| port);
    let place = match host.rsplit_once('@') {
        Some((user, _)) => &rest[user.len() + 1..],
        None if !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            rest.rsplit('@').next().unwrap_or(rest)
        }
        None => rest,
    };
    format!("{scheme}://{place}")
}

/// [`without_secrets`] of an address whose scheme may have been forgotten.
pub(crate) fn endpoint_without_secrets(endpoint: &str) -> String {
    match endpoint.contains("://") {
        true => without_secrets(endpoint),
        false => without_secrets(&format!("://{endpoint}")).split_off("://".len()),
    }
}

/// A text without the token.
pub(crate) fn hidden(text: &str, token: Option<&str>) -> String {
    match token.filter(|token| !token.is_empty()) {
        Some(token) => text.replace(token, "***"),
        None => text.to_owned(),
    }
}

/// Percent-encodes a name as one segment of a path, or as several where `slashes` stay.
pub(crate) fn encode(name: &str, slashes: bool) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            b'/' if slashes => text.push('/'),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<Origin> {
        Origin::of(&text.parse().unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Hub.co/a"), origin("https://hub.co:443/b"));
        assert_ne!(origin("https://hub.co"), origin("http://hub.co"));
        assert_ne!(origin("https://hub.co"), origin("https://cdn.hub.co"));
        assert_ne!(origin("http://hub.co:8080"), origin("http://hub.co:8081"));
        assert_eq!(origin("ftp://hub.co"), None);
        assert_eq!(origin("/path"), None);
        assert_eq!(origin("http://hub.co:8080/x").unwrap().to_string(), "http://hub.co:8080");
    }

    #[test]
    fn a_redirect_may_be_absolute_or_relative() {
        let base: Uri = "https://hub.co:444/org/old/resolve/main/x".parse().unwrap();
        for (location, expected) in [
            ("https://cdn.co/b?Expires=1&u=a%2Fb", "https://cdn.co/b?Expires=1&u=a%2Fb"),
            ("//cdn.co/b", "https://cdn.co/b"),
            ("/org/new/resolve/main/x", "https://hub.co:444/org/new/resolve/main/x"),
            ("y?to=https://cdn.co", "https://hub.co:444/org/old/resolve/main/y?to=https://cdn.co"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), expected);
        }
        assert_eq!(join(&base, "https://"), None);
    }

    #[test]
    fn a_signature_is_not_shown() {
        let url: Uri = "https://me:secret@cdn.co:1/b?Signature=secret".parse().unwrap();
        assert_eq!(shown(&url), "https://cdn.co:1/b");
    }

    #[test]
    fn what_stands_before_a_host_is_not_shown() {
        for (text, said) in [
            ("https://me:hf_secret@hub.co/org/name", "https://hub.co/org/name"),
            ("https://hf_secret@hub.co", "https://hub.co"),
            ("https://me:hf/secret@hub.co/org", "https://hub.co/org"),
            ("https://me:a@hf_secret@hub.co/x@main", "https://hub.co/x@main"),
            ("ftp://me:hf_secret@hub.co?token=hf_secret#hf_secret", "ftp://hub.co"),
            ("https://hub.co:8080/org/name@main", "https://hub.co:8080/org/name@main"),
            ("org/name@main", "org/name@main"),
            ("C:\\model", "C:\\model"),
        ] {
            assert_eq!(without_secrets(text), said);
        }
        assert_eq!(endpoint_without_secrets("me:hf_secret@127.0.0.1:1"), "127.0.0.1:1");
        assert_eq!(endpoint_without_secrets("https://hf_secret@hub.co"), "https://hub.co");
    }

    #[test]
    fn names_are_encoded_as_segments() {
        assert_eq!(encode("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(encode("a b/ü#?.json", true), "a%20b/%C3%BC%23%3F.json");
    }
}
