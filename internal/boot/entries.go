// The menu of systemd-boot: an entry a snapshot, and loader.conf, whose default
// is the commit point.
//
// systemd-boot takes the first entry that matches the default, even one without
// tries left, but sorts those last. So a trial has two entries of its own that
// the default matches, the snapshot with its tries and the fallback, ordered by
// their sort keys. The entries by which a person chooses are not counted.

package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/pkg/grubcfg"
)

const (
	trialSuffix = "-trial" // of the id of an entry that is counted
	elseSuffix  = "-else"  // of the one that is booted when its tries are used up
	summaryMark = "# txupd-menu: "
)

// entryName is the name of one of our files.
type entryName struct {
	file   string
	number uint64
	role   string // "", trialSuffix or elseSuffix
	count  grubcfg.BLSName
}

// parseEntryName knows only names that we give.
func parseEntryName(file string) (entryName, bool) {
	count, err := grubcfg.ParseBLSName(file)
	if err != nil {
		return entryName{}, false
	}
	rest, ours := strings.CutPrefix(string(count.ID), "txupd-")
	n := entryName{file: file, count: count}
	for _, role := range []string{trialSuffix, elseSuffix} {
		if digits, ok := strings.CutSuffix(rest, role); ok {
			n.role, rest = role, digits
		}
	}
	n.number, err = strconv.ParseUint(rest, 10, 64)
	exact := string(count.ID) == string(grubcfg.EntryID(n.number))+n.role
	return n, ours && err == nil && exact && (!count.Counting || n.role == trialSuffix)
}

// ownEntries are our files among the entries.
func (s *site) ownEntries() ([]entryName, error) {
	names, err := s.tree.names(s.systemd.entries)
	if err != nil {
		return nil, err
	}
	var own []entryName
	for _, name := range names {
		if n, ok := parseEntryName(name); ok {
			own = append(own, n)
		}
	}
	return own, nil
}

// trialEntry is the counted entry of a snapshot.
func (s *site) trialEntry(number uint64) (entryName, bool, error) {
	own, err := s.ownEntries()
	i := slices.IndexFunc(own, func(n entryName) bool { return n.number == number && n.role == trialSuffix })
	if err != nil || i < 0 {
		return entryName{}, false, err
	}
	return own[i], true, nil
}

// defaultPattern is what loader.conf says.
func defaultPattern(m grubcfg.Summary) string {
	if m.Tries > 0 {
		return string(grubcfg.EntryID(m.Default)) + "-*"
	}
	return string(grubcfg.EntryID(m.Default)) + ".conf"
}

func (s *site) switchEntries(ctx context.Context, m grubcfg.Menu) error {
	if err := m.Validate(); err != nil {
		return err
	}
	id, err := s.uuid(ctx, s.systemd.boot)
	if err != nil {
		return err
	}
	files, err := s.renderEntries(m, id)
	if err != nil {
		return err
	}
	w, err := s.settler(s.systemd.entries)
	if err != nil {
		return err
	}
	defer w.Close()
	for name, text := range files {
		name = path.Join(s.systemd.entries, name)
		if found, err := s.tree.read(name); err == nil && bytes.Equal(found, text) {
			continue
		}
		if err := s.rewrite(name, text, 0o644, nil); err != nil {
			return err
		}
	}
	if err := w.settle(); err != nil {
		return err
	}
	config, err := s.loaderConfig(m.Summary())
	if err != nil {
		return err
	}
	if err := s.put(s.systemd.config, config, 0o644, nil); err != nil {
		return err
	}
	// What is left of the old menu is only in the way of a person's eyes.
	if err := s.dropEntries(files); err != nil {
		s.host.Log.Warn("old boot entries are left", "error", err)
	}
	return nil
}

