package plan_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carrel/plan"
	"carrel/spec"
)

// fill gives every field of a value something that is not its zero.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(noon.Add(7)))
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
	var full plan.State
	fill(reflect.ValueOf(&full).Elem())
	s := inOrder()
	s.strange("", "rootfs-1")
	s.now.Containers[0].Found = &spec.Workspace{} // no limit, and nothing else either
	for name, state := range map[string]plan.State{"filled": full, "found": s.now, "empty": {}} {
		text, err := plan.EncodeState(state)
		if err != nil {
			t.Fatal(err)
		}
		got, err := plan.DecodeState(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		lost := cmp.Options{cmpopts.IgnoreUnexported(spec.Workspace{}), cmpopts.IgnoreFields(spec.Workspace{}, "Source"), cmpopts.EquateEmpty()}
		if diff := cmp.Diff(state, got, lost); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
