-- One set of queries serves both dialects. Parameters are numbered in the
-- order in which they first appear, which is what SQLite counts by.

-- name: ListRecords :many
SELECT * FROM records ORDER BY workspace;

-- name: GetRecord :one
SELECT * FROM records WHERE workspace = $1;

-- name: InsertRecord :execrows
INSERT INTO records (workspace, set_name, host, source, container, applied, held, last_error, version, created_at, updated_at, updated_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, '', 1, $8, $9, $10)
ON CONFLICT (workspace) DO NOTHING;

-- name: UpdateRecord :execrows
UPDATE records
SET source = $1, container = $2, applied = $3, held = $4, last_error = '', version = version + 1, updated_at = $5, updated_by = $6
WHERE workspace = $7 AND version = $8 AND set_name = $9 AND host = $10;

-- name: DeleteRecord :execrows
DELETE FROM records WHERE workspace = $1 AND version = $2;

-- name: SaveFailure :exec
INSERT INTO records (workspace, set_name, host, source, container, applied, held, last_error, version, created_at, updated_at, updated_by)
VALUES ($1, $2, $3, $4, '', '', false, $5, 1, $6, $7, $8)
ON CONFLICT (workspace) DO UPDATE
SET last_error = excluded.last_error, version = records.version + 1, updated_by = excluded.updated_by
WHERE records.set_name = excluded.set_name AND records.host = excluded.host;

-- name: AddHistory :exec
INSERT INTO history (at, who, plan, workspace, action, reason, step, duration, error)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: ListHistory :many
SELECT at, who, plan, workspace, action, reason, step, duration, error FROM history
WHERE workspace = CAST(sqlc.arg(workspace) AS text) OR CAST(sqlc.arg(workspace) AS text) = ''
ORDER BY at DESC, id DESC LIMIT CAST(sqlc.arg(most) AS bigint);

-- name: ClaimRecord :execrows
INSERT INTO records (workspace, set_name, host, source, container, applied, held, last_error, version, created_at, updated_at, updated_by)
VALUES ($1, $2, $3, $4, '', '', false, '', 1, $5, $6, $7)
ON CONFLICT (workspace) DO NOTHING;

-- name: SaveAgent :exec
INSERT INTO agents (host, set_name, seen_at, state) VALUES ($1, $2, $3, $4)
ON CONFLICT (host, set_name) DO UPDATE SET seen_at = excluded.seen_at, state = excluded.state;

-- name: ListAgents :many
SELECT * FROM agents ORDER BY host, set_name;

-- name: ListAgentsOfHost :many
SELECT * FROM agents WHERE host = $1 ORDER BY set_name;

-- name: DeleteAgents :exec
DELETE FROM agents WHERE seen_at < $1;

-- name: SaveObservation :exec
INSERT INTO observations (host, at, state) VALUES ($1, $2, $3)
ON CONFLICT (host) DO UPDATE SET at = excluded.at, state = excluded.state;

-- name: ListObservations :many
SELECT * FROM observations ORDER BY host;

-- name: DeleteHistory :execrows
DELETE FROM history WHERE at < $1;

-- name: DeleteAgent :exec
DELETE FROM agents WHERE host = $1 AND set_name = $2;
