// The journal, read by its description: buckets of bbolt, values with a
// checksum in front, events that carry the hash of the one before, records that
// are the sum of their events.

package oracle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Journal is what the journal holds.
type Journal struct {
	// Found: there is one.
	Found   bool              `json:"found"`
	ID      string            `json:"id"`
	Head    Head              `json:"head"`
	Events  []Event           `json:"events"`
	Records map[uint64]Record `json:"records"`
	// Steps are the kinds of the recorded steps of unfinished transactions.
	Steps map[uint64][]string `json:"steps"`
	// Damage is what cannot be read, Chain what does not fit in the log of
	// events, Mismatches are records that are not what their events say.
	Damage     []string `json:"damage"`
	Chain      []string `json:"chain"`
	Mismatches []string `json:"mismatches"`
}

// Head is the last event.
type Head struct {
	Journal string `json:"journal"`
	Seq     uint64 `json:"seq"`
	Hash    string `json:"hash"`
}

// Event is one entry of the log.
type Event struct {
	Seq    uint64 `json:"seq"`
	Kind   string `json:"kind"`
	Number uint64 `json:"number"`
}

// Identity is a subvolume as it was recorded.
type Identity struct {
	ID   uint64 `json:"id"`
	UUID string `json:"uuid"`
}

// BootEntry is what a record says that its snapshot boots with.
type BootEntry struct {
	KernelVersion string   `json:"kernel_version"`
	Kernel        string   `json:"kernel"`
	Initrd        []string `json:"initrd"`
	BootUUID      string   `json:"boot_uuid"`
}

// Record is what of a record is judged.
type Record struct {
	Number     uint64              `json:"number"`
	UUID       string              `json:"uuid"`
	Phase      string              `json:"phase"`
	Verdict    string              `json:"verdict"`
	Adopted    bool                `json:"adopted,omitempty"`
	Deleted    *time.Time          `json:"deleted,omitempty"`
	Kind       string              `json:"kind"`
	Message    string              `json:"message"`
	Error      string              `json:"error,omitempty"`
	Kernel     string              `json:"kernel"`
	BootEntry  *BootEntry          `json:"boot_entry,omitempty"`
	Subvolumes map[string]Identity `json:"subvolumes,omitempty"`
	FileList   *struct {
		SHA256 string `json:"sha256"`
		Count  int    `json:"count"`
	} `json:"file_list,omitempty"`
}

// Stands reports whether the snapshot should be there.
func (r Record) Stands() bool {
	return r.Deleted == nil && (r.Phase == "committed" || r.Phase == "open")
}

// isRoot reports whether a subvolume is the root of a record.
func (j *Journal) isRoot(s Subvolume) bool {
	for _, r := range j.Records {
		if r.Stands() && r.Subvolumes["snapshot"] == (Identity{s.ID, s.UUID}) {
			return true
		}
	}
	return false
}

// Marker is record.json beside a snapshot.
type Marker struct {
	Number     uint64              `json:"number"`
	UUID       string              `json:"uuid"`
	Subvolumes map[string]Identity `json:"subvolumes"`
	Record     *Record             `json:"record"`
}

func readMarker(path string) (*Marker, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var m Marker
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return &m, nil
}

// readJournal reads a copy: the daemon, if it runs, has the file locked.
func readJournal(path string) (j Journal, err error) {
	j.Records, j.Steps = map[uint64]Record{}, map[uint64][]string{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return j, err
	}
	defer file.Close()
	j.Found = true
	fd, err := unix.MemfdCreate("journal", unix.MFD_CLOEXEC)
	if err != nil {
		return j, err
	}
	copied := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	defer copied.Close()
	if _, err := io.Copy(copied, file); err != nil {
		return j, fmt.Errorf("cannot copy the journal: %w", err)
	}
	if err := whole(copied); err != nil {
		j.Damage = append(j.Damage, err.Error())
		return j, nil
	}
	if err := j.read(copied); err != nil {
		j.Damage = append(j.Damage, err.Error())
	}
	return j, nil
}

