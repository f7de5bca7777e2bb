//! Addresses that people copy from elsewhere in the place of a model's name: of a page or a file of the hub, of a clone, of another
//! service. The name is taken out of those of the hub, so that it can be said what to write.
//!
//! Left out: using such an address as it is. A configuration is read by others, and PEFT's files name a base by `org/name`.

use crate::HubId;

/// Hosts that are the hub, or mirrors that have its paths.
const HOSTS: [&str; 4] = ["huggingface.co", "hf.co", "www.huggingface.co", "hf-mirror.com"];

/// What begins an address of the hub without a host.
const SHORT: [&str; 4] = ["hf://", "hf:", "huggingface:", "huggingface://"];

/// What is wrong with a text that is an address and no name, with what to write instead; nothing of what is no address.
pub(crate) fn problem(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(path) = SHORT.iter().rev().find_map(|start| text.strip_prefix(start)) {
        return Some(of_hub(path));
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    if scheme == Some("file") {
        return Some(format!("it is an address of a file: write the path alone, `{rest}`"));
    }
    // `git@hf.co:org/name`, and `user:token@host`, of which nothing is shown.
    let rest = rest.split_once('@').filter(|(user, _)| !user.contains('/')).map_or(rest, |at| at.1);
    let end = rest.find(['/', ':']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if HOSTS.iter().any(|known| host.eq_ignore_ascii_case(known)) {
        return Some(of_hub(path.trim_start_matches(['/', ':'])));
    }
    scheme.map(|_| {
        format!("it is an address at `{host}`: a model is named `org/name` where it is one of the hub's, and else by the directory it lies in")
    })
}

/// What to write for a path of the hub.
fn of_hub(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let path = path.strip_prefix("models/").unwrap_or(path);
    for kind in ["datasets", "spaces"] {
        if path.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/')) {
            return format!(
                "it is an address among the hub's {kind}, and no model's: name a model, `org/name`"
            );
        }
    }
    let mut parts = path.split('/');
    let repo = [parts.next().unwrap_or_default(), parts.next().unwrap_or_default()].join("/");
    let repo = repo.strip_suffix(".git").unwrap_or(&repo);
    let (page, revision) = (parts.next(), parts.next());
    let name = match (page, revision) {
        (Some("tree" | "blob" | "resolve" | "raw" | "commit"), Some(revision))
            if revision != HubId::DEFAULT_REVISION =>
        {
            format!("{repo}@{revision}")
        }
        _ => repo.to_owned(),
    };
    let Ok(id) = HubId::parse(&name) else {
        return "it is an address of the hub, and no model's: name a model, `org/name`".to_owned();
    };
    let file = parts.collect::<Vec<_>>().join("/");
    match file.ends_with(".gguf") {
        true => format!(
            "it is an address of the hub: the model is called `{id}`, and its file `{file}`: fetch that file, and name where it lies"
        ),
        false => format!("it is an address of the hub: write `{id}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_hub_gives_the_name_to_write() {
        for (address, name) in [
            ("https://huggingface.co/org/name", "org/name"),
            ("https://huggingface.co/org/name/", "org/name"),
            ("http://HF.co/org/name?library=transformers#use", "org/name"),
            ("huggingface.co/org/name", "org/name"),
            ("hf://org/name", "org/name"),
            ("hf://models/org/name@v1", "org/name@v1"),
            ("hf:org/name", "org/name"),
            ("https://huggingface.co/models/org/name", "org/name"),
            ("https://huggingface.co/org/name.git", "org/name"),
            ("git@hf.co:org/name", "org/name"),
            ("https://me:secret@huggingface.co/org/name", "org/name"),
            ("https://huggingface.co/org/name/tree/main", "org/name"),
            ("https://huggingface.co/org/name/tree/v1.0", "org/name@v1.0"),
            ("https://huggingface.co/org/name/blob/main/config.json", "org/name"),
        ] {
            let said = problem(address).unwrap_or_default();
            assert!(said.ends_with(&format!("write `{name}`")), "{address}: {said}");
            assert!(HubId::parse(name).is_ok(), "{name}: the advice works");
        }
    }

    #[test]
    fn an_address_of_something_else_is_told_by_what_it_is() {
        for (address, part) in [
            ("https://huggingface.co/datasets/org/name", "among the hub's datasets"),
            ("https://huggingface.co/org", "no model's"),
            ("https://example.com/org/name", "at `example.com`"),
            ("s3://bucket/model", "at `bucket`"),
            ("file:///models/base", "write the path alone, `/models/base`"),
            ("https://huggingface.co/o/n/resolve/main/a/m-q4.gguf", "its file `a/m-q4.gguf`"),
        ] {
            let said = problem(address).unwrap_or_default();
            assert!(said.contains(part), "{address}: {said}");
        }
        for text in ["org/name", "org/name@a", "./a/b", "/a/b", "C:\\a", "name", ""] {
            assert_eq!(problem(text), None, "{text}");
        }
    }
}
