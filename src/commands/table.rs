//! Text tables.

/// Columns as wide as their widest cell below a row of heads. Numbers are flush right, a column
/// that holds anything else is flush left.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_numeric = |column: usize| {
        let mut cells = rows.iter().skip(1).filter_map(|row| row.get(column));
        cells.all(|cell| cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            if column > 0 {
                line.push_str("  ");
            }
            if is_numeric(column) {
                line.extend([gap.as_str(), cell]);
            } else {
                line.extend([cell, gap.as_str()]);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let text = table(&[
            row(["class", "photos", "val"]),
            row(["bärlauch", "7", "1000"]),
        ]);
        assert_eq!(text, "class     photos   val\nbärlauch       7  1000\n");
    }
}
