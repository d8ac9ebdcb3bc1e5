package drivers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// ownerFile is the file in a state dir that has the name of the containerd
// namespace that the state dir belongs to, and a newline. With another namespace
// there would be two containers with one volume.
const ownerFile = "namespace"

// ClaimStateDir writes whose the state dir is. Call it before the first change of
// the host. It fails when the state dir belongs to another containerd namespace.
func (h *Host) ClaimStateDir() error {
	c := h.config
	owner, err := c.owner()
	switch {
	case err != nil:
		return fmt.Errorf("state dir: %w", err)
	case owner != "":
		return c.refuse(owner)
	}
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return fmt.Errorf("state dir: %w", err)
	}
	return renameio.WriteFile(c.ownerPath(), []byte(c.Namespace+"\n"), 0o600, renameio.WithTempDir(c.StateDir))
}

func (c Config) ownerPath() string { return filepath.Join(c.StateDir, ownerFile) }

// owner is the containerd namespace that the state dir belongs to. It is "" when
// that is not known: nothing was changed yet, or a crash or a full disk left the
// file without its end.
func (c Config) owner() (string, error) {
	text, err := os.ReadFile(c.ownerPath())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	owner, whole := strings.CutSuffix(string(text), "\n")
	if !whole {
		return "", err
	}
	return owner, err
}

// refuse is the error of a state dir that belongs to another namespace.
func (c Config) refuse(owner string) error {
	if owner == c.Namespace {
		return nil
	}
	return fmt.Errorf("state dir %s belongs to containerd namespace %s, not %s (pass --namespace %s, or another --state-dir; %s says whose it is)",
		c.StateDir, owner, c.Namespace, owner, c.ownerPath())
}
