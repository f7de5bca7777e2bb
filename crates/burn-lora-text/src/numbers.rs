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
    }

    #[test]
    fn sizes_have_the_unit_that_reads_best() {
        let sizes = [531, 172 * 1024, 5 << 20, 3 << 30].map(size);
        assert_eq!(sizes, ["531 B", "172 KiB", "5.0 MiB", "3.00 GiB"]);
    }
}
