-- Histograms of scale 6, which earlier versions cannot read; blocks of scale 5 stay as they are. Texts of kept requests
-- stand apart: most searches look at none.
CREATE TABLE request_text (
    segment    BIGINT  PRIMARY KEY, -- of request_segment
    payload    BYTEA   NOT NULL
);
ALTER TABLE request_text ALTER COLUMN payload SET STORAGE EXTERNAL;
