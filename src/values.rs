//! Numbers as people write and read them.

use std::ops::RangeInclusive;

/// From here on, a limit is one of the type only.
const UNBOUNDED: u64 = u32::MAX as u64;

/// A parser of whole numbers within a range.
pub(crate) fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let value = text.parse::<u64>().ok().filter(|n| range.contains(n));
        let value = value.and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| match (*range.start(), *range.end()) {
            (0, end) if end >= UNBOUNDED => "expected a whole number".into(),
            (start, end) if end >= UNBOUNDED => {
                format!("expected a whole number of at least {start}")
            }
            (start, end) => format!("expected a whole number from {start} to {end}"),
        })
    }
}

/// A whole number.
///
/// # Errors
/// A description of what is expected.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    whole(0..=u64::MAX)(text)
}

/// A number of things, e.g. `1 epoch` and `2 epochs`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    let ending = match count {
        1 => "",
        _ if noun.ends_with("tch") || noun.ends_with("ss") => "es",
        _ => "s",
    };
    format!("{count} {noun}{ending}")
}

/// A seed: any whole number of 64 bits.
///
/// # Errors
/// As [`count`].
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    whole(0..=u64::MAX)(text)
}

/// A length of time in seconds: a number of them, or with the unit `s`, `m` or `h`.
///
/// # Errors
/// As [`count`].
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    seconds.ok_or_else(|| "expected a length of time, e.g. 90s, 5m or 2h".into())
}

/// A number, with a point or an exponent or without.
///
/// # Errors
/// As [`count`].
pub(crate) fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "expected a number".into())
}

/// A parser of numbers within a range.
pub(crate) fn real(
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => {
            let (start, end) = (range.start(), range.end());
            Err(format!("expected a number from {start} to {end}"))
        }
    }
}

/// A number from 0 to 1.
///
/// # Errors
/// As [`count`].
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    real(0.0..=1.0)(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_what_they_may_be() {
        assert_eq!(whole::<u16>(1..=1024)("32"), Ok(32));
        for bad in ["0", "1025", "-1", "2GB", "1.5", ""] {
            let message = "expected a whole number from 1 to 1024";
            assert_eq!(whole::<u16>(1..=1024)(bad), Err(message.into()));
        }
        assert_eq!(["1 epoch", "0 epochs"], [1, 0].map(|n| plural(n, "epoch")));
        assert_eq!(["1 batch", "3 batches"], [1, 3].map(|n| plural(n, "batch")));
        assert_eq!(plural(2, "process"), "2 processes");
        assert_eq!(count("-1"), Err("expected a whole number".into()));
        assert_eq!(number("1e-4"), Ok(1e-4));
        assert_eq!(number("-1"), Ok(-1.0));
        assert_eq!(fraction("0.15"), Ok(0.15));
        let times = ["90s", "90", "1.5m", "2h"].map(seconds);
        assert_eq!(times, [Ok(90.0), Ok(90.0), Ok(90.0), Ok(7200.0)]);
        for bad in ["", "m", "0s", "-1m", "5d", "infs"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        for bad in ["-0.1", "15", "15%", "nan"] {
            assert_eq!(fraction(bad), Err("expected a number from 0 to 1".into()));
        }
        assert_eq!(real(0.01..=86_400.0)("0.01"), Ok(0.01));
        let message = "expected a number from 0.01 to 86400";
        assert_eq!(real(0.01..=86_400.0)("0"), Err(message.into()));
    }
}
