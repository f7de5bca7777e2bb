//! Our cells and PEFT's, each shape's side by side.

use burn_lora_models::weights::WeightDtype;

use super::{Found, is_cpu, titled};
use crate::bench::{Cell, Method};
use crate::gpu::line::{CellLine, Peer};

/// The libraries that are compared with, as their lines name them.
pub const EAGER: &str = "PEFT";
pub const LIGER: &str = "PEFT with Liger";

/// What is published for the same method on one H100 (NeMo AutoModel's performance summary, June 2026).
const PUBLISHED: &str = "Published, for the order of magnitude: NVIDIA's NeMo AutoModel on one H100, Llama-3 8B in bf16, LoRA r=16 \
     on all projections, 2 x 4096 mock tokens: 12,473 tokens/s.";

impl Found {
    /// Our last measurement of such a cell on a GPU.
    pub fn ours(
        &self,
        shape: (&str, usize, usize),
        method: Method,
        dtype: WeightDtype,
    ) -> Option<&CellLine> {
        let (model, batch, length) = shape;
        self.cells.iter().rev().find(|CellLine { cell, .. }| {
            (cell.model.as_str(), cell.batch, cell.length) == (model, batch, length)
                && (cell.method, cell.dtype) == (method, dtype)
                && cell.rank.is_none_or(|rank| rank == 16)
                && !is_cpu(&cell.backend)
        })
    }

    /// PEFT's last measurement of LoRA at rank 16 on the same shape, with the base in the same format. For one in f32 it is
    /// the one in TF32 where there is one, which is faster.
    pub fn peers(
        &self,
        who: &str,
        shape: (&str, usize, usize),
        dtype: WeightDtype,
    ) -> Option<&Peer> {
        let faster = (dtype == WeightDtype::F32).then_some("tf32");
        let (model, batch, length) = shape;
        faster.into_iter().chain([dtype.name()]).find_map(|format| {
            self.peers.iter().rev().find(|peer| {
                (peer.model.as_str(), peer.batch, peer.length) == (model, batch, length)
                    && (peer.peer.as_str(), peer.method.as_str()) == (who, "lora")
                    && (peer.rank, peer.dtype.as_str()) == (16, format)
                    && !is_cpu(&peer.device)
            })
        })
    }

    /// From the start of the cell's process, or the cell before it, to the end of its very first step.
    fn first_step(&self, line: &CellLine) -> f64 {
        let warm = self.warms.iter().rev().find(|warm| warm.cell == line.cell);
        warm.map_or(line.measured.first_step_seconds, |warm| warm.first_step_seconds)
    }
}

/// How many times another library's rate ours is; none on a CPU.
pub fn ratio(line: &CellLine, peer: Option<&Peer>) -> Option<f64> {
    Some(line.tokens_per_second()? / peer?.tokens_per_s)
}

/// `12.34 GiB`.
pub fn gib(gib: Option<f64>) -> String {
    gib.map_or("-".to_owned(), |gib| format!("{gib:.2} GiB"))
}

/// What the device's allocator held, in GiB.
pub fn held(line: &CellLine) -> Option<f64> {
    line.measured.device_bytes.map(|bytes| bytes as f64 / f64::from(1 << 30))
}

fn shape(cell: &Cell) -> (&str, usize, usize) {
    (&cell.model, cell.batch, cell.length)
}

/// The section of the report.
pub fn section(found: &Found) -> String {
    let mut rows = Vec::new();
    for line in &found.cells {
        let cell = &line.cell;
        let compared =
            cell.method == Method::Lora && cell.rank == Some(16) && !is_cpu(&cell.backend);
        let over = |who| {
            let peer = compared.then(|| found.peers(who, shape(cell), cell.dtype)).flatten();
            ratio(line, peer).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
        };
        let rank = cell.rank.map_or(String::new(), |rank| format!(" r={rank}"));
        let rate = line.tokens_per_second();
        rows.push(vec![
            format!("{} {}x{}", cell.model, cell.batch, cell.length),
            format!("burn-lora {}{rank} {}", cell.method.name(), cell.dtype.name()),
            cell.backend.clone(),
            rate.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
            over(EAGER),
            over(LIGER),
            line.step_seconds().map_or("-".to_owned(), |step| format!("{:.1} ms", 1e3 * step)),
            format!("{:.1} s", found.first_step(line)),
            gib(held(line)),
        ]);
    }
    for peer in &found.peers {
        let tokens = (peer.batch * peer.length) as f64;
        let dash = || "-".to_owned();
        rows.push(vec![
            format!("{} {}x{}", peer.model, peer.batch, peer.length),
            format!("{} {} {}", peer.peer, peer.method, peer.dtype),
            peer.device.clone(),
            format!("{:.0}", peer.tokens_per_s),
            dash(),
            dash(),
            format!("{:.1} ms", 1e3 * tokens / peer.tokens_per_s),
            format!("{:.1} s", peer.first_step_s),
            gib(peer.peak_device_gib),
        ]);
    }
    // Stable: within a shape the order is that of measuring.
    rows.sort_by(|a, b| a[0].cmp(&b[0]));
    let head = [
        "shape",
        "method",
        "device",
        "tokens/s",
        "of PEFT",
        "of PEFT with Liger",
        "median step",
        "first step",
        "device memory",
    ];
    let mut text = titled("Training steps", &head, &rows);
    if !rows.is_empty() {
        text += &format!(
            "\nA base in f32 is compared with PEFT in TF32. A first step goes from the start of the process, or from the cell before it, to \
             the step's end, with its kernels' compilation; ours were taken while other parts ran. Device memory is the most that the \
             library's allocator held.\n\n{PUBLISHED}\n"
        );
        let seconds: f64 = found.warms.iter().map(|warm| warm.seconds).sum();
        if !found.warms.is_empty() {
            text += &format!(
                "\nSteps for the kernels alone, counted apart: {} cells, {seconds:.0} s in all, side by side with other parts.\n",
                found.warms.len()
            );
        }
    }
    text
}
