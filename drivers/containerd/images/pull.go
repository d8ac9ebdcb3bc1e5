package images

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"carrel/plan"
)

// progressEvery is how often the progress of a pull is reported.
const progressEvery = 200 * time.Millisecond

// PullImage fetches an image, unpacks it, and gives it a name with its tag and one
// with its digest. A download that an earlier run did not finish is continued, or
// started again when the registry cannot do that.
func (s *Store) PullImage(ctx context.Context, step plan.PullImage, progress func(layer string, done, total int64)) error {
	return s.leased(ctx, func(ctx context.Context) error {
		began := time.Now()
		blobs := &blobs{size: map[string]int64{}}
		image, err := s.pull(ctx, step.Image, blobs, progress)
		var busy *plan.BusyError
		if err != nil && ctx.Err() == nil && !errors.As(err, &busy) && blobs.dropPartial(ctx, s.config.Client.ContentStore(), began) {
			image, err = s.pull(ctx, step.Image, blobs, progress)
		}
		if err != nil {
			return s.config.Explain(s.registryError(step.Image, err))
		}
		_, err = s.pin(ctx, image.Metadata())
		return err
	})
}

func (s *Store) pull(ctx context.Context, ref string, blobs *blobs, progress func(layer string, done, total int64)) (client.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	if progress != nil {
		watching.Go(func() { blobs.watch(ctx, s.config.Client.ContentStore(), progress) })
	}
	image, err := s.config.Client.Pull(ctx, ref,
		client.WithResolver(s.resolver(ctx)),
		client.WithPullUnpack,
		client.WithPullSnapshotter(s.config.Snapshotter),
		client.WithImageHandlerWrapper(func(next core.Handler) core.Handler { return blobs.wrap(s.checked(next)) }),
	)
	if err == nil && progress != nil {
		cancel()
		watching.Wait()
		blobs.complete(progress)
	}
	return image, err
}

// blobs are the parts of an image that is being pulled. They are added as the pull
// finds them.
type blobs struct {
	mu   sync.Mutex
	size map[string]int64 // by the name of their downloads in the content store
}

func (b *blobs) wrap(next core.Handler) core.Handler {
	return core.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		b.mu.Lock()
		b.size[remotes.MakeRefKey(ctx, desc)] = desc.Size
		b.mu.Unlock()
		return next.Handle(ctx, desc)
	})
}

func (b *blobs) find(download string) (size int64, found bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size, found = b.size[download]
	return size, found
}

// complete reports that all layers are here. Those that came between two questions
// were never seen whole.
func (b *blobs) complete(progress func(layer string, done, total int64)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, download := range slices.Sorted(maps.Keys(b.size)) {
		if layer, isLayer := strings.CutPrefix(download, "layer-"); isLayer {
			progress(layer, b.size[download], b.size[download])
		}
	}
}

// watch reports the progress of the layers until ctx ends. It asks the content store,
// because older versions of containerd have no transfer service.
func (b *blobs) watch(ctx context.Context, store content.Store, progress func(layer string, done, total int64)) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		active, err := store.ListStatuses(ctx)
		if err != nil {
			return // the pull has the same error, and returns it
		}
		for _, ingest := range active {
			layer, isLayer := strings.CutPrefix(ingest.Ref, "layer-")
			if size, found := b.find(ingest.Ref); found && isLayer {
				progress(layer, ingest.Offset, size)
			}
		}
	}
}

// dropPartial aborts the unfinished downloads of an image that did not grow since a
// pull began, and reports whether there were any. One that grows belongs to another
// pull, of an image with the same layers.
func (b *blobs) dropPartial(ctx context.Context, store content.Store, began time.Time) bool {
	active, err := store.ListStatuses(ctx)
	if err != nil {
		return false
	}
	dropped := false
	for _, ingest := range active {
		if _, found := b.find(ingest.Ref); found && ingest.StartedAt.Before(began) && ingest.UpdatedAt.Before(began) {
			dropped = store.Abort(ctx, ingest.Ref) == nil || dropped
		}
	}
	return dropped
}
