//! Numbers as a reader sees them: three significant digits and a unit.

use burn_lora_text::significant;

use crate::bench::statistics::Spread;

/// What stands where there is no number, and what is written of one that is none.
pub const NONE: &str = "n/a";

/// A median with half its range as a share of it: `1230 ± 2.1 %`. No range, no share.
pub fn with_spread(spread: &Spread) -> String {
    let median = significant(spread.median);
    match spread.half_range() {
        share if share > 0.0 => format!("{median} ± {:.1} %", 100.0 * share),
        _ => median,
    }
}

/// Bytes in MiB, or in GiB from one on.
pub fn memory(bytes: f64) -> String {
    let (mib, gib) = (f64::from(1 << 20), f64::from(1 << 30));
    if bytes >= gib { with_unit(bytes / gib, " GiB") } else { with_unit(bytes / mib, " MiB") }
}

/// Seconds, in milliseconds below one.
pub fn seconds(seconds: f64) -> String {
    if seconds >= 1.0 { with_unit(seconds, " s") } else { with_unit(1e3 * seconds, " ms") }
}

/// A multiple: `1.23x`.
pub fn ratio(ratio: f64) -> String {
    with_unit(ratio, "x")
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    with_unit(100.0 * share, " %")
}

fn with_unit(value: f64, unit: &str) -> String {
    let unit = if value.is_finite() { unit } else { "" };
    format!("{}{unit}", significant(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_size() {
        assert_eq!(memory(1.5 * 1048576.0), "1.50 MiB");
        assert_eq!(memory(2.0 * 1073741824.0), "2.00 GiB");
        assert_eq!([0.0123, 1.234].map(seconds), ["12.3 ms", "1.23 s"]);
    }

    #[test]
    fn ratios_and_spreads() {
        assert_eq!(ratio(246.0 / 200.0), "1.23x");
        assert_eq!(ratio(1.0 / 0.0), NONE);
        assert_eq!(percent(0.1234), "12.3 %");
        assert_eq!([memory(f64::INFINITY), seconds(f64::NAN)], [NONE; 2]);
        let spread = Spread { median: 100.0, least: 95.0, most: 105.0 };
        assert_eq!(with_spread(&spread), "100 ± 5.0 %");
        assert_eq!(with_spread(&Spread { least: 100.0, most: 100.0, ..spread }), "100");
    }
}
