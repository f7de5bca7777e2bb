//! The targets, a file for what belongs together.

pub mod adapter;
pub mod base;
pub mod run;
pub mod text;

/// Brings what was refused into the words that a user sees.
fn told<T, E: std::fmt::Display>(result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal says why");
            None
        }
    }
}
