//! A panic of somebody else's code, as an error.
//!
//! Readers of foreign formats panic at files that nobody thought of. What they say is caught here, and is not printed: the message goes
//! to whoever asked. Panics of everything else go where they went before.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread's panics are caught.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// What the work gives, or what it said when it panicked. Whatever it left half done must not be used any more.
///
/// ```
/// use burn_lora_files::panics::caught;
///
/// assert_eq!(caught(|| 1), Ok(1));
/// let none: Option<u8> = None;
/// assert_eq!(caught(|| none.expect("nothing there")), Err("nothing there".to_owned()));
/// ```
///
/// # Errors
///
/// The panic's message.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !CAUGHT.with(Cell::get) {
                before(panic);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    done.map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "it panicked".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_next_call_is_as_good_as_the_first() {
        let at = |index: usize| caught(move || [1, 2, 3][index]);
        assert!(at(3).unwrap_err().contains("index out of bounds"));
        assert_eq!(at(2), Ok(3));
        assert_eq!(caught(|| at(4).is_err()), Ok(true));
        assert!(!CAUGHT.with(Cell::get));
    }
}
