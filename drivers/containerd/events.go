package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	events "github.com/containerd/containerd/api/events"
	core "github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
)

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	Connected        EventKind = "connected" // from now on no event is missed
	TaskExited       EventKind = "task exited"
	OutOfMemory      EventKind = "out of memory"
	TaskDeleted      EventKind = "task deleted"
	TaskPaused       EventKind = "task paused"
	ContainerUpdated EventKind = "container updated"
	ContainerDeleted EventKind = "container deleted"
	ImageDeleted     EventKind = "image deleted"
)

// Event is something that happened in the namespace, whoever caused it.
type Event struct {
	Kind      EventKind
	Container string // the id of a container; "" for events of images
	Image     string // the name in the image store; "" for events of containers
}

// subscribed is the topic of an event that each subscription publishes itself. When
// it comes back, containerd has the subscription, and no later event is missed.
const subscribed = "/carrel/subscribed"

var topics = []string{"/tasks/exit", "/tasks/oom", "/tasks/delete", "/tasks/paused", "/containers/update", "/containers/delete", "/images/delete", subscribed}

// Events reports events until ctx ends, which is no error, or the connection breaks.
// Earlier events are not reported.
func (d *Driver) Events(ctx context.Context, report func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var filters []string
	for _, topic := range topics {
		filters = append(filters, fmt.Sprintf("namespace==%q,topic==%q", d.Namespace, topic))
	}
	stream, broken := d.client.EventService().Subscribe(ctx, filters...)
	publish := time.NewTimer(0)
	defer publish.Stop()
	for {
		select {
		case <-publish.C:
			if err := d.probe(ctx); err != nil && ctx.Err() == nil {
				return d.explain(err)
			}
			publish.Reset(probeRetry)
		case envelope := <-stream:
			if envelope.Topic == subscribed {
				if publish.Stop() {
					report(Event{Kind: Connected})
				}
				continue
			}
			event, err := eventOf(envelope)
			if err != nil {
				return err
			}
			if event.Kind != "" {
				report(event)
			}
		case err := <-broken:
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				err = errors.New("the stream of events ended")
			}
			return d.explain(errgrpc.ToNative(err))
		case <-ctx.Done():
			return nil
		}
	}
}

// probeRetry is how soon the event of the subscription is published again. One that
// was published too early is lost.
const probeRetry = 100 * time.Millisecond

func (d *Driver) probe(ctx context.Context) error {
	return d.client.EventService().Publish(ctx, subscribed, &events.NamespaceUpdate{Name: d.Namespace})
}

// eventOf decodes an event. Its kind is "" for events that nobody needs, such as
// those of a process beside the task.
func eventOf(envelope *core.Envelope) (Event, error) {
	decoded, err := typeurl.UnmarshalAny(envelope.Event)
	if err != nil {
		return Event{}, fmt.Errorf("event %s: %w", envelope.Topic, err)
	}
	switch e := decoded.(type) {
	case *events.TaskExit:
		if e.ID != e.ContainerID {
			return Event{}, nil
		}
		return Event{Kind: TaskExited, Container: e.ContainerID}, nil
	case *events.TaskOOM:
		return Event{Kind: OutOfMemory, Container: e.ContainerID}, nil
	case *events.TaskDelete:
		if e.ID != "" && e.ID != e.ContainerID {
			return Event{}, nil
		}
		return Event{Kind: TaskDeleted, Container: e.ContainerID}, nil
	case *events.TaskPaused:
		return Event{Kind: TaskPaused, Container: e.ContainerID}, nil
	case *events.ContainerUpdate:
		return Event{Kind: ContainerUpdated, Container: e.ID}, nil
	case *events.ContainerDelete:
		return Event{Kind: ContainerDeleted, Container: e.ID}, nil
	case *events.ImageDelete:
		return Event{Kind: ImageDeleted, Image: e.Name}, nil
	}
	return Event{}, nil
}
