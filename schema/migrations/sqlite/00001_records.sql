-- +goose Up

-- One row a workspace. Times are microseconds since 1970, UTC.
CREATE TABLE records (
    workspace  text    PRIMARY KEY,
    set_name   text    NOT NULL,
    host       text    NOT NULL,
    source     text    NOT NULL,
    container  text    NOT NULL, -- '' until one was made
    applied    text    NOT NULL, -- JSON; '' until a spec was applied
    held       boolean NOT NULL,
    last_error text    NOT NULL,
    version    bigint  NOT NULL,
    created_at bigint  NOT NULL,
    updated_at bigint  NOT NULL,
    updated_by text    NOT NULL
);

-- One row a step that was run. Rows are only added.
CREATE TABLE history (
    id        integer PRIMARY KEY AUTOINCREMENT,
    at        bigint NOT NULL,
    who       text   NOT NULL,
    plan      text   NOT NULL,
    workspace text   NOT NULL,
    action    text   NOT NULL,
    step      text   NOT NULL,
    duration  bigint NOT NULL, -- microseconds
    error     text   NOT NULL
);

CREATE INDEX history_of_workspace ON history (workspace, id);

-- +goose Down
DROP TABLE history;
DROP TABLE records;
