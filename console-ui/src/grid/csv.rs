//! A table as a file.

use wasm_bindgen::{JsCast, JsValue};

use super::cell::{Column, Look, Row};

/// Comma-separated values with a head (RFC 4180). Sparklines have no text and are left out.
pub fn csv(columns: &[Column], shown: &[usize], rows: &[Row]) -> String {
    let drawn = |at: &usize| {
        rows.first().is_some_and(|row| {
            row.cells
                .get(*at)
                .is_some_and(|cell| matches!(cell.look, Look::Spark(_)))
        })
    };
    let places: Vec<usize> = shown.iter().copied().filter(|at| !drawn(at)).collect();
    let head = places
        .iter()
        .filter_map(|at| columns.get(*at))
        .map(|column| field(column.name));
    let mut text = head.collect::<Vec<_>>().join(",");
    text.push_str("\r\n");
    for row in rows {
        let cells = places.iter().map(|at| {
            row.cells
                .get(*at)
                .map_or_else(String::new, |cell| field(&cell.text))
        });
        text.push_str(&cells.collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    }
    text
}

/// Quoted where it must be. A text that a spreadsheet would run as a formula gets an apostrophe before it: paths and
/// headers come from strangers.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.len() > 1;
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Hands a text to the reader as a file.
pub fn download(name: &str, kind: &str, text: &str) {
    if give(name, kind, text).is_err() {
        leptos::logging::warn!("the browser does not take the file {name}");
    }
}

fn give(name: &str, kind: &str, text: &str) -> Result<(), JsValue> {
    let parts = js_sys::Array::of1(&JsValue::from_str(text));
    let options = web_sys::BlobPropertyBag::new();
    options.set_type(kind);
    let blob = web_sys::Blob::new_with_str_sequence_and_options(&parts, &options)?;
    let url = web_sys::Url::create_object_url_with_blob(&blob)?;
    let link: web_sys::HtmlElement = leptos::prelude::document()
        .create_element("a")?
        .dyn_into()
        .map_err(JsValue::from)?;
    link.set_attribute("href", &url)?;
    link.set_attribute("download", name)?;
    link.click();
    web_sys::Url::revoke_object_url(&url)
}

#[cfg(test)]
mod tests {
    use super::super::cell::Cell;
    use super::*;

    #[test]
    fn fields_are_quoted_and_never_formulas() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("@cmd", "'@cmd"),
            ("-", "-"),
            ("", ""),
        ] {
            assert_eq!(field(text), expected, "{text}");
        }
    }

    #[test]
    fn a_file_has_the_columns_on_the_screen() {
        let columns = [
            Column::text("a", "A"),
            Column::text("b", "B"),
            Column::text("c", "C"),
        ];
        let rows = [Row {
            cells: vec![Cell::text("1"), Cell::spark(&[1.0]), Cell::text("3")],
            ..Row::default()
        }];
        assert_eq!(csv(&columns, &[0, 1, 2], &rows), "A,C\r\n1,3\r\n");
        assert_eq!(csv(&columns, &[0], &rows), "A\r\n1\r\n");
    }
}
