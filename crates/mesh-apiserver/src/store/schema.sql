-- One row for each revision of each object. `current` marks the newest revision of an object; a deleted
-- object's newest revision has deleted = 1. Older revisions serve watches and paged lists until compaction.
CREATE TABLE IF NOT EXISTS revision (
  rv        INTEGER PRIMARY KEY,
  resource  TEXT    NOT NULL,
  namespace TEXT    NOT NULL,
  name      TEXT    NOT NULL,
  deleted   INTEGER NOT NULL,
  current   INTEGER NOT NULL,
  written   INTEGER NOT NULL,
  body      TEXT    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS revision_object ON revision (resource, namespace, name, rv);
CREATE INDEX IF NOT EXISTS revision_current ON revision (resource, namespace, name) WHERE current = 1 AND deleted = 0;
CREATE TABLE IF NOT EXISTS meta (
  key   TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;
-- Who asked for which write, by the revision that it made. Only the newest rows are kept.
CREATE TABLE IF NOT EXISTS write (
  rv          INTEGER PRIMARY KEY,
  at          INTEGER NOT NULL,
  user        TEXT    NOT NULL,
  verb        TEXT    NOT NULL,
  manager     TEXT    NOT NULL,
  subresource TEXT    NOT NULL,
  api_version TEXT    NOT NULL,
  kind        TEXT    NOT NULL,
  namespace   TEXT    NOT NULL,
  name        TEXT    NOT NULL,
  uid         TEXT    NOT NULL,
  gone        INTEGER NOT NULL
) STRICT;
