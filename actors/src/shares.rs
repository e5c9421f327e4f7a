//! Splits an amount of money into parts.

/// An amount in parts proportional to the weights, by largest remainder: they add up to it. Evenly where all weights are 0.
pub fn spread(amount: i64, weights: &[i64]) -> Vec<i64> {
    let whole: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if whole == 0 {
        let even = vec![1; weights.len()];
        return if weights.is_empty() { Vec::new() } else { spread(amount, &even) };
    }
    // i128: an amount times a weight may not fit. A part is at most the amount, so it fits again.
    let product = |weight: &i64| i128::from(amount) * i128::from(*weight);
    let mut parts: Vec<i64> = weights.iter().map(|w| (product(w) / whole) as i64).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|at| std::cmp::Reverse(product(&weights[*at]) % whole));
    let missing = usize::try_from(amount - parts.iter().sum::<i64>()).unwrap_or(0);
    for at in by_remainder.into_iter().take(missing) {
        parts[at] += 1;
    }
    parts
}
