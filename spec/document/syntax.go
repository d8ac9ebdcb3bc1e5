package document

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// readable reports the first byte that no YAML document has. The decoder finds
// it too, but does not say where it is. UTF-16 is left to the decoder.
func (r *reader) readable(content []byte) bool {
	if bytes.HasPrefix(content, []byte{0xff, 0xfe}) || bytes.HasPrefix(content, []byte{0xfe, 0xff}) {
		return true
	}
	at := Pos{r.file, 1, 1}
	for rest := content; len(rest) > 0; {
		char, size := utf8.DecodeRune(rest)
		switch {
		case char == utf8.RuneError && size == 1:
			r.gaveUp = true
			r.errs.Add(at, "save the file as UTF-8", "not valid UTF-8: the byte 0x%02x", rest[0])
			return false
		case !allowed(char):
			r.gaveUp = true
			r.errs.Add(at, `take it out, or write it in double quotes, such as "\x1b"`, "not valid YAML: the control character %U", char)
			return false
		}
		if at.Col++; char == '\n' {
			at.Line, at.Col = at.Line+1, 1
		}
		rest = rest[size:]
	}
	return true
}

// allowed reports whether YAML has a character: c-printable in its specification.
func allowed(char rune) bool {
	switch {
	case char == '\t', char == '\n', char == '\r', char == 0x85, char >= 0x20 && char < 0x7f:
		return true
	}
	return char >= 0xa0 && char != 0xfffe && char != 0xffff
}

// version is the directive for a YAML 1.x other than 1.1.
var version = regexp.MustCompile(`^\x{feff}?%YAML[ \t]+1\.([02-9])(?:\s|$)`)

// asYAML11 is the content with each directive for another YAML 1.x as the one for
// 1.1, which is the only one that the decoder takes, although it reads YAML 1.2. All
// places stay. Directives are at the front of the file, or after the "..." that ends
// a document.
func asYAML11(content []byte) []byte {
	content = bytes.Clone(content)
	front, at := true, 0
	for line := range bytes.Lines(content) {
		if digit := version.FindSubmatchIndex(line); front && digit != nil {
			content[at+digit[2]] = '1'
		}
		at += len(line)
		text := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))
		front = bytes.HasPrefix(line, []byte("...")) || front && (len(text) == 0 || text[0] == '#' || text[0] == '%')
	}
	return content
}

// syntax reports an error of the YAML decoder.
func (r *reader) syntax(err error, content []byte) {
	var found *yaml.LoadError
	if !errors.As(err, &found) {
		r.errs.Add(Pos{File: r.file}, "", "not valid YAML: %s", err)
		return
	}
	at := Pos{r.file, found.Mark.Line, found.Mark.Column}
	if found.Stage == yaml.ComposerStage { // its message has what is written, which may be a secret
		r.errs.Add(at, "put a value that begins with * in quotes", "not valid YAML: an alias (*) to nothing")
		return
	}
	hint := ""
	if begin := found.ContextMark; found.ContextMsg != "" && begin != found.Mark {
		hint = fmt.Sprintf("%s that begins at %d:%d", found.ContextMsg, begin.Line, begin.Column)
	}
	if found.Stage == yaml.ScannerStage && isTab(content, at) {
		hint = "indent with spaces: YAML allows no tabs there"
	}
	r.errs.Add(at, hint, "not valid YAML: %s", strings.TrimPrefix(found.Message, "found "))
}

// isTab reports whether there is a tab at a place.
func isTab(content []byte, at Pos) bool {
	for line := range bytes.Lines(content) {
		if at.Line--; at.Line == 0 {
			runes := []rune(string(line))
			return at.Col <= len(runes) && runes[at.Col-1] == '\t'
		}
	}
	return false
}
