//! Columns of text without borders, so that they can be read and cut alike.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::printable;

/// Below this columns cannot be told apart; the terminal wraps then.
const LEAST_WIDTH: u16 = 40;

/// Lays rows out under a header. Widths follow the content: a pipe gets whole values, and within the width of a
/// terminal the longest ones are broken inside their column.
pub(crate) fn render(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    width: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    match width {
        Some(width) => table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width.max(LEAST_WIDTH)),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(header.to_vec());
    let rows = rows.into_iter();
    table.add_rows(rows.map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let rows = vec![
            vec!["web".to_owned(), "2/2".to_owned()],
            vec!["database".to_owned(), "-".to_owned()],
        ];
        assert_eq!(
            render(&["SERVICE", "TASKS"], rows, None),
            "SERVICE   TASKS\nweb       2/2\ndatabase  -\n"
        );
    }

    #[test]
    fn a_terminal_gets_no_longer_lines_than_it_has_columns() {
        let rows = || {
            vec![vec![
                "山田のサービス".to_owned(),
                "a".repeat(60),
                "x\x1b[2Jy".to_owned(),
            ]]
        };
        let header = ["NAME", "CONTAINERS", "NOTE"];
        let narrow = render(&header, rows(), Some(50));
        assert!(narrow.contains("山田のサービス"), "{narrow}");
        assert!(narrow.lines().count() > 2, "{narrow}");
        // The wide letters take two columns each.
        for line in narrow.lines() {
            let columns = line
                .chars()
                .map(|c| if c.is_ascii() { 1 } else { 2 })
                .sum::<usize>();
            assert!(columns <= 50, "{columns}: {line}");
        }
        let piped = render(&header, rows(), None);
        assert!(piped.contains(&"a".repeat(60)), "{piped}");
        assert!(piped.contains(r"x\u{1b}[2Jy"), "{piped}");
    }
}
