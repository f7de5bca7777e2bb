//! What goes wrong on the way, what is said then, and what the next fetch makes of it.

use std::fs;

use burn_lora_hub::{Files, Hub, HubError, HubId, Location};

use crate::repository::*;
use crate::server::{Reply, Server, nobody};

/// Refusals of the listing by status, `X-Error-Code` and `X-Error-Message`, and what the error says.
fn check_refused(
    refusal: (u16, &'static str, &'static str),
    is_expected: fn(&HubError) -> bool,
    says: &[&str],
) {
    let world = World::new(small());
    world.behave(|behaviour| behaviour.refuses_listing = Some(refusal));
    let error = world.failure();
    assert!(is_expected(&error), "{error}");
    for text in says {
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(names(world.cache.path()), Vec::<String>::new());
}

#[test]
fn a_model_that_does_not_exist_may_be_misspelled_or_private() {
    let says = ["org/name", "misspelled", "private", "HF_TOKEN", "no token is set"];
    let not_found: fn(&HubError) -> bool = |error| matches!(error, HubError::NotFound { .. });
    check_refused((404, "RepoNotFound", "Repository not found"), not_found, &says);
    check_refused((404, "", ""), not_found, &says);
    check_refused((401, "RepoNotFound", "Invalid username or password."), not_found, &says);
}

#[test]
fn a_revision_that_does_not_exist_is_named() {
    check_refused(
        (404, "RevisionNotFound", "Invalid rev id: main"),
        |error| matches!(error, HubError::RevisionNotFound { .. }),
        &["no branch, tag or commit `main`"],
    );
}

#[test]
fn a_bad_token_is_an_error_that_says_where_it_belongs() {
    check_refused(
        (401, "", "Invalid credentials in Authorization header"),
        |error| matches!(error, HubError::Unauthorised { status: 401, .. }),
        &["Invalid credentials", "HF_TOKEN", "~/.cache/huggingface/token"],
    );
}

#[test]
fn a_gated_model_says_how_to_get_access() {
    let world = World::new(small());
    world.behave(|behaviour| {
        behaviour.refuses_files =
            Some((403, "GatedRepo", "Access to model org/name is restricted"));
    });
    let mut options = world.options();
    options.token = Some(TOKEN.to_owned());
    let error = fetch(options, ID, &Files::Safetensors).unwrap_err();
    assert!(matches!(error, HubError::Gated { with_token: true, .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains(&format!("{}/org/name", world.hub.url())), "{said}");
    assert!(
        said.contains("HF_TOKEN") && said.contains("was sent") && !said.contains(TOKEN),
        "{said}"
    );
    assert_eq!(names(&world.folder()), Vec::<String>::new());
}

#[test]
fn a_connection_cut_half_way_goes_on_where_it_stopped() {
    let world = World::new(small());
    world.behave(|behaviour| behaviour.cuts = [100_000, 50_000].into());
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.ranges(), [None, Some(100_000), Some(150_000)]);
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights("").content);
}

#[test]
fn a_fetch_that_gave_up_is_gone_on_with_by_the_next() {
    let world = World::new(small());
    world.behave(|behaviour| {
        behaviour.cuts = [100_000].into();
        behaviour.cut_all = Some(0);
    });
    let error = world.failure();
    let cut = matches!(&error, HubError::CutOff { file, got: 100_000, total: 300_000, .. }
        if file == "model.safetensors");
    assert!(cut, "{error}");
    assert!(error.to_string().contains("run again"), "{error}");
    // The first attempt brings something; five more after the first that brings nothing do not.
    assert_eq!(world.ranges(), [vec![None], vec![Some(100_000); 6]].concat());
    assert_eq!(names(&world.snapshot()), ["config.json", "tokenizer.json"]);
    assert_eq!(fs::metadata(world.incomplete(&weights(""))).unwrap().len(), 100_000);
    assert!(!world.folder().join("refs").exists());

    world.behave(|behaviour| behaviour.cut_all = None);
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.ranges(), [Some(100_000)]);
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights("").content);
    assert!(!world.incomplete(&weights("")).exists());
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let world = World::new(small());
    world.behave(|behaviour| {
        behaviour.cuts = [100_000].into();
        behaviour.ignores_range = true;
    });
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.ranges(), [None, Some(100_000)]);
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights("").content);
}

