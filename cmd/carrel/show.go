package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"carrel/apply"
	"carrel/drivers/disk"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/spec"
)

// This file is the only one that handles terminals.

// terminal reports whether a stream is a terminal.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// coloured reports whether a stream shows colours.
func coloured(stream any) bool {
	_, plain := os.LookupEnv("NO_COLOR")
	return terminal(stream) && !plain && os.Getenv("TERM") != "dumb"
}

// The colours of the lines of a plan, by their first characters.
var colours = []struct{ prefix, code string }{
	{"  + ", "\x1b[32m"}, {"  - ", "\x1b[31m"}, {"-/+ ", "\x1b[33m"}, {"  ~ ", "\x1b[36m"}, {"WARNING:", "\x1b[1;31m"}, {"note:", "\x1b[2m"},
}

const resetColour = "\x1b[0m"

func colour(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		for _, c := range colours {
			if strings.HasPrefix(line, c.prefix) {
				lines[i] = c.code + strings.TrimSuffix(line, "\n") + resetColour + "\n"
			}
		}
	}
	return strings.Join(lines, "")
}

// showPlan prints a plan in one of the output formats.
func showPlan(out io.Writer, p plan.Plan, form string) error {
	view := report.OfPlan(p)
	text := ""
	switch form {
	case "json":
		whole, err := view.JSON()
		if err != nil {
			return err
		}
		text = string(whole)
	case "markdown":
		text = view.Markdown()
	case "github":
		return annotate(out, view)
	default:
		text = view.Text()
		if coloured(out) {
			text = colour(text)
		}
	}
	_, err := io.WriteString(out, text)
	return err
}

// annotate prints a plan as GitHub Actions' workflow commands, and adds it to
// the summary of the job. No line of the plan itself is taken for a command.
func annotate(out io.Writer, view report.Plan) error {
	var text strings.Builder
	for _, warning := range view.Warnings {
		text.WriteString(report.Command("warning", "title=carrel", warning))
	}
	text.WriteString(report.Command("notice", "title=carrel", view.Summary))
	token := rand.Text()
	fmt.Fprintf(&text, "::stop-commands::%s\n%s::%s::\n", token, view.Text(), token)
	if _, err := io.WriteString(out, text.String()); err != nil {
		return err
	}
	summary := os.Getenv("GITHUB_STEP_SUMMARY")
	if summary == "" {
		return nil
	}
	f, err := os.OpenFile(summary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, view.Markdown())
	return errors.Join(err, f.Close())
}

// confirm asks a person for approval. This needs a terminal.
func confirm(ctx context.Context, in io.Reader, out io.Writer, approved bool) error {
	if approved {
		return nil
	}
	if !terminal(in) {
		return errors.New("refused: approval needs a terminal (or pass --auto-approve); nothing was changed")
	}
	if _, err := fmt.Fprint(out, "\nApply this plan? Only 'yes' is accepted: "); err != nil {
		return fmt.Errorf("not approved; nothing was changed: %w", err)
	}
	approval := make(chan bool, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		approval <- err == nil && strings.TrimSpace(line) == "yes" // a line without an end was not finished
	}()
	select {
	case yes := <-approval:
		if yes && ctx.Err() == nil {
			return nil
		}
	case <-ctx.Done():
	}
	return errors.New("not approved; nothing was changed")
}

// display shows the progress while a plan is carried out.
type display struct {
	out, err io.Writer
	json     bool
	started  time.Time

	bars   *mpb.Progress    // on a terminal, while images are pulled
	pulls  map[string]*pull // by the text of the step
	failed map[string]bool  // workspaces
	unsent error            // why a line of JSON could not be written
}

// pull is the bar of an image that is being pulled.
type pull struct {
	bar    *mpb.Bar
	layers map[string][2]int64 // bytes so far and in all
}

func progress(out, err io.Writer, form string) *display {
	return &display{out: out, err: err, json: form == "json", started: time.Now(), pulls: map[string]*pull{}, failed: map[string]bool{}}
}

func (s *display) event(e apply.Event) {
	if e.Kind == apply.Failed {
		s.failed[e.Workspace] = true
	}
	switch {
	case s.json:
		s.print(lineOfEvent(e))
	case e.Kind == apply.Progress:
		s.bar(e)
	case e.Kind == apply.Warned:
		s.line("%s: %s: warning: %s", e.Workspace, e.Step, e.Err)
	case e.Kind == apply.Done:
		s.ended(e)
		s.line("%s: %s (%s)", e.Workspace, e.Step, e.Took.Round(time.Millisecond))
	case e.Kind == apply.Failed:
		s.ended(e)
		s.line("%s: %s: failed (%s)", e.Workspace, e.Step, e.Took.Round(time.Millisecond))
	}
}

// print writes a line of JSON. When that fails, the changes go on, and done returns
// the error.
func (s *display) print(line any) {
	if err := printLine(s.out, line); err != nil && s.unsent == nil {
		s.unsent = err
	}
}

func (s *display) line(format string, args ...any) {
	if s.bars != nil {
		if _, err := fmt.Fprintf(s.bars, format+"\n", args...); err == nil {
			return
		}
	}
	fmt.Fprintf(s.err, format+"\n", args...)
}

