// The journal as lines of JSON, for other programs and for another disk. Beside
// what can be read stands what was stored, byte for byte: the hashes of the
// chain are over that, so that an imported journal has the same heads.

package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"

	"go.etcd.io/bbolt"

	"github.com/txupd/txupd/pkg/journal/record"
)

// Types of lines, in the order in which they come.
const (
	lineJournal = "journal"
	lineEvent   = "event"
	lineFiles   = "files"
	lineEnd     = "end"

	exportFormat = 1
	// maxLine is far above the files of any transaction.
	maxLine = 512 << 20
)

// exportLine is one line. Fields that its type does not have are left out.
type exportLine struct {
	Type string `json:"type"`

	Format int     `json:"format,omitempty"` // journal
	Schema *schema `json:"schema,omitempty"` // journal
	Head   *Head   `json:"head,omitempty"`   // journal

	Event *Event `json:"event,omitempty"`

	Number uint64              `json:"number,omitempty"` // files
	Files  []record.FileChange `json:"files,omitempty"`

	// Stored is the event or path list as it stands in the journal.
	Stored []byte `json:"stored,omitempty"`

	Events uint64 `json:"events,omitempty"` // end
	Lists  uint64 `json:"path_lists,omitempty"`
}

// Export writes the events and path lists, one JSON object a line, as they are
// at this moment. Steps of unfinished transactions are left out: they mean
// nothing elsewhere.
func (j *Journal) Export(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	err := j.View(func(tx *Tx) error { return tx.export(ctx, out) })
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("cannot export the journal: %w", err)
	}
	return nil
}

func (tx *Tx) export(ctx context.Context, w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	s, err := tx.schema()
	if err != nil {
		return err
	}
	head, err := tx.Head()
	if err != nil {
		return err
	}
	if err := e.Encode(exportLine{Type: lineJournal, Format: exportFormat, Schema: &s, Head: &head}); err != nil {
		return err
	}
	end := exportLine{Type: lineEnd}
	for event, err := range tx.Events(1) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		stored, err := tx.storedEvent(numberKey(event.Seq))
		if err != nil {
			return err
		}
		if err := e.Encode(exportLine{Type: lineEvent, Event: &event, Stored: stored}); err != nil {
			return err
		}
		end.Events++
	}
	for rec, err := range tx.Records(0, false) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		line := exportLine{Type: lineFiles, Number: rec.Number, Stored: getBlob(tx.files, rec.Number)}
		if line.Stored == nil {
			continue
		}
		if line.Files, err = tx.Files(rec.Number); err != nil {
			return err
		}
		if err := e.Encode(line); err != nil {
			return err
		}
		end.Lists++
	}
	return e.Encode(end)
}

// Import makes a journal at path of what Export wrote: the same events, heads
// and path lists, and records and indexes made of them. There must be no journal
// at path, or one without any event (fs.ErrExist). Nothing is left there where
// the export is cut short or does not fit together.
func Import(ctx context.Context, path string, r io.Reader, o Options) error {
	o = o.withDefaults()
	over, err := isEmpty(path, o)
	if err == nil {
		err = replace(path, o.Timeout, over, func(db *bbolt.DB) error {
			return importInto(ctx, db, path, r)
		})
	}
	if err != nil {
		return fmt.Errorf("cannot import a journal as %s: %w", path, err)
	}
	return nil
}

func importInto(ctx context.Context, db *bbolt.DB, path string, r io.Reader) error {
	i := importer{}
	if err := populate(db, path, func(tx *Tx) error {
		i.tx = tx
		return i.run(ctx, r)
	}); err != nil {
		return err
	}
	// Hashes and checksums fit; what they are of may still be what no journal says.
	pack, err := newPacker()
	if err != nil {
		return err
	}
	defer pack.close()
	return db.View(func(b *bbolt.Tx) error {
		v := &verifier{tx: &Tx{j: &Journal{path: path, id: i.want.Journal, pack: pack}, b: b}}
		if err := v.tx.open(); err != nil {
			return err
		}
		if err := v.run(ctx); err != nil {
			return err
		}
		if !v.report.OK() {
			return fmt.Errorf("it does not fit together: %s", v.report.Problems[0].Text)
		}
		return nil
	})
}

// isEmpty reports whether an empty journal is at path; one that is not is an error.
func isEmpty(path string, o Options) (there bool, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	j, err := Open(path, o)
	if err != nil {
		return false, err
	}
	defer j.Close()
	return true, j.View(func(tx *Tx) error {
		head, err := tx.Head()
		if err == nil && head.Seq > 0 {
			err = fmt.Errorf("%w: its journal has %d events, and only an empty one takes others", fs.ErrExist, head.Seq)
		}
		return err
	})
}

// importer takes lines in their order.
type importer struct {
	tx            *Tx
	at            int // line
	want          Head
	head          Head
	events, lists uint64
	ended         bool
}

