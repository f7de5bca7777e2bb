//! `cargo xtask gguf [FILE]`: a GGUF file as it is read here, against an independent conversion.
//!
//! `benches/peers/gguf_to_hf.py` makes a Hugging Face directory of the file, with the Python package
//! gguf's own names, block layouts and dequantization. Both are loaded as a user would, and
//! their logits compared, on random tokens and on a question that the model then has to answer. The same is done with
//! files that burn-lora writes of the model, of whole and of quantized numbers: what is written here, too,
//! is read as an independent program reads it.
//! What they have in common is the model's computation; `cargo xtask parity` compares that.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_lora_models::conversation::{Chat, Message};
use burn_lora_models::generate::{GenerateOptions, generate};
use burn_lora_models::gguf::{FileType, GgufWriter};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalLm, Decoder, Model};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::parity::{LOGITS, largest};
use crate::{fetch, python, root};

/// Compares a GGUF file with an independent conversion of it, and asks it a question
#[derive(clap::Args)]
pub struct Gguf {
    /// The file, of a chat model [default: models/smollm2-135m.gguf, fetched if it is not there]
    file: Option<PathBuf>,
    /// The Python that fetches, and that the converter's virtual environment is made with
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
}

/// What the converter needs.
const PACKAGES: [&str; 2] = ["gguf==0.19.0", "safetensors==0.8.0"];

/// Rows of random tokens, and tokens of each.
const ROWS: usize = 4;
const LENGTH: usize = 32;

const QUESTION: &str = "What is the capital of France?";
const ANSWER: &str = "Paris";

type Done = Result<(), Box<dyn std::error::Error>>;

/// What is written of the model and read again.
const WRITTEN: [FileType; 2] = [FileType::F16, FileType::Q4_K];

/// Runs the verb.
pub fn run(gguf: &Gguf) -> Done {
    let file = match &gguf.file {
        Some(file) => file.clone(),
        None => fetch::smollm2(&gguf.python, "models".as_ref())?,
    };
    let target = root().join("target");
    let own = python::environment(&gguf.python, &target.join("gguf-python"), &PACKAGES)?;
    let device = burn_lora::device::parse("cpu")?;
    check(&file, &own, true, &device)?;
    for file_type in WRITTEN {
        // Half a gigabyte for SmolLM2: beside the build, where /tmp may be memory.
        let place = tempfile::tempdir_in(&target)?;
        let path = place.path().join(format!("written-{file_type}.gguf"));
        write(&file, &path, file_type, &device)?;
        // Four bits of what has four bits already may answer otherwise; their logits say whether they are read right.
        let answers = file_type != FileType::Q4_K;
        check(&path, &own, answers, &device)?;
    }
    Ok(())
}

/// Writes the model of a file into another one.
fn write(file: &Path, path: &Path, file_type: FileType, device: &Device) -> Done {
    let (model, _) = CausalLm::load(file, device, &mut |_, _| {})?;
    let tokenizer = Tokenizer::from_dir(file)?;
    let writer = GgufWriter::new(model.config(), &tokenizer, file_type, "written")?;
    let counts = writer.write(&model, path, &mut |_, _| {})?;
    let counts = counts.iter().map(|count| format!("{} {}", count.tensors, count.ggml_type));
    println!("written as {file_type}: {}", counts.collect::<Vec<_>>().join(", "));
    Ok(())
}

/// Compares a file with its conversion.
fn check(file: &Path, own: &Path, answers: bool, device: &Device) -> Done {
    let tokenizer = Tokenizer::from_dir(file)?;
    let prompt = prompt(&tokenizer)?;

    let (model, report) = CausalLm::load(file, device, &mut |_, _| {})?;
    println!("{}: {} tensors", file.display(), report.tensors);
    let answer = answer(&model, &tokenizer, &prompt)?;
    println!("{QUESTION}\n{answer}");
    let vocabulary = model.config().vocab_size();
    let batches = [random_rows(vocabulary), vec![prompt]];
    let ours = logits(&model, &batches, device)?;
    drop(model);

    let converted = tempfile::tempdir_in(root().join("target"))?;
    let script = root().join("benches/peers/gguf_to_hf.py").display().to_string();
    let text = |path: &Path| path.display().to_string();
    python::python(own, &[&script, &text(file), &text(converted.path())])?;
    let (model, _) = CausalLm::load(converted.path(), device, &mut |_, _| {})?;
    let theirs = logits(&model, &batches, device)?;

    let [random, asked] = [0, 1].map(|batch| difference(&ours[batch], &theirs[batch]));
    let size = largest(theirs.iter().flatten().map(|&logit| f64::from(logit)));
    println!(
        "largest difference of a logit from {}'s conversion: {random:.1e} on {ROWS} x {LENGTH} random \
         tokens, {asked:.1e} on the question ({} tokens); the largest logit is {size:.1}, the \
         tolerance {LOGITS:.0e}",
        PACKAGES[0],
        batches[1][0].len(),
    );
    verdict([random, asked], answers.then_some(answer.as_str()))
}

