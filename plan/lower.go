package plan

import (
	"cmp"
	"fmt"
	"slices"

	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// lower turns a decision into the steps of containerd, over the world that the
// steps before it left. It decides nothing: it says how.
//
// The order is the same for all changes: the workspace is claimed; all that is
// needed is fetched and checked while the old process runs; a container without an
// owner is adopted; what can change in place does;
// the process ends; data is moved; the container is replaced; the process starts.
// Its error is a step that the world refused.
func lower(f decide.Frame, d decide.Decision, w *World) (Change, error) {
	b := newBuilder(f, d, w)
	b.remember()
	b.claim()
	b.recordWish()
	b.fetch()
	b.check()
	b.adopt()
	b.update()
	b.tidy()
	b.endProcess()
	b.redescribe()
	b.keepData()
	b.replaceContainer()
	b.startProcess()
	return b.finish()
}

// claim makes a workspace that any host may have this host's, before anything
// else is done.
func (b *builder) claim() {
	_, recorded := b.world.Records[b.Name]
	if b.Goal.Record == decide.SaveRecord && !recorded && b.Desired.Host == "" && b.frame.Now.Shared {
		b.add(ClaimRecord{Workspace: b.Name, Set: b.frame.Set.Name, Host: b.frame.Now.Host, Source: b.Desired.Source})
	}
}

// recordWish writes that a person stopped or started the workspace before that
// is done: if the run is cut short, the next plan goes on in that direction.
func (b *builder) recordWish() {
	if b.Goal.Record != decide.RecordStopped && b.Goal.Record != decide.RecordStarted {
		return
	}
	r := state.Record{StoppedByUser: b.Goal.Record == decide.RecordStopped, Applied: b.Applied()}
	if b.Record != nil {
		r.Source, r.Container = b.Record.Source, b.Record.Container
	}
	if b.Instance != nil {
		r.Container = b.Instance.ID
	}
	b.save(r)
}

func (b *builder) adopt() {
	if b.Goal.Adopt != nil {
		b.add(AdoptContainer{Container: b.Instance.ID, Set: b.frame.Set.Name, Host: b.frame.Now.Host, Volume: b.Instance.Volume, Spec: *b.Goal.Adopt})
	}
}

func (b *builder) fetch() {
	switch b.Goal.Fetch {
	case decide.FetchPull:
		b.add(PullImage{Image: b.Desired.Image})
	case decide.FetchImport:
		archive, _ := b.Desired.Archive()
		b.add(ImportImage{Archive: archive, Digest: b.Image.Source, Name: b.Image.Name})
	}
	if file := b.Goal.Volume.Extract; file != "" {
		b.add(ExtractData{Workspace: b.Name, File: file})
	}
}

// check makes sure that what is to run can be started, before what runs is ended.
// What ran before a change that failed comes back in any case, and a description that
// was changed on the host is not the one that is started.
func (b *builder) check() {
	ends := b.Goal.Process == decide.RestartProcess || b.Goal.Process == decide.PauseProcess
	switch {
	case b.frame.Back:
	case b.Goal.Instance == decide.MakeInstance:
		b.add(CheckImage{For: b.newContainer()})
	case ends && !b.Goal.Redescribe && b.Instance != nil && b.Instance.Task.Alive():
		b.add(CheckContainer{Workspace: b.Name, Container: b.Instance.ID})
	}
}

// newContainer is the step that makes the new container.
func (b *builder) newContainer() CreateContainer {
	return CreateContainer{Container: b.Name, Set: b.frame.Set.Name, Host: b.frame.Now.Host, Image: b.imageName(), Spec: *b.Desired}
}

func (b *builder) update() {
	if b.Goal.Instance != decide.UpdateInstance {
		return
	}
	before := b.Instance.Applied
	if b.Goal.Adopt != nil {
		before = b.Goal.Adopt
	}
	from, to := before.Resources.Limits, b.Desired.Resources.Limits
	if now := b.Instance.Task.Limits; now != nil && from == to {
		from = *now
	}
	if from != to {
		b.add(UpdateResources{Container: b.Instance.ID, From: from, To: to})
	}
	b.add(UpdateLabels{Container: b.Instance.ID, Set: b.frame.Set.Name, Host: b.frame.Now.Host, Spec: *b.Desired})
}

// tidy removes what an earlier change left in the trash, while the container shows
// that this is not the data of the workspace: without it, nothing would.
func (b *builder) tidy() {
	if b.From != nil && len(b.world.Trash[b.From.Name]) > 0 {
		b.add(EmptyTrash{Workspace: b.From.Name})
	}
	if b.Instance != nil && b.Goal.Replaces() && b.Goal.Volume.From != decide.FromTrash && !b.CutShort() && len(b.world.Trash[b.Name]) > 0 {
		b.add(EmptyTrash{Workspace: b.Name})
	}
}

// endProcess ends the process of an instance that is deleted, stopped or
// restarted. What is left of a process that has ended is removed with it.
func (b *builder) endProcess() {
	ends := b.Goal.Process == decide.StopProcess || b.Goal.Process == decide.PauseProcess || b.Goal.Process == decide.RestartProcess
	if b.Instance != nil && (ends || b.Goal.Replaces()) && b.Instance.Task.Status != state.TaskNone {
		step := StopTask{Container: b.Instance.ID, GracePeriod: spec.Default().Stop.GracePeriod}
		if was := b.Applied(); was != nil {
			step.Signal, step.GracePeriod = was.Stop.Signal, was.Stop.GracePeriod
		}
		b.add(step)
	}
	if b.Goal.Process == decide.StopProcess && b.Goal.Instance != decide.MakeInstance {
		b.detach(b.Name)
	}
	if b.From != nil {
		b.detach(b.From.Name)
	}
}

// redescribe puts right what somebody changed in the description of the container.
// A process that was started with that ends before: as long as it runs, the
// description shows the next plan that it has to be restarted.
func (b *builder) redescribe() {
	if b.Goal.Redescribe {
		b.add(RestoreDescription{Container: b.Instance.ID})
	}
}

// keepData does with the data of the workspace what was decided, while no
// process can write to it.
func (b *builder) keepData() {
	b.renameData()
	if b.Goal.Volume.Move {
		b.preserve() // it may be older than what is moved: a run that was cut short made it
		b.moveData()
	}
	if b.Goal.Volume.Recover {
		b.preserve()
		b.add(RecoverData{Workspace: b.Name, At: b.Data.Trash})
	}
	switch b.Goal.Volume.Away {
	case decide.PreserveVolume:
		b.preserve()
	case decide.DiscardVolume:
		at := b.world.freeTime(b.Name)
		if _, exists := b.world.Volumes[b.Name]; exists && b.change.Previous != nil {
			b.change.Previous.Discarded = at
		}
		b.add(DiscardData{Workspace: b.Name, At: at})
	}
	if b.Goal.Volume.Away != decide.DiscardVolume {
		b.bringBack() // before the container is deleted: if the run is cut, that tells the next plan that the data is needed
	}
	if b.Goal.Volume.Forget {
		for _, k := range b.Goal.Volume.Chosen {
			b.add(DiscardPreserved{Workspace: b.Name, Set: k.Set, At: k.At})
		}
	}
}

// renameData gives the data of the workspace that this one is renamed from the new
// name: the volume, and what the set preserved.
func (b *builder) renameData() {
	if b.From == nil {
		return
	}
	s := RenameData{From: b.From.Name, To: b.Name, Set: b.frame.Set.Name}
	if _, exists := b.world.Volumes[s.From]; exists || slices.ContainsFunc(b.world.Preserved[s.From], s.takes) {
		b.add(s)
	}
}

// bringBack makes data that is out of use the volume again.
func (b *builder) bringBack() {
	switch b.Goal.Volume.From {
	case decide.FromTrash:
		b.add(RecoverData{Workspace: b.Name, At: b.Data.Trash})
	case decide.FromPreserved:
		k := b.Goal.Volume.Chosen[0]
		b.add(RestoreData{Workspace: b.Name, Set: k.Set, At: k.At})
	}
}

// preserve takes the volume out of use, if there is one.
func (b *builder) preserve() {
	if _, exists := b.world.Volumes[b.Name]; exists {
		b.add(PreserveData{Workspace: b.Name, Set: b.frame.Set.Name, At: b.world.freeTime(b.Name)})
	}
}

// moveData makes the volume from what the container keeps elsewhere, or from what is
// left of one that is gone.
func (b *builder) moveData() {
	switch c := b.Instance; {
	case c == nil:
		b.moveLeftover()
	case c.Volume != "":
		b.Because(fmt.Sprintf("container %s keeps its data in %s, which stays as it is", c.ID, c.Volume))
		b.add(MigrateData{Workspace: b.Name, Folder: c.Volume, DataPath: "/"})
	default:
		b.Because(fmt.Sprintf("container %s keeps its data in its root filesystem", c.ID))
		b.moved = b.dataPath()
		b.add(MigrateData{Workspace: b.Name, Snapshot: c.Snapshot, DataPath: b.moved})
	}
}

func (b *builder) moveLeftover() {
	b.Because(fmt.Sprintf("root filesystem %s is left of a container that is gone", b.Data.Leftover))
	b.moved = b.dataPath()
	b.add(MigrateData{Workspace: b.Name, Snapshot: b.Data.Leftover, DataPath: b.moved})
}

// dataPath is where the container has its data that is to become the volume: where
// its spec says so now, or else said so when it was adopted.
func (b *builder) dataPath() string {
	if b.Desired != nil {
		return b.Desired.DataPath
	}
	if was := b.Applied(); was != nil {
		return was.DataPath
	}
	return spec.Default().DataPath
}

// replaceContainer deletes the container, fills the volume, and makes the new
// container, each if that was decided.
func (b *builder) replaceContainer() {
	if c := b.Instance; c != nil && b.Goal.Replaces() {
		b.discardRoot(Root{Key: c.Snapshot, Container: c.ID, Moved: b.moved})
		b.add(DeleteContainer{Container: c.ID})
	}
	if b.Goal.Volume.Away == decide.DiscardVolume {
		b.bringBack() // only now: if the run were cut earlier, the next plan would discard this volume again
	}
	switch b.Goal.Volume.From {
	case decide.FromLeftover:
		b.moveLeftover()
	case decide.FromArchive:
		b.add(PlaceData{Workspace: b.Name})
		if b.Goal.Volume.Aside {
			b.preserve()
		}
	case decide.FromImage:
		b.add(CreateVolume{Workspace: b.Name, Image: b.imageName(), DataPath: b.Desired.DataPath, User: b.Desired.User})
	}
	if b.Goal.Instance == decide.MakeInstance {
		left := Root{Key: b.Name} // of a container that is gone
		if b.Data.Leftover == b.Name {
			left.Moved = b.moved
		}
		b.discardRoot(left)
		b.add(b.newContainer())
	}
}

// discardRoot notes a root filesystem that the next step deletes, if it is there.
func (b *builder) discardRoot(r Root) {
	if _, there := b.world.RootFilesystems[r.Key]; there {
		b.change.roots = append(b.change.roots, r)
	}
}

// imageName is the name of the image in containerd: for a container that stays,
// the one that it has.
func (b *builder) imageName() string {
	if b.Goal.Instance != decide.MakeInstance {
		return b.Instance.Image
	}
	return cmp.Or(b.Image.Name, b.Desired.Image)
}

// startProcess gives the workspace its network, and then starts its process: it
// has its address from its first instruction.
func (b *builder) startProcess() {
	wanted := spec.Network{Mode: spec.NetworkNone}
	if b.Desired != nil {
		wanted = b.Desired.Network
	} else if was := b.Applied(); was != nil {
		wanted = was.Network
	}
	switch b.Goal.Process {
	case decide.RunProcess, decide.RestartProcess:
		b.attach(wanted)
		b.add(StartTask{Workspace: b.Name, Container: b.container()})
	case decide.RepairNetwork:
		b.attach(wanted)
	case decide.StopProcess:
		b.detach(b.Name) // of a new container that is not to run
	}
}

// attach gives the workspace the network that it wants. A network that works is
// kept, and with it the address; what its files do not say yet is written.
func (b *builder) attach(wanted spec.Network) {
	has, attached := b.world.Networks[b.Name]
	switch {
	case wanted.Mode != spec.NetworkCNI:
		b.detach(b.Name)
		return
	case attached && decide.Ports(has.Ports) != decide.Ports(wanted.Ports):
		b.detach(b.Name)
	case attached && has.Broken == "" && has.Netns != 0 && has.Stale == "":
		return
	case attached && has.Broken+has.Stale != "":
		b.Because(cmp.Or(has.Broken, has.Stale))
	}
	b.add(AttachNetwork{Workspace: b.Name, Set: b.frame.Set.Name, Ports: wanted.Ports})
}

// detach takes the network of a workspace away, if there is one.
func (b *builder) detach(workspace string) {
	if _, attached := b.world.Networks[workspace]; attached {
		b.add(DetachNetwork{Workspace: workspace})
	}
}