// whole looks whether a file has all pages that its two meta pages count: one
// that is cut would be read beyond its end, which nothing can catch. A meta page
// is a header of 16 bytes, magic, version, page size and flags (4 bytes each), the
// root bucket (16), the freelist, the number of pages and the transaction (8 each).
func whole(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	const size, pages, transaction = 24, 56, 64
	var need, latest uint64
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		meta := make([]byte, 80)
		if _, err := file.ReadAt(meta, at); err != nil {
			return fmt.Errorf("it has no meta page at %d: %w", at, err)
		}
		if n := binary.LittleEndian.Uint64(meta[transaction:]); n >= latest {
			latest = n
			need = binary.LittleEndian.Uint64(meta[pages:]) * uint64(binary.LittleEndian.Uint32(meta[size:]))
		}
	}
	if uint64(info.Size()) < need {
		return fmt.Errorf("it has %d bytes, and its pages need %d", info.Size(), need)
	}
	return nil
}

// read takes the journal apart. What cannot be read is noted; an error or a
// panic of bbolt ends the reading.
func (j *Journal) read(file *os.File) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its pages make no sense: %v", p)
		}
	}()
	db, err := bbolt.Open(file.Name(), 0o600, &bbolt.Options{
		ReadOnly: true,
		OpenFile: func(name string, flags int, mode os.FileMode) (*os.File, error) {
			return os.OpenFile(name, flags, mode)
		},
	})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			j.damage("its pages are damaged: %v", err)
		}
		if len(j.Damage) > 0 {
			return nil
		}
		for _, name := range []string{"meta", "events", "records", "steps", "files"} {
			if tx.Bucket([]byte(name)) == nil {
				return fmt.Errorf("it has no bucket %q", name)
			}
		}
		if err := value(tx.Bucket([]byte("meta")), "id", &j.ID); err != nil {
			return err
		}
		if err := value(tx.Bucket([]byte("meta")), "head", &j.Head); err != nil {
			return err
		}
		replayed := j.readEvents(tx.Bucket([]byte("events")))
		j.readRecords(tx.Bucket([]byte("records")), replayed)
		j.readSteps(tx.Bucket([]byte("steps")))
		j.readLists(tx.Bucket([]byte("files")))
		return nil
	})
}

func (j *Journal) damage(format string, args ...any) {
	j.Damage = append(j.Damage, fmt.Sprintf(format, args...))
}

var decompressor, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))

// unpack returns the content of a stored value: CRC-32C over key and all that
// follows it (4 bytes, little endian), the format (0 plain, 1 zstd), the content.
func unpack(key, stored []byte) ([]byte, error) {
	if len(stored) < 5 {
		return nil, errors.New("it is too short")
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	if crc32.Update(crc32.Checksum(key, table), table, stored[4:]) != binary.LittleEndian.Uint32(stored) {
		return nil, errors.New("its checksum is wrong")
	}
	switch stored[4] {
	case 0:
		return slices.Clone(stored[5:]), nil
	case 1:
		return decompressor.DecodeAll(stored[5:], nil)
	}
	return nil, fmt.Errorf("its format %d is not known", stored[4])
}

// Unpack is the text of a value of the journal as it is stored under a key.
func Unpack(key, stored []byte) (string, error) {
	text, err := unpack(key, stored)
	return string(text), err
}

func value(b *bbolt.Bucket, key string, v any) error {
	stored := b.Get([]byte(key))
	if stored == nil {
		return fmt.Errorf("it has no %s", key)
	}
	content, err := unpack([]byte(key), stored)
	if err == nil {
		err = json.Unmarshal(content, v)
	}
	if err != nil {
		return fmt.Errorf("its %s cannot be read: %w", key, err)
	}
	return nil
}

// each visits the values of a bucket whose keys are numbers.
func (j *Journal) each(b *bbolt.Bucket, what string, visit func(n uint64, key, stored, content []byte)) {
	c := b.Cursor()
	for key, stored := c.First(); key != nil; key, stored = c.Next() {
		if len(key) != 8 {
			j.damage("%s is stored under the key %x", what, key)
			continue
		}
		n := binary.BigEndian.Uint64(key)
		content, err := unpack(key, stored)
		if err != nil {
			j.damage("%s %d cannot be read: %v", what, n, err)
		}
		visit(n, key, stored, content)
	}
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// readEvents goes along the chain, from the hash of the journal's id to the
// head, and returns the records that the events add up to.
func (j *Journal) readEvents(b *bbolt.Bucket) map[uint64]any {
	chain := func(format string, args ...any) { j.Chain = append(j.Chain, fmt.Sprintf(format, args...)) }
	replayed := map[uint64]any{}
	next, prev := uint64(1), hash([]byte(j.ID))
	j.each(b, "event", func(n uint64, _, stored, content []byte) {
		if n != next {
			chain("after event %d comes event %d", next-1, n)
		}
		var e struct {
			Event
			Patch json.RawMessage `json:"patch"`
			Prev  string          `json:"prev"`
		}
		if err := json.Unmarshal(content, &e); err != nil {
			chain("event %d cannot be read: %v", n, err)
		} else {
			if e.Seq != n {
				chain("event %d says that it is event %d", n, e.Seq)
			}
			if e.Prev != prev {
				chain("event %d carries another hash of the one before it", n)
			}
			if patch, err := tree(e.Patch); err != nil {
				chain("event %d has a patch that cannot be read: %v", n, err)
			} else if patch != nil {
				replayed[e.Number] = merge(replayed[e.Number], patch)
			}
			j.Events = append(j.Events, e.Event)
		}
		next, prev = n+1, hash(stored)
	})
	if j.Head.Journal != j.ID || j.Head.Seq != next-1 || j.Head.Hash != prev {
		chain("the head is event %d of journal %s, the last event is %d of %s, or its hash is another", j.Head.Seq, j.Head.Journal, next-1, j.ID)
	}
	return replayed
}

// tree is JSON with its numbers as they are written; nil for nothing.
func tree(raw []byte) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err := d.Decode(&v)
	return v, err
}

// merge applies a merge patch (RFC 7386).
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result := map[string]any{}
	if old, ok := target.(map[string]any); ok {
		for name, v := range old {
			result[name] = v
		}
	}
	for name, v := range changes {
		if v == nil {
			delete(result, name)
			continue
		}
		result[name] = merge(result[name], v)
	}
	return result
}

