//! How a table is sorted, and which of its columns are shown. Pure.

use std::cmp::Ordering;

use super::cell::{Cell, Column, Row};

/// Columns with whether they fall, the most important first: `-rate,name`.
pub fn parse(text: &str, columns: &[Column]) -> Vec<(usize, bool)> {
    let mut order: Vec<(usize, bool)> = Vec::new();
    for part in text.split(',') {
        let (id, falling) = part.strip_prefix('-').map_or((part, false), |id| (id, true));
        if let Some(at) = columns.iter().position(|column| column.id == id)
            && order.iter().all(|(known, _)| *known != at)
        {
            order.push((at, falling));
        }
    }
    order
}

fn text(order: &[(usize, bool)], columns: &[Column]) -> String {
    let word = |(at, falling): &(usize, bool)| {
        let id = columns.get(*at)?.id;
        Some(if *falling { format!("-{id}") } else { id.to_owned() })
    };
    order.iter().filter_map(word).collect::<Vec<_>>().join(",")
}

/// What a click on a column's head makes of an order: figures fall first, words rise first, a second click turns it
/// round. `further` keeps the other columns.
pub fn toggled(order: &[(usize, bool)], at: usize, further: bool, columns: &[Column]) -> String {
    let falls_first = columns.get(at).is_some_and(|column| column.numeric);
    let mut next = if further { order.to_vec() } else { Vec::new() };
    match order.iter().find(|(known, _)| *known == at) {
        Some((_, falling)) => {
            let turned = (at, !falling);
            match next.iter_mut().find(|(known, _)| *known == at) {
                Some(known) => *known = turned,
                None => next.push(turned),
            }
        }
        None => next.push((at, falls_first)),
    }
    text(&next, columns)
}

/// Puts rows in order; equal ones stay as they came.
pub fn sort(rows: &mut [Row], order: &[(usize, bool)]) {
    if order.is_empty() {
        return;
    }
    rows.sort_by(|a, b| {
        for (at, falling) in order {
            let ordering = compare(a.cells.get(*at), b.cells.get(*at), *falling);
            if ordering != Ordering::Equal {
                return ordering;
            }
        }
        Ordering::Equal
    });
}

/// What is not known comes last, whichever way.
fn compare(a: Option<&Cell>, b: Option<&Cell>, falling: bool) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else {
        return Ordering::Equal;
    };
    let turn = |ordering: Ordering| if falling { ordering.reverse() } else { ordering };
    match (a.value, b.value) {
        (Some(a), Some(b)) => turn(a.total_cmp(&b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => turn(a.text.to_lowercase().cmp(&b.text.to_lowercase())),
    }
}

/// Columns on the screen: those that the URL names (the first always), else those not hidden.
pub fn shown(text: Option<&str>, columns: &[Column]) -> Vec<usize> {
    let named: Option<Vec<&str>> = text.map(|text| text.split(',').collect());
    let wanted = |(at, column): &(usize, &Column)| {
        *at == 0
            || named
                .as_ref()
                .map_or(!column.hidden, |named| named.contains(&column.id))
    };
    columns
        .iter()
        .enumerate()
        .filter(wanted)
        .map(|(at, _)| at)
        .collect()
}

/// The columns with one more or one less, for the URL; none when they are the usual ones.
pub fn with_column(shown_now: &[usize], at: usize, columns: &[Column]) -> Option<String> {
    let wanted = |place: usize| shown_now.contains(&place) != (place == at);
    let next: Vec<usize> = (0..columns.len()).filter(|place| wanted(*place)).collect();
    if next == shown(None, columns) {
        return None;
    }
    let ids: Vec<&str> = next
        .iter()
        .filter_map(|place| columns.get(*place))
        .map(|column| column.id)
        .collect();
    Some(ids.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::text("name", "Name"),
        Column::number("rate", "Rate"),
        Column::text("host", "Host").hidden(),
    ];

    fn rows(values: &[(&str, Option<f64>)]) -> Vec<Row> {
        let row = |(name, value): &(&str, Option<f64>)| Row {
            id: (*name).to_owned(),
            href: None,
            cells: vec![Cell::text(*name), Cell::text("").valued(*value)],
        };
        values.iter().map(row).collect()
    }

    #[track_caller]
    fn check(spec: &str, expected: &str) {
        let mut rows = rows(&[("b", Some(2.0)), ("A", None), ("c", Some(2.0)), ("d", Some(9.0))]);
        sort(&mut rows, &parse(spec, &COLUMNS));
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids.join(""), expected, "{spec}");
    }

    #[test]
    fn rows_in_order() {
        for (spec, expected) in [
            ("", "bAcd"),
            ("nonsense,-", "bAcd"),
            ("name", "Abcd"),
            ("-name", "dcbA"),
            ("rate", "bcdA"),
            ("-rate", "dbcA"),
            ("-rate,-name", "dcbA"),
            ("rate,rate,-name", "cbdA"),
        ] {
            check(spec, expected);
        }
    }

    #[test]
    fn clicks_on_heads() {
        for (spec, at, further, expected) in [
            ("", 1, false, "-rate"),
            ("-rate", 1, false, "rate"),
            ("-rate", 0, false, "name"),
            ("-rate", 0, true, "-rate,name"),
            ("-rate,name", 0, true, "-rate,-name"),
            ("-rate,name", 1, true, "rate,name"),
        ] {
            let order = parse(spec, &COLUMNS);
            assert_eq!(toggled(&order, at, further, &COLUMNS), expected, "{spec} {at}");
        }
    }

    #[test]
    fn columns_that_are_wanted() {
        for (text, expected) in [
            (None, vec![0, 1]),
            (Some("host"), vec![0, 2]),
            (Some("x"), vec![0]),
        ] {
            assert_eq!(shown(text, &COLUMNS), expected, "{text:?}");
        }
        assert_eq!(
            with_column(&[0, 1], 2, &COLUMNS).as_deref(),
            Some("name,rate,host")
        );
        assert_eq!(with_column(&[0, 1, 2], 2, &COLUMNS), None);
    }
}
