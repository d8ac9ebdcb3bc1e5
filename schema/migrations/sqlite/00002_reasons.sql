-- +goose Up
ALTER TABLE history ADD COLUMN reason text NOT NULL DEFAULT ''; -- why the change was made

-- +goose Down
ALTER TABLE history DROP COLUMN reason;
