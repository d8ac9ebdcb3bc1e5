// Package document reads the YAML documents that people write: where every
// value stands, and every error of a document at once, in a person's words.
//
// A document is parsed (Parse), checked against a JSON Schema (Schema.Check) and
// decoded (Node.Decode). It knows nothing of what documents mean; packages spec
// and policy do.
package document
