package spec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/spec"
)

// The cases are those of Kubernetes: third_party/forked/golang/expansion.
func TestReferences(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"$(A)", "a"},
		{"$(A)-$(A)", "a-a"},
		{"___$(B)___", "___b___"},
		{"foo$(EMPTY)bar", "foobar"},
		{"$$(B)_$(A)", "$(B)_a"},
		{"$$(A)_$$(B)", "$(A)_$(B)"},
		{"f000-$$A", "f000-$A"},
		{`foo\\$(A)bar`, `foo\\abar`},
		{"$(A$(B))", "$(A$(B))"},
		{"$(A$(B)", "$(A$(B)"},
		{"%%$(REF)--$(REF)%%", "%%$(A)--$(A)%%"},
		{"foo$(Awhoops!", "foo$(Awhoops!"},
		{"f00__(A)__", "f00__(A)__"},
		{"$?_boo_$!", "$?_boo_$!"},
		{"$A ${A}", "$A ${A}"},
		{"$(PATH)", "$(PATH)"}, // of the image
		{"$$$$$$(UNKNOWN)", "$$$(UNKNOWN)"},
		{"$$$$$$(A)", "$$$(A)"},
		{"$$$$$$$(A)", "$$$a"},
		{"$A)", "$A)"},
		{"$(B)_______$(A", "b_______$(A"},
		{"$(A)foobarzab$", "afoobarzab$"},
		{"--$($($($($--", "--$($($($($--"},
		{"$(foo$$var)", "$(foo$$var)"},
		{"$()$( )", "$()$( )"},
		{"", ""},
	} {
		w := spec.Workspace{
			Command: []string{test.text},
			Args:    []string{test.text},
			Env: []spec.EnvVar{
				{Name: "EARLY", Value: "$(A)"}, {Name: "A", Value: "a"}, {Name: "B", Value: "b"}, {Name: "EMPTY"}, {Name: "REF", Value: "$$(A)"},
				{Name: "LAST", Value: test.text},
			},
		}
		written := w
		got, err := w.Expanded()
		if err != nil || got.Command[0] != test.want || got.Args[0] != test.want || got.Env[5].Value != test.want || got.Env[0].Value != "$(A)" {
			t.Errorf("%q is %+v, %v, want %q", test.text, got, err, test.want)
		}
		if diff := cmp.Diff(written, w, cmp.AllowUnexported(spec.Workspace{})); diff != "" {
			t.Errorf("what is written changed: %s", diff)
		}
		again, err := w.Escaped().Expanded()
		if diff := cmp.Diff(w, again, cmp.AllowUnexported(spec.Workspace{})); diff != "" || err != nil {
			t.Errorf("%q is not what its escaped form stands for: %v\n%s", test.text, err, diff)
		}
	}
}

// References can double a text again and again. That ends where no process could get
// it.
func TestReferencesThatGrow(t *testing.T) {
	w := spec.Workspace{Env: []spec.EnvVar{{Name: "A", Value: strings.Repeat("x", 1<<10)}}}
	for i := range 60 {
		name := string(rune('A' + i))
		w.Env = append(w.Env, spec.EnvVar{Name: string(rune('B' + i)), Value: "$(" + name + ")$(" + name + ")"})
	}
	var large spec.TooLarge
	if _, err := w.Expanded(); !errors.As(err, &large) || large[0].Path != "env[7].value" {
		t.Errorf("the error is %v", err)
	}
	deep := spec.Workspace{Args: []string{strings.Repeat("$(", 60<<10)}}
	if _, err := deep.Expanded(); err != nil {
		t.Error(err)
	}
}
