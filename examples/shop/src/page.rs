//! The front page.

use std::fmt::Write as _;

use serde_json::Value;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Bookshop</title><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1c1f26}\
h1{font-size:1.7rem;margin:0 0 1rem}section{border:1px solid #d9dce3;border-radius:8px;padding:1rem 1.25rem;margin:1rem 0}\
dl{display:grid;grid-template-columns:8rem 1fr;margin:0}dt{color:#5b6270}dd{margin:0}blockquote{margin:.5rem 0}\
.black{color:#1c1f26}.red{color:#c62828}footer{color:#5b6270;font-size:.85rem}\
</style></head><body>\n";

/// The page with what could be had.
pub(crate) fn render(details: Option<&Value>, reviews: Option<&Value>, copies: Option<u32>) -> String {
    let mut page = String::with_capacity(2048);
    page.push_str(HEAD);
    let title = details
        .and_then(|details| details["title"].as_str())
        .unwrap_or("A book");
    // Writing into a String cannot fail.
    let _ = write!(page, "<h1>{}</h1>\n<section><h2>Details</h2>", escape(title));
    match details {
        Some(details) => facts(&mut page, details),
        None => page.push_str("<p>Sorry, product details are currently unavailable for this book.</p>"),
    }
    if let Some(copies) = copies {
        let _ = write!(page, "<p>{copies} copies left</p>");
    }
    page.push_str("</section>\n<section><h2>Reviews</h2>");
    match reviews {
        Some(reviews) => opinions(&mut page, reviews),
        None => page.push_str("<p>Sorry, product reviews are currently unavailable for this book.</p>"),
    }
    page.push_str("</section>\n</body></html>\n");
    page
}

fn facts(page: &mut String, details: &Value) {
    page.push_str("<dl>");
    for field in ["author", "year", "type", "pages", "language", "isbn"] {
        let value = match &details[field] {
            Value::Null => continue,
            Value::String(text) => escape(text),
            other => escape(&other.to_string()),
        };
        let _ = write!(page, "<dt>{field}</dt><dd>{value}</dd>");
    }
    page.push_str("</dl>");
}

fn opinions(page: &mut String, reviews: &Value) {
    for review in reviews["reviews"].as_array().into_iter().flatten() {
        let text = review["text"].as_str().unwrap_or_default();
        let reviewer = review["reviewer"].as_str().unwrap_or_default();
        let _ = write!(
            page,
            "<blockquote>{}<br><small>{}</small>",
            escape(text),
            escape(reviewer)
        );
        stars(page, &review["rating"]);
        page.push_str("</blockquote>");
    }
    let version = reviews["version"].as_str().unwrap_or_default();
    let _ = write!(
        page,
        "<footer>reviews served by version {}</footer>",
        escape(version)
    );
}

fn stars(page: &mut String, rating: &Value) {
    if let Some(count) = rating["stars"].as_u64() {
        let color = if rating["color"] == "red" { "red" } else { "black" };
        let count = usize::try_from(count.min(5)).unwrap_or(0);
        let _ = write!(
            page,
            " <span class=\"{color}\">{}{}</span>",
            "★".repeat(count),
            "☆".repeat(5 - count)
        );
    } else if let Some(error) = rating["error"].as_str() {
        let _ = write!(page, " <em>{}</em>", escape(error));
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn page_is_whole_without_its_parts() {
        let page = render(None, None, None);
        assert!(page.contains("details are currently unavailable"));
        assert!(page.contains("reviews are currently unavailable"));
        assert!(page.ends_with("</html>\n"));
    }

    #[test]
    fn stars_have_their_color_and_text_is_escaped() {
        let reviews = json!({"version": "v3", "reviews": [
            {"reviewer": "<b>", "text": "x", "rating": {"stars": 4, "color": "red"}}]});
        let page = render(None, Some(&reviews), Some(12));
        assert!(page.contains("class=\"red\">★★★★☆"));
        assert!(page.contains("&lt;b&gt;"));
        assert!(page.contains("12 copies left"));
    }
}
