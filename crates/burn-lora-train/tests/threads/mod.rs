//! Ranks that are threads of one process, over channels: what the loop does with many ranks, without anything to install.

use std::cell::Cell;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};

use burn_lora_train::exchange::{Exchange, ExchangeError};

/// Lets one rank compute at a time: what dropout draws comes from a generator that Burn's CPU backend has once in a process.
pub struct Turn {
    taken: Mutex<bool>,
    given: Condvar,
}

impl Turn {
    /// Nobody's turn.
    pub const fn new() -> Self {
        Self { taken: Mutex::new(false), given: Condvar::new() }
    }

    /// Waits for it.
    pub fn take(&self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            taken = self.given.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
    }

    /// Lets another have it.
    pub fn give(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.given.notify_one();
    }
}

enum Message {
    Bytes(Vec<u8>),
    Values(Vec<f32>),
}

/// One of the ranks. It is gone for the others when it is dropped.
pub struct Threads {
    rank: usize,
    to: Vec<Sender<Message>>,
    from: Vec<Receiver<Message>>,
    turn: Option<&'static Turn>,
    has_turn: Cell<bool>,
}

impl Threads {
    /// As many as are asked for, each to be given to a thread.
    pub fn ranks(size: usize, turn: Option<&'static Turn>) -> Vec<Self> {
        let mut all: Vec<Self> = (0..size)
            .map(|rank| {
                let has_turn = Cell::new(false);
                Self { rank, to: Vec::new(), from: Vec::new(), turn, has_turn }
            })
            .collect();
        for giver in 0..size {
            for taker in 0..size {
                let (to, from) = channel();
                all[giver].to.push(to);
                all[taker].from.push(from);
            }
        }
        all
    }

    /// Waits until nobody else computes.
    pub fn begin(&self) {
        if let Some(turn) = self.turn {
            turn.take();
            self.has_turn.set(true);
        }
    }

    fn let_others(&self) {
        if let (Some(turn), true) = (self.turn, self.has_turn.take()) {
            turn.give();
        }
    }

    fn exchanged(&self, mine: Vec<Message>) -> Result<Vec<Message>, ExchangeError> {
        let gone = |rank: usize| ExchangeError { reason: format!("rank {rank} is gone") };
        self.let_others();
        // Who is gone is found out where its message is missing.
        for (to, message) in self.to.iter().zip(mine) {
            let _ = to.send(message);
        }
        let received: Result<Vec<Message>, ExchangeError> = self
            .from
            .iter()
            .enumerate()
            .map(|(rank, from)| from.recv().map_err(|_| gone(rank)))
            .collect();
        self.begin();
        received
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.let_others();
    }
}

impl Exchange for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        let mine = self.to.iter().map(|_| Message::Bytes(mine.to_vec())).collect();
        let bytes = |message| match message {
            Message::Bytes(bytes) => bytes,
            Message::Values(_) => panic!("one rank gathers while another deals"),
        };
        Ok(self.exchanged(mine)?.into_iter().map(bytes).collect())
    }

    fn deal(
        &self,
        mine: &[f32],
        parts: &[Range<usize>],
        from: &[bool],
    ) -> Result<Vec<Vec<f32>>, ExchangeError> {
        let gives = from[self.rank];
        let part = |part: &Range<usize>| match gives {
            true => mine[part.clone()].to_vec(),
            false => Vec::new(),
        };
        let mine = parts.iter().map(|of| Message::Values(part(of))).collect();
        let values = |message| match message {
            Message::Values(values) => values,
            Message::Bytes(_) => panic!("one rank deals while another gathers"),
        };
        Ok(self.exchanged(mine)?.into_iter().map(values).collect())
    }
}
