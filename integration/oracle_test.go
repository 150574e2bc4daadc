// The oracle judges what all suites here make; these tests judge the oracle:
// it finds nothing in a sound system, and each of the faults that are planted.

package integration

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/integration/oracle"
	"github.com/txupd/txupd/internal/testbed"
)

// facts looks at the system without its daemon's help, and with the root's fingerprint where asked.
func (s *system) facts(fingerprint bool) oracle.Facts {
	s.t.Helper()
	f, err := oracle.Look(oracle.Options{Root: s.machine.Root, Fingerprint: fingerprint})
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// sound expects that the oracle finds nothing.
func (s *system) sound(what string, before oracle.Facts, e oracle.Expect) oracle.Facts {
	s.t.Helper()
	after := s.facts(before.Fingerprint != nil)
	for _, f := range oracle.Judge(before, after, e) {
		s.t.Errorf("%s: %s", what, f)
	}
	return after
}

func TestTheOracleFindsNothingInASoundSystem(t *testing.T) {
	for _, layout := range testbed.Layouts {
		t.Run(layout, func(t *testing.T) {
			s := newSystem(t, options{layout: layout})
			before := s.facts(true)
			s.must("run", "-m", "one", "--", "touch", "/usr/one")
			one := s.pending()
			s.must("run", "-m", "two", "--", "touch", "/usr/two")
			two := s.pending()
			e := oracle.Expect{Next: []uint64{two}, Acknowledged: []oracle.Acknowledged{{Number: one, Message: "one"}, {Number: two, Message: "two"}}}
			s.sound("after two commits", before, e)
			s.expect(3, "", "run", "--", "sh", "-c", "exit 3")
			s.must("rollback", itoa64(one))
			s.must("delete", "-y", itoa64(two))
			e = oracle.Expect{Next: []uint64{one}, Acknowledged: []oracle.Acknowledged{{Number: one}, {Number: two, Deleted: true}}}
			s.sound("after a failure, a rollback and a deletion", before, e)
			s.must("begin")
			open := s.status().Transaction.Number
			s.must("exec", "--", "touch", "/usr/three")
			e.Open = []uint64{open}
			s.sound("while a transaction is open", before, e)
			s.must("discard")
			e.Open = nil
			s.sound("after it was discarded", before, e)
		})
	}
}

// fault is one that is planted; it returns what takes it away again.
type fault struct {
	name  string
	check oracle.Check
	plant func(t *testing.T) (undo func())
}

// TestTheOracleCatchesPlantedFaults on a machine with a boot partition, so that
// everything that there is to go wrong is there.
func TestTheOracleCatchesPlantedFaults(t *testing.T) {
	s := withGRUB(t, 64, options{})
	before := s.facts(true)
	var acknowledged []oracle.Acknowledged
	journals := map[string]string{}
	for _, message := range []string{"one", "two", "three"} {
		journals[message] = s.savedJournal() // as it was before
		s.must("run", "-m", message, "--", "sh", "-c", "echo said && touch /usr/"+message)
		acknowledged = append(acknowledged, oracle.Acknowledged{Number: s.pending(), Message: message})
	}
	s.must("rollback", "2")
	withThree := s.read(s.bootPath("grub/txupd.cfg"))
	s.must("delete", "-y", "3")
	acknowledged[2].Deleted = true
	s.must("rollback", "1")
	bootsOne := s.read(s.bootPath("grub/txupd.cfg"))
	s.must("rollback", "2")
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	e := oracle.Expect{Next: []uint64{2}, Acknowledged: acknowledged}
	s.sound("before anything is planted", before, e)

	for _, f := range s.faults(journals, withThree, bootsOne) {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			undo := f.plant(t)
			found := oracle.Judge(before, s.facts(true), e)
			undo()
			if !slices.ContainsFunc(found, func(x oracle.Finding) bool { return x.Check == f.check }) {
				t.Errorf("%s: want a finding %q, found %q", f.name, f.check, found)
			}
			t.Logf("%s: %q", f.name, found)
			s.sound("after "+f.name+" was taken away", before, e)
		})
	}
}

func (s *system) read(path string) string {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *system) snapshots(path string) string {
	return filepath.Join(s.machine.Root, ".snapshots", path)
}

func (s *system) journalPath() string { return s.snapshots(".txupd/journal.db") }

// savedJournal is the content of the journal, "" where there is none yet.
func (s *system) savedJournal() string {
	text, err := os.ReadFile(s.journalPath())
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(text)
}

