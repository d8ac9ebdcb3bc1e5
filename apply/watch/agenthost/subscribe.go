package agenthost

import (
	"context"
	"log/slog"
	"time"

	"carrel/apply/watch"
)

// The waits before a subscription to events is tried again.
const (
	minSubscribeWait = 100 * time.Millisecond
	maxSubscribeWait = 5 * time.Second
)

// Subscribe has the agent be woken by the events of the engine until ctx ends.
// The subscription that it is given returns when the engine goes away; it is then
// made again, after waits that double until an event arrives. When one that had
// events ends, the agent is woken: it has to find out that the engine is away.
func Subscribe(ctx context.Context, log *slog.Logger, subscription func(ctx context.Context, event func(watch.Wake)) error, wake func(watch.Wake)) {
	wait := minSubscribeWait
	for {
		connected := false
		err := subscription(ctx, func(w watch.Wake) {
			wait, connected = minSubscribeWait, true
			wake(w)
		})
		if ctx.Err() != nil {
			return
		}
		if connected {
			wake(watch.Wake{Kind: watch.EngineEvent, Text: "the engine went away"})
		}
		log.Debug("events of the engine", "error", err, "retry_in", wait.String())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, maxSubscribeWait)
	}
}
