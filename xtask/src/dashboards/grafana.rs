//! A dashboard in Grafana's JSON.

use serde_json::{Value, json};

use super::table::{Dashboard, Kind, Panel, Variable};

/// Columns of Grafana's grid.
const GRID: u32 = 24;

/// The whole file.
pub(super) fn render(dashboard: &Dashboard) -> Value {
    let mut panels = Vec::new();
    let (mut id, mut y) = (1, 0);
    for row in &dashboard.rows {
        panels.push(json!({
            "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": GRID, "h": 1},
        }));
        (id, y) = (id + 1, y + 1);
        let (mut x, mut height) = (0, 0);
        for panel in &row.panels {
            let (w, h) = size(panel.kind);
            if x + w > GRID {
                (x, y, height) = (0, y + height, 0);
            }
            panels.push(render_panel(panel, id, [x, y, w, h]));
            (id, x, height) = (id + 1, x + w, height.max(h));
        }
        y += height;
    }
    let mut variables = vec![json!({
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        "current": {}, "hide": 0, "refresh": 1, "regex": "", "options": [],
    })];
    variables.extend(dashboard.variables.iter().map(render_variable));
    json!({
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["sightline", "istio"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "15s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": variables},
        "annotations": {"list": []},
        "links": [{
            "type": "dashboards", "tags": ["sightline"], "title": "Sightline", "asDropdown": true,
            "includeVars": true, "keepTime": true, "icon": "external link", "targetBlank": false,
            "tooltip": "", "url": "",
        }],
        "panels": panels,
    })
}

fn size(kind: Kind) -> (u32, u32) {
    match kind {
        Kind::Stat => (4, 4),
        Kind::Lines | Kind::Stacked => (8, 8),
        Kind::Table => (24, 9),
    }
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn render_variable(variable: &Variable) -> Value {
    json!({
        "name": variable.name, "label": variable.label, "type": "query", "datasource": source(),
        "query": {"query": variable.query, "refId": variable.name}, "definition": variable.query,
        "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"}, "hide": 0, "regex": "", "options": [],
    })
}

fn render_panel(panel: &Panel, id: u32, [x, y, w, h]: [u32; 4]) -> Value {
    let table = panel.kind == Kind::Table;
    let instant = table || panel.kind == Kind::Stat;
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip('A'..='Z')
        .map(|(query, letter)| {
            json!({
                "refId": letter.to_string(), "expr": query.expr, "legendFormat": query.legend,
                "datasource": source(), "instant": instant, "range": !instant,
                "format": if table { "table" } else { "time_series" },
            })
        })
        .collect();
    let custom = match panel.kind {
        Kind::Lines => json!({"lineWidth": 1, "fillOpacity": 5, "showPoints": "never", "spanNulls": false}),
        Kind::Stacked => json!({
            "lineWidth": 1, "fillOpacity": 25, "showPoints": "never", "stacking": {"mode": "normal", "group": "A"},
        }),
        Kind::Stat | Kind::Table => json!({}),
    };
    let mut rendered = json!({
        "id": id,
        "type": match panel.kind {
            Kind::Stat => "stat",
            Kind::Lines | Kind::Stacked => "timeseries",
            Kind::Table => "table",
        },
        "title": panel.title,
        "description": panel.description,
        "datasource": source(),
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": match panel.kind {
            Kind::Stat => json!({"colorMode": "none", "graphMode": "area",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}}),
            Kind::Lines | Kind::Stacked => json!({
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Kind::Table => json!({"showHeader": true}),
        },
    });
    if table && let Some(fields) = rendered.as_object_mut() {
        let mut names = serde_json::Map::new();
        for (query, letter) in panel.queries.iter().zip('A'..='Z') {
            names.insert(format!("Value #{letter}"), json!(query.legend));
        }
        fields.insert(
            "transformations".into(),
            json!([
                {"id": "merge", "options": {}},
                {"id": "organize", "options": {"excludeByName": {"Time": true}, "renameByName": names}},
            ]),
        );
    }
    rendered
}