#[test]
fn a_server_that_ignores_ranges_and_always_cuts_is_given_up() {
    let world = World::new(small());
    world.behave(|behaviour| {
        behaviour.cut_all = Some(100_000);
        behaviour.ignores_range = true;
    });
    let error = world.failure();
    assert!(matches!(error, HubError::CutOff { got: 100_000, .. }), "{error}");
    assert_eq!(world.ranges().len(), 7);
}

/// What lies beside the blobs before a fetch, and the ranges that are then asked for.
fn check_leftover(leftover: &[u8], ranges: &[Option<usize>]) {
    let world = World::new(small());
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(world.incomplete(&weights("")), leftover).unwrap();
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.ranges(), ranges);
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights("").content);
}

#[test]
fn what_another_run_left_is_used_as_far_as_it_goes() {
    let content = weights("").content;
    check_leftover(&[], &[None]);
    check_leftover(&content[..299_999], &[Some(299_999)]);
    check_leftover(&content, &[]);
    check_leftover(&[content.as_slice(), b"x"].concat(), &[None]);
}

#[test]
fn a_wrong_checksum_leaves_nothing_to_be_seen() {
    let world = World::new(small());
    let mut content = weights("").content;
    content[200_000] ^= 1;
    world.behave(|behaviour| behaviour.content = Some(content));
    let error = world.failure();
    // By Python's hashlib.sha256 of the content with that bit turned.
    let wrong = "140dc1a89436fad0e667064ba6e44ea1e9a6448a27eb93b1af6ac64aaf7588ab";
    let told = matches!(&error, HubError::WrongChecksum { file, expected, got }
        if file == "model.safetensors" && expected == weights("").hash && got == wrong);
    assert!(told, "{error}");
    assert_eq!(names(&world.snapshot()), ["config.json", "tokenizer.json"]);
    assert!(!world.blob(&weights("")).exists() && !world.incomplete(&weights("")).exists());
    assert!(!world.folder().join("refs").exists());

    world.behave(|behaviour| behaviour.content = None);
    world.fetch().unwrap();
}

#[test]
fn a_damaged_beginning_is_removed_and_fetched_anew_by_the_next() {
    let world = World::new(small());
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(world.incomplete(&weights("")), vec![0; 100_000]).unwrap();
    assert!(matches!(world.failure(), HubError::WrongChecksum { .. }));
    world.fetch().unwrap();
    assert_eq!(world.ranges(), [Some(100_000), None]);
}

#[test]
fn a_file_longer_than_the_hub_says_is_refused() {
    let world = World::new(small());
    let longer = [weights("").content, vec![0]].concat();
    world.behave(|behaviour| behaviour.content = Some(longer));
    let error = world.failure();
    assert!(matches!(error, HubError::Protocol { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "a signature is not shown: {error}");
    assert!(!world.snapshot().join("model.safetensors").exists());
}

#[test]
fn a_server_that_has_less_than_the_hub_says_is_given_up() {
    let world = World::new(small());
    let content = weights("").content;
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(world.incomplete(&weights("")), &content[..200_000]).unwrap();
    world.behave(|behaviour| behaviour.content = Some(content[..100_000].to_vec()));
    let error = world.failure();
    assert!(matches!(error, HubError::CutOff { total: 300_000, .. }), "{error}");
    // Status 416 stands for a wrong beginning, so that the whole is asked for every second time.
    assert_eq!(world.ranges()[..3], [Some(200_000), None, Some(100_000)]);
}

#[test]
fn a_server_that_is_down_is_named() {
    let world = World::new(small());
    let mut options = world.options();
    options.endpoint = nobody();
    let error = fetch(options.clone(), ID, &Files::Safetensors).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&options.endpoint), "{error}");

    let network = nobody();
    world.behave(|behaviour| behaviour.network = Some(network.clone()));
    let error = world.failure();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&network), "{error}");
}

