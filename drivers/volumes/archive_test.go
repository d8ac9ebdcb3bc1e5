package volumes_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"carrel/drivers/volumes"
	"carrel/plan"
)

// place is a state dir with a volume of bot.
type place struct {
	*volumes.Driver
	t     *testing.T
	state string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	state := t.TempDir()
	p := &place{Driver: volumes.New(state), t: t, state: state}
	p.must(os.MkdirAll(p.Dir(), 0o700))
	tree(t, filepath.Join(p.Dir(), "bot"))
	return p
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// entries are what the state dir has in a folder and below, two deep.
func (p *place) entries() string {
	p.t.Helper()
	var all []string
	for _, pattern := range []string{"partial/*", "preserved/*/*", "trash/*/*", "volumes/*"} {
		found, err := filepath.Glob(filepath.Join(p.state, pattern))
		p.must(err)
		for _, path := range found {
			name, _ := filepath.Rel(p.state, path)
			all = append(all, name)
		}
	}
	return strings.Join(all, " ")
}

func (p *place) export(name string) string {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), name)
	f, err := os.Create(file)
	p.must(err)
	changed, err := p.Export(p.t.Context(), "bot", f, func(int64) {})
	p.must(errors.Join(err, f.Close()))
	if len(changed) > 0 {
		p.t.Errorf("changed while they were read: %q", changed)
	}
	return file
}

func (p *place) use(file string) error {
	return errors.Join(p.ExtractData(p.t.Context(), plan.ExtractData{Workspace: "copy", File: file}),
		p.PlaceData(p.t.Context(), plan.PlaceData{Workspace: "copy"}))
}

func TestExportAndImport(t *testing.T) {
	p := newPlace(t)
	many(t, filepath.Join(p.Dir(), "bot"), 20_000)
	p.must(p.use(p.export("bot.tar.zst")))
	if diff := cmp.Diff(describe(t, filepath.Join(p.Dir(), "bot")), describe(t, filepath.Join(p.Dir(), "copy"))); diff != "" {
		t.Errorf("the copy (-bot +copy):\n%s", diff)
	}
	p.must(p.PlaceData(t.Context(), plan.PlaceData{Workspace: "copy"})) // done already is success
	if got := p.entries(); got != "volumes/bot volumes/copy" {
		t.Errorf("there is %s", got)
	}
}

func TestExportWhileItChanges(t *testing.T) {
	p := newPlace(t)
	big := filepath.Join(p.Dir(), "bot", "big")
	p.must(os.WriteFile(big, bytes.Repeat([]byte("x"), 4<<20), 0o600))
	var out bytes.Buffer
	changed, err := p.Export(t.Context(), "bot", &out, func(done int64) {
		if done > 1<<20 && done < 2<<20 {
			p.must(os.Truncate(big, 1<<20))
		}
	})
	p.must(err)
	if len(changed) != 1 || changed[0] != "big" {
		t.Errorf("changed: %q", changed)
	}
	file := filepath.Join(t.TempDir(), "a")
	p.must(os.WriteFile(file, out.Bytes(), 0o600))
	p.must(p.use(file))
	if info, err := os.Stat(filepath.Join(p.Dir(), "copy", "big")); err != nil || info.Size() != 4<<20 {
		t.Errorf("the file that shrank: %v %v", info, err)
	}
}

// entry is a file of an archive that a test writes.
type entry struct {
	tar.Header
	content string
}

func archive(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		e.Size, e.Mode, e.ModTime = int64(len(e.content)), 0o644, time.Unix(1, 0)
		if e.Typeflag == tar.TypeDir {
			e.Mode = 0o755
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg}, content}
}

func link(kind byte, name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: kind, Linkname: target}, ""}
}

func compressed(t *testing.T, text []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(text, nil)
}

func TestHostileArchivesAreRefused(t *testing.T) {
	good := archive(t, file("a", "text"), file("b", strings.Repeat("x", 2000)))
	flipped := compressed(t, good)
	flipped[len(flipped)-1] ^= 1
	for name, test := range map[string]struct {
		text []byte
		want string
	}{
		"parent":           {archive(t, file("../out", "x")), `"../out" leads out of the folder`},
		"parent inside":    {archive(t, file("a/../../out", "x")), "leads out of the folder"},
		"absolute":         {archive(t, file("/etc/out", "x")), "is an absolute path"},
		"through a link":   {archive(t, link(tar.TypeSymlink, "a", "/tmp"), file("a/out", "x")), "escapes"},
		"through a link 2": {archive(t, link(tar.TypeSymlink, "a", ".."), file("a/out", "x")), "escapes"},
		"onto a link":      {archive(t, link(tar.TypeSymlink, "a", "/tmp/out"), file("a", "x")), "exists"},
		"hard link out":    {archive(t, link(tar.TypeLink, "a", "../out")), "leads out of the folder"},
		"hard link":        {archive(t, link(tar.TypeSymlink, "l", "/etc"), link(tar.TypeLink, "a", "l/passwd")), "escapes"},
		"twice":            {archive(t, file("a", "x"), file("a", "y")), "exists"},
		"garbage":          {bytes.Repeat([]byte("garbage "), 1000), "it is damaged, or not a tar archive"},
		"empty":            {nil, "it is not a tar archive"},
		"a short text":     {[]byte("kind: Workspace\n"), "it is cut short, or not a tar archive"},
		"appended":         {append(bytes.Clone(good), bytes.Repeat([]byte("x"), 512)...), "something follows its end"},
		"wrong checksum":   {flipped, "it is damaged"},
		"no end":           {good[:len(good)-1024], "it is cut short"},
		"half an end":      {good[:len(good)-512], "it is cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, test.text, test.want)
		})
	}
}

