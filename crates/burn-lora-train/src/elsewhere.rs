//! Work on a device that another process lends (`device = "remote://HOST:PORT"`).
//!
//! Burn's operations return no errors: what is asked of a device that is gone panics, at whichever read comes next. [`computing`] is put
//! around a whole piece of work and makes one error of that, whichever way it comes. What such a device costs on the way is counted by
//! its connection ([`burn_lora::device::Connection`]), in `metrics.jsonl` a step at a time; `plan` predicts it.

use burn_lora::device::connection_named;
use burn_lora_files::panics::caught;

use crate::TrainError;

/// Work on the device of that name: as it is on a device of this machine; of one elsewhere, whose connection breaks meanwhile, an error.
///
/// # Errors
///
/// Those of the work, and [`TrainError::DeviceLost`].
pub fn computing<T, E: From<TrainError>>(
    device: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if !burn_lora::device::is_elsewhere(device) {
        return work();
    }
    let done = caught(work);
    match (done, connection_named(device).filter(|connection| connection.is_broken())) {
        (Ok(Ok(came)), _) => Ok(came),
        // Whatever failed, it is what a device that is gone came to.
        (_, Some(lost)) => {
            Err(TrainError::DeviceLost { address: lost.address().to_owned() }.into())
        }
        (Ok(failed), None) => failed,
        (Err(panic), None) => {
            Err(TrainError::burn("computing on a device elsewhere")(panic).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_on_a_device_of_this_machine_is_left_alone() {
        assert_eq!(computing::<_, TrainError>("cpu", || Ok(1)).unwrap(), 1);
        let failed = computing::<(), _>("cpu", || Err(TrainError::Packing));
        assert!(matches!(failed, Err(TrainError::Packing)));
        let panics = std::panic::catch_unwind(|| {
            computing::<(), TrainError>("cpu", || panic!("as it should"))
        });
        assert!(panics.is_err());
    }

    /// Nothing was reached there: what failed says it itself.
    #[test]
    fn a_panic_on_a_device_elsewhere_is_an_error() {
        let told = computing::<(), TrainError>("remote://nowhere:1", || panic!("of a tensor"));
        assert!(told.unwrap_err().to_string().contains("of a tensor"));
        let failed = computing::<(), _>("remote://nowhere:1", || Err(TrainError::Packing));
        assert!(matches!(failed, Err(TrainError::Packing)));
    }
}
