//! The control plane's own metrics, with Istio's names, in Prometheus text.

use mesh_telemetry::metrics::{ISTIO_BUILD, control_plane as names};
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use std::collections::BTreeMap;

use mesh_crd::Object;

use crate::index::Generation;
use crate::inventory::Inventory;
use crate::watch::Change;

/// Every metric.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) xds: IntGauge,
    pub(crate) pushes: IntCounterVec,
    pub(crate) push_time: HistogramVec,
    pub(crate) convergence_time: Histogram,
    pub(crate) queue_time: Histogram,
    pub(crate) push_triggers: IntCounterVec,
    pub(crate) config_size: HistogramVec,
    cfg_events: IntCounterVec,
    reg_events: IntCounterVec,
    pub(crate) rejects: IntCounter,
    pub(crate) internal_errors: IntCounter,
    services: IntGauge,
    virtual_services: IntGauge,
    inbound_updates: IntCounterVec,
    pub(crate) debounce_time: Histogram,
    pub(crate) validation_passed: IntGauge,
    pub(crate) validation_failed: IntGauge,
    pub(crate) csr_count: IntCounter,
    pub(crate) csr_success: IntCounter,
    pub(crate) csr_authn_failures: IntCounter,
    pub(crate) root_expiry: Gauge,
    pub(crate) batches: IntCounter,
    pub(crate) duplicates: IntCounter,
    pub(crate) refused_batches: IntCounterVec,
    pub(crate) rows: IntCounter,
    pub(crate) records: IntCounterVec,
    pub(crate) records_dropped: IntCounter,
    pub(crate) records_refused: IntCounterVec,
    pub(crate) records_shifted: IntCounter,
    pub(crate) revisions: IntCounter,
    pub(crate) exporter_sent: IntCounterVec,
    pub(crate) exporter_dropped: IntCounterVec,
    pub(crate) exporter_queued: IntGaugeVec,
    pushcontext_init: Histogram,
    dup_domains: IntGauge,
    subsets: IntGauge,
    no_ip: IntGauge,
    no_instances: IntGauge,
    no_pod: IntGauge,
    pub(crate) recording: IntGauge,
    pub(crate) history_bytes: IntGauge,
    process_resident: IntGauge,
    process_cpu: Gauge,
    process_fds: IntGauge,
    process_max_fds: IntGauge,
    process_virtual: IntGauge,
    process_start: Gauge,
    /// When this was made.
    started: std::time::Instant,
    initialized: std::sync::Once,
}

/// Makes and registers, so that a name stands in one place.
struct Maker<'r>(&'r Registry);

type Made<T> = Result<T, prometheus::Error>;

impl Maker<'_> {
    fn keep<T: prometheus::core::Collector + Clone + 'static>(&self, metric: T) -> Made<T> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
    fn counter(&self, name: &str, help: &str) -> Made<IntCounter> {
        self.keep(IntCounter::new(name, help)?)
    }
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }
    fn gauge(&self, name: &str, help: &str) -> Made<IntGauge> {
        self.keep(IntGauge::new(name, help)?)
    }
    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }
    fn float(&self, name: &str, help: &str) -> Made<Gauge> {
        self.keep(Gauge::new(name, help)?)
    }
    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Made<Histogram> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(options)?)
    }
    fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> Made<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(HistogramVec::new(options, &["type"])?)
    }
}

const SECONDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0,
];
const BYTES: &[f64] = &[
    1.0,
    10_000.0,
    1_000_000.0,
    4_000_000.0,
    10_000_000.0,
    40_000_000.0,
];

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker(&registry);
        let build = make.keep(GaugeVec::new(
            Opts::new(ISTIO_BUILD, "Build of this component"),
            &["component", "tag"],
        )?)?;
        build
            .with_label_values(&["pilot", env!("CARGO_PKG_VERSION")])
            .set(1.0);
        Ok(Self {
            xds: make.gauge(names::XDS, "Connected discovery streams")?,
            pushes: make.counters(names::XDS_PUSHES, "Responses sent", &["type"])?,
            push_time: make.histograms(names::XDS_PUSH_TIME, "Seconds to make and queue a push", SECONDS)?,
            convergence_time: make.histogram(
                names::PROXY_CONVERGENCE_TIME,
                "Seconds from a change to its acknowledgement",
                names::CONVERGENCE_BUCKETS,
            )?,
            queue_time: make.histogram(
                names::PROXY_QUEUE_TIME,
                "Seconds that a push waited for the proxy",
                SECONDS,
            )?,
            push_triggers: make.counters(names::PUSH_TRIGGERS, "Reasons of pushes", &["type"])?,
            config_size: make.histograms(names::XDS_CONFIG_SIZE_BYTES, "Bytes of responses", BYTES)?,
            cfg_events: make.counters(
                names::K8S_CFG_EVENTS,
                "Events of configuration objects",
                &["type", "event"],
            )?,
            reg_events: make.counters(
                names::K8S_REG_EVENTS,
                "Events of registry objects",
                &["type", "event"],
            )?,
            rejects: make.counter(names::TOTAL_XDS_REJECTS, "Responses refused by proxies")?,
            internal_errors: make
                .counter(names::TOTAL_XDS_INTERNAL_ERRORS, "Internal errors of discovery")?,
            services: make.gauge(names::SERVICES, "Known services")?,
            virtual_services: make.gauge(names::VIRTUAL_SERVICES, "Known VirtualServices")?,
            inbound_updates: make.counters(names::INBOUND_UPDATES, "Updates received", &["type"])?,
            debounce_time: make.histogram(
                names::DEBOUNCE_TIME,
                "Seconds from the first change to its generation",
                SECONDS,
            )?,
            validation_passed: make.gauge(names::VALIDATION_PASSED, "Objects without errors")?,
            validation_failed: make.gauge(names::VALIDATION_FAILED, "Objects with errors")?,
            csr_count: make.counter(names::CSR_COUNT, "Certificate requests")?,
            csr_success: make.counter(names::CSR_SUCCESS, "Certificates signed")?,
            csr_authn_failures: make.counter(
                names::CSR_AUTHN_FAILURES,
                "Certificate requests of unknown callers",
            )?,
            root_expiry: make.float(names::ROOT_CERT_EXPIRY, "Unix seconds at which the root expires")?,
            batches: make.counter(names::TELEMETRY_BATCHES, "Telemetry batches committed")?,
            duplicates: make.counter(names::TELEMETRY_DUPLICATES, "Telemetry batches that were known")?,
            refused_batches: make.counters(
                names::TELEMETRY_REFUSED,
                "Telemetry batches refused",
                &["reason"],
            )?,
            rows: make.counter(names::INGEST_ROWS, "Edge rows committed")?,
            records: make.counters(names::RECORDS, "Kept requests and spans committed", &["kind"])?,
            records_dropped: make.counter(
                names::RECORDS_DROPPED,
                "Kept requests and spans given up for want of room",
            )?,
            records_refused: make.counters(
                names::RECORDS_REFUSED,
                "Messages with records that were refused",
                &["reason"],
            )?,
            records_shifted: make.counter(
                names::RECORDS_SHIFTED,
                "Messages with records of a clock that is ahead",
            )?,
            revisions: make.counter(names::REVISIONS, "Configuration revisions recorded")?,
            exporter_sent: make.counters(
                names::EXPORTER_SENT,
                "Spans delivered to a collector",
                &["kind", "endpoint"],
            )?,
            exporter_dropped: make.counters(
                names::EXPORTER_DROPPED,
                "Spans given up for a collector",
                &["kind", "endpoint"],
            )?,
            exporter_queued: make.gauges(
                names::EXPORTER_QUEUED,
                "Spans that wait for a collector",
                &["kind", "endpoint"],
            )?,
            pushcontext_init: make.histogram(
                names::PUSHCONTEXT_INIT_SECONDS,
                "Seconds until the configuration was read",
                SECONDS,
            )?,
            dup_domains: make.gauge(
                names::VSERVICE_DUP_DOMAIN,
                "Hosts that more than one VirtualService claims",
            )?,
            subsets: make.gauge(names::DESTRULE_SUBSETS, "Subsets of all DestinationRules")?,
            no_ip: make.gauge(names::NO_IP, "Pods without an address")?,
            no_instances: make.gauge(names::EDS_NO_INSTANCES, "Services without a ready endpoint")?,
            no_pod: make.gauge(names::ENDPOINT_NO_POD, "Endpoints whose pod is not known")?,
            recording: make.gauge(names::HISTORY_RECORDING, "1 while history is recorded")?,
            history_bytes: make.gauge(names::HISTORY_BYTES, "Bytes of history")?,
            process_resident: make.gauge("process_resident_memory_bytes", "Resident memory")?,
            process_cpu: make.float("process_cpu_seconds_total", "User and system CPU time")?,
            process_fds: make.gauge("process_open_fds", "Open file descriptors")?,
            process_max_fds: make.gauge("process_max_fds", "Most open file descriptors")?,
            process_virtual: make.gauge("process_virtual_memory_bytes", "Virtual memory")?,
            process_start: make.float("process_start_time_seconds", "Unix seconds of the start")?,
            started: std::time::Instant::now(),
            initialized: std::sync::Once::new(),
            registry,
        })
    }

    /// Counts a watch event.
    pub(crate) fn event(&self, change: &Change) {
        let (kind, event) = match change {
            Change::Listed(kind, _) => (*kind, "list"),
            Change::Applied(kind, _) => (*kind, "update"),
            Change::Deleted(kind, ..) => (*kind, "delete"),
            Change::Secrets(_) => ("Secret", "update"),
            Change::Keys(_) => ("Keys", "update"),
            Change::Settings(_) => ("MeshConfig", "update"),
        };
        let configuration = mesh_crd::kinds::Kind::by_kind(kind).is_some();
        let (events, update) = if configuration {
            (&self.cfg_events, "config")
        } else if kind == "EndpointSlice" {
            (&self.reg_events, "eds")
        } else {
            (&self.reg_events, "svc")
        };
        events.with_label_values(&[kind, event]).inc();
        self.inbound_updates.with_label_values(&[update]).inc();
    }

    /// Counts what a generation holds.
    pub(crate) fn generation(&self, generation: &Generation) {
        let count = |kind: &str| {
            generation
                .world
                .objects()
                .filter(|(key, _)| key.kind == kind)
                .count()
        };
        self.services.set(saturating(count("Service")));
        self.virtual_services.set(saturating(count("VirtualService")));
        self.push_triggers.with_label_values(&["config"]).inc();
        self.initialized.call_once(|| {
            self.pushcontext_init
                .observe(self.started.elapsed().as_secs_f64());
        });
        self.world(&generation.world);
    }

    /// Counts what Istio's gauges of the push context count.
    fn world(&self, world: &mesh_translate::World) {
        let inventory = Inventory::of(world, &BTreeMap::new());
        let services = inventory.services.iter().filter(|s| s.key.kind == "Service");
        self.no_instances.set(saturating(
            services
                .filter(|s| !s.selector.is_empty() && s.ready() == 0)
                .count(),
        ));
        let endpoints = inventory.services.iter().flat_map(|s| &s.endpoints);
        self.no_pod
            .set(saturating(endpoints.filter(|e| e.pod_missing).count()));
        let (mut subsets, mut no_ip) = (0, 0);
        let mut hosts: BTreeMap<(&str, Vec<&String>), usize> = BTreeMap::new();
        for (_, object) in world.objects() {
            match object.as_ref() {
                Object::DestinationRule(rule) => subsets += rule.spec.subsets.len(),
                Object::Pod(pod) if pod.spec.ip.is_none() => no_ip += 1,
                Object::VirtualService(service) => {
                    for host in &service.spec.hosts {
                        let gateways = service.spec.gateways.iter().collect();
                        *hosts.entry((host, gateways)).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        self.subsets.set(saturating(subsets));
        self.no_ip.set(saturating(no_ip));
        self.dup_domains
            .set(saturating(hosts.values().filter(|n| **n > 1).count()));
    }

    /// Prometheus text.
    pub(crate) fn text(&self) -> String {
        self.process();
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "metrics cannot be written");
        }
        String::from_utf8(out).unwrap_or_default()
    }

    fn process(&self) {
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<i64>().ok());
        let page = 4096;
        if let Ok(statm) = std::fs::read_to_string("/proc/self/statm") {
            let pages = |field: usize| number(statm.split(' ').nth(field)).unwrap_or_default();
            self.process_virtual.set(pages(0).saturating_mul(page));
            self.process_resident.set(pages(1).saturating_mul(page));
        }
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat") {
            // The command's name may hold anything; fields count from its closing bracket.
            let mut fields = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .skip(11);
            let ticks = number(fields.next()).unwrap_or_default() + number(fields.next()).unwrap_or_default();
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            self.process_cpu.set(ticks as f64 / 100.0);
            // Ticks since the system started; fields 15 to 22 of the line.
            let since_boot = number(fields.nth(6)).unwrap_or_default();
            if let Some(boot) = boot_seconds() {
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                self.process_start.set(boot as f64 + since_boot as f64 / 100.0);
            }
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.process_fds.set(saturating(entries.count()));
        }
        if let Ok(limits) = std::fs::read_to_string("/proc/self/limits") {
            let line = limits
                .lines()
                .find_map(|line| line.strip_prefix("Max open files"));
            if let Some(most) = number(line.and_then(|line| line.split_whitespace().next())) {
                self.process_max_fds.set(most);
            }
        }
    }
}

/// When the system started, Unix seconds.
fn boot_seconds() -> Option<i64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn saturating(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