// refused checks that an archive is refused in one line and leaves nothing.
func refused(t *testing.T, text []byte, want string) {
	t.Helper()
	p := newPlace(t)
	name := filepath.Join(t.TempDir(), "a.tar")
	p.must(os.WriteFile(name, text, 0o600))
	err := p.ExtractData(t.Context(), plan.ExtractData{Workspace: "bot", File: name})
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want %q", err, want)
	}
	if got := p.entries(); got != "volumes/bot" {
		t.Errorf("there is %s", got)
	}
}

func TestArchivesThatAreCutShortAreRefused(t *testing.T) {
	p := newPlace(t)
	whole, err := os.ReadFile(p.export("a"))
	p.must(err)
	for n := 0; n < len(whole); n += max(1, len(whole)/50) {
		name := filepath.Join(t.TempDir(), "short")
		p.must(os.WriteFile(name, whole[:n], 0o600))
		if err := p.use(name); err == nil {
			t.Fatalf("an archive cut after %d of %d bytes was taken", n, len(whole))
		}
	}
	if got := p.entries(); got != "volumes/bot" {
		t.Errorf("there is %s", got)
	}
}

func TestArchivesOfOthersAreTaken(t *testing.T) {
	text := archive(t, file("no/folder/before", "it"), entry{tar.Header{Name: "no/", Typeflag: tar.TypeDir}, ""})
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(text); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"plain": text, "gzip": zipped.Bytes(), "zstd": compressed(t, text)} {
		p := newPlace(t)
		file := filepath.Join(t.TempDir(), name)
		p.must(os.WriteFile(file, text, 0o600))
		p.must(p.use(file))
		if got, err := os.ReadFile(filepath.Join(p.Dir(), "copy/no/folder/before")); err != nil || string(got) != "it" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// small mounts a small filesystem as the state dir's place for new volumes.
func (p *place) small(size string) {
	p.t.Helper()
	partial := filepath.Join(p.state, "partial")
	p.must(os.MkdirAll(partial, 0o700))
	p.must(syscall.Mount("tmpfs", partial, "tmpfs", 0, "size="+size))
	p.t.Cleanup(func() { syscall.Unmount(partial, 0) })
}

func TestABombDoesNotFillTheDisk(t *testing.T) {
	p := newPlace(t)
	p.small("8m")
	name := filepath.Join(t.TempDir(), "bomb")
	p.must(os.WriteFile(name, compressed(t, archive(t, file("a", strings.Repeat("bomb", 16<<20)))), 0o600))
	err := p.ExtractData(t.Context(), plan.ExtractData{Workspace: "bot", File: name})
	if err == nil || !strings.Contains(err.Error(), "not enough room on the disk") {
		t.Errorf("error: %v", err)
	}
	if got := p.entries(); got != "volumes/bot" {
		t.Errorf("there is %s", got)
	}
}

func TestMigrate(t *testing.T) {
	p := newPlace(t)
	root := t.TempDir()
	p.must(os.Mkdir(filepath.Join(root, "srv"), 0o755))
	tree(t, filepath.Join(root, "srv/data"))
	step := plan.MigrateData{Workspace: "moved", Snapshot: "x", DataPath: "/srv/data"}
	p.must(p.MigrateData(t.Context(), step, root))
	if diff := cmp.Diff(describe(t, filepath.Join(root, "srv/data")), describe(t, filepath.Join(p.Dir(), "moved"))); diff != "" {
		t.Errorf("the volume (-source +volume):\n%s", diff)
	}
	if err := p.MigrateData(t.Context(), step, root); err == nil || !strings.Contains(err.Error(), "has a volume already") {
		t.Errorf("over a volume: %v", err)
	}
}

func TestMigrateOnAFullDisk(t *testing.T) {
	p := newPlace(t)
	root := t.TempDir()
	p.must(os.WriteFile(filepath.Join(root, "big"), bytes.Repeat([]byte("x"), 2<<20), 0o600))
	before := describe(t, root)
	p.small("1m")
	step := plan.MigrateData{Workspace: "moved", Folder: root, DataPath: "/"}
	if err := p.MigrateData(t.Context(), step, root); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error: %v", err)
	}
	if got := p.entries(); got != "volumes/bot" || describe(t, root) != before {
		t.Errorf("there is %s", got)
	}
	p.must(syscall.Unmount(filepath.Join(p.state, "partial"), 0))
	p.must(p.MigrateData(t.Context(), step, root))
}

