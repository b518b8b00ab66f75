//! Round numbers along an axis.

/// About `wanted` multiples of 1, 2 or 5 times a power of ten within low..=high.
pub(super) fn ticks(low: f64, high: f64, wanted: f64) -> Vec<f64> {
    let step = round_step((high - low) / wanted.max(1.0));
    let (first, last) = ((low / step).ceil(), (high / step + 1e-9).floor());
    // Both are small whole numbers: at most a few steps lie between low and high.
    (first as i64..=last as i64)
        .map(|index| index as f64 * step)
        .collect()
}

/// The least of 1, 2, 5, 10, .. times a power of ten that is no smaller than `step`.
pub(super) fn round_step(step: f64) -> f64 {
    if !(step > 0.0 && step.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    let factor = step / power;
    let rounded = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|&round| factor <= round * (1.0 + 1e-9));
    rounded.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 2.3, 5.0), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(ticks(1.0, 500.0, 5.0), [100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(ticks(1.0, 1.0, 5.0), [1.0]);
    }
}
