//! Counts and sizes as people read them.

/// A count with a comma between groups of three digits: `1,234,567`.
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A part of a whole: `43,008 of 2,150,400 (2.00 %)`.
pub fn part(count: usize, total: usize) -> String {
    let share = 100.0 * count as f64 / total.max(1) as f64;
    format!("{} of {} ({share:.2} %)", grouped(count), grouped(total))
}

/// Three significant digits: `1230`, `12.3`, `0.123`; `n/a` of what is no number.
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
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

/// A number of bytes with the unit that reads best: `531 B`, `172 KiB`, `5.0 MiB`, `3.00 GiB`.
pub fn size(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 {
        format!("{:.2} GiB", mib / 1024.0)
    } else if mib >= 1.0 {
        format!("{mib:.1} MiB")
    } else if bytes >= 1024 {
        format!("{:.0} KiB", bytes as f64 / 1024.0)
    } else {
        format!("{bytes} B")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_three_digits() {
        let counts = [0, 7, 999, 1000, 12_345, 123_456, 1_234_567];
        let texts = ["0", "7", "999", "1,000", "12,345", "123,456", "1,234,567"];
        for (count, text) in counts.into_iter().zip(texts) {
            assert_eq!(grouped(count), text);
        }
        assert_eq!(part(43_008, 2_150_400), "43,008 of 2,150,400 (2.00 %)");
        assert_eq!(part(0, 0), "0 of 0 (0.00 %)");
    }

    #[test]
    fn three_digits_are_kept() {
        let values = [1234.0, 12.34, 0.12345, 999.6, 0.0, 1.0, -0.01234, f64::NAN];
        let texts = ["1230", "12.3", "0.123", "1000", "0", "1.00", "-0.0123", "n/a"];
        assert_eq!(values.map(significant), texts);
    }

    #[test]
    fn sizes_have_the_unit_that_reads_best() {
        let sizes = [531, 172 * 1024, 5 << 20, 3 << 30].map(size);
        assert_eq!(sizes, ["531 B", "172 KiB", "5.0 MiB", "3.00 GiB"]);
    }
}
