//! Aligns columns as docker's tabwriter does: at least ten wide, three spaces between, the last one open.

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Lines whose cells are separated by tabs become aligned columns; each line ends with a newline.
pub(crate) fn table(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(|cells| cells.len().saturating_sub(1)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                // The last cell of a row has no tab behind it and does not stretch its column.
                .filter(|cells| cells.len() > column + 1)
                .map(|cells| cells[column].chars().count() + PADDING)
                .max()
                .unwrap_or(0)
                .max(MIN_WIDTH)
        })
        .collect();
    let mut text = String::new();
    for cells in rows {
        let mut line = String::new();
        let last = cells.len() - 1;
        for (at, cell) in cells.into_iter().enumerate() {
            line.push_str(cell);
            if at < last {
                let gap = widths[at].saturating_sub(cell.chars().count());
                line.extend(std::iter::repeat_n(' ', gap));
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

    fn lines(of: &[&str]) -> Vec<String> {
        of.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn columns_are_ten_wide_at_least_and_three_apart() {
        let text = table(&lines(&["ID\tNAME\tCREATED", "1234567890\ta\tnow", "1\tbb\tlater"]));
        assert_eq!(
            text,
            "ID           NAME      CREATED\n1234567890   a         now\n1            bb        later\n"
        );
    }

    #[test]
    fn empty_cells_at_the_end_leave_no_spaces() {
        assert_eq!(table(&lines(&["A\tB\t", "\t\t"])), "A         B\n\n");
    }

    #[test]
    fn characters_count_not_bytes() {
        assert_eq!(table(&lines(&["NAMEäöüßé1\tX", "a\tY"])), "NAMEäöüßé1   X\na            Y\n");
    }
}