// renderEntries are the files of a menu by their names.
func (s *site) renderEntries(m grubcfg.Menu, bootUUID string) (map[string][]byte, error) {
	files := map[string][]byte{}
	add := func(name string, e grubcfg.BLSEntry) error {
		text, err := e.Render()
		files[name] = text
		return err
	}
	for _, e := range m.Entries {
		if !strings.EqualFold(e.BootUUID, bootUUID) {
			return nil, fmt.Errorf("the kernel of snapshot %d is not on %s", e.Number, s.seen(s.systemd.boot.Mountpoint))
		}
		b, err := e.BLS()
		if err != nil {
			return nil, err
		}
		if err := add(string(e.ID())+".conf", b); err != nil {
			return nil, err
		}
		if m.Trial == nil || e.Number != m.Default && e.Number != *m.Fallback {
			continue
		}
		name, key, what := string(grubcfg.EntryID(m.Default))+elseSuffix+".conf", "txupd-2", " (fallback)"
		if e.Number == m.Default {
			if name, err = s.trialName(m); err != nil {
				return nil, err
			}
			key, what = "txupd-1", " (trial)"
		}
		b.SortKey, b.Title = key, b.Title+what
		if err := add(name, b); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// trialName keeps the count of a trial that goes on: it is Arm that sets it.
func (s *site) trialName(m grubcfg.Menu) (string, error) {
	found, ok, err := s.trialEntry(m.Default)
	if err != nil {
		return "", err
	}
	if ok && found.count.Counting {
		return found.file, nil
	}
	return armed(m.Default, m.Trial.Tries), nil
}

// armed is the name of a counted entry with all its tries.
func armed(number uint64, tries int) string {
	return grubcfg.BLSName{ID: grubcfg.EntryID(number) + trialSuffix, Counting: true, Left: uint(tries)}.String()
}

// loaderConfig is loader.conf with our default, and its other lines as they are.
func (s *site) loaderConfig(m grubcfg.Summary) ([]byte, error) {
	found, err := s.tree.read(s.systemd.config)
	if err != nil && !absent(err) {
		return nil, err
	}
	return withDefault(found, m)
}

// withDefault is a loader.conf with what m says.
func withDefault(found []byte, m grubcfg.Summary) ([]byte, error) {
	said, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s%s\ndefault %s\n", summaryMark, said, defaultPattern(m))
	for line := range strings.Lines(string(found)) {
		line = strings.TrimRight(line, "\r\n")
		if isDefaultLine(line) || strings.HasPrefix(line, summaryMark) {
			continue
		}
		fmt.Fprintln(&text, line)
	}
	return text.Bytes(), nil
}

// defaultIn is what a loader.conf says by withDefault, false where it does not.
// One that does not agree with itself is grubcfg.ErrMenuChanged.
func defaultIn(text []byte) (m grubcfg.Summary, found bool, err error) {
	pattern := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if said, ok := strings.CutPrefix(line, summaryMark); ok {
			m, found = grubcfg.Summary{}, true
			if err := json.Unmarshal([]byte(said), &m); err != nil {
				return grubcfg.Summary{}, false, fmt.Errorf("%w: %w", grubcfg.ErrMenuChanged, err)
			}
		} else if isDefaultLine(line) {
			pattern = strings.Join(strings.Fields(line), " ")
		}
	}
	if !found {
		return grubcfg.Summary{}, false, nil
	}
	if want := "default " + defaultPattern(m); pattern != want {
		return grubcfg.Summary{}, false, fmt.Errorf("%w: it says %q, not %q", grubcfg.ErrMenuChanged, pattern, want)
	}
	return m, true, nil
}

// isDefaultLine knows both settings that say which entry boots.
func isDefaultLine(line string) bool {
	words := strings.Fields(line)
	return len(words) > 0 && (words[0] == "default" || words[0] == "preferred")
}

// dropEntries removes our entries that are not among the files.
func (s *site) dropEntries(files map[string][]byte) error {
	own, err := s.ownEntries()
	if err != nil {
		return err
	}
	d, err := s.directory(s.systemd.entries)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, n := range own {
		if _, needed := files[n.file]; !needed {
			err = errors.Join(err, remove(d, n.file))
		}
	}
	return errors.Join(err, d.Sync())
}

func (s *site) entriesState() (State, error) {
	m, found, err := s.entriesSummary()
	if err != nil || !found {
		return State{}, err
	}
	st := State{Found: true, Default: m.Default, Fallback: m.Fallback, Trial: m.Tries > 0, Tries: m.Tries, Entries: m.Entries}
	return st, nil
}

// entriesSummary is what loader.conf says, which has to agree with itself and
// with the entries that are there.
func (s *site) entriesSummary() (grubcfg.Summary, bool, error) {
	text, err := s.tree.read(s.systemd.config)
	if absent(err) {
		return grubcfg.Summary{}, false, nil
	}
	if err != nil {
		return grubcfg.Summary{}, false, err
	}
	m, found, err := defaultIn(text)
	if err != nil {
		return m, false, fmt.Errorf("/%s: %w", s.systemd.config, err)
	}
	if !found {
		return m, false, nil
	}
	own, err := s.ownEntries()
	if err != nil {
		return m, false, err
	}
	for _, number := range m.Entries {
		if !slices.ContainsFunc(own, func(n entryName) bool { return n.number == number && n.role == "" }) {
			return m, false, fmt.Errorf("/%s: %w: the entry of snapshot %d is gone", s.systemd.entries, grubcfg.ErrMenuChanged, number)
		}
	}
	return m, true, nil
}

// entryTexts is all that our entries say.
func (s *site) entryTexts() (string, error) {
	own, err := s.ownEntries()
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, n := range own {
		text, err := s.tree.read(path.Join(s.systemd.entries, n.file))
		if err != nil {
			return "", err
		}
		all.Write(text)
	}
	return all.String(), nil
}

// renameEntry gives an entry another name: another count.
func (s *site) renameEntry(from, to string) error {
	if from == to {
		return nil
	}
	w, err := s.settler(s.systemd.entries)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := failpoint.Around("boot/rename-entry", func() error { return unix.Renameat(int(w.dir.Fd()), from, int(w.dir.Fd()), to) }); err != nil {
		return fmt.Errorf("cannot rename boot entry %s to %s: %w", from, to, err)
	}
	return w.settle()
}
