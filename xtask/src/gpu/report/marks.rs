//! The marks for the first GPU: met, missed, or not shown by these results.
//!
//! What was cut short is never counted as met: a mark over all checks asks how their parts ended too.

use std::fmt;

use burn_lora_models::weights::WeightDtype;

use super::steps::{EAGER, LIGER, held, ratio};
use super::{COMPARED, Found, LOSSES, ended, is_cpu, titled};
use crate::bench::Method;
use crate::gpu::line::Part;

pub type Shape = (&'static str, usize, usize);
/// SmolLM2-135M's shape at the sizes of its marks.
pub const SMALL: [Shape; 2] = [("smollm2-135m", 4, 128), ("smollm2-135m", 8, 512)];
/// Llama-3.2-1B's.
pub const LARGE: Shape = ("llama-3.2-1b", 4, 1024);

/// A mark and what became of it.
#[derive(Debug, PartialEq)]
pub struct Mark {
    pub what: String,
    pub verdict: Verdict,
    pub figure: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    NotShown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
            Self::NotShown => "not shown",
        })
    }
}

/// The section of the report.
pub fn section(found: &Found) -> String {
    let rows: Vec<Vec<String>> = marks(found)
        .into_iter()
        .map(|mark| vec![mark.what, mark.verdict.to_string(), mark.figure])
        .collect();
    titled("Marks", &["mark", "", "measured"], &rows)
}

/// All of them.
pub fn marks(found: &Found) -> Vec<Mark> {
    let mut marks = vec![checks(found), parity(found), losses(found)];
    for dtype in [WeightDtype::F32, WeightDtype::Bf16] {
        marks.extend(SMALL.map(|shape| speed(found, EAGER, shape, dtype, 1.0)));
    }
    marks.push(speed(found, LIGER, LARGE, WeightDtype::Bf16, 0.5));
    marks.push(over_composed(found));
    let shapes = SMALL.into_iter().chain([LARGE]);
    for (shape, dtype) in shapes.flat_map(|s| [(s, WeightDtype::F32), (s, WeightDtype::Bf16)]) {
        marks.extend(memory(found, shape, dtype));
    }
    marks
}

/// A mark that a figure decides; what is no number misses it.
fn decided(what: String, met: bool, figure: String) -> Mark {
    Mark { what, verdict: if met { Verdict::Met } else { Verdict::Missed }, figure }
}

fn not_shown(what: String, why: impl Into<String>) -> Mark {
    Mark { what, verdict: Verdict::NotShown, figure: why.into() }
}

/// The parts of that name or with that name before a dash.
fn parts<'a>(found: &'a Found, name: &str) -> Vec<&'a Part> {
    let of = |part: &&Part| part.name.split('-').next() == Some(name);
    found.parts.iter().filter(of).collect()
}

fn unfinished(parts: &[&Part]) -> String {
    let left = parts.iter().filter(|part| part.code != 0);
    left.map(|part| format!("{}: {}", part.name, ended(part))).collect::<Vec<_>>().join("; ")
}

fn checks(found: &Found) -> Mark {
    let what = "every operation is within its tolerance of float64".to_owned();
    let parts = parts(found, "check");
    let checks: Vec<_> = found.checks.iter().filter(|check| !is_cpu(&check.device)).collect();
    let passed = checks.iter().filter(|check| check.passes()).count();
    let figure = format!("{passed} of {}", checks.len());
    match (checks.is_empty(), passed == checks.len(), parts.iter().all(|part| part.code == 0)) {
        (true, ..) => not_shown(what, "none was made on a GPU"),
        (_, false, _) => decided(what, false, figure),
        (_, true, false) => not_shown(what, format!("{figure}; {}", unfinished(&parts))),
        (_, true, true) => decided(what, true, figure),
    }
}

/// What `parity.md` holds is on the device of the cells, which is all that says that it was a GPU.
fn parity(found: &Found) -> Mark {
    let what = "PEFT's values, at the CPU's tolerances".to_owned();
    let parts = parts(found, "parity");
    let done = parts.iter().filter(|part| part.code == 0).count();
    let figure = format!("{done} of {} families", parts.len());
    if parts.is_empty() || found.checks.iter().all(|check| is_cpu(&check.device)) {
        return not_shown(what, "not compared on a GPU");
    }
    let differ = |part: &&&Part| ![0, 124, 125, 137].contains(&part.code);
    match (done == parts.len(), parts.iter().any(|part| differ(&part))) {
        (true, _) => decided(what, true, figure),
        (_, true) => decided(what, false, format!("{figure}; {}", unfinished(&parts))),
        (_, false) => not_shown(what, format!("{figure}; {}", unfinished(&parts))),
    }
}

