package containerd

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"go.yaml.in/yaml/v4"

	"carrel/spec"
)

// origin is where the command of a process was written, and for which platform its
// image was made.
type origin struct {
	field    string // of the spec; "" when it is the image's own
	platform string // of the image
}

func commandOf(w spec.Workspace, image ocispec.Image) origin {
	o := origin{platform: platforms.Format(platforms.Normalize(image.Platform))}
	switch {
	case len(w.Command) > 0:
		o.field = "command"
	case len(w.Args) > 0 && len(image.Config.Entrypoint) == 0:
		o.field = "args"
	}
	return o
}

// correct says where to correct a command.
func (o origin) correct() string {
	if o.field == "" {
		return "correct the image, or set command"
	}
	return "correct " + o.field
}

// checkProcess finds what the runtime refuses of a process.
func checkProcess(t tree, p specs.Process, o origin) error {
	for _, pair := range p.Env {
		if name, _, ok := strings.Cut(pair, "="); !ok || name == "" || strings.Contains(pair, "\x00") {
			return fmt.Errorf("the image sets the environment variable %q, which is not NAME=VALUE (correct the image)", name)
		}
	}
	if !filepath.IsAbs(p.Cwd) {
		return fmt.Errorf("working folder %q is not an absolute path (correct the image, or set workingDir)", p.Cwd)
	}
	cwd, err := t.find(p.Cwd)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || cwd.info != nil && !cwd.info.IsDir() {
		return fmt.Errorf("working folder %s is not a folder in the image (correct workingDir, or the image)", p.Cwd)
	}
	if len(p.Args) == 0 || p.Args[0] == "" {
		return errors.New("it has no command (set command, or choose an image that has one)")
	}
	program, err := t.search(p, p.Args[0])
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("command %q is not executable (%s)", p.Args[0], o.correct())
	case errors.Is(err, fs.ErrInvalid):
		return fmt.Errorf("command %q is a folder (%s)", p.Args[0], o.correct())
	case err != nil && strings.ContainsAny(p.Args[0], " \t\n"):
		return fmt.Errorf("command %q is not in the image (%s)", p.Args[0], asList(p.Args[0]))
	case err != nil:
		return fmt.Errorf("command %q is not in the image (%s)", p.Args[0], o.correct())
	case program.info == nil || !program.info.Mode().IsRegular():
		return nil
	}
	return checkProgram(t, p, program.host, o)
}

// asList says how to write a command that was written as one text.
func asList(command string) string {
	if strings.ContainsAny(command, `"'\$|&;<>`) {
		return "write each word as an item of the list, or [sh, -c, ...] for a line of a shell"
	}
	list := yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for word := range strings.FieldsSeq(command) {
		var item yaml.Node
		item.SetString(word)
		list.Content = append(list.Content, &item)
	}
	text, err := yaml.Marshal(&list)
	if err != nil {
		return "write each word as an item of the list"
	}
	return "write " + strings.TrimSpace(string(text))
}

// platformOf is what an image is for whose program is for a processor. Platforms of
// images are not always true.
func (o origin) platformOf(m elf.Machine) string {
	if o.platform == platforms.DefaultString() {
		return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
	}
	return o.platform
}

// headSize is how much of a file the kernel reads to know what runs it.
const headSize = 256

// checkProgram finds why the kernel would not run a file: it is for another
// processor, or what runs it is not there.
func checkProgram(t tree, p specs.Process, path string, o origin) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("command %q: %w", p.Args[0], err)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, headSize))
	if err != nil {
		return fmt.Errorf("command %q: %w", p.Args[0], err)
	}
	interpreter := ""
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		interpreter = scriptInterpreter(head)
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		program, err := elf.NewFile(f)
		if err != nil {
			return nil // the kernel reads less of it, and may run it
		}
		if !runs(program.Machine) && !registered(head, path) {
			return fmt.Errorf("the image is for %s, this host needs %s (choose an image for that)", o.platformOf(program.Machine), platforms.DefaultString())
		}
		interpreter = loader(program)
	case !registered(head, path):
		return fmt.Errorf("command %q is neither a program nor a script that begins with #! (%s)", p.Args[0], o.correct())
	}
	if interpreter == "" {
		return nil
	}
	if _, err := t.find(relative(p, interpreter)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("command %q needs %q, which is not in the image%s (%s)", p.Args[0], interpreter, windows(interpreter), o.correct())
	}
	return nil
}

// windows explains the name of an interpreter that ends with a carriage return.
func windows(interpreter string) string {
	if strings.HasSuffix(interpreter, "\r") {
		return ": the script has the line ends of Windows"
	}
	return ""
}
