//! What each of the HTTP services answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::calls::Caller;
use crate::counters::{Counters, answer};
use crate::{inventory, journal, page};

/// The services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Service {
    /// The front page.
    Productpage,
    /// Facts about a book.
    Details,
    /// What readers say.
    Reviews,
    /// Stars.
    Ratings,
    /// How many copies are left; speaks gRPC.
    Inventory,
    /// Who saw which page; speaks lines over TCP.
    Journal,
    /// Somebody else's server with facts about books, outside the mesh.
    Publisher,
}

impl Service {
    /// Name of the Kubernetes Service.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Productpage => "productpage",
            Self::Details => "details",
            Self::Reviews => "reviews",
            Self::Ratings => "ratings",
            Self::Inventory => "inventory",
            Self::Journal => "journal",
            Self::Publisher => "publisher",
        }
    }
}

/// Of so many calls, one fails (ratings) or is slow (publisher).
const FAILS_EVERY: u64 = 10;
const SLOW_EVERY: u64 = 30;
const SLOW: Duration = Duration::from_millis(150);

/// Services that only some shops have.
#[derive(Default)]
pub(crate) struct Partners {
    /// The inventory.
    pub(crate) inventory: Option<inventory::Client>,
    /// Address of the journal.
    pub(crate) journal: Option<String>,
    /// Host of the publisher.
    pub(crate) publisher: Option<String>,
}

/// One running service.
pub(crate) struct Shop {
    service: Service,
    version: String,
    caller: Caller,
    partners: Partners,
    counters: Arc<Counters>,
    calls: AtomicU64,
}

impl Shop {
    /// A service with what it needs.
    pub(crate) fn new(
        service: Service,
        version: String,
        caller: Caller,
        partners: Partners,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            service,
            version,
            caller,
            partners,
            counters,
            calls: AtomicU64::new(0),
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if path == "/healthz" {
            return answer(StatusCode::OK, "text/plain", "ok\n".to_owned());
        }
        self.counters.received();
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return answer(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "only GET is known\n".to_owned(),
            );
        }
        match (self.service, path) {
            (Service::Productpage, "/productpage" | "/") => self.product_page(request.headers()).await,
            (Service::Details, path) if path.starts_with("/details/") => {
                self.details(request.headers()).await
            }
            (Service::Publisher, path) if path.starts_with("/isbn/") => self.isbn().await,
            (Service::Reviews, path) if path.starts_with("/reviews/") => {
                self.reviews(request.headers()).await
            }
            (Service::Ratings, path) if path.starts_with("/ratings/") => self.ratings(),
            _ => answer(
                StatusCode::NOT_FOUND,
                "text/plain",
                format!("{} has no {path}\n", self.service.name()),
            ),
        }
    }

    /// The page is whole even if a part of it is not to be had, as a shop's page should be.
    async fn product_page(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let (details, reviews, copies, noted) = tokio::join!(
            self.caller.json("details", "/details/0", headers),
            self.caller.json("reviews", "/reviews/0", headers),
            self.copies(headers),
            self.note(headers),
        );
        let failures = [
            details.as_ref().err(),
            reviews.as_ref().err(),
            copies.as_ref().err(),
            noted.as_ref().err(),
        ];
        for failure in failures.into_iter().flatten() {
            tracing::warn!("{failure:#}");
        }
        let copies = copies.ok().flatten();
        let body = page::render(details.as_ref().ok(), reviews.as_ref().ok(), copies);
        answer(StatusCode::OK, "text/html; charset=utf-8", body)
    }

    /// Copies that are left, where there is an inventory.
    async fn copies(&self, headers: &HeaderMap) -> anyhow::Result<Option<u32>> {
        match &self.partners.inventory {
            Some(inventory) => inventory.copies(headers).await.map(Some),
            None => Ok(None),
        }
    }

    /// A line in the journal, where there is one.
    async fn note(&self, headers: &HeaderMap) -> anyhow::Result<()> {
        let Some(address) = &self.partners.journal else {
            return Ok(());
        };
        let request = headers
            .get("x-request-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or("-");
        journal::write(address, &format!("VIEW {request}"))
            .await
            .map(drop)
    }

    /// Facts about the book, with the publisher's where there is one.
    async fn details(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let mut facts = details();
        if let Some(host) = &self.partners.publisher {
            match self.caller.json_of(host, "/isbn/0", headers).await {
                Ok(found) => facts["isbn"] = found["isbn"].clone(),
                Err(failure) => tracing::warn!("{failure:#}"),
            }
        }
        json_answer(&facts)
    }

    async fn isbn(&self) -> Response<Full<Bytes>> {
        if self.next_call().is_multiple_of(SLOW_EVERY) {
            tokio::time::sleep(SLOW).await;
        }
        json_answer(&json!({ "isbn": "978-0-00-000000-2" }))
    }

    fn ratings(&self) -> Response<Full<Bytes>> {
        if self.next_call().is_multiple_of(FAILS_EVERY) {
            return answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                "the stars could not be counted\n".to_owned(),
            );
        }
        json_answer(&ratings())
    }

    fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn reviews(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let stars = match star_color(&self.version) {
            None => None,
            Some(color) => Some((color, self.caller.json("ratings", "/ratings/0", headers).await)),
        };
        if let Some((_, Err(failure))) = &stars {
            tracing::warn!("{failure:#}");
        }
        json_answer(&reviews(
            &self.version,
            stars.as_ref().map(|(color, found)| (*color, found.as_ref().ok())),
        ))
    }
}