// faults are the planted ones, each with the check that has to catch it.
func (s *system) faults(journals map[string]string, withThree, bootsOne string) []fault {
	menu, env := s.bootPath("grub/txupd.cfg"), s.bootPath("grub/txupd.env")
	two := func(path string) string { return s.inSnapshot(2, path) }
	return []fault{
		{"an orphan directory", oracle.OrphanDir, made(s.snapshots("77"), 0)},
		{"the directory of a deleted snapshot", oracle.OrphanDir, made(s.snapshots("3"), 0)},
		{"an orphan subvolume in the layout", oracle.OrphanSubvol, subvolume(filepath.Join(s.machine.Top, "@stray"))},
		{"an orphan subvolume beside a snapshot", oracle.OrphanSubvol, subvolume(s.snapshots("2/more"))},
		{"an orphan subvolume in a snapshot", oracle.OrphanSubvol, subvolume(two("usr/more"))},
		{"a snapshot that was never published", oracle.OrphanState, made(s.snapshots(".txupd/new-0b0c2d1e-0000-4000-8000-000000000000"), 0)},
		{"a removal that did not end", oracle.OrphanState, made(s.snapshots(".txupd/del-0b0c2d1e-0000-4000-8000-000000000000"), 0)},
		{"the output of nothing", oracle.OrphanState, written(s.snapshots(".txupd/log/99.zst"), "x")},
		{"a stale boot entry", oracle.StaleEntry, written(menu, withThree)},
		{"a menu that boots another", oracle.BootNext, written(menu, bootsOne)},
		{"a menu that was edited", oracle.MenuDamaged, edited(menu, "set default='txupd-2'", "set default='txupd-1'")},
		{"an entry with another root", oracle.MenuDisagrees, edited(menu, "@snapshots/2/snapshot", "@snapshots/1/snapshot")},
		{"another default subvolume than the menu's", oracle.MenuDisagrees, s.otherDefault(s.snapshots("1/snapshot"))},
		{"a default subvolume that is no root", oracle.BootNext, s.otherDefault(s.snapshots("2/base"))},
		{"a counter of a deleted snapshot", oracle.StaleCounter, edited(env, "\n####", "\ntxupd_tries_3=3\n####")},
		{"a journal that lost the last commits", oracle.LostRecord, written(s.journalPath(), journals["three"])},
		{"a journal from before the first commit", oracle.LostRecord, written(s.journalPath(), journals["two"])},
		{"a journal that is cut", oracle.JournalDamaged, written(s.journalPath(), journals["three"][:40<<10])},
		{"an edited event", oracle.BrokenChain, s.journalChanged("events", 3, func(text string) string { return strings.Replace(text, "T", "t", 1) })},
		{"a removed event", oracle.BrokenChain, s.journalChanged("events", 3, nil)},
		{"an edited record", oracle.WrongRecord, s.journalChanged("records", 1, func(text string) string { return strings.Replace(text, "one", "eno", 1) })},
		{"a removed record", oracle.LostRecord, s.journalChanged("records", 2, nil)},
		{"recorded steps", oracle.StepsLeft, s.journalChanged("steps", 2, func(string) string { return `[{"kind":"prepare","status":"intended"}]` })},
		{"a record without its directory", oracle.MissingDir, moved(s.snapshots("1"), s.snapshots(".txupd/hidden"))},
		{"a record without its root", oracle.MissingDir, moved(s.snapshots("1/snapshot"), s.snapshots("1/other"))},
		{"a marker of another transaction", oracle.WrongRecord, edited(s.snapshots("1/record.json"), `"uuid":"`, `"uuid":"f`)},
		{"a byte of the running root", oracle.BootedChanged, quietly(filepath.Join(s.machine.Root, "usr/bin/env"))},
		{"another mode in the running root", oracle.BootedChanged, mode(filepath.Join(s.machine.Root, "usr/bin/env"), 0o4755)},
		{"a new file in the running root", oracle.BootedChanged, made(filepath.Join(s.machine.Root, "etc/new"), 0o644)},
		{"a kernel that nobody needs", oracle.StagedLeft, written(s.bootPath("txupd/"+strings.Repeat("0", 64)+"-vmlinuz"), "kernel")},
		{"a kernel that is half copied", oracle.StagedLeft, written(s.bootPath("txupd/."+strings.Repeat("0", 64)+"-vmlinuz.txupd-new"), "ker")},
		{"a menu that is half written", oracle.LeftBootFile, written(s.bootPath("grub/.txupd.cfg.txupd-new"), "set def")},
		{"a byte of a staged kernel", oracle.NotBootable, quietly(s.staged()[0])},
		{"a staged file that is gone", oracle.NotBootable, moved(s.staged()[0], s.bootPath("other"))},
		{"modules that are missing", oracle.NotBootable, moved(two("usr/lib/modules"), two("usr/lib/not"))},
		{"a root without os-release", oracle.NotBootable, moved(two("usr/lib/os-release"), two("usr/lib/not"))},
		{"a mount of a snapshot", oracle.LeftMount, s.mounted(two(""))},
		{"a mount in the running root", oracle.LeftMount, s.mounted("/proc")},
		{"a mount of a snapshot in another namespace", oracle.LeftMount, s.started("unshare", "--mount", "--propagation=private", "sh", "-c",
			"mount --bind \"$1\" /mnt && echo ready && exec sleep 600", "sh", two(""))},
		{"a process in a snapshot", oracle.LeftProcess, s.started("chroot", two(""), "sh", "-c", "echo ready; exec sleep 600")},
		{"a working directory in a snapshot", oracle.LeftProcess, s.started("env", "--chdir="+two("usr"), "sh", "-c", "echo ready; exec sleep 600")},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// made plants an empty file with a mode, or a directory for 0.
func made(path string, mode os.FileMode) func(*testing.T) func() {
	return func(t *testing.T) func() {
		if mode == 0 {
			must(t, os.Mkdir(path, 0o755))
		} else {
			must(t, os.WriteFile(path, nil, mode))
		}
		return func() { must(t, os.Remove(path)) }
	}
}

func subvolume(path string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		testbed.Run(t, "btrfs", "subvolume", "create", path)
		return func() { testbed.Run(t, "btrfs", "subvolume", "delete", "--commit-after", path) }
	}
}

// written plants a text in the place of what is there.
func written(path, text string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		old, err := os.ReadFile(path)
		must(t, os.WriteFile(path, []byte(text), 0o644))
		return func() {
			if err != nil {
				must(t, os.Remove(path))
				return
			}
			must(t, os.WriteFile(path, old, 0o644))
		}
	}
}

