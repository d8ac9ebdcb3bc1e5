package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// What the files last said without a fault is kept in the state dir, so that an
// agent that begins anew among faulty files knows it.

// memoryFile is where that is kept: a file for each choice of paths.
func memoryFile(stateDir string, paths []string) string {
	sum := sha256.Sum256([]byte(strings.Join(paths, "\n")))
	return filepath.Join(stateDir, "specs", hex.EncodeToString(sum[:6])+".json")
}

// alone makes sure that one agent watches these paths with this state dir: two
// would undo what the other one's person does. The kernel frees the lock of one
// that dies.
func (l *loader) alone() (free func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(l.file), 0o700); err != nil {
		return nil, fmt.Errorf("state dir: %w", err)
	}
	lock := flock.New(l.file+".lock", flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err == nil && !held {
		err = fmt.Errorf("another agent watches %s with this state dir (end it first)", strings.Join(l.paths, ", "))
	}
	return lock.Unlock, err
}

// recall reads what was kept. A memory that cannot be read is begun anew.
func (l *loader) recall() {
	text, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(text, &l.memory)
	}
	if err != nil {
		l.log.Warn("what the files said before is not known: it is begun anew", "error", err)
		return
	}
	l.kept = text
}

// keep writes what is to be kept, whole or not at all, when it has changed.
func (l *loader) keep() error {
	text, err := json.Marshal(&l.memory)
	if err != nil || bytes.Equal(text, l.kept) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.file), 0o700); err != nil {
		return err
	}
	if err := writeWhole(l.file, text); err != nil {
		return err
	}
	l.kept = text
	return nil
}

// writeWhole writes a file that only its owner reads, so that it is there as it
// was, or as it shall be, whatever happens.
func writeWhole(path string, text []byte) error {
	part, err := os.OpenFile(path+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = part.Write(text)
	err = errors.Join(err, part.Sync(), part.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(path+".part", path)
}
