//! The confusion matrix: how often each class was taken for each.

use super::predictions::Outcome;

/// Counts of (actual, predicted) pairs: a row an actual class, a column a predicted one, as
/// `sklearn.metrics.confusion_matrix`.
pub fn confusion_matrix(outcomes: &[Outcome], classes: usize) -> Vec<Vec<u64>> {
    let mut matrix = vec![vec![0; classes]; classes];
    for outcome in outcomes {
        matrix[outcome.truth][outcome.predicted] += 1;
    }
    matrix
}

/// A class that was taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confusion {
    pub actual: usize,
    pub predicted: usize,
    pub count: u64,
}

/// The off-diagonal cells that are not zero, the largest first, at most `limit`.
pub fn most_confused(matrix: &[Vec<u64>], limit: usize) -> Vec<Confusion> {
    let cells = matrix.iter().enumerate().flat_map(|(actual, row)| {
        let cell = move |(predicted, &count)| Confusion {
            actual,
            predicted,
            count,
        };
        row.iter().enumerate().map(cell)
    });
    let mut wrong: Vec<Confusion> = cells
        .filter(|cell| cell.actual != cell.predicted && cell.count > 0)
        .collect();
    wrong.sort_by_key(|cell| std::cmp::Reverse(cell.count));
    wrong.truncate(limit);
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_confusion_comes_first() {
        let matrix = [vec![9, 1, 0], vec![0, 5, 4], vec![0, 0, 7]];
        let found: Vec<_> = most_confused(&matrix, 5)
            .iter()
            .map(|cell| (cell.actual, cell.predicted, cell.count))
            .collect();
        assert_eq!(found, [(1, 2, 4), (0, 1, 1)]);
    }
}