/// Fails where a logit differs or the answer, if it counts, is another. Written so that NaN fails.
fn verdict(differences: [f64; 2], answer: Option<&str>) -> Done {
    if !differences.into_iter().all(|difference| difference <= LOGITS) {
        return Err("the file and its conversion differ".into());
    }
    match answer.is_none_or(|answer| answer.contains(ANSWER)) {
        true => Ok(()),
        false => Err(format!("the answer lacks {ANSWER:?}").into()),
    }
}

/// The question as the model's chat template has it.
fn prompt(tokenizer: &Tokenizer) -> Result<Vec<u32>, Box<dyn std::error::Error>> {
    tokenizer.template().ok_or("the file has no chat template")?;
    Ok(Chat::of(tokenizer).prompt(&[Message::new("user", QUESTION)])?)
}

/// The likeliest continuation, token by token.
fn answer(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    prompt: &[u32],
) -> Result<String, Box<dyn std::error::Error>> {
    let options = GenerateOptions {
        max_new_tokens: 32,
        stop: tokenizer.eos_ids().to_vec(),
        ..GenerateOptions::default()
    };
    let prompts = [prompt.to_vec()];
    let outputs = generate(model, &prompts, &options, &mut |_, _| ControlFlow::Continue(()))?;
    Ok(outputs
        .iter()
        .map(|output| tokenizer.decode(&output.ids, true))
        .collect::<Result<_, _>>()?)
}

/// The same rows every time.
fn random_rows(vocabulary: usize) -> Vec<Vec<u32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut id = || rng.random_range(0..vocabulary.max(1) as u32);
    (0..ROWS).map(|_| (0..LENGTH).map(|_| id()).collect()).collect()
}

/// All logits of each batch, whose rows are of one length.
fn logits(
    model: &CausalLm,
    batches: &[Vec<Vec<u32>>],
    device: &Device,
) -> Result<Vec<Vec<f32>>, Box<dyn std::error::Error>> {
    let of = |rows: &Vec<Vec<u32>>| {
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let ids: Vec<i32> = rows.iter().flatten().map(|&id| id as i32).collect();
        let shape = [rows.len(), lengths.first().copied().unwrap_or(0)];
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device);
        Ok(model.logits(model.hidden(ids, &lengths, None)).into_data().try_into_vec()?)
    };
    batches.iter().map(of).collect()
}

/// The largest absolute difference; infinite where there are more of one than of the other.
fn difference(ours: &[f32], theirs: &[f32]) -> f64 {
    match ours.len() == theirs.len() {
        true => largest(ours.iter().zip(theirs).map(|(&a, &b)| f64::from(a) - f64::from(b))),
        false => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_logits_and_the_right_answer_pass() {
        let answer = "The capital of France is Paris.";
        assert!(verdict([0.0, 9e-5], Some(answer)).is_ok());
        assert!(verdict([0.0, 9e-5], None).is_ok());
        for differences in [[0.0, 2e-4], [f64::NAN, 0.0], [f64::INFINITY, 0.0]] {
            assert!(verdict(differences, Some(answer)).is_err(), "{differences:?}");
        }
        let error = verdict([0.0, 0.0], Some("It is London.")).unwrap_err().to_string();
        assert!(error.contains("Paris"), "{error}");
    }

    #[test]
    fn a_difference_is_the_largest_and_survives_what_is_no_number() {
        assert_eq!(difference(&[1.0, -2.0, 3.0], &[1.5, -1.0, 3.25]), 1.0);
        assert!(difference(&[1.0, f32::NAN, 3.0], &[1.0, 2.0, 3.0]).is_nan());
        assert_eq!(difference(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }

    #[test]
    fn the_random_rows_are_the_same_every_time_and_within_the_vocabulary() {
        let rows = random_rows(300);
        assert_eq!(rows, random_rows(300));
        assert_eq!((rows.len(), rows[0].len()), (ROWS, LENGTH));
        assert!(rows.iter().flatten().all(|&id| id < 300));
        assert!(rows[0] != rows[1]);
    }
}
