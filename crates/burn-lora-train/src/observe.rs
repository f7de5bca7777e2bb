//! What a long operation tells whoever started it. Nothing here prints.

use std::sync::Arc;

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
    /// Something to look at, which is no part of a result.
    Note(String),
}

/// Is told of every [`Event`], on whichever thread it comes. Clones share the same listener.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(Event) + Send + Sync>);

impl Observer {
    /// Calls `listen` with every event.
    pub fn new(listen: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listen))
    }

    /// Listens to nothing.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// A new stage begins.
    pub fn stage(&self, name: impl Into<String>) {
        (self.0)(Event::Stage(name.into()));
    }

    /// So much of the stage is done.
    pub fn progress(&self, done: u64, total: u64) {
        (self.0)(Event::Progress { done, total });
    }

    /// The last stage has ended.
    pub fn done(&self) {
        (self.0)(Event::Done);
    }

    /// A line of a report.
    pub fn line(&self, text: impl Into<String>) {
        (self.0)(Event::Line(text.into()));
    }

    /// Something to look at, beside the result.
    pub fn note(&self, text: impl Into<String>) {
        (self.0)(Event::Note(text.into()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_run_on_another_thread_can_tell_of_itself() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = heard.clone();
        let observer = Observer::new(move |event| listener.lock().unwrap().push(event));
        std::thread::spawn(move || observer.line("step 1")).join().unwrap();
        assert_eq!(*heard.lock().unwrap(), [Event::Line("step 1".to_owned())]);
    }
}
