//! `strftime_now` without a clock and without a calendar's library.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DAY: i64 = 24 * 60 * 60;
/// Seconds from 0000-03-01 to 1970-01-01, and of 400 years.
const EPOCH: i64 = 719_468 * DAY;
/// The last second of the year 9999, which is also Python's.
const LAST: i64 = 253_402_300_799;

/// Seconds since 1970-01-01 00:00 UTC: those that `SOURCE_DATE_EPOCH` says, so that a run can be made again to the letter on another day,
/// or else those of the clock.
pub(crate) fn now() -> i64 {
    let said = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.trim().parse().ok());
    said.unwrap_or_else(|| match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(LAST).min(LAST),
        Err(_) => 0,
    })
}

/// A time, in seconds since 1970-01-01 00:00, as C's `strftime` writes it in English.
pub(super) fn strftime(format: &str, seconds: i64) -> Result<String, String> {
    if !(-EPOCH..=LAST).contains(&seconds) {
        return Err(format!("strftime_now: the time {seconds} is not in a year up to 9999"));
    }
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let Date { year, month, day, of_year } = date(days);
    let weekday = (days + 4).rem_euclid(7);
    let month_name = MONTHS[month as usize - 1];
    let day_name = DAYS[weekday as usize];
    let hour12 = (hour + 11) % 12 + 1;
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = rest.next();
        // glibc's flag for numbers without leading zeros.
        let plain = directive == Some('-');
        if plain {
            directive = rest.next();
        }
        let two = |number: i64| if plain { number.to_string() } else { format!("{number:02}") };
        match directive {
            Some('Y') => out.push_str(&year.to_string()),
            Some('y') => out.push_str(&two(year % 100)),
            Some('m') => out.push_str(&two(month)),
            Some('d') => out.push_str(&two(day)),
            Some('H') => out.push_str(&two(hour)),
            Some('I') => out.push_str(&two(hour12)),
            Some('M') => out.push_str(&two(minute)),
            Some('S') => out.push_str(&two(second)),
            Some('j') if plain => out.push_str(&of_year.to_string()),
            Some('j') => out.push_str(&format!("{of_year:03}")),
            Some('e') => out.push_str(&format!("{day:2}")),
            Some('B') => out.push_str(month_name),
            Some('b' | 'h') => out.push_str(&month_name[..3]),
            Some('A') => out.push_str(day_name),
            Some('a') => out.push_str(&day_name[..3]),
            Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('F') => out.push_str(&format!("{year}-{month:02}-{day:02}")),
            Some('D' | 'x') => out.push_str(&strftime("%m/%d/%y", seconds)?),
            Some('R') => out.push_str(&format!("{hour:02}:{minute:02}")),
            Some('c') => out.push_str(&strftime("%a %b %e %H:%M:%S %Y", seconds)?),
            Some('w') => out.push_str(&weekday.to_string()),
            Some('U') => out.push_str(&two((of_year - 1 + 7 - weekday) / 7)),
            Some('W') => out.push_str(&two((of_year - 1 + 7 - (weekday + 6) % 7) / 7)),
            // A time without a zone, as Python's `datetime.now()` is.
            Some('z' | 'Z') => {}
            Some('u') => out.push_str(&(if weekday == 0 { 7 } else { weekday }).to_string()),
            Some('T' | 'X') => out.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('%') => out.push('%'),
            // As glibc does.
            other => {
                out.push_str(if plain { "%-" } else { "%" });
                out.extend(other);
            }
        }
    }
    Ok(out)
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
    of_year: i64,
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are taken to begin in March, so that the leap day is a year's last.
fn date(days: i64) -> Date {
    let days = days + EPOCH / DAY;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_march = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_march + 2) / 153;
    let day = of_march - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let of_year = if month <= 2 { of_march - 305 } else { of_march + 60 + i64::from(leap) };
    Date { year, month, day, of_year }
}