fn losses(found: &Found) -> Mark {
    let what = format!("losses equal the CPU's within {LOSSES:.0e} over {COMPARED} steps");
    let runs = found.quickstarts.iter().filter(|run| !is_cpu(&run.device));
    let compared = runs.filter_map(|run| found.beside_the_cpu(run));
    // The run of most steps, and of those the worst.
    match compared.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))) {
        None => not_shown(what, "no run on a GPU beside one on the CPU"),
        Some((steps, apart)) => {
            let figure = format!("{apart:.1e} over {steps} steps");
            match (apart <= LOSSES, steps >= COMPARED) {
                (true, false) => not_shown(what, figure),
                (within, _) => decided(what, within, figure),
            }
        }
    }
}

fn label((model, batch, length): Shape, dtype: WeightDtype) -> String {
    format!("{model} {batch}x{length}, base in {}", dtype.name())
}

fn speed(found: &Found, who: &str, shape: Shape, dtype: WeightDtype, least: f64) -> Mark {
    let what = format!("LoRA at least {least} of {who}'s rate, {}", label(shape, dtype));
    let ours = found.ours(shape, Method::Lora, dtype);
    match ours.and_then(|line| ratio(line, found.peers(who, shape, dtype))) {
        None => not_shown(what, missing(ours.is_some(), who)),
        Some(ratio) => decided(what, ratio >= least, format!("{ratio:.2}")),
    }
}

fn missing(ours: bool, who: &str) -> String {
    match ours {
        true => format!("{who} was not measured"),
        false => "not measured".to_owned(),
    }
}

fn over_composed(found: &Found) -> Mark {
    let shape = SMALL[0];
    let what = format!("LoRA 1.3 times Burn's composed path, {}", label(shape, WeightDtype::F32));
    let rate = |method| found.ours(shape, method, WeightDtype::F32)?.tokens_per_second();
    match rate(Method::Lora).zip(rate(Method::Composed)) {
        None => not_shown(what, "not measured"),
        Some((lora, composed)) => {
            let ratio = lora / composed;
            decided(what, ratio >= 1.3, format!("{ratio:.2}"))
        }
    }
}