func (i *importer) run(ctx context.Context, r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	for lines.Scan() {
		i.at++
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var l exportLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("line %d cannot be read: %w", i.at, err)
		}
		if err := i.line(l); err != nil {
			return fmt.Errorf("line %d: %w", i.at, err)
		}
	}
	switch err := lines.Err(); {
	case err != nil:
		return err
	case i.at == 0:
		return errors.New("it is empty")
	case !i.ended:
		return errors.New("it is cut short: the last line is missing")
	}
	return nil
}

func (i *importer) line(l exportLine) error {
	switch {
	case i.ended:
		return errors.New("it follows the last one")
	case (l.Type == lineJournal) != (i.want.Journal == ""):
		return fmt.Errorf("a line of type %q is not expected here", l.Type)
	}
	switch l.Type {
	case lineJournal:
		return i.begin(l)
	case lineEvent:
		return i.event(l)
	case lineFiles:
		return i.files(l)
	case lineEnd:
		i.ended = true
		if i.head != i.want || l.Events != i.events || l.Lists != i.lists {
			return fmt.Errorf("it tells of %d events and %d path lists up to event %d, but %d and %d came, up to event %d",
				l.Events, l.Lists, i.want.Seq, i.events, i.lists, i.head.Seq)
		}
		return i.tx.putMetaJSON(metaHead, i.head)
	}
	return fmt.Errorf("the type %q is not known", l.Type)
}

func (i *importer) begin(l exportLine) error {
	switch {
	case l.Format != exportFormat:
		return fmt.Errorf("the format %d is not known, only %d is", l.Format, exportFormat)
	case l.Schema == nil || l.Head == nil || l.Head.Journal == "":
		return errors.New("schema or head is missing")
	case l.Schema.Major != schemaMajor:
		return fmt.Errorf("%w: schema %d", ErrNewer, l.Schema.Major)
	}
	i.want = *l.Head
	i.head = Head{Journal: i.want.Journal, Hash: genesis(i.want.Journal)}
	return errors.Join(i.tx.putMetaJSON(metaSchema, l.Schema), i.tx.putMetaJSON(metaID, i.want.Journal))
}

// event appends one as it was stored, and brings its record to what it says.
func (i *importer) event(l exportLine) error {
	key := numberKey(i.head.Seq + 1)
	payload, err := i.tx.j.pack.unpack(key, l.Stored)
	if err != nil {
		return fmt.Errorf("event %d: %w", i.head.Seq+1, err)
	}
	e, err := decodeEvent(payload)
	if err != nil {
		return fmt.Errorf("event %d: %w", i.head.Seq+1, err)
	}
	if e.Seq != i.head.Seq+1 || e.Prev != i.head.Hash {
		return fmt.Errorf("%w: event %d does not follow event %d", ErrChain, e.Seq, i.head.Seq)
	}
	if l.Event == nil || !reflect.DeepEqual(withoutPatch(e), withoutPatch(*l.Event)) || !sameJSON(e.Patch, l.Event.Patch) {
		return fmt.Errorf("event %d: what can be read is not what is stored", e.Seq)
	}
	if err := i.tx.events.Put(key, l.Stored); err != nil {
		return err
	}
	i.head.Seq, i.head.Hash = e.Seq, sum(l.Stored)
	i.events++
	return i.project(e)
}

// withoutPatch is what can be compared as it is; the instant counts, not how it is kept.
func withoutPatch(e Event) Event {
	e.Patch, e.Hash, e.Time = nil, "", e.Time.UTC().Round(0)
	return e
}

func (i *importer) project(e Event) error {
	var patch object
	if len(e.Patch) > 0 {
		if err := json.Unmarshal(e.Patch, &patch); err != nil {
			return err
		}
	}
	if len(patch) == 0 {
		return nil
	}
	tx := i.tx
	old, err := tx.storedRecord(e.Number)
	if err != nil {
		return err
	}
	raw, err := applyPatch(old, patch)
	if err != nil {
		return err
	}
	rec, err := tx.decodeRecord(e.Number, raw)
	if err != nil {
		return err
	}
	if err := tx.index(old, patch, rec); err != nil {
		return err
	}
	key := numberKey(e.Number)
	return tx.records.Put(key, tx.j.pack.pack(key, raw))
}

// files takes one path list, which has to be the one that the record names.
func (i *importer) files(l exportLine) error {
	tx := i.tx
	raw, err := tx.storedRecord(l.Number)
	if err != nil {
		return err
	}
	want, ok, err := listOf(raw)
	if raw == nil || err != nil || !ok || want.SHA256 != sum(l.Stored) {
		return fmt.Errorf("the files of snapshot %d are not those that its record names", l.Number)
	}
	if err := putBlob(tx.files, l.Number, l.Stored); err != nil {
		return err
	}
	changes, err := tx.Files(l.Number)
	if err != nil {
		return err
	}
	i.lists++
	key := numberKey(l.Number)
	return tx.filters.Put(key, packFilter(key, buildFilter(changes)))
}
