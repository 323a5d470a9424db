//! Records and revisions until the tables for them are there: refuses, never forgets silently.

use mesh_model::record::{KeptRequest, Span, TraceId};

use crate::history::Error;
use crate::records::{
    Facets, HeatMap, Records, RequestPage, RequestQuery, Revision, RevisionQuery, Revisions, TraceQuery,
    TraceSummary,
};

pub(crate) struct Pending;

fn refused<T>() -> Result<T, Error> {
    Err(Error::Unavailable(
        "kept requests and revisions are not stored yet".into(),
    ))
}

#[async_trait::async_trait]
impl Records for Pending {
    async fn keep(&self, _: &[KeptRequest], _: &[Span]) -> Result<(), Error> {
        refused()
    }
    async fn requests(&self, _: &RequestQuery, _: usize, _: Option<&str>) -> Result<RequestPage, Error> {
        refused()
    }
    async fn facets(&self, _: &RequestQuery) -> Result<Facets, Error> {
        refused()
    }
    async fn heat_map(&self, _: &RequestQuery, _: u32) -> Result<HeatMap, Error> {
        refused()
    }
    async fn trace(&self, _: TraceId) -> Result<Vec<Span>, Error> {
        refused()
    }
    async fn traces(&self, _: &TraceQuery, _: usize) -> Result<Vec<TraceSummary>, Error> {
        refused()
    }
}

#[async_trait::async_trait]
impl Revisions for Pending {
    async fn record(&self, _: &Revision) -> Result<bool, Error> {
        refused()
    }
    async fn revisions(&self, _: &RevisionQuery, _: usize) -> Result<Vec<Revision>, Error> {
        refused()
    }
}
