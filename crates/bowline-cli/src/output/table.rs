//! Columns of text without borders, so that they can be read and cut alike.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// Lays rows out under a header. Widths follow the content: a terminal may wrap, a pipe gets whole values.
pub(crate) fn render(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows);
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
            render(&["SERVICE", "TASKS"], rows),
            "SERVICE   TASKS\nweb       2/2\ndatabase  -\n"
        );
    }
}
