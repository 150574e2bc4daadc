package etcmerge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// op is one step of applying. Each is one system call on the tree, or changes
// attributes only; each can be undone, and it can be seen whether it was done.
type op struct {
	Do   string `json:"do"`
	From []byte `json:"from"` // paths need not be UTF-8
	To   []byte `json:"to,omitempty"`
	// Ino is of what is at From before: that is how one sees whether a step was done.
	Ino  uint64 `json:"ino"`
	Kind uint32 `json:"kind,omitempty"`
	Old  *saved `json:"old,omitempty"`
	New  *saved `json:"new,omitempty"`
}

const (
	doMove     = "move"
	doExchange = "exchange"
	doAdjust   = "adjust"
)

// saved are attributes in the journal.
type saved struct {
	Mode   uint32            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Flags  uint64            `json:"flags,omitempty"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

func save(a attrs) *saved {
	s := &saved{Mode: a.mode, UID: a.uid, GID: a.gid, Flags: a.flags}
	for name, value := range a.xattrs {
		if s.Xattrs == nil {
			s.Xattrs = map[string][]byte{}
		}
		s.Xattrs[name] = []byte(value)
	}
	return s
}

func (s *saved) attrs() attrs {
	a := attrs{mode: s.Mode & 0o7777, uid: s.UID, gid: s.GID, flags: s.Flags & mergedFlags}
	for name, bytes := range s.Xattrs {
		a.set(name, value{string(bytes), true})
	}
	return a
}

func moveOp(from, to string, ino uint64) op {
	return op{Do: doMove, From: []byte(from), To: []byte(to), Ino: ino}
}

func adjustOp(path string, kind uint32, ino uint64, from, to attrs) op {
	return op{Do: doAdjust, From: []byte(path), Ino: ino, Kind: kind, Old: save(from), New: save(to)}
}

// do performs a step.
func (o op) do(t *target) error {
	switch o.Do {
	case doMove:
		return t.rename(string(o.From), string(o.To), unix.RENAME_NOREPLACE)
	case doExchange:
		return t.rename(string(o.From), string(o.To), unix.RENAME_EXCHANGE)
	case doAdjust:
		return o.dress(t, o.Old, o.New)
	}
	return fmt.Errorf("internal error: unknown step %q", o.Do)
}

// undo reverts a step if it was done, half or not at all.
func (o op) undo(t *target) error {
	switch o.Do {
	case doMove, doExchange:
		at, err := t.inode(string(o.To))
		if err != nil || at != o.Ino {
			return err
		}
		var flags uint = unix.RENAME_NOREPLACE
		if o.Do == doExchange {
			flags = unix.RENAME_EXCHANGE
		}
		return t.rename(string(o.To), string(o.From), flags)
	case doAdjust:
		at, err := t.inode(string(o.From))
		if err != nil || at != o.Ino {
			return err
		}
		return o.dress(t, nil, o.Old)
	}
	return fmt.Errorf("unknown step %q", o.Do)
}

// allBack makes sure that everything that steps move is where it was before the
// first of them. If it is not, somebody else has moved something, and what is in
// the stage may be all that is left of a file.
func allBack(t *target, steps []op) error {
	touched := map[string]bool{}
	for _, o := range steps {
		if o.Do == doAdjust {
			continue
		}
		from, to := string(o.From), string(o.To)
		if !touched[from] {
			at, err := t.inode(from)
			if err != nil {
				return err
			}
			if at != o.Ino {
				return t.failed("move back what was moved to "+to+", to", from, ErrChanged)
			}
		}
		touched[from], touched[to] = true, true
	}
	return nil
}

// dress gives new attributes; without old ones, those that are there are looked up.
func (o op) dress(t *target, old, to *saved) error {
	if to == nil {
		return errors.New("a step without attributes")
	}
	return t.with("give attributes to", string(o.From), func(dir int, base string) error {
		var had attrs
		if old != nil {
			had = old.attrs()
		} else {
			v := &view{name: t.name}
			n, err := v.examine(dir, base)
			if err != nil || n == nil {
				return err
			}
			if n.xattrs, err = xattrsAt(dir, base).read(make([]byte, 512)); err != nil {
				return err
			}
			had = n.attrs
		}
		return dress(dir, base, o.Kind, had, to.attrs())
	})
}

// journalFile is what is written before the first step.
type journalFile struct {
	Version int  `json:"version"`
	Steps   []op `json:"steps"`
}

const journalVersion = 1

// writeJournal puts the steps where Recover finds them.
func writeJournal(t *target, steps []op) error {
	data, err := json.Marshal(journalFile{journalVersion, steps})
	if err != nil {
		return err
	}
	const unfinished = journal + ".new"
	err = t.with("write", unfinished, func(dir int, base string) error {
		how := unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC, Mode: 0o600, Resolve: beneath}
		fd, err := unix.Openat2(dir, base, &how)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), base)
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return err
	}
	return t.rename(unfinished, journal, unix.RENAME_NOREPLACE)
}

// maxJournal is far above what the steps of a merge of any /etc take (bytes).
const maxJournal = 1 << 30

// readJournal returns the steps of an interrupted merge, none if it did not come to the first.
func readJournal(t *target) ([]op, error) {
	var read journalFile
	err := t.with("read", journal, func(dir int, base string) error {
		v := &view{name: t.name}
		n, err := v.examine(dir, base)
		if err != nil || n == nil {
			return err
		}
		if !n.isFile() || n.size > maxJournal {
			return errors.New("it is no journal of a merge")
		}
		f, err := openFile(dir, base, n)
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, &read); err != nil {
			return err
		}
		if read.Version != journalVersion {
			return fmt.Errorf("its version is %d, only %d is known", read.Version, journalVersion)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	return read.Steps, err
}
