// The contents of what differs between the running /etc and a snapshot's.

package update

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/etcmerge"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/textdiff"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
)

// EtcDiffRequest says what is to be shown.
type EtcDiffRequest struct {
	Snapshot string   // a word or number, "" for the pending one
	Paths    []string // patterns; none is everything
	// Now shows the snapshot's /etc as it is now, not what a reboot will make of both.
	Now     bool
	Context int
}

// EtcDiff tells what becomes of the contents of files in /etc.
func (u *Updater) EtcDiff(ctx context.Context, q EtcDiffRequest) (bus.EtcDiff, error) {
	doc := bus.EtcDiff{Patches: []bus.Patch{}, Warnings: []string{}}
	patterns := make([]journal.Pattern, len(q.Paths))
	for i, text := range q.Paths {
		var err error
		if patterns[i], err = journal.ParsePattern(text); err != nil {
			return doc, fmt.Errorf("%w: %w", fault.ErrInvalidArgument, err)
		}
		if !below(text, "/etc") {
			return doc, fmt.Errorf("%w: path %q: something in /etc is expected", fault.ErrInvalidArgument, text)
		}
	}
	l, err := u.etcLook(q.Snapshot)
	if err != nil {
		return doc, err
	}
	if l.runs {
		return doc, fmt.Errorf("nothing is pending, so name a snapshot: %w", fault.ErrNotFound)
	}
	doc.Booted, doc.Snapshot, doc.Merged = uint64(l.roles.booted.number), uint64(l.of.number), l.merged && !q.Now
	if !doc.Merged && !q.Now {
		doc.Warnings = append(doc.Warnings, l.why)
	}
	p := &patcher{ctx: ctx, doc: &doc, selected: func(path string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(one journal.Pattern) bool { return one.Match(path) })
	}}
	u.comparing.Lock()
	defer u.comparing.Unlock()
	if doc.Merged {
		err = u.planEtc(ctx, l.of.rec, l.dir, func(plan *etcmerge.Plan) error {
			return p.each(etcChanges(plan.Changes), func(f record.FileChange) (bus.Patch, error) { return plannedPatch(plan, f, q.Context) })
		})
		return doc, unreadable(err)
	}
	found, err := u.differences(ctx, l.dir)
	if err != nil {
		return doc, unreadable(err)
	}
	left, err := os.OpenRoot(u.Root)
	if err != nil {
		return doc, err
	}
	defer left.Close()
	right, err := os.OpenRoot(l.dir)
	if err != nil {
		return doc, err
	}
	defer right.Close()
	err = p.each(etcChanges(found), func(f record.FileChange) (bus.Patch, error) { return patchOf(left, right, f, q.Context) })
	return doc, unreadable(err)
}

// patcher collects patches up to what is shown at once.
type patcher struct {
	ctx      context.Context
	doc      *bus.EtcDiff
	selected func(path string) bool
}

func (p *patcher) each(changes []bus.EtcChange, patch func(record.FileChange) (bus.Patch, error)) error {
	p.doc.Patches, p.doc.PatchesCut = []bus.Patch{}, false
	text := 0
	for _, c := range changes {
		if !p.selected(c.Path) {
			continue
		}
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if len(p.doc.Patches) >= mostPatches || text >= mostPatchText {
			p.doc.PatchesCut = true
			return nil
		}
		one, err := patch(record.FileChange{Path: c.Path, Change: c.Change})
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", c.Path, err)
		}
		text += len(one.Text)
		p.doc.Patches = append(p.doc.Patches, one)
	}
	return nil
}

// plannedPatch is what a merge that was only planned makes of a path.
func plannedPatch(plan *etcmerge.Plan, f record.FileChange, context int) (bus.Patch, error) {
	p := bus.Patch{Path: f.Path, Change: f.Change}
	name := inEtc(f.Path)
	if name == "" {
		name = "."
	}
	before, after, err := plan.Facts(name)
	if err != nil {
		return p, err
	}
	p.Before, p.After = fileOf(before), fileOf(after)
	isFile := func(side *bus.File) bool { return side != nil && side.Type == bus.FileRegular }
	if !isFile(p.Before) && !isFile(p.After) {
		return p, nil
	}
	if isFile(p.Before) && p.Before.Size > mostPatched || isFile(p.After) && p.After.Size > mostPatched {
		p.TooLarge = true
		return p, nil
	}
	old, now, err := plan.Contents(name)
	switch {
	case err != nil:
		return p, err
	case bytes.Equal(old, now):
	case !textdiff.IsText(old) || !textdiff.IsText(now):
		p.Binary = true
	default:
		p.Text = textdiff.Unified(old, now, context)
	}
	return p, nil
}

func fileOf(f *etcmerge.Facts) *bus.File {
	if f == nil {
		return nil
	}
	kind, ok := map[uint32]string{
		unix.S_IFREG: bus.FileRegular, unix.S_IFDIR: bus.FileDirectory, unix.S_IFLNK: bus.FileLink,
		unix.S_IFIFO: bus.FileFIFO, unix.S_IFSOCK: bus.FileSocket,
	}[f.Kind]
	if !ok {
		kind = bus.FileDevice
	}
	return &bus.File{Type: kind, Mode: f.Mode, UID: f.UID, GID: f.GID, Size: f.Size, Target: f.Target}
}
