//! Telemetry from proxies: who sends is checked, what was known is dropped, what is new is committed and then shown.

use std::sync::Arc;

use mesh_crd::{Object, ObjectKey};
use mesh_model::edge::{Batch, Reporter, SeriesDelta, SeriesKey};
use mesh_model::identity::SpiffeId;
use mesh_model::workload::{ServiceName, UNKNOWN, Workload};
use mesh_store::{Appended, Error, Gap, History};
use mesh_telemetry::otlp::{self, metadata};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::MetricsService;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::auth::Authenticator;
use crate::clock::unix_ms;
use crate::index::Generation;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::proxies::Proxies;

/// Takes OTLP metric exports.
pub(crate) struct Gather {
    pub(crate) authenticator: Authenticator,
    pub(crate) worlds: watch::Receiver<Option<Arc<Generation>>>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) live: Arc<Live>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) metrics: Arc<Metrics>,
}

#[tonic::async_trait]
impl MetricsService for Gather {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let identity = self.authenticator.workload(&request).await.inspect_err(|_| {
            self.refused("unauthenticated");
        })?;
        let head = Head::read(request.metadata()).inspect_err(|_| self.refused("metadata"))?;
        if !may_report(
            &identity,
            &head.proxy,
            self.proxies.identity(&head.proxy).as_ref(),
        ) {
            self.refused("identity");
            return Err(Status::permission_denied(format!(
                "{identity} may not report as {}",
                head.proxy
            )));
        }
        let mut batch = otlp::decode(request.get_ref(), &head.proxy, head.epoch, head.sequence)
            .inspect_err(|_| self.refused("invalid"))
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        if head.proxy.starts_with("router~") {
            let service = self.service_of(&head.proxy)?;
            add_calls_from_outside(&mut batch, &service);
        }
        match self.history.append(&batch, head.last).await {
            Ok(Appended::New(gap)) => self.show(&batch, gap.as_ref()),
            Ok(Appended::Duplicate) => self.metrics.duplicates.inc(),
            Err(error) => {
                self.refused("history");
                return Err(match error {
                    Error::Damaged(_) => Status::invalid_argument(error.to_string()),
                    Error::Busy | Error::Unavailable(_) | Error::Newer { .. } => {
                        Status::unavailable(error.to_string())
                    }
                });
            }
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Gather {
    fn show(&self, batch: &Batch, gap: Option<&Gap>) {
        self.metrics.batches.inc();
        let rows = batch
            .windows
            .iter()
            .map(|window| window.series.len())
            .sum::<usize>();
        self.metrics.rows.inc_by(u64::try_from(rows).unwrap_or_default());
        if let Some(gap) = gap {
            tracing::warn!(proxy = %gap.proxy, "{}", gap.reason);
        }
        self.proxies.flushed(&batch.proxy, batch.cut_at_ms);
        self.live.add(&batch.windows, unix_ms() / 1000);
    }

    fn refused(&self, reason: &str) {
        self.metrics.refused_batches.with_label_values(&[reason]).inc();
    }

    /// The service in front of a gateway's pod. While the configuration has not been read, the batch has to wait:
    /// the edge must not change its name with a restart.
    fn service_of(&self, proxy: &str) -> Result<ServiceName, Status> {
        let worlds = self.worlds.borrow();
        let Some(generation) = worlds.as_ref() else {
            return Err(Status::unavailable("the configuration has not been read yet"));
        };
        let named = proxy.split('~').nth(2).and_then(|pod| pod.rsplit_once('.'));
        let found = named.and_then(|(pod, namespace)| {
            let key = ObjectKey::new("Pod", namespace, pod);
            generation.service_of_labels(namespace, &generation.world.get(&key)?.meta().labels)
        });
        Ok(found.unwrap_or_else(ServiceName::unknown))
    }
}

/// What the call's metadata says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    proxy: String,
    epoch: u64,
    sequence: u64,
    last: bool,
}

impl Head {
    fn read(metadata: &tonic::metadata::MetadataMap) -> Result<Self, Status> {
        let text = |name: &'static str| {
            metadata
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
        };
        let number = |name: &'static str| {
            text(name)
                .parse::<u64>()
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| Status::invalid_argument(format!("metadata {name} is no number above 0")))
        };
        let proxy = text(metadata::PROXY);
        if proxy.is_empty() {
            return Err(Status::invalid_argument(format!(
                "metadata {} is missing",
                metadata::PROXY
            )));
        }
        Ok(Self {
            proxy: proxy.to_owned(),
            epoch: number(metadata::EPOCH)?,
            sequence: number(metadata::SEQUENCE)?,
            last: text(metadata::FINAL) == "true",
        })
    }
}

/// Whether an identity may report as a proxy: the namespace in the node id is its own, and if the proxy is known,
/// so is its service account.
pub(crate) fn may_report(identity: &SpiffeId, proxy: &str, known: Option<&SpiffeId>) -> bool {
    let mut parts = proxy.split('~');
    let kind = parts.next();
    let namespace = parts
        .nth(1)
        .and_then(|pod| pod.rsplit_once('.'))
        .map(|(_, namespace)| namespace);
    matches!(kind, Some("sidecar" | "router"))
        && namespace == Some(identity.namespace.as_str())
        && known.is_none_or(|known| known == identity)
}

/// A gateway's requests come from outside: the edge `unknown` to it has the sum of its outgoing edges and local
/// answers. A gateway that reports its incoming side itself is taken at its word.
fn add_calls_from_outside(batch: &mut Batch, service: &ServiceName) {
    let reported = batch.windows.iter().flat_map(|w| &w.series);
    if reported
        .into_iter()
        .any(|(key, _)| key.reporter == Reporter::Destination)
    {
        return;
    }
    for window in &mut batch.windows {
        let incoming: Vec<(SeriesKey, SeriesDelta)> = window
            .series
            .iter()
            .map(|(key, delta)| {
                let key = SeriesKey {
                    reporter: Reporter::Destination,
                    source: Workload::unknown(),
                    source_principal: UNKNOWN.into(),
                    service: service.clone(),
                    destination: key.source.clone(),
                    destination_principal: key.source_principal.clone(),
                    mutual_tls: false,
                    ..key.clone()
                };
                let delta = SeriesDelta {
                    attempts: delta.requests,
                    ..delta.clone()
                };
                (key, delta)
            })
            .collect();
        window.series.extend(incoming);
    }
}

impl Generation {
    /// The first service of a namespace whose selector fits these labels.
    pub(crate) fn service_of_labels(
        &self,
        namespace: &str,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Option<ServiceName> {
        self.world
            .objects()
            .find_map(|(key, object)| match object.as_ref() {
                Object::Service(service)
                    if key.namespace == namespace
                        && !service.spec.selector.is_empty()
                        && service
                            .spec
                            .selector
                            .iter()
                            .all(|(k, v)| labels.get(k) == Some(v)) =>
                {
                    Some(ServiceName {
                        host: format!("{}.{namespace}.svc.cluster.local", key.name),
                        name: key.name.clone(),
                        namespace: namespace.to_owned(),
                    })
                }
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests;
