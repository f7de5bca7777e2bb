//! `burn-lora serve-device`: a device of this machine, lent to other processes.

use burn_lora::device::listen;
use burn_lora_app::AppError;

use crate::output;

/// Lend a device of this machine to runs elsewhere, as `device = "remote://HOST:PORT"`
///
/// Whoever reaches the address may compute on the device and read the tensors that lie there: there is no password, and nothing is
/// encrypted. Ctrl-C and SIGTERM end it.
#[derive(clap::Args)]
pub struct ServeDevice {
    /// Where to listen; port 0 takes a free one. On loopback, only programs of this machine reach it (`ssh -L` leads others there)
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    listen: String,
    /// The device to lend
    #[arg(long, default_value = "auto")]
    device: String,
}

impl ServeDevice {
    /// Serves until it is told to end.
    pub fn run(self) -> Result<(), AppError> {
        let server = listen(&self.listen, &self.device)?;
        let address = server.address();
        let place = match address.ip().is_unspecified() {
            true => format!("remote://HOST:{}, with any address of this machine", address.port()),
            false => format!("remote://{address}"),
        };
        output::line(&format!("device `{}` is served as {place}, until Ctrl-C", self.device))?;
        let whom = match address.ip().is_loopback() {
            true => "every program of this machine",
            false => "everyone who reaches it there",
        };
        output::note(&format!(
            "{whom} may compute on it and read the tensors that lie there: there is no password, and nothing is encrypted"
        ));
        Ok(server.serve()?)
    }
}
