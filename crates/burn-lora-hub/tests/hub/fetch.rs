//! What a fetch leaves in the cache, and what it asks for.

use std::fs;

use burn_lora_hub::{Files, Hub, HubError, HubId};

use crate::repository::*;

#[test]
fn a_model_is_fetched_whole_and_nothing_else_of_its_repository() {
    let world = World::new(small());
    let snapshot = world.fetch().unwrap();
    assert_eq!(snapshot, world.snapshot());
    assert_eq!(names(&snapshot), ["config.json", "model.safetensors", "tokenizer.json"]);
    for file in [config(), tokenizer(), weights("model.safetensors")] {
        assert_eq!(fs::read(snapshot.join(file.name)).unwrap(), file.content);
        assert_eq!(fs::read(world.blob(&file)).unwrap(), file.content);
        if cfg!(unix) {
            let target = fs::read_link(snapshot.join(file.name)).unwrap();
            assert_eq!(target.to_str().unwrap(), format!("../../blobs/{}", file.hash));
        }
    }
    assert_eq!(names(&world.folder().join("blobs")).len(), 3, "no incomplete files are left");
    assert_eq!(fs::read_to_string(world.folder().join("refs/main")).unwrap(), COMMIT);
}

#[test]
fn a_model_that_is_there_is_listed_and_not_fetched_again() {
    let world = World::new(small());
    world.fetch().unwrap();
    world.hub.take_requests();
    world.network.take_requests();
    assert_eq!(world.fetch().unwrap(), world.snapshot());
    let requests = world.hub.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/api/models/org/name/revision/main");
    assert_eq!(world.network.requests().len(), 0);
}

#[test]
fn only_the_shards_of_the_index_are_fetched() {
    let mut files =
        vec![config(), surplus("consolidated.safetensors"), surplus("model-3.safetensors")];
    files.extend(sharded());
    let world = World::new(files);
    let snapshot = world.fetch().unwrap();
    let expected = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ];
    assert_eq!(names(&snapshot), expected);
    for file in sharded() {
        assert_eq!(fs::read(snapshot.join(file.name)).unwrap(), file.content);
    }
}

#[test]
fn one_gguf_file_is_fetched_by_name() {
    let world = World::new(vec![config(), weights("q4/model.gguf"), surplus("q8/model.gguf")]);
    let files = Files::Gguf("q4/model.gguf".to_owned());
    let snapshot = fetch(world.options(), ID, &files).unwrap();
    assert_eq!(names(&snapshot), ["config.json", "q4/model.gguf"]);
    let content = fs::read(snapshot.join("q4/model.gguf")).unwrap();
    assert_eq!(content, weights("").content);

    let files = Files::Gguf("q5/model.gguf".to_owned());
    let error = fetch(world.options(), ID, &files).unwrap_err();
    assert!(matches!(&error, HubError::NoSuchGguf { has, .. } if has.len() == 2), "{error}");
}

#[test]
fn a_revision_is_asked_for_encoded_and_recorded_as_it_is() {
    let world = World::new(small());
    let snapshot = fetch(world.options(), "org/name@refs/pr/1", &Files::Safetensors).unwrap();
    assert_eq!(snapshot, world.snapshot());
    assert_eq!(world.hub.requests()[0].path, "/api/models/org/name/revision/refs%2Fpr%2F1");
    assert_eq!(fs::read_to_string(world.folder().join("refs/refs/pr/1")).unwrap(), COMMIT);
}

#[test]
fn what_two_commits_share_is_fetched_once() {
    let world = World::new(small());
    world.fetch().unwrap();
    world.network.take_requests();
    let later = "fedcba9876543210fedcba9876543210fedcba98";
    world.behave(|behaviour| behaviour.commit = Some(later.to_owned()));
    let snapshot = world.fetch().unwrap();
    assert_eq!(snapshot, world.folder().join("snapshots").join(later));
    assert_eq!(names(&snapshot), names(&world.snapshot()));
    assert_eq!(world.network.requests().len(), 0);
    assert_eq!(fs::read_to_string(world.folder().join("refs/main")).unwrap(), later);
}

