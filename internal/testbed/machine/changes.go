package machine

import (
	"context"
	"sync"
)

// changes tells many waiters that something has changed.
type changes struct {
	mu   sync.Mutex
	next chan struct{}
}

// until calls ok, which takes no lock of its own, until it is true, each time something has changed.
func (c *changes) until(ctx context.Context, ok func() bool) error {
	for {
		c.mu.Lock()
		if ok() {
			c.mu.Unlock()
			return nil
		}
		if c.next == nil {
			c.next = make(chan struct{})
		}
		next := c.next
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
}

// change changes what until looks at.
func (c *changes) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}
