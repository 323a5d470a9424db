-- Everything that the mesh remembers. Writers take advisory locks, so that two control planes never write one
-- thing twice. Rows with a payload are rewritten often and compressed already: vacuum early, do not compress again.

-- What each start of a proxy (epoch) has delivered: every sequence up to `through`, and those in `beyond`
-- (decimal, comma-separated), which came early.
CREATE TABLE progress (
    proxy      TEXT    NOT NULL,
    epoch      BIGINT  NOT NULL,
    through    BIGINT  NOT NULL,
    beyond     TEXT    NOT NULL,
    cut_at_ms  BIGINT  NOT NULL,
    finished   BOOLEAN NOT NULL,
    PRIMARY KEY (proxy, epoch)
);

-- Times for which up to one flush interval of a proxy may be missing.
CREATE TABLE gap (
    proxy      TEXT    NOT NULL,
    from_ms    BIGINT  NOT NULL,
    to_ms      BIGINT  NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (to_ms, proxy)
);

-- Committed batches that are not folded into blocks yet.
CREATE TABLE journal (
    id         BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payload    BYTEA   NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

-- All series of a window in one compressed column block.
CREATE TABLE block (
    resolution BIGINT  NOT NULL, -- seconds: 10, 60, 3600
    start      BIGINT  NOT NULL, -- Unix seconds
    shard      BIGINT  NOT NULL,
    payload    BYTEA   NOT NULL,
    PRIMARY KEY (resolution, start, shard)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 200,
        toast.autovacuum_vacuum_scale_factor = 0.0, toast.autovacuum_vacuum_threshold = 2000);
ALTER TABLE block ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Keys of the series of one hour and shard, in the order in which they came: blocks name them by place.
CREATE TABLE series (
    hour       BIGINT  NOT NULL, -- Unix seconds
    shard      BIGINT  NOT NULL,
    payload    BYTEA   NOT NULL,
    PRIMARY KEY (hour, shard)
);
ALTER TABLE series ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Before `before`, blocks of this resolution have been removed.
CREATE TABLE horizon (
    resolution BIGINT  PRIMARY KEY,
    before     BIGINT  NOT NULL
);

-- Hourly sums for people: SELECT ... FROM hourly WHERE reporter = 'source'.
CREATE TABLE hourly (
    hour                  BIGINT NOT NULL, -- Unix seconds
    reporter              TEXT   NOT NULL,
    source_namespace      TEXT   NOT NULL,
    source_workload       TEXT   NOT NULL,
    destination_service   TEXT   NOT NULL,
    destination_namespace TEXT   NOT NULL,
    destination_workload  TEXT   NOT NULL,
    protocol              TEXT   NOT NULL,
    response_code         BIGINT NOT NULL,
    response_flags        TEXT   NOT NULL,
    virtual_service       TEXT   NOT NULL,
    route                 TEXT   NOT NULL,
    match                 TEXT   NOT NULL,
    requests              BIGINT NOT NULL,
    attempts              BIGINT NOT NULL,
    errors                BIGINT NOT NULL,
    duration_ms           DOUBLE PRECISION NOT NULL,
    request_bytes         BIGINT NOT NULL,
    response_bytes        BIGINT NOT NULL,
    PRIMARY KEY (hour, reporter, source_namespace, source_workload, destination_service, destination_namespace,
                 destination_workload, protocol, response_code, response_flags, virtual_service, route, match)
);

-- Bytes of payload in each family of tables, for its share of the byte limit.
CREATE TABLE tally (
    family     TEXT    PRIMARY KEY,
    bytes      BIGINT  NOT NULL
);

-- Kept requests that are not in a segment yet.
CREATE TABLE request (
    trace_id   BYTEA   NOT NULL,
    span_id    BYTEA   NOT NULL,
    seen       BIGINT  NOT NULL DEFAULT 0, -- Unix seconds; 0 until the next fold
    payload    BYTEA   NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

-- Some thousand kept requests, column by column: what a search scans, what names them, and the rest.
CREATE TABLE request_segment (
    id         BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_ns    BIGINT  NOT NULL, -- Unix nanoseconds, earliest start
    to_ns      BIGINT  NOT NULL, -- latest start
    sealed     BIGINT  NOT NULL, -- Unix seconds
    requests   BIGINT  NOT NULL,
    scan       BYTEA   NOT NULL,
    names      BYTEA   NOT NULL,
    rest       BYTEA   NOT NULL
);
ALTER TABLE request_segment ALTER COLUMN scan SET STORAGE EXTERNAL, ALTER COLUMN names SET STORAGE EXTERNAL,
    ALTER COLUMN rest SET STORAGE EXTERNAL;
CREATE INDEX request_segment_time ON request_segment (to_ns, from_ns);

CREATE TABLE span (
    trace_id   BYTEA   NOT NULL,
    span_id    BYTEA   NOT NULL,
    payload    BYTEA   NOT NULL,
    PRIMARY KEY (trace_id, span_id)
);

-- One line for each trace that has spans here.
CREATE TABLE trace (
    trace_id   BYTEA   PRIMARY KEY,
    started_ns BIGINT  NOT NULL,
    seen       BIGINT  NOT NULL, -- Unix seconds; 0 until the next fold
    bytes      BIGINT  NOT NULL, -- of its spans and of this line
    payload    BYTEA   NOT NULL
);
CREATE INDEX trace_started ON trace (started_ns, trace_id);
CREATE INDEX trace_seen ON trace (seen);

-- Every seen state of every configuration object.
CREATE TABLE revision (
    id               BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms            BIGINT  NOT NULL,
    kind             TEXT    NOT NULL,
    namespace        TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    uid              TEXT    NOT NULL,
    resource_version TEXT    NOT NULL,
    generation       BIGINT  NOT NULL,
    change           TEXT    NOT NULL, -- created, updated, deleted
    username         TEXT    NOT NULL,
    manager          TEXT    NOT NULL,
    yaml             TEXT    NOT NULL,
    gap              BOOLEAN NOT NULL,
    UNIQUE (uid, resource_version, change)
);
CREATE INDEX revision_object ON revision (kind, namespace, name, id);
