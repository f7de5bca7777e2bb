//! The device that the tests run on. One build with several backends runs all of them on each: `BURN_LORA_TEST_DEVICE` names it, as
//! `burn_lora::device::parse` takes names; unset, it is the CPU.

/// Its name.
pub fn name() -> String {
    std::env::var("BURN_LORA_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned())
}

/// How many cases a law is asked for: fewer on a GPU, which compiles kernels anew for many a shape.
#[allow(dead_code, reason = "not every test file has laws")]
pub fn cases(on_cpu: u32) -> u32 {
    if ["cpu", "flex", "ndarray"].contains(&name().as_str()) { on_cpu } else { on_cpu / 6 + 1 }
}
