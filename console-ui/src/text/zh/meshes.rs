//! Simplified Chinese words of the mesh page.

use crate::text::meshes::Words;

/// Simplified Chinese.
pub const WORDS: Words = Words {
    filter: "筛选代理",
    why: "原因",
    node_id: "节点 ID",
    expired: "已过期",
    dropped: |number| format!("{number} 条保留的请求和跨度因队列已满而被丢弃"),
    first_expiry: "最早过期的证书",
    store: "存储",
    collector: "收集器",
    sent: "已发送",
    queued: "排队",
    given_up: "已放弃",
    exporters: "跨度导出器",
    delivering: "正常发送",
    lossy: "发送中，部分已放弃",
    when: "时间",
};
