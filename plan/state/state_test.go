package state_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carrel/plan/state"
	"carrel/spec"
)

// fill gives every field of a value something that is not its zero.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2026, 1, 1, 12, 0, 0, 7, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("<a & b>\n\x00é")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		panic("nothing to fill " + v.Type().String() + " with")
	}
}

func TestAnObservationSurvivesBeingKept(t *testing.T) {
	var full state.State
	fill(reflect.ValueOf(&full).Elem())
	found := state.State{Host: "h", Instances: []state.Instance{{ID: "bot", Found: &spec.Workspace{}, Snapshot: "rootfs-1"}}} // no limit, and nothing else either
	for name, want := range map[string]state.State{"filled": full, "found": found, "empty": {}} {
		text, err := state.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := state.Decode(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		lost := cmp.Options{cmpopts.IgnoreUnexported(spec.Workspace{}), cmpopts.IgnoreFields(spec.Workspace{}, "Source", "RenamedFrom"), cmpopts.EquateEmpty()}
		if diff := cmp.Diff(want, got, lost); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnObservationOfAnotherVersionIsRefused(t *testing.T) {
	for _, text := range []string{
		`{"Host":"h","Containers":[{"ID":"bot"}]}`, // the first form, which had no version
		`{"version":1,"state":{"Host":"h"}}`,
		`{"version":99,"state":{"Host":"h"}}`,
	} {
		now, err := state.Decode([]byte(text), nil)
		var version *state.VersionError
		if !errors.As(err, &version) || now.Host != "" {
			t.Errorf("%s: %+v, %v", text, now, err)
		}
	}
	if _, err := state.Decode([]byte("{"), nil); err == nil {
		t.Error("half an observation was read")
	}
}
