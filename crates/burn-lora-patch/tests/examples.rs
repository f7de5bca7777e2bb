//! The examples, run: each is a program that ends in an error or a panic where something does not hold.

macro_rules! example {
    ($name:ident, $path:literal) => {
        #[path = $path]
        mod $name;

        #[test]
        fn $name() {
            $name::main().unwrap();
        }
    };
}

example!(own_model, "../examples/own_model.rs");
example!(train_by_hand, "../examples/train_by_hand.rs");
example!(two_adapters, "../examples/two_adapters.rs");
example!(peft_files, "../examples/peft_files.rs");
example!(merge, "../examples/merge.rs");
example!(train_with_burn_train, "../examples/train_with_burn_train.rs");

#[test]
fn every_example_is_run_and_short() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let here = include_str!("examples.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(here.contains(&format!("\"../examples/{name}\"")), "{name} is not run");
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 150, "{name} has {lines} lines");
    }
}
