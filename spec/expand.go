package spec

import (
	"fmt"
	"slices"
	"strings"
)

// The limits of Linux for what a process is started with: execve(2). The second one
// is a quarter of the usual stack, less one text of the longest kind, for what the
// image adds.
const (
	maxText  = 128<<10 - 1 // bytes of an argument, or of a variable with its name
	maxTexts = 2<<20 - maxText
	perText  = 9 // bytes that each text needs beside its own: a pointer, and the NUL at its end
)

// Expanded is the workspace as its process gets it: references $(NAME) in command,
// args and env are the values of the variables of the spec. The rules are those of
// Kubernetes (its API reference, Container and EnvVar): a variable can refer to those
// before it, what refers to none stays as it is, and $$ is a $ that begins no
// reference. Its error is a TooLarge.
func (w Workspace) Expanded() (Workspace, error) {
	e := expander{values: map[string]string{}}
	w.Env = slices.Clone(w.Env)
	for i := range w.Env {
		v := &w.Env[i]
		v.Value = e.expand(fmt.Sprintf("env[%d].value", i), v.Value, len(v.Name)+len("="))
		e.values[v.Name] = v.Value
	}
	w.Command = e.all("command", w.Command)
	w.Args = e.all("args", w.Args)
	if len(e.large) > 0 {
		return w, e.large
	}
	return w, nil
}

// Escaped is the workspace whose Expanded form is this one.
func (w Workspace) Escaped() Workspace {
	values := map[string]string{}
	escape := func(text string) string {
		if same, _ := expand(text, values, len(text)); same == text {
			return text
		}
		return strings.ReplaceAll(text, "$", "$$")
	}
	w.Env = slices.Clone(w.Env)
	for i := range w.Env {
		value := w.Env[i].Value
		w.Env[i].Value = escape(value)
		values[w.Env[i].Name] = value
	}
	for _, list := range []*[]string{&w.Command, &w.Args} {
		*list = slices.Clone(*list)
		for i, text := range *list {
			(*list)[i] = escape(text)
		}
	}
	return w
}

// TooLarge are the fields of a workspace with which no process can be started.
type TooLarge []struct{ Path, What string }

func (t TooLarge) Error() string {
	return "spec." + t[0].Path + " " + t[0].What
}

// expander expands the texts of one workspace, and adds up their sizes.
type expander struct {
	values map[string]string
	total  int
	large  TooLarge
}

func (e *expander) all(path string, texts []string) []string {
	texts = slices.Clone(texts)
	for i, text := range texts {
		texts[i] = e.expand(fmt.Sprintf("%s[%d]", path, i), text, 0)
	}
	return texts
}

// expand is a text with the values of what it refers to; "" when it is too large. More
// is the size of what stands before it.
func (e *expander) expand(path, text string, more int) string {
	before := e.total
	expanded, ok := expand(text, e.values, maxText-more)
	e.total += len(expanded) + more + perText
	switch {
	case !ok:
		e.add(path, fmt.Sprintf("is longer than the %d bytes that Linux passes to a process in one text", maxText))
		return ""
	case before <= maxTexts && e.total > maxTexts:
		e.add(path, fmt.Sprintf("is too much: command, args and env are larger than the %d KiB that Linux passes to a process", maxTexts>>10))
	}
	return expanded
}

func (e *expander) add(path, what string) {
	e.large = append(e.large, struct{ Path, What string }{path, what})
}

// expand is a text with the values of what it refers to. It is not ok when that is
// longer than most: references to references can grow without end.
func expand(text string, values map[string]string, most int) (expanded string, ok bool) {
	var b strings.Builder
	closed := strings.LastIndexByte(text, ')')
	for i := 0; i < len(text); {
		if b.Len() > most {
			return "", false
		}
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, "$$"):
			b.WriteByte('$')
			i += len("$$")
		case strings.HasPrefix(rest, "$(") && i < closed:
			end := strings.IndexByte(rest, ')') + 1
			value, known := values[rest[len("$("):end-1]]
			if !known {
				value = rest[:end]
			}
			b.WriteString(value)
			i += end
		default:
			next := strings.IndexByte(rest[1:], '$') + 1
			if next == 0 {
				next = len(rest)
			}
			b.WriteString(rest[:next])
			i += next
		}
	}
	return b.String(), b.Len() <= most
}
