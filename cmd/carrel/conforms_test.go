package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// This file has the commands of scripts for JSON.

// conforms NAME checks the JSON values in the output of the last program against
// the schema that carrel schema NAME prints, alone.
func conforms(ts *testscript.TestScript, _ bool, args []string) {
	output := ts.ReadFile("stdout")
	var text bytes.Buffer
	cmd := schemaCommand()
	cmd.SetOut(&text)
	cmd.SetArgs(args)
	ts.Check(cmd.Execute())
	schema, err := jsonschema.UnmarshalJSON(&text)
	ts.Check(err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	ts.Check(compiler.AddResource("schema.json", schema))
	compiled, err := compiler.Compile("schema.json")
	ts.Check(err)
	values := 0
	for decoder := json.NewDecoder(bytes.NewReader([]byte(output))); ; values++ {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		ts.Check(err)
		if err := compiled.Validate(value); err != nil {
			ts.Fatalf("%s: %v", raw, err)
		}
	}
	if values == 0 {
		ts.Fatalf("there is no JSON in the output")
	}
}

// layers-complete checks that the last event of each layer in the output of the last
// program has all of its bytes.
func layersComplete(ts *testscript.TestScript, _ bool, _ []string) {
	last := map[string]eventLine{}
	for decoder := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile("stdout")))); ; {
		var line eventLine
		err := decoder.Decode(&line)
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		if line.Type == "progress" {
			last[line.Layer] = line
		}
	}
	if len(last) == 0 {
		ts.Fatalf("there is no progress")
	}
	for layer, line := range last {
		if line.Bytes != line.Total || line.Total == 0 {
			ts.Fatalf("layer %s ends at %d of %d bytes", layer, line.Bytes, line.Total)
		}
	}
}
