-- History of what proxies reported. One writer (the control plane); readers may query while it runs (WAL).

-- What each start of a proxy (epoch) has delivered: every sequence up to `through`, and those in `beyond`
-- (decimal, comma-separated), which came early.
CREATE TABLE progress (
    proxy      TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    through    INTEGER NOT NULL,
    beyond     TEXT    NOT NULL,
    cut_at_ms  INTEGER NOT NULL,
    finished   INTEGER NOT NULL,
    PRIMARY KEY (proxy, epoch)
) WITHOUT ROWID;

-- Times for which up to one flush interval of a proxy may be missing.
CREATE TABLE gap (
    proxy      TEXT    NOT NULL,
    from_ms    INTEGER NOT NULL,
    to_ms      INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (to_ms, proxy)
) WITHOUT ROWID;

-- Committed batches that are not folded into blocks yet.
CREATE TABLE journal (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    payload    BLOB    NOT NULL
);

-- All series of a window in one compressed column block.
CREATE TABLE block (
    resolution INTEGER NOT NULL, -- seconds: 10, 60, 3600
    start      INTEGER NOT NULL, -- Unix seconds
    shard      INTEGER NOT NULL,
    payload    BLOB    NOT NULL,
    PRIMARY KEY (resolution, start, shard)
) WITHOUT ROWID;

-- Before `before`, blocks of this resolution have been removed.
CREATE TABLE horizon (
    resolution INTEGER PRIMARY KEY,
    before     INTEGER NOT NULL
);

-- Hourly sums for people: SELECT ... FROM hourly WHERE reporter = 'source'.
CREATE TABLE hourly (
    hour                  INTEGER NOT NULL, -- Unix seconds
    reporter              TEXT    NOT NULL,
    source_namespace      TEXT    NOT NULL,
    source_workload       TEXT    NOT NULL,
    destination_service   TEXT    NOT NULL,
    destination_namespace TEXT    NOT NULL,
    destination_workload  TEXT    NOT NULL,
    protocol              TEXT    NOT NULL,
    response_code         INTEGER NOT NULL,
    response_flags        TEXT    NOT NULL,
    virtual_service       TEXT    NOT NULL,
    route                 TEXT    NOT NULL,
    match                 TEXT    NOT NULL,
    requests              INTEGER NOT NULL,
    attempts              INTEGER NOT NULL,
    errors                INTEGER NOT NULL,
    duration_ms           REAL    NOT NULL,
    request_bytes         INTEGER NOT NULL,
    response_bytes        INTEGER NOT NULL,
    PRIMARY KEY (hour, reporter, source_namespace, source_workload, destination_service, destination_namespace,
                 destination_workload, protocol, response_code, response_flags, virtual_service, route, match)
) WITHOUT ROWID;
