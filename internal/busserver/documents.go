// Answers of any size go through a pipe, from our memory: nobody waits for a
// client that does not read, and what it may leave unread is bounded. A file in
// memory would stay as long as the client likes, and count as ours.

package busserver

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// readPatience is how long a client may read nothing of an answer before the rest is dropped.
	readPatience = 30 * time.Second
	// maxUnread and maxUnreadBytes are what one user's clients may leave unread.
	maxUnread      = 64
	maxUnreadBytes = 64 << 20
)

// document is a value that is sent as a file.
type document []byte

// jsonFile answers with a JSON document as a file.
func (s *Server) jsonFile(doc any, err error) ([]any, error) {
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(doc)
	return []any{document(raw)}, err
}

// documents are those that are being read.
type documents struct {
	patience time.Duration
	busy     func() (done func()) // notes that somebody is being served

	mu     sync.Mutex
	unread map[uint32]unread
	pipes  map[*os.File]bool // the ends that we write; nil once closed
	feeds  sync.WaitGroup
}

// unread is what the clients of one user have not read.
type unread struct{ count, bytes int }

func newDocuments(busy func() func()) *documents {
	return &documents{patience: readPatience, busy: busy, unread: map[uint32]unread{}, pipes: map[*os.File]bool{}}
}

// open puts files in the place of the documents among the values.
func (d *documents) open(uid uint32, values []any) ([]any, error) {
	for i, v := range values {
		raw, ok := v.(document)
		if !ok {
			continue
		}
		f, err := d.feed(uid, raw)
		if err != nil {
			closeFiles(values)
			return nil, err
		}
		values = slices.Clone(values)
		values[i] = f
	}
	return values, nil
}

func closeFiles(values []any) {
	for _, v := range values {
		if f, ok := v.(*os.File); ok {
			f.Close()
		}
	}
}

// feed returns the end to read, and writes the other one.
func (d *documents) feed(uid uint32, raw []byte) (*os.File, error) {
	if err := d.enter(uid, len(raw)); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		d.leave(uid, len(raw))
		return nil, fmt.Errorf("cannot make a pipe for the answer: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pipes == nil {
		w.Close()
		return r, nil
	}
	d.pipes[w] = true
	done, patience := d.busy(), d.patience
	d.feeds.Go(func() {
		defer done()
		defer d.leave(uid, len(raw))
		defer d.drop(w)
		for part := range slices.Chunk(raw, 64<<10) {
			// One who reads nothing, or has gone, does without the rest.
			if w.SetWriteDeadline(time.Now().Add(patience)) != nil {
				return
			}
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	return r, nil
}

func (d *documents) enter(uid uint32, size int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.unread[uid]
	if u.count >= maxUnread || u.count > 0 && u.bytes+size > maxUnreadBytes {
		return errLimits("%d answers of %d bytes to you were not read: read them first", u.count, u.bytes)
	}
	d.unread[uid] = unread{u.count + 1, u.bytes + size}
	return nil
}

func (d *documents) leave(uid uint32, size int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.unread[uid]
	if u = (unread{u.count - 1, u.bytes - size}); u.count == 0 {
		delete(d.unread, uid)
		return
	}
	d.unread[uid] = u
}

func (d *documents) drop(w *os.File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pipes, w)
	w.Close()
}

// close ends what is being read.
func (d *documents) close() {
	d.mu.Lock()
	for w := range d.pipes {
		w.Close()
	}
	d.pipes = nil
	d.mu.Unlock()
	d.feeds.Wait()
}