// bar updates the progress bar of an image that is being pulled.
func (s *display) bar(e apply.Event) {
	if !terminal(s.err) {
		return
	}
	if s.bars == nil {
		s.bars = mpb.New(mpb.WithOutput(s.err), mpb.WithWidth(40))
	}
	name := e.Step.String()
	p := s.pulls[name]
	if p == nil {
		bar, err := s.bars.Add(0, mpb.BarStyle().Build(),
			mpb.PrependDecorators(decor.Name(name+" ")),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")),
			mpb.BarRemoveOnComplete(),
		)
		if err != nil {
			return // the terminal is gone, and with it the bars
		}
		p = &pull{layers: map[string][2]int64{}, bar: bar}
		s.pulls[name] = p
	}
	p.layers[e.Layer] = [2]int64{e.Bytes, e.Total}
	var done, total int64
	for _, layer := range p.layers {
		done, total = done+layer[0], total+layer[1]
	}
	p.bar.SetTotal(total, false)
	p.bar.SetCurrent(done)
}

// ended removes the progress bar of a step. When no bar is left, lines are
// written without the library, because it may lose the last of them.
func (s *display) ended(e apply.Event) {
	name := e.Step.String()
	if p := s.pulls[name]; p != nil {
		p.bar.Abort(true)
		delete(s.pulls, name)
	}
	if s.bars != nil && len(s.pulls) == 0 {
		s.bars.Wait()
		s.bars = nil
	}
}

// copyProgress shows the progress of a copy, on a terminal only.
type copyProgress struct {
	bars *mpb.Progress
	bar  *mpb.Bar
}

func copying(err io.Writer, what string) *copyProgress {
	if !terminal(err) {
		return &copyProgress{}
	}
	bars := mpb.New(mpb.WithOutput(err), mpb.WithWidth(1))
	return &copyProgress{bars, bars.AddSpinner(0, mpb.PrependDecorators(decor.Name(what+" ")), mpb.AppendDecorators(decor.CurrentKibiByte("% .1f")))}
}

func (c *copyProgress) at(bytes int64) {
	if c.bar != nil {
		c.bar.SetCurrent(bytes)
	}
}

func (c *copyProgress) end() {
	if c.bar != nil {
		c.bar.SetTotal(-1, true)
		c.bars.Wait()
	}
}

// done ends the progress and prints the result of the run.
func (s *display) done(p plan.Plan, failed error) error {
	took := time.Since(s.started)
	left := 0
	var interrupted *apply.InterruptedError
	if errors.As(failed, &interrupted) {
		left = interrupted.Left
	}
	applied := len(p.Changes) - len(s.failed) - left
	if s.json {
		s.print(resultLine{
			Type: "result", Version: report.Version, Plan: p.ID(), Applied: applied, Failed: len(s.failed), NotBegun: left, Seconds: took.Seconds(),
		})
		return s.unsent
	}
	words := fmt.Sprintf("\n%s applied", count(applied, "change"))
	if len(s.failed) > 0 {
		words += fmt.Sprintf(", %d failed", len(s.failed))
	}
	if left > 0 {
		words += fmt.Sprintf(", %d not started", left)
	}
	_, err := fmt.Fprintf(s.out, "%s in %s.\n", words, took.Round(10*time.Millisecond))
	return err
}

// maxErrors is how many errors are printed at once.
const maxErrors = 100

// lines are the lines of an error, one for each cause. An error in a file begins
// with its position, where editors expect it.
func lines(err error) []string {
	var all []string
	for _, one := range joined(err) {
		var inFiles spec.Errors
		if errors.As(one, &inFiles) && inFiles[0].Pos.File != "" {
			some := strings.Split(inFiles.Error(), "\n")
			if more := len(some) - maxErrors; more > 0 {
				some = append(some[:maxErrors], fmt.Sprintf("carrel: and %s", count(more, "more error")))
			}
			all = append(all, some...)
			continue
		}
		all = append(all, "carrel: "+one.Error()+room(one))
	}
	return all
}

// room is what the filesystem has left on which a write failed.
func room(err error) string {
	if !disk.Full(err) {
		return ""
	}
	var path *fs.PathError
	var link *os.LinkError
	left := ""
	switch {
	case errors.As(err, &path):
		left = disk.Left(path.Path)
	case errors.As(err, &link):
		left = disk.Left(link.New)
	}
	if left == "" || strings.Contains(err.Error(), left) {
		return ""
	}
	return "; " + left
}

// joined are the errors that are joined in one, with one for the workspaces of
// which the same step failed for the same reason, such as the pull of their image.
func joined(err error) (all []error) {
	same := map[string]*sameError{}
	for _, one := range separate(err) {
		var step *apply.StepError
		if !errors.As(one, &step) {
			all = append(all, one)
			continue
		}
		cause := fmt.Sprintf("%s: %s", step.Step, step.Err)
		if before := same[cause]; before != nil {
			before.workspaces = append(before.workspaces, step.Workspace)
			slices.Sort(before.workspaces)
			continue
		}
		same[cause] = &sameError{[]string{step.Workspace}, cause, step.Err}
		all = append(all, same[cause])
	}
	return all
}

// separate are the errors that are joined in one.
func separate(err error) (all []error) {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, one := range several.Unwrap() {
		all = append(all, separate(one)...)
	}
	return all
}

// sameError is a step that failed for several workspaces for one reason.
type sameError struct {
	workspaces []string
	cause      string
	err        error
}

func (e *sameError) Error() string { return spec.Names(e.workspaces) + ": " + e.cause }
func (e *sameError) Unwrap() error { return e.err }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