#[test]
fn the_token_is_sent_to_the_hub_and_to_no_other_server() {
    let world = World::new(small());
    let mut options = world.options();
    options.token = Some(TOKEN.to_owned());
    fetch(options, ID, &Files::Safetensors).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let requests = world.hub.requests();
    assert!(requests.iter().any(|request| request.path.starts_with("/api/resolve-cache/")));
    for request in requests {
        assert_eq!(request.header("authorization"), Some(bearer.as_str()), "{request:?}");
        assert_eq!(request.header("accept-encoding"), Some("identity"));
    }
    let requests = world.network.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].method, "GET");
    assert_eq!(requests[0].header("authorization"), None);
}

#[test]
fn progress_goes_from_nothing_to_the_whole_of_each_file() {
    let world = World::new(small());
    let mut seen: Vec<(String, u64, u64)> = Vec::new();
    let hub = Hub::new(world.options()).unwrap();
    hub.fetch(&HubId::parse(ID).unwrap(), &Files::Safetensors, &mut |progress| {
        seen.push((progress.file.to_owned(), progress.done, progress.total));
    })
    .unwrap();
    for file in [config(), tokenizer(), weights("model.safetensors")] {
        let of_file: Vec<_> = seen.iter().filter(|(name, ..)| name == file.name).collect();
        let total = file.content.len() as u64;
        assert!(of_file.iter().all(|(.., told)| *told == total));
        assert!(of_file.is_sorted_by_key(|(_, done, _)| *done));
        assert_eq!((of_file[0].1, of_file.last().unwrap().1), (0, total));
    }
}

#[test]
fn offline_a_model_is_found_without_a_request() {
    let world = World::new(small());
    world.fetch().unwrap();
    world.hub.take_requests();
    let mut options = world.options();
    options.offline = true;
    for id in [ID.to_owned(), format!("{ID}@{COMMIT}")] {
        let snapshot = fetch(options.clone(), &id, &Files::Safetensors).unwrap();
        assert_eq!(snapshot, world.snapshot());
    }
    assert_eq!(world.hub.requests().len(), 0);
}

#[test]
fn offline_a_model_that_is_not_whole_is_an_error() {
    let world = World::new([sharded().to_vec(), vec![config()]].concat());
    let mut options = world.options();
    options.offline = true;
    let missing = |problem: &str| {
        let error = fetch(options.clone(), ID, &Files::Safetensors).unwrap_err();
        assert!(matches!(error, HubError::NotCached { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    };
    missing("revision `main` was never fetched");
    world.fetch().unwrap();
    fs::remove_file(world.snapshot().join("model-00002-of-00002.safetensors")).unwrap();
    missing("there is no model-00002-of-00002.safetensors");
    fs::remove_file(world.snapshot().join("config.json")).unwrap();
    missing("there is no config.json");
}

#[test]
fn two_fetches_at_once_download_once() {
    let world = World::new(small());
    std::thread::scope(|scope| {
        let fetches = [scope.spawn(|| world.fetch()), scope.spawn(|| world.fetch())];
        for fetch in fetches {
            assert_eq!(fetch.join().unwrap().unwrap(), world.snapshot());
        }
    });
    assert_eq!(world.network.requests().len(), 1);
    let content = fs::read(world.snapshot().join("model.safetensors")).unwrap();
    assert_eq!(content, weights("").content);
}

#[test]
fn an_empty_file_is_a_file() {
    let mut files = small();
    let hash = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    files.push(RemoteFile::text("merges.txt", "", hash));
    let world = World::new(files);
    assert_eq!(fs::read(world.fetch().unwrap().join("merges.txt")).unwrap(), b"");
}
