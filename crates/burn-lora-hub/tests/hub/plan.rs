//! What a plan tells of a fetch, and that it writes nothing.

use std::fs;

use burn_lora_hub::{Files, Hub, HubError, HubId, HubOptions, Snapshot, SnapshotFile};

use crate::repository::*;

fn plan(options: HubOptions, files: &Files) -> Result<Snapshot, HubError> {
    Hub::new(options)?.plan(&HubId::parse(ID)?, files)
}

/// Name, size, whether it is cached, and what would be downloaded.
type Row = (String, u64, bool, u64);

fn rows(plan: &Snapshot) -> Vec<Row> {
    let row = |file: &SnapshotFile| (file.name.clone(), file.bytes, file.cached, file.to_download);
    plan.files.iter().map(row).collect()
}

fn missing(file: &RemoteFile) -> Row {
    let bytes = file.content.len() as u64;
    (file.name.to_owned(), bytes, false, bytes)
}

fn cached(file: &RemoteFile) -> Row {
    (file.name.to_owned(), file.content.len() as u64, true, 0)
}

#[test]
fn a_plan_lists_what_a_fetch_would_download_and_writes_nothing() {
    let world = World::new(small());
    let files = [config(), tokenizer(), weights("model.safetensors")];
    let before = plan(world.options(), &Files::Safetensors).unwrap();
    assert_eq!(rows(&before), files.each_ref().map(missing));
    assert_eq!((&*before.commit, &before.directory), (COMMIT, &world.snapshot()));
    let sizes: u64 = files.iter().map(|file| file.content.len() as u64).sum();
    assert_eq!(before.to_download(), sizes);
    assert_eq!(fs::read_dir(world.cache.path()).unwrap().count(), 0, "nothing is written");
    assert_eq!(world.network.requests().len(), 0, "no weights are asked for");
    let methods: Vec<String> = world.hub.requests().iter().map(|r| r.method.clone()).collect();
    assert_eq!(methods.iter().filter(|method| *method == "GET").count(), 1, "the listing");

    world.fetch().unwrap();
    world.hub.take_requests();
    let after = plan(world.options(), &Files::Safetensors).unwrap();
    assert_eq!(rows(&after), files.each_ref().map(cached));
    assert_eq!(after.to_download(), 0);
    assert_eq!(world.hub.requests().len(), 1, "only the listing is asked for");
}

#[test]
fn the_shards_of_a_plan_are_those_of_the_index() {
    let mut files = vec![config(), surplus("model-3.safetensors")];
    files.extend(sharded());
    let world = World::new(files);
    let [first, second, index] = sharded();
    let expected = [&config(), &index, &first, &second];
    let planned = plan(world.options(), &Files::Safetensors).unwrap();
    assert_eq!(rows(&planned), expected.map(missing));
    assert_eq!(fs::read_dir(world.cache.path()).unwrap().count(), 0);

    world.fetch().unwrap();
    let mut options = world.options();
    options.offline = true;
    world.hub.take_requests();
    let planned = plan(options, &Files::Safetensors).unwrap();
    assert_eq!(rows(&planned), expected.map(cached));
    assert_eq!(planned.directory, world.snapshot());
    assert_eq!(world.hub.requests().len(), 0);
}

#[test]
fn an_index_that_is_not_as_the_hub_said_is_refused() {
    let mut files = vec![config(), index_of("{}", sharded()[2].hash)];
    files.extend(sharded().into_iter().take(2));
    let world = World::new(files);
    let error = plan(world.options(), &Files::Safetensors).unwrap_err();
    assert!(matches!(error, HubError::WrongChecksum { .. }), "{error}");
}

#[test]
fn a_download_that_was_cut_off_is_planned_from_there() {
    let world = World::new(small());
    world.behave(|behaviour| behaviour.cut_all = Some(0));
    world.failure();
    let file = weights("model.safetensors");
    fs::write(world.incomplete(&file), &file.content[..1000]).unwrap();
    let planned = plan(world.options(), &Files::Safetensors).unwrap();
    let rest = (file.name.to_owned(), 300_000, false, 299_000);
    assert_eq!(rows(&planned), [cached(&config()), cached(&tokenizer()), rest]);
    // More than the file has is none of it, as a fetch begins anew then.
    fs::write(world.incomplete(&file), [&*file.content, b"more"].concat()).unwrap();
    assert_eq!(plan(world.options(), &Files::Safetensors).unwrap().to_download(), 300_000);
}

#[test]
fn what_another_commit_has_is_not_downloaded_again() {
    let world = World::new(small());
    world.fetch().unwrap();
    let later = "fedcba9876543210fedcba9876543210fedcba98";
    world.behave(|behaviour| behaviour.commit = Some(later.to_owned()));
    let planned = plan(world.options(), &Files::Safetensors).unwrap();
    assert_eq!(planned.commit, later);
    assert!(planned.files.iter().all(|file| file.cached), "{planned:?}");
    assert!(!planned.directory.exists());
}

#[test]
fn a_plan_of_what_is_not_there_is_an_error() {
    let world = World::new(vec![config(), weights("q4.gguf")]);
    let error = plan(world.options(), &Files::Safetensors).unwrap_err();
    assert!(matches!(error, HubError::NoSafetensors { .. }), "{error}");
    let error = plan(world.options(), &Files::Gguf("q5.gguf".to_owned())).unwrap_err();
    assert!(matches!(error, HubError::NoSuchGguf { .. }), "{error}");
    let planned = plan(world.options(), &Files::Gguf("q4.gguf".to_owned())).unwrap();
    assert_eq!(rows(&planned), [missing(&config()), missing(&weights("q4.gguf"))]);
    let mut options = world.options();
    options.offline = true;
    let error = plan(options, &Files::Safetensors).unwrap_err();
    assert!(matches!(error, HubError::NotCached { .. }), "{error}");
}
