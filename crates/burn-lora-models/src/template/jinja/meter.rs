//! What a rendering uses up, counted where it is used: steps, bytes, levels of nesting.
//!
//! One rendering runs on one thread, and so does everything that it makes; the counts are the thread's. Nothing allocates before it has
//! asked [`hold`], nothing recurses without a [`Deeper`], and whatever is evaluated or read goes through [`step`], [`read`] or [`letters`].
//! There is no clock: the same template with the same messages takes the same steps everywhere.

use std::cell::Cell;

use super::fault::{Cause, Fault};
use crate::template::limits::Limits;

/// Bytes that are read or made in one step.
const BYTES_A_STEP: usize = 64;
/// Bytes whose characters are looked at one by one in a step.
const LETTERS_A_STEP: usize = 8;
/// Bytes in which something is looked for in a step.
const SEARCHED_A_STEP: usize = 16;

struct Meter {
    limits: Cell<Limits>,
    steps: Cell<u64>,
    bytes: Cell<usize>,
    depth: Cell<usize>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            limits: Cell::new(Limits::DEFAULT),
            steps: Cell::new(0),
            bytes: Cell::new(0),
            depth: Cell::new(0),
        }
    };
}

/// Begins a rendering on this thread.
pub(super) fn start(limits: Limits) {
    METER.with(|meter| {
        meter.limits.set(limits);
        meter.steps.set(0);
        meter.depth.set(0);
    });
}

/// One step.
pub(super) fn step() -> Result<(), Fault> {
    steps(1)
}

/// So many steps.
pub(super) fn steps(count: usize) -> Result<(), Fault> {
    METER.with(|meter| {
        let steps = meter.steps.get().saturating_add(count as u64);
        meter.steps.set(steps);
        if steps > meter.limits.get().steps { Err(Cause::Steps.into()) } else { Ok(()) }
    })
}

/// Looks through so many bytes, as comparing, counting and copying do: many at a time.
pub(super) fn read(bytes: usize) -> Result<(), Fault> {
    steps(1 + bytes / BYTES_A_STEP)
}

/// Looks for something in so many bytes.
pub(super) fn search(bytes: usize) -> Result<(), Fault> {
    steps(1 + bytes / SEARCHED_A_STEP)
}

/// Looks at each character of so many bytes.
pub(super) fn letters(bytes: usize) -> Result<(), Fault> {
    steps(1 + bytes / LETTERS_A_STEP)
}

/// Asks for so many bytes, before they are allocated.
pub(super) fn hold(bytes: usize) -> Result<(), Fault> {
    steps(bytes / BYTES_A_STEP)?;
    METER.with(|meter| {
        let held = meter.bytes.get().saturating_add(bytes);
        if held > meter.limits.get().memory {
            return Err(Cause::Memory.into());
        }
        meter.bytes.set(held);
        Ok(())
    })
}

/// Gives back what was asked for.
pub(super) fn release(bytes: usize) {
    METER.with(|meter| meter.bytes.set(meter.bytes.get().saturating_sub(bytes)));
}

/// Room that is given back when this is dropped.
pub(super) struct Room(usize);

/// Asks for so many bytes that are needed for a while.
pub(super) fn room(bytes: usize) -> Result<Room, Fault> {
    hold(bytes).map(|()| Room(bytes))
}

impl Drop for Room {
    fn drop(&mut self) {
        release(self.0);
    }
}

/// The longest text that is written.
pub(super) fn longest_output() -> usize {
    METER.with(|meter| meter.limits.get().output)
}

/// A level of nesting, until it is dropped.
pub(super) struct Deeper(());

/// One level deeper.
pub(super) fn deeper() -> Result<Deeper, Fault> {
    METER.with(|meter| {
        let depth = meter.depth.get() + 1;
        if depth > meter.limits.get().depth {
            return Err(Cause::Depth.into());
        }
        meter.depth.set(depth);
        Ok(Deeper(()))
    })
}

impl Drop for Deeper {
    fn drop(&mut self) {
        METER.with(|meter| meter.depth.set(meter.depth.get().saturating_sub(1)));
    }
}
