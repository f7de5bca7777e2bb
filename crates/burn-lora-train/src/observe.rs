//! What a long operation tells whoever started it. This crate prints nothing itself.

use std::rc::Rc;

/// Something worth telling a person who waits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A new stage began; its name. The stage before it has ended.
    Stage(String),
    /// How much of the stage is done, in units of its own.
    Progress {
        /// Done so far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// The last stage ended.
    Done,
    /// A line of a report.
    Line(String),
}

/// Is told of every [`Event`]. Clones share the same listener.
#[derive(Clone)]
pub struct Observer(Rc<dyn Fn(Event)>);

impl Observer {
    /// Calls `listen` with every event.
    pub fn new(listen: impl Fn(Event) + 'static) -> Self {
        Self(Rc::new(listen))
    }

    /// Listens to nothing.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn stage(&self, name: impl Into<String>) {
        (self.0)(Event::Stage(name.into()));
    }

    pub(crate) fn progress(&self, done: u64, total: u64) {
        (self.0)(Event::Progress { done, total });
    }

    pub(crate) fn done(&self) {
        (self.0)(Event::Done);
    }

    pub(crate) fn line(&self, text: impl Into<String>) {
        (self.0)(Event::Line(text.into()));
    }
}