/// Version 1 has no stars, version 2 black ones, version 3 and later red ones.
fn star_color(version: &str) -> Option<&'static str> {
    match version {
        "v1" => None,
        "v2" => Some("black"),
        _ => Some("red"),
    }
}

fn json_answer(value: &Value) -> Response<Full<Bytes>> {
    answer(StatusCode::OK, "application/json", value.to_string())
}

fn details() -> Value {
    json!({
        "id": 0,
        "title": "The Comedy of Errors",
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "language": "English",
    })
}

fn ratings() -> Value {
    json!({ "id": 0, "ratings": { "Reviewer1": 5, "Reviewer2": 4 } })
}

/// The reviews; `stars` is absent in version 1, and without a value when ratings could not be had.
fn reviews(version: &str, stars: Option<(&str, Option<&Value>)>) -> Value {
    let texts = [
        (
            "Reviewer1",
            "An extremely entertaining play. The slapstick humour is refreshing!",
        ),
        (
            "Reviewer2",
            "Absolutely fun and entertaining, though it lacks thematic depth.",
        ),
    ];
    let reviews: Vec<Value> = texts
        .iter()
        .map(|(reviewer, text)| {
            let mut review = json!({ "reviewer": reviewer, "text": text });
            if let Some((color, found)) = stars {
                review["rating"] = match found.and_then(|found| found["ratings"].get(reviewer)) {
                    Some(stars) => json!({ "stars": stars, "color": color }),
                    None => json!({ "error": "Ratings service is currently unavailable" }),
                };
            }
            review
        })
        .collect();
    json!({ "id": 0, "version": version, "reviews": reviews })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_reviews_differ_in_stars() {
        let found = ratings();
        let plain = reviews("v1", None);
        let starred = reviews("v2", Some(("black", Some(&found))));
        let broken = reviews("v3", Some(("red", None)));
        assert!(plain["reviews"][0].get("rating").is_none());
        assert_eq!(
            starred["reviews"][0]["rating"],
            json!({ "stars": 5, "color": "black" })
        );
        assert!(broken["reviews"][0]["rating"]["error"].is_string());
        assert_eq!(star_color("v1"), None);
        assert_eq!(star_color("v3"), Some("red"));
    }
}
