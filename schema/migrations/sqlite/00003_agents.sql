-- +goose Up

-- One row for each agent: what it last said of itself. Times are microseconds
-- since 1970, UTC.
CREATE TABLE agents (
    host     text   NOT NULL,
    set_name text   NOT NULL,
    seen_at  bigint NOT NULL,
    state    text   NOT NULL, -- JSON
    PRIMARY KEY (host, set_name)
);

-- One row for each host: what its agents last saw there, without the records.
CREATE TABLE observations (
    host  text   PRIMARY KEY,
    at    bigint NOT NULL,
    state text   NOT NULL -- JSON
);

CREATE INDEX history_by_time ON history (at);

-- +goose Down
DROP INDEX history_by_time;
DROP TABLE observations;
DROP TABLE agents;
