// Commits that are wanted without conflicts only.

package update

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/etcmerge"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// accepts is asked what a merge will do before it is done: a strict transaction
// takes no conflict, and the error is of kind ErrConflicts then.
func (t *Transaction) accepts(rows []record.EtcDecision) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.strict {
		return nil
	}
	return noConflicts(rows)
}

// noConflicts is an error of kind ErrConflicts that names those among some decisions.
func noConflicts(rows []record.EtcDecision) error {
	var paths []string
	for _, d := range rows {
		if d.Decision == string(etcmerge.Conflict) {
			paths = append(paths, d.Path)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	named := strings.Join(paths[:min(len(paths), mostNamed)], ", ")
	if more := len(paths) - mostNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("%w with what was edited in the running /etc: %s", fault.ErrConflicts, named)
}

// foresee looks, before anything is ended or sealed, whether the merge will
// have conflicts. What is edited while it looks, the merge itself refuses.
func (t *Transaction) foresee(ctx context.Context) error {
	u := t.u
	booted, err := u.Store.Booted()
	if err != nil {
		return err
	}
	t.mu.Lock()
	rec := t.rec
	t.mu.Unlock()
	if rec.EtcOf == "" || rec.EtcOf != booted.UUID.String() {
		return nil // nothing is merged
	}
	err = u.planEtc(ctx, rec, u.Store.Path(t.number, snapshot.RoleSnapshot), func(plan *etcmerge.Plan) error { return noConflicts(decisions(plan)) })
	if errors.Is(err, etcmerge.ErrUnfinished) {
		return nil // the merge knows more once that is undone
	}
	return err
}