// edited replaces a part of a text, which keeps its length where that is padded with "#".
func edited(path, from, to string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		old, err := os.ReadFile(path)
		must(t, err)
		text := strings.Replace(string(old), from, to, 1)
		if text == string(old) {
			t.Fatalf("%s does not say %q", path, from)
		}
		if strings.HasSuffix(text, "#") {
			text = text[:len(old)]
		}
		return written(path, text)(t)
	}
}

func moved(from, to string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		must(t, os.Rename(from, to))
		return func() { must(t, os.Rename(to, from)) }
	}
}

func mode(path string, mode uint32) func(*testing.T) func() {
	return func(t *testing.T) func() {
		must(t, unix.Chmod(path, mode))
		return func() { must(t, unix.Chmod(path, 0o755)) }
	}
}

// quietly changes one byte; size and time of change stay.
func quietly(path string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		info, err := os.Stat(path)
		must(t, err)
		flip := func() {
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			defer file.Close()
			var b [1]byte
			_, err = file.ReadAt(b[:], info.Size()/2)
			must(t, err)
			b[0] ^= 1
			_, err = file.WriteAt(b[:], info.Size()/2)
			must(t, err)
			must(t, os.Chtimes(path, time.Time{}, info.ModTime()))
		}
		flip()
		return flip
	}
}

// otherDefault makes another subvolume the default.
func (s *system) otherDefault(path string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		testbed.Run(t, "btrfs", "subvolume", "set-default", path)
		return func() { testbed.Run(t, "btrfs", "subvolume", "set-default", s.inSnapshot(2, "")) }
	}
}

// mounted binds a directory over /srv of the running root.
func (s *system) mounted(from string) func(*testing.T) func() {
	at := filepath.Join(s.machine.Root, "srv")
	return func(t *testing.T) func() {
		must(t, unix.Mount(from, at, "", unix.MS_BIND, ""))
		return func() { must(t, unix.Unmount(at, 0)) }
	}
}

// started plants a process, which says "ready".
func (s *system) started(argv ...string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		_, err = fmt.Fscanln(out, new(string))
		must(t, err)
		return func() {
			must(t, cmd.Process.Kill())
			cmd.Wait() // it was killed
		}
	}
}

// journalChanged changes one value of the journal, with a checksum that is
// right; nil removes it.
func (s *system) journalChanged(bucket string, n uint64, change func(string) string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		undo := written(s.journalPath(), s.savedJournal())(t)
		db, err := bbolt.Open(s.journalPath(), 0o600, &bbolt.Options{Timeout: patience})
		must(t, err)
		defer db.Close()
		must(t, db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			key := binary.BigEndian.AppendUint64(nil, n)
			if change == nil {
				return b.Delete(key)
			}
			was := ""
			if stored := b.Get(key); stored != nil {
				if was, err = oracle.Unpack(key, stored); err != nil {
					return err
				}
			}
			text := change(was)
			if text == was {
				t.Fatalf("%s %d stays as it is: %s", bucket, n, was)
			}
			body := append([]byte{0}, text...)
			table := crc32.MakeTable(crc32.Castagnoli)
			sum := crc32.Update(crc32.Checksum(key, table), table, body)
			return b.Put(key, append(binary.LittleEndian.AppendUint32(nil, sum), body...))
		}))
		return undo
	}
}
