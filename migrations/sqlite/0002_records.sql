-- Kept requests, spans, revisions of configuration; keys of series stand apart from their numbers.

-- Keys of the series of one hour and shard, in the order in which they came: blocks name them by place.
CREATE TABLE series (
    hour       INTEGER NOT NULL, -- Unix seconds
    shard      INTEGER NOT NULL,
    payload    BLOB    NOT NULL,
    PRIMARY KEY (hour, shard)
) WITHOUT ROWID;

-- Bytes of payload in each family of tables, for its share of the byte limit.
CREATE TABLE tally (
    family     TEXT    PRIMARY KEY,
    bytes      INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO tally SELECT 'blocks', COALESCE(SUM(LENGTH(payload)), 0) FROM block;
INSERT INTO tally SELECT 'hourly', COUNT(*) * 220 FROM hourly;

-- Kept requests that are not in a segment yet.
CREATE TABLE request (
    trace_id   BLOB    NOT NULL,
    span_id    BLOB    NOT NULL,
    seen       INTEGER NOT NULL DEFAULT 0, -- Unix seconds; 0 until the next fold
    payload    BLOB    NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;

-- Some thousand kept requests, column by column: what a search scans, what names them, and the rest.
CREATE TABLE request_segment (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    from_ns    INTEGER NOT NULL, -- Unix nanoseconds, earliest start
    to_ns      INTEGER NOT NULL, -- latest start
    sealed     INTEGER NOT NULL, -- Unix seconds
    requests   INTEGER NOT NULL,
    scan       BLOB    NOT NULL,
    names      BLOB    NOT NULL,
    rest       BLOB    NOT NULL
);
CREATE INDEX request_segment_time ON request_segment (to_ns, from_ns);

CREATE TABLE span (
    trace_id   BLOB    NOT NULL,
    span_id    BLOB    NOT NULL,
    payload    BLOB    NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;

-- One line for each trace that has spans here.
CREATE TABLE trace (
    trace_id   BLOB    PRIMARY KEY,
    started_ns INTEGER NOT NULL,
    seen       INTEGER NOT NULL, -- Unix seconds; 0 until the next fold
    bytes      INTEGER NOT NULL, -- of its spans and of this line
    payload    BLOB    NOT NULL
) WITHOUT ROWID;
CREATE INDEX trace_started ON trace (started_ns, trace_id);
CREATE INDEX trace_seen ON trace (seen);

-- Every seen state of every configuration object.
CREATE TABLE revision (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms            INTEGER NOT NULL,
    kind             TEXT    NOT NULL,
    namespace        TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    uid              TEXT    NOT NULL,
    resource_version TEXT    NOT NULL,
    generation       INTEGER NOT NULL,
    change           TEXT    NOT NULL, -- created, updated, deleted
    username         TEXT    NOT NULL,
    manager          TEXT    NOT NULL,
    yaml             TEXT    NOT NULL,
    gap              BOOLEAN NOT NULL,
    UNIQUE (uid, resource_version, change)
);
CREATE INDEX revision_object ON revision (kind, namespace, name, id);
