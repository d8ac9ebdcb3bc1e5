// Package schema holds what others rely on: the JSON Schemas of what carrel
// reads and prints, and the tables of its store. It has no logic.
package schema

import "embed"

// Workspace is the JSON Schema of a spec document.
//
//go:embed workspace.schema.json
var Workspace []byte

// Policy is the JSON Schema of a host's policy file.
//
//go:embed policy.schema.json
var Policy []byte

// Plan is the JSON Schema of a plan in JSON.
//
//go:embed plan.schema.json
var Plan []byte

// Fleet is the JSON Schema of the plans of all hosts in JSON.
//
//go:embed fleet.schema.json
var Fleet []byte

// Migrations are the store's tables as goose migrations, in a folder for each
// dialect.
//
//go:embed migrations
var Migrations embed.FS
