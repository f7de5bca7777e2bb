//! The model drawn for shapes that nobody ran here: tables, and a plot for each shape. Simulated, and said to be.

use burn_lora_report::ReportError;
use burn_lora_report::plot::{Curve, FILE, Plot, Scale, Stroke};
use burn_lora_text::{grouped, significant, size};

use super::model::{Step, Time, Wire, gradients};
use super::shapes::{PUBLISHED, RANK, Shape, TOKENS_PER_SECOND};
use super::stragglers::Stragglers;
use crate::bench::Table;

/// Of what is drawn.
const SEED: u64 = 0;
/// The standard deviation of a micro-batch's seconds, as a share of them.
const SPREAD: f64 = 0.05;
/// Seconds of a short message from one rank to another, by TCP.
const LATENCY: f64 = 50e-6;
/// Bytes a second that one thread copies.
const COPYING: f64 = 10e9;
/// Links, in Gbit/s.
const LINKS: [u32; 3] = [1, 10, 100];
/// The most ranks.
const MOST: usize = 1024;

/// The step of the plots, which has a micro-batch for every rank.
const LARGE: Step = Step { batch_size: 2, accumulate: MOST, length: 4096 };
/// The step of the published figure, which has 16 micro-batches.
const SMALL: Step = Step { batch_size: 2, accumulate: 16, length: 4096 };

/// What is drawn.
pub struct Drawn {
    /// Markdown.
    pub text: String,
    /// The plots that it links: a file's name, and the SVG.
    pub plots: Vec<(String, String)>,
}

/// Draws steps of these shapes; the text links plots in a folder of that name.
///
/// # Errors
///
/// What the drawing library says.
pub fn drawn(shapes: &[Shape], folder: &str) -> Result<Drawn, ReportError> {
    let stragglers = Stragglers::simulated(SPREAD, MOST, SEED);
    let draw = Draw { shapes, stragglers };
    let plots = shapes.iter().map(|shape| draw.plot(shape)).collect::<Result<Vec<_>, _>>()?;
    let links: Vec<String> = shapes
        .iter()
        .zip(&plots)
        .map(|(Shape { name, .. }, (file, _))| {
            format!("![{name}: simulated, times as fast as one rank]({folder}/{file})")
        })
        .collect();
    let (large, small) = (micro_batches(&LARGE), micro_batches(&SMALL));
    let blocks = [
        assumptions(),
        draw.sizes().to_string(),
        format!("Times as fast as one rank, steps of {large}; simulated:"),
        draw.speeds(&LARGE, &[2, 4, 16, 64, 256, 1024]).to_string(),
        links.join("\n"),
        format!("The same of steps of {small}, as the published figure has them; simulated:"),
        draw.speeds(&SMALL, &[2, 4, 8, 16, 32]).to_string(),
        format!(
            "Seconds of a step of {large} on {} ranks, one micro-batch each; simulated:",
            grouped(MOST)
        ),
        draw.parts().to_string(),
        "From how many tokens on a micro-batch takes longer than what is exchanged for it, and from how many ranks on messages take \
         longer than what is in them; of the model, without waiting:"
            .to_owned(),
        draw.ends().to_string(),
    ];
    let text = blocks.map(|block| block.trim_end().to_owned()).join("\n\n");
    Ok(Drawn { text, plots })
}

fn assumptions() -> String {
    let tokens = grouped(TOKENS_PER_SECOND as usize);
    let (spread, micros, copying) = (100.0 * SPREAD, 1e6 * LATENCY, COPYING / 1e9);
    format!(
        "Nothing in this part was measured by this project. It is the model above by simulation (seed {SEED}), with LoRA of rank {RANK} on \
         all linears and these assumptions:\n\n\
         - compute: the {tokens} tokens/s that NVIDIA publishes for {PUBLISHED} on one H100 (NeMo AutoModel, LoRA of rank 16 on all \
         projections, bf16, micro-batches of 2 x 4,096 tokens), and of other shapes in the ratio of their parameters. This program is \
         slower there (gpu.md), which makes an exchange weigh less;\n\
         - memory: every rank holds the whole base, whether there is a card for it or not;\n\
         - links: one for each rank, both ways at once, {micros:.0} µs a message, {copying:.0} GB/s of copying in a process;\n\
         - stragglers: a micro-batch's seconds spread by {spread:.0} %, log-normal, each apart from the others."
    )
}

