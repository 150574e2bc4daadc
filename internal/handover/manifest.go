// The "before" of a tree that could not be forked: notes on what lay below
// the captured paths, taken when the transaction commits. What the live side
// changed since the transaction began cannot be told from what the sandbox saw,
// so it is noted as unknown, which is like nothing else: it will be kept.

package handover

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/atomicfile"
)

// entry is one line of a manifest. Names need not be UTF-8, so they are bytes.
type entry struct {
	Path       []byte    `json:"path"` // in the tree, "/" for its top
	Mode       uint32    `json:"mode"` // st_mode
	UID        uint32    `json:"uid"`
	GID        uint32    `json:"gid"`
	Device     [2]uint32 `json:"device,omitzero"`
	Size       uint64    `json:"size,omitempty"`
	Target     []byte    `json:"target,omitempty"`
	Immutable  bool      `json:"immutable,omitempty"`
	AppendOnly bool      `json:"append_only,omitempty"`
	Attributes string    `json:"attributes,omitempty"`
	Content    string    `json:"content,omitempty"`
	Unknown    bool      `json:"unknown,omitempty"`
}

// manifestEnd closes a manifest, so that one that was cut off is noticed.
const manifestEnd = `{"end":true}` + "\n"

// clockGrain is how much a time stamp may lie behind the clock: old ext file
// systems count in seconds.
const clockGrain = time.Second

// Witness writes down what lies below what was captured, for a tree whose live
// side is among the layers. since is when the transaction began, by the clock
// that the file system's change times come from; the zero time means that this
// clock is not to be trusted, and then everything is unknown. The file at
// path is new, and durable with the next commit of its file system.
func Witness(ctx context.Context, c Capture, since time.Time, path string) error {
	if err := witness(ctx, c, since, path); err != nil {
		return fmt.Errorf("cannot note what %s was: %w", c.Tree, err)
	}
	return nil
}

func witness(ctx context.Context, c Capture, since time.Time, path string) error {
	o, top, err := openUpper(ctx, c.Upper)
	if err != nil {
		return err
	}
	defer o.close()
	b, err := openLayers(ctx, c.Before)
	if err != nil {
		return err
	}
	defer b.close()
	var lines bytes.Buffer
	w := witnessing{ctx: ctx, out: json.NewEncoder(&lines), since: since}
	for _, dir := range c.Before[:len(c.Before)-1] {
		above, err := openPlain(ctx, dir)
		if err != nil {
			return err
		}
		defer above.close()
		w.above = append(w.above, above)
	}
	if err := w.note("/", ".", top, b); err != nil {
		return err
	}
	if kindOf := unitAt(o, b, nil); kindOf != "" {
		err = w.everything("/", b)
	} else {
		err = w.directory("/", o, b)
	}
	if err != nil {
		return err
	}
	lines.WriteString(manifestEnd)
	return atomicfile.Write(path, lines.Bytes())
}

type witnessing struct {
	ctx   context.Context
	out   *json.Encoder
	since time.Time
	// above are the layers over the live tree, which nobody changes.
	above []*plain
}

// live reports whether what is seen at a path is that of the live tree.
func (w *witnessing) live(at string) bool {
	return !slices.ContainsFunc(w.above, func(p *plain) bool { return p.has("." + at) })
}

// directory notes what lies below the entries of a captured directory.
func (w *witnessing) directory(at string, o ours, b *plain) error {
	names, err := o.names()
	if err != nil {
		return err
	}
	if o.opaque() {
		if err := w.everything(at, b); err != nil {
			return err
		}
	}
	for _, name := range withCompanions(names) {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		want, err := o.look(name)
		if err != nil {
			return err
		}
		if err := w.below(path.Join(at, name), name, o, want, b); err != nil {
			return err
		}
	}
	return nil
}

