//! The order in which Keras counts the layers of a model, whatever that of its configuration: by their
//! distance from the output, the farthest first; those of one distance as a search from the output
//! meets them.

/// Positions of layers in Keras' order, given the positions of the inputs of each. Every input is before its
/// reader, and the last layer is the output.
pub(super) fn order(inputs: &[Vec<usize>]) -> Vec<usize> {
    let output = inputs.len().saturating_sub(1);
    // The longest way to the output.
    let mut distance = vec![0; inputs.len()];
    for (at, inputs) in inputs.iter().enumerate().rev() {
        for &input in inputs {
            distance[input] = distance[input].max(distance[at] + 1);
        }
    }
    let mut met = vec![None; inputs.len()];
    let (mut waiting, mut count) = (vec![output], 0);
    while let Some(at) = waiting.pop() {
        if met.get(at) == Some(&None) {
            met[at] = Some(count);
            count += 1;
            waiting.extend(inputs[at].iter().rev());
        }
    }
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(distance[at]), met[at]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farther_from_the_output_the_earlier() {
        // 0 image, 1 stem, 2 conv1, 3 conv2, 4 downsample, 5 add: written conv2 first, but as far away
        // as the shortcut, which the search meets second, or first.
        let block = |add: Vec<usize>| [vec![], vec![0], vec![1], vec![2], vec![1], add];
        assert_eq!(order(&block(vec![3, 4])), [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(&block(vec![4, 3])), [0, 1, 2, 4, 3, 5]);
        assert!(order(&[]).is_empty());
    }
}