#[test]
fn a_server_that_does_not_speak_tls_is_an_error() {
    let world = World::new(small());
    let mut options = world.options();
    options.endpoint = world.hub.url().replace("http://", "https://");
    let error = fetch(options, ID, &Files::Safetensors).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let world = World::new(small());
    world.behave(|behaviour| behaviour.statuses = [503, 429, 500].into());
    world.fetch().unwrap();
    assert_eq!(world.network.requests().len(), 4);
}

#[test]
fn a_refusal_by_the_network_is_not_taken_for_the_hubs() {
    let world = World::new(small());
    world.behave(|behaviour| behaviour.statuses = [403].into());
    let error = world.failure();
    assert!(matches!(error, HubError::Status { status: 403, .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_name_that_leads_out_of_the_snapshot_is_refused() {
    for name in ["../x.safetensors", "/etc/passwd", "a/../../x"] {
        let world = World::new([small(), vec![surplus(name)]].concat());
        let error = world.failure();
        assert!(
            matches!(&error, HubError::UnsafeName { name: told, .. } if told == name),
            "{error}"
        );
        assert_eq!(names(world.cache.path()), Vec::<String>::new());
    }
    let text = "{\"weight_map\": {\"a\": \"../../../outside.safetensors\"}}\n";
    let index = index_of(text, "33446e8eff44215d4761eb836ed673486ef9063c");
    let error = World::new(vec![config(), index]).failure();
    assert!(matches!(error, HubError::BadIndex { .. }), "{error}");
}

#[test]
fn an_index_with_a_shard_that_the_model_lacks_is_refused() {
    let text = "{\"weight_map\": {\"a\": \"model-00003-of-00002.safetensors\"}}\n";
    let index = index_of(text, "e922a950c813492d68bb04c0a9d4fb941ef2b77b");
    let error = World::new(vec![config(), index]).failure();
    assert!(matches!(error, HubError::BadIndex { .. }), "{error}");
    assert!(error.to_string().contains("model-00003-of-00002.safetensors"), "{error}");
}

#[test]
fn a_model_without_safetensors_says_what_it_has() {
    let world = World::new(vec![config(), surplus("pytorch_model.bin"), surplus("q4.gguf")]);
    let error = world.failure();
    assert!(matches!(error, HubError::NoSafetensors { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("it has `pytorch_model.bin`, `q4.gguf`:"), "{said}");
}

#[test]
fn a_file_without_a_checksum_is_not_fetched() {
    let world = World::new(vec![config(), surplus("model.safetensors")]);
    let error = world.failure();
    assert!(matches!(error, HubError::Protocol { .. }), "{error}");
    assert!(!world.snapshot().join("model.safetensors").exists());
}

#[test]
fn a_server_that_is_no_hub_is_told() {
    let world = World::new(small());
    for reply in [
        || Reply::new(200, "<html>welcome</html>"),
        || Reply::new(200, "{\"sha\": \"../../../x\", \"siblings\": []}"),
        || Reply::new(302, "").header("Location", "/again"),
        || Reply::new(302, ""),
        || Reply::new(302, "").header("Location", "http://"),
    ] {
        let other = Server::start(move |_| reply());
        let mut options = world.options();
        options.endpoint = other.url();
        let error = fetch(options, ID, &Files::Safetensors).unwrap_err();
        assert!(matches!(error, HubError::Protocol { .. }), "{error}");
    }
}

#[test]
fn options_that_cannot_work_are_refused_before_any_request() {
    let world = World::new(small());
    for endpoint in ["", "hub", "ftp://hub", "http://hub/?a=b", "ht tp://hub"] {
        let mut options = world.options();
        options.endpoint = endpoint.to_owned();
        let error = fetch(options, ID, &Files::Safetensors).unwrap_err();
        assert!(matches!(error, HubError::BadEndpoint { .. }), "{endpoint}: {error}");
    }
    let mut options = world.options();
    options.token = Some("hf_a\r\nHost: other".to_owned());
    let error = fetch(options, ID, &Files::Safetensors).unwrap_err();
    assert!(matches!(error, HubError::BadToken) && !error.to_string().contains("hf_a"));
    assert_eq!(world.hub.requests().len(), 0);
}

/// Servers send back what they were sent, in whatever they say; and an address may have a password in it.
#[test]
fn no_error_tells_the_token_or_what_stands_in_the_address() {
    let world = World::new(small());
    let listing = |name: &str| {
        format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{{\"rfilename\": \"{name}\"}}]}}")
    };
    let header = |status: u16, name: &'static str, value: &str| {
        Reply::new(status, TOKEN).header(name, value)
    };
    let replies = [
        Reply::new(200, format!("\"{TOKEN}\"")),
        Reply::new(200, format!("{{\"sha\": \"{TOKEN}\", \"siblings\": []}}")),
        Reply::new(200, listing(&format!("../{TOKEN}"))),
        Reply::new(200, listing(&format!("{TOKEN}.bin"))),
        header(401, "X-Error-Message", TOKEN),
        header(403, "X-Error-Message", TOKEN),
        header(400, "X-Error-Message", TOKEN),
        header(404, "X-Error-Code", "RepoNotFound"),
        header(403, "X-Error-Code", "GatedRepo"),
        header(404, "X-Error-Code", "RevisionNotFound"),
        header(302, "Location", &format!("/{TOKEN}?{TOKEN}")),
        header(302, "Location", &format!("ftp://{TOKEN}")),
    ];
    for reply in replies {
        let Reply { status, headers, body, .. } = reply;
        let again = move || Reply { headers: headers.clone(), ..Reply::new(status, body.clone()) };
        let server = Server::start(move |_| again());
        let plain = server.url();
        for endpoint in
            [plain.replace("://", &format!("://me:{TOKEN}@")), format!("{plain}/{TOKEN}")]
        {
            let mut options = world.options();
            options.endpoint = endpoint;
            options.token = Some(TOKEN.to_owned());
            assert!(!format!("{options:?}").contains(TOKEN));
            let hub = Hub::new(options.clone()).unwrap();
            assert!(!format!("{hub:?}").contains(TOKEN));
            check_no_secret(&fetch(options, ID, &Files::Safetensors).unwrap_err());
            check_no_secret(
                &hub.plan(&HubId::parse(ID).unwrap(), &Files::Safetensors).unwrap_err(),
            );
        }
    }
    for endpoint in
        ["ftp://me:hf_secret@hub", "http://hf_secret@hub?a=hf_secret", "ht tp://hf_secret@hub"]
    {
        let mut options = world.options();
        options.endpoint = endpoint.to_owned();
        check_no_secret(&fetch(options, ID, &Files::Safetensors).unwrap_err());
    }
    for id in ["https://me:hf_secret@hub/org/name", "https://hub/org/name?token=hf_secret"] {
        check_no_secret(&HubId::parse(id).unwrap_err());
        check_no_secret(&Location::of(id).unwrap_err());
    }
}

fn check_no_secret(error: &HubError) {
    let mut source = std::error::Error::source(error);
    let mut said = format!("{error} {error:?}");
    while let Some(inner) = source {
        said += &format!(" {inner} {inner:?}");
        source = inner.source();
    }
    assert!(!said.contains(TOKEN), "{said}");
}
