// Package schema holds what others rely on: the JSON Schemas of what carrel
// reads and prints, and the tables of its store.
package schema

import (
	"bytes"
	"embed"
)

//go:embed *.schema.json
var files embed.FS

// The JSON Schemas of what carrel reads.
var (
	Workspace = read("workspace") // a spec document
	Policy    = read("policy")    // a host's policy file
)

// The JSON Schemas of what carrel prints.
var (
	Errors = read("errors")                    // why a command failed
	Plan   = bundle("plan", "errors")          // a plan
	Fleet  = bundle("fleet", "plan", "errors") // the plans of all hosts
	Events = bundle("events", "plan", "errors")
)

// Migrations are the store's tables as goose migrations, in a folder for each
// dialect.
//
//go:embed migrations
var Migrations embed.FS

func read(name string) []byte {
	text, err := files.ReadFile(name + ".schema.json")
	if err != nil {
		panic(err) // it is embedded
	}
	return text
}

// bundle is a schema with those that it refers to, so that it can be used alone.
// They keep their ids, by which they are referred to.
func bundle(name string, parts ...string) []byte {
	text, defs := read(name), []byte(`"$defs": {`)
	for _, part := range parts {
		with := []byte("\"$defs\": {\n    \"" + part + ".schema.json\": ")
		indented := bytes.ReplaceAll(bytes.TrimSpace(read(part)), []byte("\n"), []byte("\n    "))
		text = bytes.Replace(text, defs, append(append(with, indented...), ','), 1)
	}
	return text
}