// below notes one captured name.
func (w *witnessing) below(at, name string, o ours, want wanted, b *plain) error {
	if err := w.note(at, name, want, b); err != nil {
		return err
	}
	s, err := b.look(name)
	if err != nil || !s.isDir() {
		return err
	}
	inB, err := b.sub(name)
	if err != nil {
		return err
	}
	defer inB.close()
	if !want.isDir() {
		return w.everything(at, inB)
	}
	inO, err := o.enter(name)
	if err != nil {
		return err
	}
	defer inO.close()
	if unitAt(inO, inB, nil) != "" {
		return w.everything(at, inB)
	}
	return w.directory(at, inO, inB)
}

// everything notes all that a directory holds.
func (w *witnessing) everything(at string, b *plain) error {
	names, err := b.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		below := path.Join(at, name)
		if err := w.note(below, name, wanted{}, b); err != nil {
			return err
		}
		s, err := b.look(name)
		if err != nil {
			return err
		}
		if !s.isDir() || s.mounted {
			continue
		}
		inside, err := b.sub(name)
		if err != nil {
			return err
		}
		err = w.everything(below, inside)
		inside.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// note writes the line of one name, unless there is nothing and was nothing.
func (w *witnessing) note(at, name string, want wanted, b *plain) error {
	s, err := b.look(name)
	if err != nil {
		return err
	}
	e := entry{
		Path: []byte(at), Mode: s.kind | s.mode, UID: s.uid, GID: s.gid, Device: s.device, Size: s.size, Target: []byte(s.target),
		Immutable: s.seal.immutable, AppendOnly: s.seal.appendOnly, Attributes: s.attributes,
	}
	switch {
	case !s.exists() && (want.gone || want.copied):
		// The sandbox saw one; the live side removed it meanwhile.
		e = entry{Path: []byte(at), Unknown: true}
	case !s.exists():
		return nil
	case w.live(at) && (w.since.IsZero() || !stamp(s.changed).Before(w.since.Add(-clockGrain))):
		// It changed, but to what the sandbox left: then it makes no difference which it was.
		alike, err := same(&want.state, &s)
		if err != nil {
			return err
		}
		e.Unknown = !alike
	}
	if s.kind == unix.S_IFREG && !e.Unknown {
		if e.Content, err = s.content(); err != nil {
			return err
		}
	}
	return w.out.Encode(e)
}

func stamp(t unix.StatxTimestamp) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// manifest is what Witness wrote.
type manifest struct {
	states   map[string]state
	children map[string][]string
}

func readManifest(file string) (*manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &manifest{states: map[string]state{}, children: map[string][]string{}}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("cannot read %s: %w", file, err)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: it has no end", file)
		}
		if string(line) == manifestEnd {
			break
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", file, err)
		}
		m.add(e)
	}
	for _, names := range m.children {
		slices.Sort(names)
	}
	return m, nil
}

func (m *manifest) add(e entry) {
	at := string(e.Path)
	if _, twice := m.states[at]; !twice && at != "/" {
		m.children[path.Dir(at)] = append(m.children[path.Dir(at)], path.Base(at))
	}
	s := state{
		kind: e.Mode & unix.S_IFMT, mode: e.Mode &^ unix.S_IFMT, uid: e.UID, gid: e.GID, device: e.Device, size: e.Size,
		target: string(e.Target), seal: seal{e.Immutable, e.AppendOnly}, attributes: e.Attributes, unknown: e.Unknown,
		content: func() (string, error) { return e.Content, nil },
	}
	if s.kind == 0 {
		s.kind = unix.S_IFREG // of what is not known, only that it was there
	}
	m.states[at] = s
}

// noted is a directory of a manifest.
type noted struct {
	*manifest
	at string
}

var _ before = noted{}

func (n noted) look(name string) (state, error) { return n.states[path.Join(n.at, name)], nil }
func (n noted) names() ([]string, error)        { return slices.Clone(n.children[n.at]), nil }
func (n noted) enter(name string) (before, error) {
	return noted{n.manifest, path.Join(n.at, name)}, nil
}
func (n noted) has(name string) bool { s := n.states[path.Join(n.at, name)]; return s.exists() }
func (n noted) close()               {}