func (j *Journal) readRecords(b *bbolt.Bucket, replayed map[uint64]any) {
	mismatch := func(format string, args ...any) { j.Mismatches = append(j.Mismatches, fmt.Sprintf(format, args...)) }
	j.each(b, "record", func(n uint64, _, _, content []byte) {
		var r Record
		stored, err := tree(content)
		if err == nil {
			err = json.Unmarshal(content, &r)
		}
		if err != nil {
			j.damage("record %d cannot be read: %v", n, err)
			return
		}
		if r.Number != n {
			mismatch("record %d says that it is record %d", n, r.Number)
		}
		if !reflect.DeepEqual(stored, replayed[n]) {
			mismatch("record %d is not what its events say", n)
		}
		delete(replayed, n)
		j.Records[n] = r
	})
	for n := range replayed {
		mismatch("record %d is missing, and events speak of it", n)
	}
}

func (j *Journal) readSteps(b *bbolt.Bucket) {
	j.each(b, "the steps of transaction", func(n uint64, _, _, content []byte) {
		var steps []struct {
			Kind   string `json:"kind"`
			Status string `json:"status"`
		}
		if err := json.Unmarshal(content, &steps); err != nil {
			j.damage("the steps of transaction %d cannot be read: %v", n, err)
		}
		j.Steps[n] = []string{}
		for _, s := range steps {
			j.Steps[n] = append(j.Steps[n], s.Kind+" ("+s.Status+")")
		}
	})
}

// readLists checks that each record has the list of paths whose hash it names:
// parts under the number and the part's (4 bytes).
func (j *Journal) readLists(b *bbolt.Bucket) {
	lists := map[uint64][]byte{}
	c := b.Cursor()
	for key, part := c.First(); key != nil; key, part = c.Next() {
		if len(key) != 12 {
			j.damage("a list of paths is stored under the key %x", key)
			continue
		}
		n := binary.BigEndian.Uint64(key)
		lists[n] = append(lists[n], part...)
	}
	for n, r := range j.Records {
		if r.FileList != nil && hash(lists[n]) != r.FileList.SHA256 {
			j.Mismatches = append(j.Mismatches, fmt.Sprintf("the list of paths of record %d is not the one that it names", n))
		}
	}
}
