package lastvalid

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"

	"carrel/spec"
)

// Store is a Memory that survives a restart of the program: it is kept in a file,
// one for each choice of paths.
type Store struct {
	paths  []string
	path   string // of the file
	lock   *flock.Flock
	memory Memory
	kept   []byte // what the file has
	last   Result
}

// Open opens the store of some paths, which are absolute, in a folder that is
// made if it is not there. One program at a time can have it: two with the same
// paths would undo what the user of the other wants. The kernel releases the
// lock of a program that dies.
func Open(dir string, paths []string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state dir: %w", err)
	}
	sum := sha256.Sum256([]byte(strings.Join(paths, "\n")))
	path := filepath.Join(dir, hex.EncodeToString(sum[:6])+".json")
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("state dir: %w", err)
	case !locked:
		return nil, fmt.Errorf("another agent watches %s with this state dir (end it first)", strings.Join(paths, ", "))
	}
	return &Store{paths: paths, path: path, lock: lock}, nil
}

// Close lets others have the store.
func (s *Store) Close() error { return s.lock.Unlock() }

// Recall reads what was kept. After an error the memory is empty.
func (s *Store) Recall() error {
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &stored{&s.memory, s.paths})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.kept = text
	return nil
}

// Load loads the specs of the store's paths, and keeps what counts. The error
// says why it is not kept; the result is right all the same.
//
// When the policy of the host cannot be read, nothing new is let in: the last
// result stands, with that error.
func (s *Store) Load(policy func() (spec.Check, error)) (Result, error) {
	check, err := policy()
	if err != nil {
		r := s.last
		if !errors.As(err, &r.Errors) {
			r.Errors = spec.Errors{{Msg: err.Error()}}
		}
		return r, nil
	}
	s.last = s.memory.Load(check, s.paths...)
	return s.last, s.keep()
}

// keep writes the memory, if it has changed.
func (s *Store) keep() error {
	text, err := json.Marshal(stored{&s.memory, s.paths})
	if err != nil || bytes.Equal(text, s.kept) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	if err := renameio.WriteFile(s.path, text, 0o600, renameio.WithTempDir(filepath.Dir(s.path))); err != nil {
		return err
	}
	s.kept = text
	return nil
}

// formVersion is that of the form below. A new one is for what an older program
// would misread.
const formVersion = 1

// form is a Memory as JSON.
type form struct {
	Version int       `json:"version"`
	Files   []version `json:"files"`
	Last    *formLast `json:"last,omitempty"`
}

type formLast struct {
	Paths      []string        `json:"paths"` // sorted
	Name       string          `json:"name"`
	Set        *version        `json:"set,omitempty"`
	Workspaces []formWorkspace `json:"workspaces"`
}

type formWorkspace struct {
	Source string         `json:"source"`
	Spec   spec.Workspace `json:"spec"`
}

// stored is a Memory of some paths, in its JSON form. Workspaces that no file
// describes any more lose their lines in it.
type stored struct {
	memory *Memory
	paths  []string
}

// MarshalJSON writes all of it.
func (s stored) MarshalJSON() ([]byte, error) {
	f := form{Version: formVersion}
	for _, source := range slices.Sorted(maps.Keys(s.memory.files)) {
		f.Files = append(f.Files, version{source, s.memory.files[source]})
	}
	if was := s.memory.last; was != nil {
		f.Last = &formLast{Paths: sorted(s.paths), Name: was.name, Set: was.set}
		for _, w := range was.workspaces {
			f.Last.Workspaces = append(f.Last.Workspaces, formWorkspace{w.Source, w})
		}
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads what MarshalJSON wrote. After an error the memory is as it
// was before.
func (s *stored) UnmarshalJSON(text []byte) error {
	var f form
	if err := json.Unmarshal(text, &struct{ Version *int }{&f.Version}); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	switch {
	case f.Version > formVersion:
		return fmt.Errorf("it has version %d, and this carrel reads up to %d (install a newer carrel to use it)", f.Version, formVersion)
	case f.Version < 1:
		return errors.New("it has no version")
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	read := Memory{files: map[string][]byte{}}
	for _, v := range f.Files {
		read.files[v.Source] = v.Content
	}
	if f.Last != nil {
		if !slices.Equal(f.Last.Paths, sorted(s.paths)) {
			return fmt.Errorf("it is of other paths: %s", strings.Join(f.Last.Paths, ", "))
		}
		read.last = &last{name: f.Last.Name, set: f.Last.Set}
		for _, w := range f.Last.Workspaces {
			w.Spec.Source = w.Source
			read.last.workspaces = append(read.last.workspaces, w.Spec)
		}
	}
	*s.memory = read
	return nil
}

func sorted(paths []string) []string { return slices.Compact(slices.Sorted(slices.Values(paths))) }
