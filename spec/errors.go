package spec

import "carrel/spec/document"

// The errors of specs are those of documents: each has its place, and all of
// an input are reported together.
type (
	Pos    = document.Pos
	Error  = document.Error
	Errors = document.Errors
)

// Names is a list of names as a message has it.
func Names(all []string) string { return document.Names(all) }
