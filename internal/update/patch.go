// The contents of files that differ between two trees. Nothing in a tree leads
// out of it: files are opened below its directory, and links are read, never followed.

package update

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/textdiff"
	"github.com/txupd/txupd/pkg/journal/record"
)

// What is shown of contents: more is for other tools.
const (
	mostPatches   = 5000
	mostPatchText = 8 << 20 // all of it
	mostPatched   = 1 << 20 // of one file
)

// patch adds what became of the contents of the files in doc.
func (d *differ) patch(before, after side, doc *bus.Diff) error {
	left, err := os.OpenRoot(before.Dir)
	if err != nil {
		return err
	}
	defer left.Close()
	right, err := os.OpenRoot(after.Dir)
	if err != nil {
		return err
	}
	defer right.Close()
	doc.Patches = []bus.Patch{}
	text := 0
	for _, f := range doc.Files {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if len(doc.Patches) >= mostPatches || text >= mostPatchText {
			doc.PatchesCut = true
			return nil
		}
		p, err := patchOf(left, right, f, d.q.Context)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", f.Path, err)
		}
		text += len(p.Text)
		doc.Patches = append(doc.Patches, p)
	}
	return nil
}

func patchOf(left, right *os.Root, f record.FileChange, context int) (bus.Patch, error) {
	p := bus.Patch{Path: f.Path, Change: f.Change, Owner: f.Owner}
	name := strings.TrimPrefix(f.Path, "/")
	if name == "" {
		name = "."
	}
	var err error
	if p.Before, err = describeFile(left, name); err != nil {
		return p, err
	}
	if p.After, err = describeFile(right, name); err != nil {
		return p, err
	}
	isFile := func(side *bus.File) bool { return side != nil && side.Type == bus.FileRegular }
	if !isFile(p.Before) && !isFile(p.After) {
		return p, nil
	}
	var old, now []byte
	for _, one := range []struct {
		side *bus.File
		root *os.Root
		into *[]byte
	}{{p.Before, left, &old}, {p.After, right, &now}} {
		if !isFile(one.side) {
			continue
		}
		if one.side.Size > mostPatched {
			p.TooLarge = true
			return p, nil
		}
		if *one.into, err = readIn(one.root, name); err != nil {
			return p, err
		}
	}
	switch {
	case bytes.Equal(old, now):
	case !textdiff.IsText(old) || !textdiff.IsText(now):
		p.Binary = true
	default:
		p.Text = textdiff.Unified(old, now, context)
	}
	return p, nil
}

// describeFile is nil where there is nothing of that name.
func describeFile(root *os.Root, name string) (*bus.File, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("internal error: a file of type %T", info.Sys())
	}
	f := &bus.File{Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
	switch info.Mode().Type() {
	case 0:
		f.Type, f.Size = bus.FileRegular, st.Size
	case fs.ModeDir:
		f.Type = bus.FileDirectory
	case fs.ModeSymlink:
		f.Type = bus.FileLink
		if f.Target, err = root.Readlink(name); err != nil {
			return nil, err
		}
	case fs.ModeNamedPipe:
		f.Type = bus.FileFIFO
	case fs.ModeSocket:
		f.Type = bus.FileSocket
	default:
		f.Type = bus.FileDevice
	}
	return f, nil
}

// readIn reads a file that is small, without a trace where we may.
func readIn(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOATIME|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, syscall.EPERM) {
		f, err = root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("it is no file any more"))
	}
	data, err := io.ReadAll(io.LimitReader(f, mostPatched+1))
	if err == nil && len(data) > mostPatched {
		err = errors.New("it grew while it was read")
	}
	return data, err
}
