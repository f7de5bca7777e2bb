//! Every target, fed with the committed inputs and mutations of them: none panics, none takes longer than a second, none
//! needs more memory than ten times its input and 64 MiB.
//!
//! `BURN_LORA_FUZZ_INPUTS=1000000` makes so many mutations of each; `BURN_LORA_FUZZ_FROM` is the number of the first, and another
//! `BURN_LORA_FUZZ_SEED` makes others. The number of the input that is read stands in `last` in the folder of the target, `target/tmp/fuzz`,
//! so that one that takes the process with it is found: it is the only one of `BURN_LORA_FUZZ_FROM=NUMBER BURN_LORA_FUZZ_INPUTS=1`. Those that
//! fail lie beside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn_lora_counting::Counting;
use burn_lora_fuzz::mutate::mutated;
use burn_lora_fuzz::{ALL, Target};

/// Mutations of each target in an ordinary run of the tests.
const INPUTS: u64 = 500;
const SLOW: Duration = Duration::from_secs(1);
/// What took longer by the clock is read once more, and the processors are asked.
const DOUBTFUL: Duration = Duration::from_millis(50);
const BESIDE: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Where a panic began.
static SAID: Mutex<String> = Mutex::new(String::new());

/// One at a time: the allocator counts the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// The worst of some inputs, with their numbers, and those that failed, by how.
#[derive(Default)]
struct Found {
    inputs: u64,
    longest: (Duration, Number),
    most: (usize, Number),
    failed: BTreeMap<String, (u64, PathBuf)>,
}

/// The number of an input; none for one that is committed.
type Number = Option<u64>;

fn called(number: Number) -> String {
    number.map_or_else(|| "a committed one".to_owned(), |number| format!("number {number}"))
}

/// Seconds of processors that this process has used, where the system tells: a machine that does something else meanwhile makes no input
/// slow.
fn used() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may hold anything; the numbers behind it are times in hundredths.
    let numbers = text.rsplit_once(')')?.1;
    let mut times = numbers.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    Some(f64::from(times.next()?.ok()? + times.next()?.ok()?) / 100.0)
}

/// How long reading took, and how many bytes were live at once beyond those before; or the panic.
fn measured(target: Target, input: &[u8]) -> Result<(Duration, usize), String> {
    let read = || {
        let started = Instant::now();
        let (read, taken) = burn_lora_counting::measured(|| {
            catch_unwind(AssertUnwindSafe(|| (target.read)(input)))
        });
        let panicked = |_| SAID.lock().unwrap_or_else(PoisonError::into_inner).clone();
        read.map_err(panicked).map(|()| (started.elapsed(), taken.most))
    };
    let (time, most) = read()?;
    if time < DOUBTFUL {
        return Ok((time, most));
    }
    let before = used();
    let (again, _) = read()?;
    let spent = before.zip(used()).map(|(before, now)| Duration::from_secs_f64(now - before));
    // What it took is no more than the least of these.
    Ok((time.min(again).min(spent.unwrap_or(time)), most))
}

/// What is wrong with reading the input, if anything is.
fn wrong(target: Target, number: Number, input: &[u8], found: &mut Found) -> Option<String> {
    let (time, peak) = match measured(target, input) {
        Ok(measured) => measured,
        Err(panic) => return Some(format!("panics at {panic}")),
    };
    found.longest = found.longest.max((time, number));
    found.most = found.most.max((peak, number));
    if time >= SLOW {
        return Some("takes longer than a second".to_owned());
    }
    (peak > 10 * input.len() + BESIDE)
        .then(|| "takes more memory than ten times its length and 64 MiB".to_owned())
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn hold(name: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        *SAID.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }));
    let target = burn_lora_fuzz::target(name).unwrap();
    let seeds = seeds(name);
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(name);
    fs::create_dir_all(&scratch).unwrap();
    let (mut last, mut found) = (File::create(scratch.join("last")).unwrap(), Found::default());
    let from = number_of("BURN_LORA_FUZZ_FROM").unwrap_or(0);
    let count = number_of("BURN_LORA_FUZZ_INPUTS").unwrap_or(INPUTS);
    let series = number_of("BURN_LORA_FUZZ_SEED").unwrap_or(0);
    let started = Instant::now();
    let made = (from..from + count).map(|number| (Some(number), mutated(&seeds, series, number)));
    for (number, input) in seeds.iter().map(|seed| (None, seed.clone())).chain(made) {
        // Files that are made anew are brought to the disk at once by some systems; this one is written over.
        last.rewind().unwrap();
        writeln!(last, "{:<40}", called(number)).unwrap();
        found.inputs += 1;
        if let Some(how) = wrong(target, number, &input, &mut found) {
            let next = scratch.join(format!("failed-{}", found.failed.len()));
            let failed = found.failed.entry(how).or_insert((0, next));
            if failed.0 == 0 {
                fs::write(&failed.1, &input).unwrap();
            }
            failed.0 += 1;
        }
    }
    let _ = std::panic::take_hook();
    let Found { inputs, longest: (time, slowest), most: (bytes, largest), failed } = found;
    println!(
        "{name}: {inputs} inputs, {:.0} a second; at most {time:?} ({}) and {bytes} bytes ({})",
        inputs as f64 / started.elapsed().as_secs_f64(),
        called(slowest),
        called(largest)
    );
    let told: Vec<String> = failed
        .iter()
        .map(|(how, (times, path))| format!("{times} x {how}: {}", path.display()))
        .collect();
    assert!(told.is_empty(), "{name}:\n{}", told.join("\n"));
}

/// The committed inputs, in the order of their names.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
    let entries = fs::read_dir(dir).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.into_iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() > 1, "{name}");
    seeds
}

macro_rules! hold {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                hold(stringify!($name));
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            let all: Vec<&str> = ALL.iter().map(|target| target.name).collect();
            assert_eq!(all, [$(stringify!($name)),*]);
            for name in all {
                let binary = format!("../../fuzz/fuzz_targets/{name}.rs");
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(binary).is_file(), "{name}");
            }
        }
    };
}

hold! {
    run_toml rows chat_template tokenizer adapter_config adapter_safetensors model_config base_safetensors index gguf manifest metrics
}
