//! How often a training step waits for its device, counted where that is asked: whoever reads a number has a buffer mapped for the
//! host, whoever waits for no number asks to be told that the submitted work is done, and wgpu's log says both.
//!
//! That the host is ahead of its device by less than a step is no wait for an answer, and is not counted: a queue takes some dozens of
//! launches and holds up who fills it.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::DataLoader;
use burn::tensor::Tensor;
use log::{LevelFilter, Log, Metadata, Record};

use super::small::small;

/// Counts what wgpu says of buffers mapped and of work waited for.
struct Waits(AtomicUsize);

static WAITS: Waits = Waits(AtomicUsize::new(0));

impl Waits {
    fn so_far(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Log for Waits {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("wgpu_core")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let said = record.args().to_string();
        if ["Buffer::map_async", "Queue::on_submitted_work_done"]
            .iter()
            .any(|wait| said.starts_with(wait))
        {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

/// With dropout, clipping and two micro-batches.
#[test]
fn a_step_waits_for_its_device_once() {
    let device = burn_lora::device::parse("wgpu").unwrap().autodiff();
    let (strategy, mut learner, loader) = small(&device, Some(0.1));
    let mut batches = loader.iter();
    // The first step makes what the others find there, such as the optimiser's moments.
    strategy.step(&mut learner, &mut *batches, 0).unwrap();

    log::set_logger(&WAITS).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let one = Tensor::<1>::ones([1], &device);
    let before = WAITS.so_far();
    let value: f32 = one.clone().into_scalar();
    assert_eq!((value, WAITS.so_far() - before), (1.0, 1), "a number that is read is counted");

    let before = WAITS.so_far();
    let (mut tally, unread, _) = strategy.queue(&mut learner, &mut *batches, 1).unwrap();
    // Whatever else the step asked for stands in the queue before this.
    let _: f32 = one.into_scalar();
    assert_eq!(WAITS.so_far() - before, 1, "the step was read before it was queued whole");
    let (norm, _) = unread.read(&mut tally).unwrap();
    assert_eq!(WAITS.so_far() - before, 2, "the losses and the norm are read as one");
    assert!(norm > 0.0 && tally.loss > 0.0);
}
