// `txctl tree`: which snapshot was made from which.

package present

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Tree draws the ancestry, the oldest first. What follows in the same column was
// made from what is above it; a line that branches off to the right leads to
// another child of the same one.
func (s Screen) Tree(doc bus.List) string {
	if len(doc.Snapshots) == 0 {
		return "There is no snapshot.\n"
	}
	t := tree{children: map[uint64][]bus.Snapshot{}, leads: map[uint64]int{}, s: s}
	here := map[uint64]bus.Snapshot{}
	for _, one := range doc.Snapshots {
		here[one.Number] = one
	}
	var roots []bus.Snapshot
	for _, one := range doc.Snapshots {
		if p := one.Parent; p != nil && *p < one.Number && has(here, *p) {
			t.children[*p] = append(t.children[*p], one)
		} else {
			roots = append(roots, one)
		}
		// The line to what boots next goes straight down, else the one to what runs.
		for weight, role := range []string{bus.RoleBooted, bus.RoleDefault} {
			if !slices.Contains(one.Roles, role) {
				continue
			}
			for at := one; t.leads[at.Number] < weight+1; at = here[*at.Parent] {
				t.leads[at.Number] = weight + 1
				if at.Parent == nil || *at.Parent >= at.Number || !has(here, *at.Parent) {
					break
				}
			}
		}
	}
	for _, root := range roots {
		t.draw(root, "", "")
	}
	return s.table([]column{{}, {}, {}, {}, {least: 16}}, t.rows, 0)
}

func has[K comparable, V any](m map[K]V, key K) bool { _, ok := m[key]; return ok }

type tree struct {
	s        Screen
	children map[uint64][]bus.Snapshot
	leads    map[uint64]int // to what boots next, or to what runs
	rows     [][]string
}

// draw adds one snapshot and all that was made from it. first stands before it, rest before the others.
func (t *tree) draw(one bus.Snapshot, first, rest string) {
	for {
		mark := "○"
		if slices.Contains(one.Roles, bus.RoleBooted) {
			mark = "●"
		}
		edge := ""
		if one.Parent != nil {
			edge = signs(one.Packages, one.Files)
		}
		message := why(one.Message, one.Kind)
		if one.Foreign {
			message = faint("(not made by txupd)")
		}
		t.rows = append(t.rows, []string{first + mark + " " + fmt.Sprint(one.Number), edge, standingInTree(one), t.s.ago(one.Created), message})
		children := t.children[one.Number]
		if len(children) == 0 {
			return
		}
		slices.SortFunc(children, func(a, b bus.Snapshot) int {
			return cmp.Or(cmp.Compare(t.leads[a.Number], t.leads[b.Number]), cmp.Compare(a.Number, b.Number))
		})
		last := len(children) - 1
		for _, child := range children[:last] {
			t.draw(child, rest+"├─", rest+"│ ")
		}
		one, first = children[last], rest
	}
}

// standingInTree is the roles with the verdict.
func standingInTree(one bus.Snapshot) string {
	if one.Deleted != nil {
		return faint("deleted")
	}
	words := roles(one)
	if one.Verdict == record.Good && !slices.Contains(one.Roles, bus.RoleLastGood) {
		if words != "" {
			words += " "
		}
		words += green("good")
	}
	return words
}
