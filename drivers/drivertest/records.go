package drivertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// Store is what every store of records can do.
type Store interface {
	Records(ctx context.Context) ([]state.Record, error)
	SaveRecord(ctx context.Context, s plan.SaveRecord, history []state.Entry) error
	DeleteRecord(ctx context.Context, s plan.DeleteRecord, history []state.Entry) error
	SaveFailure(ctx context.Context, f state.Failure, history []state.Entry) error
	ClaimRecord(ctx context.Context, s plan.ClaimRecord, history []state.Entry) error
}

// RunRecords is the suite that all stores must pass.
func RunRecords(t *testing.T, open func(t *testing.T) Store) {
	applied := spec.Default()
	applied.Name, applied.Image = "bot", "docker.io/library/bot:v1"
	applied.Labels = map[string]string{"team": "research"}
	first := state.Record{Workspace: "bot", Set: "s", Host: "h", Source: "/specs/bot.yaml", Container: "bot", Applied: &applied}

	t.Run("a record is kept", func(t *testing.T) {
		s := storeUnderTest{t, open(t)}
		s.save(first)
		want := first
		want.Version = 1
		s.want(want)
		second := want
		second.StoppedByUser, second.Container = true, "bot2"
		s.save(second)
		second.Version = 2
		s.want(second)
	})
	t.Run("writing again what is there is success", func(t *testing.T) {
		s := storeUnderTest{t, open(t)}
		s.save(first)
		s.save(first)
		want := first
		want.Version = 1
		s.want(want)
	})
	t.Run("a lost race is an error", func(t *testing.T) {
		s := storeUnderTest{t, open(t)}
		s.save(first)
		other := first
		other.StoppedByUser = true
		if err := s.SaveRecord(t.Context(), plan.SaveRecord{Record: other}, nil); err == nil {
			t.Error("a record was overwritten that the writer had not read")
		}
		if err := s.DeleteRecord(t.Context(), plan.DeleteRecord{Workspace: "bot", Version: 7}, nil); err == nil {
			t.Error("a record was deleted that the writer had not read")
		}
		want := first
		want.Version = 1
		s.want(want)
	})
	t.Run("a record is deleted", func(t *testing.T) {
		s := storeUnderTest{t, open(t)}
		s.save(first)
		for range 2 {
			if err := s.DeleteRecord(t.Context(), plan.DeleteRecord{Workspace: "bot", Version: 1}, nil); err != nil {
				t.Fatal(err)
			}
		}
		s.want()
		late := first
		late.Version = 1
		if err := s.SaveRecord(t.Context(), plan.SaveRecord{Record: late}, nil); err == nil {
			t.Error("a record was written over one that was deleted")
		}
	})
	t.Run("the first claim counts", func(t *testing.T) { runClaims(t, storeUnderTest{t, open(t)}, first) })
	t.Run("a failure is written", func(t *testing.T) { runFailures(t, storeUnderTest{t, open(t)}, first) })
}

// runFailures checks that the failure of a change is written into the record of its
// host, and into no other.
func runFailures(t *testing.T, s storeUnderTest, first state.Record) {
	t.Helper()
	f := state.Failure{Workspace: "bot", Set: "s", Host: "h", Source: "/specs/bot.yaml", Error: "no image"}
	for range 2 {
		if err := s.SaveFailure(t.Context(), f, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.want(state.Record{Workspace: "bot", Set: "s", Host: "h", Source: "/specs/bot.yaml", LastError: "no image", Version: 2})
	made := first
	made.Version = 2
	s.save(made)
	made.Version = 3
	s.want(made)
	f.Error = "no start"
	if err := s.SaveFailure(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	made.LastError, made.Version = "no start", 4
	s.want(made)
	f.Host = "another"
	if err := s.SaveFailure(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	s.want(made)
}

// runClaims checks that a workspace goes to the first host that claims it.
func runClaims(t *testing.T, s storeUnderTest, first state.Record) {
	t.Helper()
	claim := plan.ClaimRecord{Workspace: "bot", Set: "s", Host: "h", Source: "/specs/bot.yaml"}
	for range 2 {
		if err := s.ClaimRecord(t.Context(), claim, nil); err != nil {
			t.Fatal(err)
		}
	}
	late := claim
	late.Host = "another"
	var lost *plan.ClaimedError
	if err := s.ClaimRecord(t.Context(), late, nil); !errors.As(err, &lost) || lost.Host != "h" {
		t.Errorf("a claim that came late: %v", err)
	}
	claimed := state.Record{Workspace: "bot", Set: "s", Host: "h", Source: "/specs/bot.yaml", Version: 1}
	s.want(claimed)
	made := first
	made.Version = 1
	s.save(made)
	made.Version = 2
	s.want(made)
}

type storeUnderTest struct {
	t *testing.T
	Store
}

func (s storeUnderTest) save(r state.Record) {
	s.t.Helper()
	if err := s.SaveRecord(s.t.Context(), plan.SaveRecord{Record: r}, nil); err != nil {
		s.t.Fatal(err)
	}
}

func (s storeUnderTest) want(want ...state.Record) {
	s.t.Helper()
	got, err := s.Records(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range got {
		if time.Since(r.UpdatedAt) > time.Minute || r.CreatedAt.After(r.UpdatedAt) {
			s.t.Errorf("record has times %s and %s", r.CreatedAt, r.UpdatedAt)
		}
	}
	options := cmp.Options{
		cmpopts.IgnoreFields(state.Record{}, "CreatedAt", "UpdatedAt"),
		cmpopts.IgnoreUnexported(spec.Workspace{}), cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(want, got, options); diff != "" {
		s.t.Errorf("records (-want +got):\n%s", diff)
	}
}
