// The heads of the journal, printed where root of this machine cannot quietly
// change them: the system journal, which may be sent elsewhere.

package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
)

// HeadMessage is what a printed head is known by in the system journal; its
// fields are journal, seq and hash.
const HeadMessage = "journal head"

// printed is the last head that was.
type printed struct {
	mu  sync.Mutex
	seq uint64
}

// printHead prints the head if it moved: at the end of each change.
func (u *Updater) printHead() {
	u.heads.mu.Lock()
	defer u.heads.mu.Unlock()
	var head journal.Head
	if err := u.Journal.View(func(tx *journal.Tx) (err error) {
		head, err = tx.Head()
		return err
	}); err != nil {
		u.Log.Error("cannot read the journal's head", "error", err)
		return
	}
	if head.Seq == u.heads.seq {
		return
	}
	u.heads.seq = head.Seq
	u.Log.Info(HeadMessage, "journal", head.Journal, "seq", head.Seq, "hash", head.Hash)
}

// Verify checks the chain, what is derived from it, the heads that were printed,
// and one that somebody kept, where kept is not nil. It goes through everything
// that was ever recorded.
func (u *Updater) Verify(ctx context.Context, kept *journal.Head) (bus.Verification, error) {
	u.comparing.Lock()
	defer u.comparing.Unlock()
	report, err := u.Journal.Verify(ctx)
	if err != nil {
		return bus.Verification{}, err
	}
	doc := bus.Verification{
		Journal: u.Journal.ID(), Seq: report.Head.Seq, Hash: report.Head.Hash, Events: report.Events, Records: report.Records, Lists: report.Lists,
		Problems: []bus.JournalProblem{}, Unproven: []string{},
	}
	for _, p := range report.Problems {
		doc.Problems = append(doc.Problems, bus.JournalProblem{Kind: p.Kind, Seq: p.Seq, Number: p.Number, Text: p.Text})
	}
	if kept != nil {
		u.compareHead(*kept, "kept", &doc)
	}
	u.compareHeads(ctx, &doc)
	doc.OK = len(doc.Problems) == 0
	return doc, nil
}

// compareHeads looks for each printed head in the chain, and says what they do not prove.
func (u *Updater) compareHeads(ctx context.Context, doc *bus.Verification) {
	unproven := func(format string, args ...any) { doc.Unproven = append(doc.Unproven, fmt.Sprintf(format, args...)) }
	heads, err := []journal.Head(nil), error(fault.ErrNotSupported)
	if u.Heads != nil {
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		heads, err = u.Heads(ctx)
	}
	for _, h := range heads {
		u.compareHead(h, "printed", doc)
	}
	switch {
	case err != nil:
		unproven("the system journal cannot be read here, so that heads printed to it were not compared: whoever can write the journal could have made the whole chain anew")
	case doc.HeadsChecked == 0:
		unproven("no head of this journal was found in the system journal: whoever can write the journal could have made the whole chain anew")
	case doc.Covered < doc.Seq:
		unproven("events after %d: no printed head vouches for them yet", doc.Covered)
	}
	if doc.HeadsOfOthers > 0 {
		unproven("what was before this journal: %d printed heads are of one that it took the place of", doc.HeadsOfOthers)
	}
	unproven("root can change both journals: send the system journal to another machine, or keep a head elsewhere (\"txctl verify --head\")")
}

// compareHead looks for one head in the chain.
func (u *Updater) compareHead(h journal.Head, how string, doc *bus.Verification) {
	switch err := u.Journal.VerifyHead(h); {
	case errors.Is(err, journal.ErrNotFound):
		doc.HeadsOfOthers++
	case err != nil:
		doc.Problems = append(doc.Problems, bus.JournalProblem{
			Kind: journal.Mismatch, Seq: h.Seq, Text: fmt.Sprintf("the head that was %s for event %d is not in the chain: %v", how, h.Seq, err),
		})
	default:
		doc.HeadsChecked++
		doc.Covered = max(doc.Covered, h.Seq)
	}
}

// ExportJournal writes the journal as lines of JSON into a file that is gone with its descriptor.
func (u *Updater) ExportJournal(ctx context.Context) (*os.File, error) {
	f, err := namelessFile(u.logDir())
	if err != nil {
		return nil, err
	}
	if err = u.Journal.Export(ctx, f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