/// `1,024 micro-batches of 2 x 4,096 tokens`.
fn micro_batches(step: &Step) -> String {
    let Step { batch_size, accumulate, length } = *step;
    format!("{} micro-batches of {batch_size} x {} tokens", grouped(accumulate), grouped(length))
}

/// A link of so many Gbit/s.
fn wire(link: u32) -> Wire {
    Wire { bandwidth: f64::from(link) * 1e9 / 8.0, latency: LATENCY, copying: COPYING }
}

struct Draw<'a> {
    shapes: &'a [Shape],
    stragglers: Stragglers,
}

impl Draw<'_> {
    fn time(&self, shape: &Shape, step: &Step, link: u32, ranks: usize) -> Option<Time> {
        Time::of(&shape.work, step, &wire(link), &self.stragglers, ranks)
    }

    /// How many times as fast as one rank so many are.
    fn speed(&self, shape: &Shape, step: &Step, link: u32, ranks: usize) -> Option<f64> {
        let alone = self.time(shape, step, link, 1)?.total();
        Some(alone / self.time(shape, step, link, ranks)?.total())
    }

    fn cases(&self) -> impl Iterator<Item = (&Shape, u32)> {
        self.shapes.iter().flat_map(|shape| LINKS.map(|link| (shape, link)))
    }

    fn sizes(&self) -> Table {
        let mut table = Table::new([
            "shape",
            "parameters",
            "trained values",
            "all gradients",
            "one micro-batch, assumed",
        ]);
        for Shape { name, parameters, work } in self.shapes {
            let tokens = (LARGE.batch_size * LARGE.length) as f64;
            table.row([
                (*name).to_owned(),
                grouped(*parameters),
                grouped(work.trained),
                size(gradients(work.trained) as u64),
                format!("{} s", significant(tokens * work.seconds_per_token)),
            ]);
        }
        table
    }

    fn speeds(&self, step: &Step, ranks: &[usize]) -> Table {
        let columns = ranks.iter().map(|ranks| format!("{} ranks", grouped(*ranks)));
        let mut table =
            Table::new(["shape".to_owned(), "Gbit/s".to_owned()].into_iter().chain(columns));
        for (shape, link) in self.cases() {
            let speed = |ranks: &usize| {
                significant(self.speed(shape, step, link, *ranks).unwrap_or(f64::NAN))
            };
            let cells = [shape.name.to_owned(), link.to_string()];
            table.row(cells.into_iter().chain(ranks.iter().map(speed)));
        }
        table
    }

    fn parts(&self) -> Table {
        let mut table = Table::new([
            "shape", "Gbit/s", "compute", "waiting", "bytes", "messages", "copies", "all",
        ]);
        for (shape, link) in self.cases() {
            let Some(time) = self.time(shape, &LARGE, link, MOST) else { continue };
            let Time { compute, waiting, bytes, messages, copies } = time;
            let seconds = [compute, waiting, bytes, messages, copies, time.total()];
            let cells = [shape.name.to_owned(), link.to_string()];
            table.row(cells.into_iter().chain(seconds.map(significant)));
        }
        table
    }

    fn ends(&self) -> Table {
        let mut table = Table::new([
            "shape",
            "Gbit/s",
            "tokens, of many rounds a step",
            "tokens, of one",
            "ranks, of one",
        ]);
        for (shape, link) in self.cases() {
            let (wire, work) = (wire(link), &shape.work);
            let carried = |rounds: usize| {
                let time = wire.exchange(work.trained, rounds * MOST, MOST);
                time.bytes + time.copies
            };
            let tokens =
                |seconds: f64| grouped((seconds / work.seconds_per_token).round() as usize);
            let is_late = |ranks: &usize| {
                let time = wire.exchange(work.trained, *ranks, *ranks);
                time.messages > time.bytes + time.copies
            };
            let late = (1..20).map(|power| 1 << power).find(is_late);
            table.row([
                shape.name.to_owned(),
                link.to_string(),
                tokens(carried(2) - carried(1)),
                tokens(carried(1)),
                late.map_or_else(|| "none".to_owned(), grouped),
            ]);
        }
        table
    }

    fn plot(&self, shape: &Shape) -> Result<(String, String), ReportError> {
        let title = format!("{}, rank {RANK}, {}: simulated", shape.name, micro_batches(&LARGE));
        let ranks: Vec<usize> = (0..).map(|power| 1 << power).take_while(|&n| n <= MOST).collect();
        let mut curves = Vec::new();
        let ideal = Curve::named(&mut curves, "as many as there are ranks", Stroke::Line);
        ideal.points = ranks.iter().map(|&ranks| (ranks as f64, ranks as f64)).collect();
        for link in LINKS {
            let name = format!("{link} Gbit/s");
            let curve = Curve::named(&mut curves, &name, Stroke::LineAndDots);
            curve.points = ranks
                .iter()
                .filter_map(|&ranks| Some((ranks as f64, self.speed(shape, &LARGE, link, ranks)?)))
                .collect();
        }
        let plot = Plot {
            title: &title,
            below: "ranks",
            beside: "times as fast as one rank",
            scales: (Scale::Log2, Scale::Log2),
            tried: &[],
            curves: &curves,
        };
        Ok((format!("{}.svg", shape.name.to_lowercase()), plot.svg(FILE)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::shapes;
    use super::*;

    #[test]
    fn every_table_has_its_rows_and_every_plot_is_linked_and_says_that_it_is_simulated() {
        let shapes = shapes::all().unwrap();
        let Drawn { text, plots } = drawn(&shapes, "scaling").unwrap();
        assert_eq!(plots.len(), 3);
        for (file, svg) in &plots {
            assert!(text.contains(&format!("](scaling/{file})")), "{file}");
            assert!(svg.contains("simulated") && svg.ends_with("</svg>\n"), "{file}");
        }
        // Three tables of three shapes by three links, one of three shapes, one more of links.
        let rows = text.lines().filter(|line| line.starts_with("| Llama-3")).count();
        assert_eq!(rows, 3 + 4 * 9);
        // More ranks than rows take no step.
        assert!(!text.contains("n/a"), "{text}");
    }

    /// By hand: on one rank nothing is exchanged, and on 1,024 every rank has one micro-batch and two exchanges.
    #[test]
    fn a_step_of_8b_on_all_ranks_is_what_its_parts_come_to_by_hand() {
        let shapes = shapes::all().unwrap();
        let draw = Draw { shapes: &shapes, stragglers: Stragglers::simulated(0.0, 1, SEED) };
        let shape = &shapes[1];
        let time = draw.time(shape, &LARGE, 10, MOST).unwrap();
        let close = |found: f64, expected: f64| {
            assert!((found / expected - 1.0).abs() < 1e-9, "{found}, {expected}");
        };
        close(time.compute, 8192.0 / 12_473.0);
        // 41,943,040 values in 1,024 parts: 40,960 each.
        close(time.bytes, 2.0 * 4.0 * (41_943_040.0 - 40_960.0) / 1.25e9);
        // Two collectives of 1,023 messages, and three of ten.
        close(time.messages, 50e-6 * (2.0 * 1023.0 + 3.0 * 10.0));
        close(time.copies, 2.0 * 4.0 * 4.0 * 41_943_040.0 / 10e9);
        assert_eq!(time.waiting, 0.0);
        close(draw.time(shape, &LARGE, 1, 1).unwrap().total(), 1024.0 * 8192.0 / 12_473.0);
        assert_eq!(draw.time(shape, &SMALL, 1, 33), None);
    }
}
