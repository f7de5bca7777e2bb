//! Numbers as a reader sees them: three significant digits and a unit.

use crate::bench::statistics::Spread;

/// What stands where there is no number.
pub const NONE: &str = "n/a";

/// Three significant digits: `1230`, `12.3`, `0.123`.
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = |value: f64| value.abs().log10().floor() as i32;
    let step = 10_f64.powi(magnitude(value) - 2);
    let rounded = (value / step).round() * step;
    // Rounding may have added a digit: 999.6 is 1000.
    let decimals = (2 - magnitude(rounded)).max(0) as usize;
    format!("{rounded:.decimals$}")
}

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
    match bytes {
        bytes if !bytes.is_finite() => NONE.to_owned(),
        bytes if bytes >= gib => format!("{} GiB", significant(bytes / gib)),
        bytes => format!("{} MiB", significant(bytes / mib)),
    }
}

/// Seconds, in milliseconds below one.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if !seconds.is_finite() => NONE.to_owned(),
        seconds if seconds >= 1.0 => format!("{} s", significant(seconds)),
        seconds => format!("{} ms", significant(1e3 * seconds)),
    }
}

/// A multiple: `1.23x`.
pub fn ratio(ratio: f64) -> String {
    match ratio.is_finite() {
        true => format!("{}x", significant(ratio)),
        false => NONE.to_owned(),
    }
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    match share.is_finite() {
        true => format!("{} %", significant(100.0 * share)),
        false => NONE.to_owned(),
    }
}

/// A whole number with commas: `786,432`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number on an axis, short: `0.5`, `250`, `2k`, `135M`.
pub fn tick(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // A power of two is written whole: 1024, not 1020. Through a logarithm it is hardly exact.
    if unit.is_empty() && (value - value.round()).abs() < 1e-6 {
        return format!("{}", value.round());
    }
    let text = significant(scaled);
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_kept() {
        let values = [1234.0, 12.34, 0.12345, 999.6, 0.0, 1.0, -0.01234, f64::NAN];
        let texts = ["1230", "12.3", "0.123", "1000", "0", "1.00", "-0.0123", "n/a"];
        assert_eq!(values.map(significant), texts);
    }

    #[test]
    fn units_follow_the_size() {
        assert_eq!(memory(1.5 * 1048576.0), "1.50 MiB");
        assert_eq!(memory(2.0 * 1073741824.0), "2.00 GiB");
        assert_eq!([0.0123, 1.234].map(seconds), ["12.3 ms", "1.23 s"]);
        assert_eq!(
            [0, 999, 1000, 786_432, 560_001_024].map(count),
            ["0", "999", "1,000", "786,432", "560,001,024"]
        );
        let ticks = [0.0, 0.5, 250.0, 1024.0 + 1e-9, 20_000.0, 134_515_008.0].map(tick);
        assert_eq!(ticks, ["0", "0.5", "250", "1024", "20k", "135M"]);
    }

    #[test]
    fn ratios_and_spreads() {
        assert_eq!(ratio(246.0 / 200.0), "1.23x");
        assert_eq!(ratio(1.0 / 0.0), NONE);
        assert_eq!(percent(0.1234), "12.3 %");
        let spread = Spread { median: 100.0, least: 95.0, most: 105.0 };
        assert_eq!(with_spread(&spread), "100 ± 5.0 %");
        assert_eq!(with_spread(&Spread { least: 100.0, most: 100.0, ..spread }), "100");
    }
}