func TestTrash(t *testing.T) {
	p := newPlace(t)
	ctx, at := t.Context(), time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	before := describe(t, filepath.Join(p.Dir(), "bot"))
	discard, recover := plan.DiscardData{Workspace: "bot", At: at}, plan.RecoverData{Workspace: "bot", At: at}
	twice := func(do func() error) {
		t.Helper()
		p.must(do())
		p.must(do())
	}
	twice(func() error { return p.DiscardData(ctx, discard) })
	if trash, err := p.Trash(ctx); err != nil || len(trash) != 1 || !trash[0].At.Equal(at) {
		t.Errorf("trash: %v %v", trash, err)
	}
	p.must(os.Mkdir(filepath.Join(p.Dir(), "bot"), 0o700))
	twice(func() error { return p.RecoverData(ctx, recover) })
	if describe(t, filepath.Join(p.Dir(), "bot")) != before {
		t.Error("what came back is not what was discarded")
	}
	if got := p.entries(); got != "trash/bot/20260102T030405.000000007Z volumes/bot" {
		t.Errorf("there is %s", got)
	}
	p.must(p.PreserveData(ctx, plan.PreserveData{Workspace: "bot", At: at}))
	twice(func() error { return p.DiscardPreserved(ctx, plan.DiscardPreserved{Workspace: "bot", At: at}) })
	twice(func() error { return p.EmptyTrash(ctx, plan.EmptyTrash{Workspace: "bot"}) })
	if got := p.entries(); got != "" {
		t.Errorf("there is %s", got)
	}
	if _, err := os.Lstat(filepath.Join(p.state, "preserved/bot")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder is left: %v", err)
	}
}

func TestTrashWithAMountInIt(t *testing.T) {
	p := newPlace(t)
	p.must(p.DiscardData(t.Context(), plan.DiscardData{Workspace: "bot", At: time.Unix(1, 0)}))
	trashed, err := filepath.Glob(filepath.Join(p.state, "trash/bot/*"))
	p.must(err)
	inner := filepath.Join(trashed[0], "deep")
	p.must(syscall.Mount("tmpfs", inner, "tmpfs", 0, "size=1m"))
	defer syscall.Unmount(inner, 0)
	if err := p.EmptyTrash(t.Context(), plan.EmptyTrash{Workspace: "bot"}); err == nil || !strings.Contains(err.Error(), "unmount it") {
		t.Errorf("error: %v", err)
	}
	p.must(syscall.Unmount(inner, 0))
	p.must(p.EmptyTrash(t.Context(), plan.EmptyTrash{Workspace: "bot"}))
}

func TestUsage(t *testing.T) {
	p := newPlace(t)
	used, err := p.Usage(t.Context(), filepath.Join(p.Dir(), "bot"))
	if err != nil || used < 4<<10 || used > 1<<20 {
		t.Errorf("a tree with holes uses %d bytes, %v", used, err)
	}
}

func TestInterruptedExport(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Export(ctx, "bot", &bytes.Buffer{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	if _, err := p.Export(t.Context(), "none", &bytes.Buffer{}, nil); err == nil || !strings.Contains(err.Error(), "this host has no volume of none") {
		t.Errorf("error: %v", err)
	}
}

func FuzzExtract(f *testing.F) {
	var t testing.T
	f.Add(archive(&t, file("a", "text"), link(tar.TypeSymlink, "b", "/etc"), file("b/c", "x")))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, text []byte) {
		outside := t.TempDir()
		d := volumes.New(filepath.Join(outside, "state"))
		name := filepath.Join(outside, "a")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		d.ExtractData(t.Context(), plan.ExtractData{Workspace: "bot", File: name}) // errors are expected; a panic is not
		if all, err := os.ReadDir(outside); err != nil || len(all) > 2 {
			t.Errorf("something was written outside: %v %v", all, err)
		}
	})
}

func TestReadOnlyStateDir(t *testing.T) {
	p := newPlace(t)
	root, archive := t.TempDir(), p.export("a")
	before := describe(t, filepath.Join(p.Dir(), "bot"))
	p.must(os.WriteFile(filepath.Join(root, "data"), []byte("x"), 0o600))
	p.must(syscall.Mount(p.state, p.state, "", syscall.MS_BIND, ""))
	defer syscall.Unmount(p.state, 0)
	p.must(syscall.Mount("", p.state, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	ctx, at := t.Context(), time.Unix(1, 0)
	for name, do := range map[string]func() error{
		"preserve": func() error { return p.PreserveData(ctx, plan.PreserveData{Workspace: "bot", At: at}) },
		"discard":  func() error { return p.DiscardData(ctx, plan.DiscardData{Workspace: "bot", At: at}) },
		"migrate":  func() error { return p.MigrateData(ctx, plan.MigrateData{Workspace: "new", DataPath: "/"}, root) },
		"extract":  func() error { return p.ExtractData(ctx, plan.ExtractData{Workspace: "bot", File: archive}) },
	} {
		if err := do(); !errors.Is(err, syscall.EROFS) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if describe(t, filepath.Join(p.Dir(), "bot")) != before || p.entries() != "volumes/bot" {
		t.Errorf("something changed: %s", p.entries())
	}
}
