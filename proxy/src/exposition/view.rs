//! How Istio's standard metrics are shown: left out, or with other labels, as Telemetry objects say. What is pushed to
//! the control plane is never changed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mesh_model::edge::{Reporter, RequestProtocol, SeriesKey};
use mesh_model::listener::MetricRule;
use mesh_telemetry::series;

use super::{label, labels};
use crate::stats::SeriesTotals;

/// Changes of both sides, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Of what the proxy sends on.
    pub client: Vec<MetricRule>,
    /// Of what it takes in.
    pub server: Vec<MetricRule>,
}

impl View {
    fn rules(&self, reporter: Reporter) -> &[MetricRule] {
        match reporter {
            Reporter::Source => &self.client,
            Reporter::Destination => &self.server,
        }
    }
}

/// Series with their labels.
pub(super) struct Shown<'a> {
    series: &'a [(SeriesKey, SeriesTotals)],
    labelled: Vec<String>,
    view: &'a View,
}

/// Labels and totals.
pub(super) type Line<'s> = (Cow<'s, str>, Cow<'s, SeriesTotals>);

impl<'a> Shown<'a> {
    pub(super) fn new(series: &'a [(SeriesKey, SeriesTotals)], view: &'a View) -> Self {
        let labelled = series
            .iter()
            .map(|(key, _)| labels(|found| series::each_standard_label(key, found)));
        Self {
            labelled: labelled.collect(),
            series,
            view,
        }
    }

    /// The lines of a metric, by Istio's word for it. Series that have lost what tells them apart are one.
    pub(super) fn metric(&self, word: &str, wants: fn(RequestProtocol) -> bool) -> Vec<Line<'_>> {
        let all = self
            .series
            .iter()
            .zip(&self.labelled)
            .filter(|((key, _), _)| wants(key.protocol));
        let concerns = |rule: &&MetricRule| rule.metric.is_empty() || rule.metric == word;
        if !self
            .view
            .client
            .iter()
            .chain(&self.view.server)
            .any(|rule| concerns(&rule))
        {
            return all
                .map(|((_, totals), labels)| (Cow::Borrowed(labels.as_str()), Cow::Borrowed(totals)))
                .collect();
        }
        let mut merged: BTreeMap<String, SeriesTotals> = BTreeMap::new();
        for ((key, totals), _) in all {
            let rules: Vec<&MetricRule> = self.view.rules(key.reporter).iter().filter(concerns).collect();
            let disabled = rules.iter().rev().find_map(|rule| rule.disabled);
            if disabled != Some(true) {
                merged.entry(changed(key, &rules)).or_default().merge(totals);
            }
        }
        merged
            .into_iter()
            .map(|(labels, totals)| (Cow::Owned(labels), Cow::Owned(totals)))
            .collect()
    }
}

fn changed(key: &SeriesKey, rules: &[&MetricRule]) -> String {
    let mut all: Vec<(Cow<'_, str>, String)> = Vec::new();
    series::each_standard_label(key, &mut |name, value| all.push((name.into(), value.to_owned())));
    for rule in rules {
        all.retain(|(name, _)| !rule.remove.iter().any(|gone| gone == name.as_ref()));
        for (label, value) in rule.set.iter().filter(|(label, _)| is_label(label)) {
            match all.iter_mut().find(|(name, _)| name == label) {
                Some((_, before)) => before.clone_from(value),
                None => all.push((label.clone().into(), value.clone())),
            }
        }
    }
    let mut out = String::new();
    for (name, value) in &all {
        label(&mut out, name, value);
    }
    out
}

/// Prometheus' grammar of names.
fn is_label(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(word) && !name.is_empty() && !name.as_bytes().first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_model::flags::ResponseFlags;
    use mesh_model::route::RouteOrigin;
    use mesh_model::workload::{ServiceName, Workload};

    fn key(reporter: Reporter, response_code: u16) -> SeriesKey {
        SeriesKey {
            reporter,
            source: Workload::unknown(),
            source_principal: "unknown".into(),
            service: ServiceName::unknown(),
            destination: Workload::unknown(),
            destination_principal: "unknown".into(),
            protocol: RequestProtocol::Http,
            response_code,
            grpc_status: None,
            flags: ResponseFlags::NONE,
            mutual_tls: true,
            origin: RouteOrigin::default(),
        }
    }

    #[track_caller]
    fn check(rule: MetricRule, word: &str, expected: &[(&str, u64)]) {
        let one = SeriesTotals {
            requests: 1,
            ..SeriesTotals::default()
        };
        let series = [
            (key(Reporter::Source, 200), one.clone()),
            (key(Reporter::Source, 503), one.clone()),
            (key(Reporter::Destination, 200), one),
        ];
        let view = View {
            client: vec![rule.clone()],
            server: Vec::new(),
        };
        let shown = Shown::new(&series, &view);
        let all = shown.metric(word, |protocol| protocol == RequestProtocol::Http);
        let found: Vec<(bool, u64)> = expected
            .iter()
            .map(|(part, _)| {
                let fitting = all.iter().filter(|(labels, _)| labels.contains(part));
                (true, fitting.map(|(_, totals)| totals.requests).sum())
            })
            .collect();
        let wanted: Vec<(bool, u64)> = expected.iter().map(|(_, n)| (true, *n)).collect();
        assert_eq!(found, wanted, "{rule:?} {all:?}");
    }

    #[test]
    fn metrics_are_left_out_and_labels_change() {
        let all = [("reporter=\"source\"", 2), ("reporter=\"destination\"", 1)];
        check(MetricRule::default(), "REQUEST_COUNT", &all);
        let disabled = MetricRule {
            metric: "REQUEST_COUNT".into(),
            disabled: Some(true),
            ..MetricRule::default()
        };
        let left = [("reporter=\"source\"", 0), ("reporter=\"destination\"", 1)];
        check(disabled.clone(), "REQUEST_COUNT", &left);
        check(disabled, "REQUEST_SIZE", &all);
        let changed = MetricRule {
            remove: vec!["response_code".into()],
            set: vec![("team".into(), "shop".into()), ("not a label".into(), "x".into())],
            ..MetricRule::default()
        };
        let expected = [
            ("team=\"shop\"", 2),
            ("response_code=\"503\"", 0),
            ("response_code=\"200\"", 1),
            ("not a label", 0),
        ];
        check(changed, "REQUEST_COUNT", &expected);
    }
}
