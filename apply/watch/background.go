package watch

import (
	"sync"
	"time"
)

// background runs what takes long outside the loop. What follows from it is a
// function that the loop receives and calls: only the goroutine of the loop
// touches the state of the agent.
type background struct {
	results chan func()
	ended   chan struct{} // closed when the loop receives no more
	work    sync.WaitGroup
}

func newBackground() *background {
	return &background{results: make(chan func()), ended: make(chan struct{})}
}

// start runs work in the background. The loop calls the result.
func (b *background) start(work func() (result func())) {
	b.work.Go(func() { b.send(work()) })
}

// send hands a result to the loop, unless that has ended.
func (b *background) send(result func()) {
	select {
	case b.results <- result:
	case <-b.ended:
	}
}

// drain receives the results of what still runs, for so long at most, and
// reports whether all of it has ended.
func (b *background) drain(limit time.Duration) bool {
	defer close(b.ended)
	timeout, all := time.After(limit), make(chan struct{})
	go func() { b.work.Wait(); close(all) }()
	for {
		select {
		case result := <-b.results:
			result()
		case <-all:
			return true
		case <-timeout:
			return false
		}
	}
}