/// Against PEFT's eager allocator; nothing where neither was measured in that format.
fn memory(found: &Found, shape: Shape, dtype: WeightDtype) -> Option<Mark> {
    let what = format!("device memory at most PEFT's, {}", label(shape, dtype));
    let (ours, peer) = (found.ours(shape, Method::Lora, dtype), found.peers(EAGER, shape, dtype));
    if ours.is_none() && peer.is_none() {
        return None;
    }
    let pair = ours.and_then(held).zip(peer.and_then(|peer| peer.peak_device_gib));
    Some(match pair {
        None => not_shown(what, missing(ours.is_some(), EAGER)),
        Some((ours, peers)) => {
            decided(what, ours > 0.0 && ours <= peers, format!("{ours:.2} GiB of {peers:.2} GiB"))
        }
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::bench::{Cell, Measured, StepTimes};
    use crate::gpu::line::{CellLine, Check, Line, Peer, Quickstart};

    /// A cell on a GPU whose steps take that long.
    pub fn cell(
        (model, batch, length): Shape,
        (method, dtype): (Method, WeightDtype),
        seconds: f64,
        gib: Option<u64>,
    ) -> Line {
        let rank = method.has_rank().then_some(16);
        let backend = "cuda:0".to_owned();
        let model = model.to_owned();
        let recompute = burn_lora_models::Recompute::None;
        let cell = Cell { model, backend, dtype, recompute, batch, length, method, rank };
        let steps = vec![StepTimes { gradients: seconds, optimizer: 0.0 }];
        let device_bytes = gib.map(|gib| gib << 30);
        let measured = Measured { steps, device_bytes, ..Measured::default() };
        Line::Cell(CellLine { cell, measured })
    }

    /// PEFT's, alike.
    pub fn peer((model, batch, length): Shape, who: &str, dtype: &str, seconds: f64) -> Line {
        Line::Peer(Peer {
            peer: who.to_owned(),
            version: String::new(),
            method: "lora".to_owned(),
            model: model.to_owned(),
            batch,
            length,
            rank: 16,
            dtype: dtype.to_owned(),
            device: "NVIDIA H200".to_owned(),
            tokens_per_s: (batch * length) as f64 / seconds,
            first_step_s: 1.0,
            peak_device_gib: Some(2.0),
        })
    }

    fn part(name: &str, code: i32) -> Line {
        Line::Part(Part { name: name.to_owned(), seconds: 1.0, turn: None, code })
    }

    fn check(error: f64) -> Line {
        let (device, operation, part) = ("cuda:0".into(), "lora".into(), "output".into());
        Line::Check(Check { device, operation, part, error, tolerance: 1e-5 })
    }

    fn losses(device: &str, last: f64, steps: usize) -> Line {
        let mut losses = vec![1.0; steps];
        losses[steps - 1] = last;
        Line::Quickstart(Quickstart {
            device: device.to_owned(),
            planned: 50,
            losses,
            exact_match: None,
            seconds: 1.0,
            first_step_seconds: 1.0,
            step_seconds: 1.0,
            tokens: 1,
        })
    }

    /// The verdict on the one mark whose words hold these.
    fn verdict(lines: &[Line], words: &[&str]) -> (Verdict, String) {
        let marks = marks(&Found::sorted((lines.to_vec(), 0)));
        let mut of =
            marks.into_iter().filter(|mark| words.iter().all(|word| mark.what.contains(word)));
        let mark = of.next().unwrap();
        assert!(of.next().is_none(), "{words:?}");
        (mark.verdict, mark.figure)
    }

    #[test]
    fn checks_that_were_cut_short_are_never_met() {
        let what = |lines: &[Line]| verdict(lines, &["every operation"]).0;
        assert_eq!(what(&[]), Verdict::NotShown);
        assert_eq!(what(&[check(1e-6), part("check-norm", 0)]), Verdict::Met);
        assert_eq!(
            what(&[check(1e-6), part("check-norm", 0), part("check-head", 124)]),
            Verdict::NotShown
        );
        assert_eq!(what(&[check(1e-6), check(1e-4), part("check-norm", 124)]), Verdict::Missed);
        assert_eq!(what(&[check(f64::NAN), part("check-norm", 1)]), Verdict::Missed);

        let what = |lines: &[Line]| verdict(lines, &["PEFT's values"]).0;
        let with = |code| [check(1e-6), part("parity-bert", 0), part("parity-llama", code)];
        assert_eq!(what(&with(0)), Verdict::Met);
        assert_eq!(what(&with(1)), Verdict::Missed);
        assert_eq!(what(&with(124)), Verdict::NotShown);
    }

    #[test]
    fn losses_are_held_against_the_cpu_over_fifty_steps() {
        let what = |run: Line| verdict(&[losses("cpu", 1.0, 50), run], &["losses equal"]).0;
        assert_eq!(what(losses("cuda:0", 1.0009, 50)), Verdict::Met);
        assert_eq!(what(losses("cuda:0", 1.002, 50)), Verdict::Missed);
        assert_eq!(what(losses("cuda:0", f64::NAN, 50)), Verdict::Missed);
        assert_eq!(what(losses("cuda:0", 1.0, 20)), Verdict::NotShown);
        assert_eq!(what(losses("cuda:0", 1.002, 20)), Verdict::Missed);
        assert_eq!(what(losses("cpu", 1.0, 50)), Verdict::NotShown);
    }

    #[test]
    fn speed_is_compared_at_the_same_shape_and_format() {
        let lora = (Method::Lora, WeightDtype::F32);
        let lines = [
            cell(SMALL[0], lora, 1.0, Some(1)),
            cell(SMALL[0], (Method::Composed, WeightDtype::F32), 1.5, Some(1)),
            cell(SMALL[1], lora, 4.0, Some(3)),
            cell(LARGE, (Method::Lora, WeightDtype::Bf16), 2.0, None),
            peer(SMALL[0], EAGER, "f32", 9.0),
            peer(SMALL[0], EAGER, "tf32", 1.5),
            peer(SMALL[0], LIGER, "tf32", 0.1),
            peer(SMALL[1], EAGER, "tf32", 2.0),
            peer(SMALL[1], EAGER, "bf16", 2.0),
            peer(LARGE, EAGER, "bf16", 0.1),
            peer(LARGE, LIGER, "bf16", 1.1),
        ];
        let told = |words: &[&str]| verdict(&lines, words);
        let met = |figure: &str| (Verdict::Met, figure.to_owned());
        assert_eq!(told(&["1 of PEFT's rate", "4x128", "f32"]), met("1.50"));
        assert_eq!(
            told(&["1 of PEFT's rate", "8x512", "f32"]),
            (Verdict::Missed, "0.50".to_owned())
        );
        assert_eq!(told(&["1 of PEFT's rate", "4x128", "bf16"]).0, Verdict::NotShown);
        assert_eq!(told(&["0.5 of PEFT with Liger"]), met("0.55"));
        assert_eq!(told(&["1.3 times"]), met("1.50"));
        assert_eq!(told(&["memory", "4x128", "f32"]), met("1.00 GiB of 2.00 GiB"));
        assert_eq!(told(&["memory", "8x512", "f32"]).0, Verdict::Missed);
        // Memory that was not told is not less than PEFT's.
        assert_eq!(told(&["memory", "1b"]).0, Verdict::NotShown);
    }
}
