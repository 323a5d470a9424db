use crate::text::overview::Words;

/// Simplified Chinese.
pub const WORDS: Words = Words {
    golden: "黄金信号",
    golden_hint: "每个请求只计一次，以进入网格时为准",
    rate: "请求",
    errors: "错误率",
    latency: "耗时",
    requests_total: "此时段的请求数",
    mtls_share: "使用双向 TLS",
    offenders: "需要关注",
    no_offenders: "没有异常",
    no_offenders_hint: "没有一条边的错误率超过阈值或耗时异常。",
    reason_errors: "错误",
    reason_latency: "缓慢",
    reason_new: "上次变更后的新错误",
    problems: "配置问题",
    no_problems: "配置没有问题",
    changes: "最近变更",
    no_changes: "没有记录到变更",
    no_changes_hint: "在此处或用 kubectl 所做的编辑会出现在这里。",
    certificates: "最早到期的证书",
    see_graph: "在拓扑图中查看",
    see_requests: "查看请求",
    p95: "p95",
    traffic: "流量",
    unknown_expiry: "未知",
};
