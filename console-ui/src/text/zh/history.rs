use crate::text::history::Words;

/// Simplified Chinese.
pub const WORDS: Words = Words {
    title: "配置变更",
    created: "创建",
    updated: "更改",
    deleted: "删除",
    seen: "发现",
    change: "变更",
    somebody: "未知",
    through: |manager| format!("经由 {manager}"),
    present: "当前",
    against_before: "与前一版本比较",
    against_present: "与当前版本比较",
    revert: "恢复到此版本",
    reverting: "恢复中…",
    reverted: |name| format!("{name} 已恢复到此版本"),
    recreate: "重新创建",
    none: "此时段没有记录到变更",
    none_hint: "请选择更长的时间或其他对象。从首次启动起，在此处或用 kubectl 所做的编辑都会记录。",
    gap: "此前可能遗漏了某些版本：控制平面当时未运行。",
    proxies_run: |count| format!("{count} 个代理"),
    all_objects: "所有对象",
    older: "更早的变更",
    same: "没有差异",
    choose: "选择一项变更以查看其内容。",
};
