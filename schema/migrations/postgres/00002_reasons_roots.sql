-- +goose Up
ALTER TABLE history ADD COLUMN reason text NOT NULL DEFAULT ''; -- why the change was made
ALTER TABLE records ADD COLUMN roots text NOT NULL DEFAULT ''; -- the paths that were loaded with its file, one a line

-- +goose Down
ALTER TABLE records DROP COLUMN roots;
ALTER TABLE history DROP COLUMN reason;
