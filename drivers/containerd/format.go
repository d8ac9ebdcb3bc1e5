package containerd

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// This file says what the kernel does with a file that it is to run.

// scriptInterpreter is the program that the first line of a script names.
func scriptInterpreter(head []byte) string {
	line, _, _ := bytes.Cut(head[2:], []byte("\n"))
	name, _, _ := strings.Cut(strings.Trim(string(line), " \t"), " ")
	name, _, _ = strings.Cut(name, "\t")
	return name
}

// loader is the program that loads the libraries of another one; "" when it needs
// none.
func loader(program *elf.File) string {
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(part.Open(), headSize))
			if err == nil {
				return strings.TrimRight(string(name), "\x00")
			}
		}
	}
	return ""
}

// machine is the processor of this host.
var machine = sync.OnceValue(func() elf.Machine {
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		return elf.EM_NONE
	}
	defer self.Close()
	return self.Machine
})

// runs reports whether this host runs programs for a processor.
func runs(m elf.Machine) bool {
	own := machine()
	return m == own || own == elf.EM_NONE || own == elf.EM_X86_64 && m == elf.EM_386 || own == elf.EM_AARCH64 && m == elf.EM_ARM
}

// registered reports whether the kernel of this host has an interpreter registered
// for a file, as an emulator of other processors is: see binfmt_misc in the
// documentation of Linux.
func registered(head []byte, path string) bool {
	const folder = "/proc/sys/fs/binfmt_misc"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return false // there is none
	}
	for _, entry := range entries {
		if entry.Name() == "register" || entry.Name() == "status" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err == nil && matches(string(text), head, path) {
			return true
		}
	}
	return false
}

// matches reports whether an entry of binfmt_misc is for a file.
func matches(entry string, head []byte, path string) bool {
	if !strings.HasPrefix(entry, "enabled") {
		return false
	}
	values := map[string]string{}
	for line := range strings.SplitSeq(entry, "\n") {
		key, value, _ := strings.Cut(line, " ")
		values[key] = value
	}
	if extension, ok := values["extension"]; ok {
		return filepath.Ext(path) == extension
	}
	offset, err := strconv.Atoi(values["offset"])
	magic, bad := hex.DecodeString(values["magic"])
	mask, none := hex.DecodeString(values["mask"])
	if err != nil || bad != nil || none != nil || len(magic) == 0 || offset < 0 || offset+len(magic) > len(head) {
		return false
	}
	for i, b := range magic {
		read := head[offset+i]
		if i < len(mask) {
			read &= mask[i]
			b &= mask[i]
		}
		if read != b {
			return false
		}
	}
	return true
}
