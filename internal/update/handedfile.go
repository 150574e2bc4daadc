// N/handed-over.json: what became of each path in hand-overs at boots of N, for
// whoever takes it back. Records have the first of them only.

package update

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/txupd/txupd/internal/atomicfile"
	"github.com/txupd/txupd/internal/handover"
)

// handedTo is N/handed-over.json: what was handed over at a boot of N.
type handedTo struct {
	Boot  string       `json:"boot"`
	Trees []handedTree `json:"trees"`
}

// handedTree is one live tree.
type handedTree struct {
	Tree string `json:"tree"`
	// Forked: there are forks of it from before and after.
	Forked bool          `json:"forked"`
	Given  []handedShare `json:"given"` // the oldest first
}

// handedShare is what one transaction captured of it.
type handedShare struct {
	Number uint64      `json:"number"`
	Rows   []handedRow `json:"rows"`
}

// handedRow is what became of a path. Names need not be UTF-8, so they are bytes.
type handedRow struct {
	Path     []byte            `json:"path"`
	Decision handover.Decision `json:"decision"`
	Aside    []byte            `json:"aside,omitempty"`
	Reason   string            `json:"reason,omitempty"`
}

func handedRows(rows []handover.Row) []handedRow {
	all := make([]handedRow, len(rows))
	for i, r := range rows {
		all[i] = handedRow{Path: []byte(r.Path), Decision: r.Decision, Aside: []byte(r.Aside), Reason: r.Reason}
	}
	return all
}

// handedFile is the name of what is kept of a hand-over beside the snapshot.
const handedFile = "handed-over.json"

// readHandedTo is what was handed over at boots of the snapshot with that
// directory; nothing where there is no file.
func readHandedTo(dir string) (handedTo, error) {
	var done handedTo
	raw, err := os.ReadFile(filepath.Join(dir, handedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return done, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &done)
	}
	if err != nil {
		err = fmt.Errorf("cannot read what was handed over: %w", err)
	}
	return done, err
}

// of is what was handed over to a tree so far.
func (d *handedTo) of(tree string) handedTree {
	if i := slices.IndexFunc(d.Trees, func(t handedTree) bool { return t.Tree == tree }); i >= 0 {
		return d.Trees[i]
	}
	return handedTree{Tree: tree}
}

// rows are those of all that was handed over to it.
func (t *handedTree) rows() []handover.Row {
	var all []handover.Row
	for _, g := range t.Given {
		all = append(all, g.rows(t.Tree)...)
	}
	return all
}

func (s *handedShare) rows(tree string) []handover.Row {
	all := make([]handover.Row, len(s.Rows))
	for i, r := range s.Rows {
		all[i] = handover.Row{Tree: tree, Path: string(r.Path), Decision: r.Decision, Aside: string(r.Aside), Reason: r.Reason}
	}
	return all
}

// add puts a tree in the place of what there is of it.
func (d *handedTo) add(given handedTree) {
	d.Trees = slices.DeleteFunc(slices.Clone(d.Trees), func(t handedTree) bool { return t.Tree == given.Tree })
	d.Trees = append(d.Trees, given)
	slices.SortFunc(d.Trees, func(a, b handedTree) int { return cmp.Compare(a.Tree, b.Tree) })
}

// writeHandedTo replaces the file, durably.
func writeHandedTo(dir string, done handedTo) error {
	raw, err := json.Marshal(done)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, handedFile), raw); err != nil {
		return fmt.Errorf("cannot write what was handed over: %w", err)
	}
	return nil
}
