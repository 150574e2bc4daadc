// The annotated changelog as its users have it: txctl, the bus, real packages,
// a real shell.

package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

func TestChangelogTellsPackagesFromHands(t *testing.T) {
	s := newSystem(t, options{layout: "debian", prepare: func(root string) error {
		return testbed.UseDebRepo(t.Context(), root,
			testbed.Deb{Name: "greeter", Version: "1.0", Files: map[string]string{"/usr/share/greeter/text": "hello\n", "/etc/greeter.conf": "loud=no\n"}},
			testbed.Deb{Name: "greeter", Version: "2.0", Files: map[string]string{"/usr/share/greeter/text": "hello again\n", "/etc/greeter.conf": "loud=no\n"}})
	}})
	s.must("pkg", "add", "-m", "everybody wants to be greeted", "greeter")
	added := s.pending()
	s.must("run", "-m", "turn it up", "--tag", "fun", "--", "sh", "-c", "echo loud=yes > /etc/greeter.conf; echo mine > /etc/by-hand; echo a loud word; echo shout >&2; rm /etc/issue.net")
	edited := s.pending()
	s.expect(1, "", "run", "-m", "never", "--", "sh", "-c", "echo only in the log; exit 1")

	t.Run("show", func(t *testing.T) {
		rec := s.show(edited)
		owners := map[string]string{}
		for _, f := range rec.FileChanges {
			owners[f.Path] = f.Change + " " + f.Owner
		}
		if owners["/etc/by-hand"] != "added " || owners["/etc/issue.net"] != "removed base-files" || owners["/etc/greeter.conf"] != "modified greeter" {
			t.Errorf("owners %v", owners)
		}
		if rec.Sizes == nil || rec.Sizes.Written != int64(len("loud=yes\nmine\n")) || rec.Sizes.Replaced < int64(len("loud=no\n")) {
			t.Errorf("sizes %+v", rec.Sizes)
		}
		words := s.must("show", itoa64(edited)).stdout
		hands, packages, _ := strings.Cut(words, "Files of packages")
		if !strings.Contains(hands, "Files of no package") || !strings.Contains(hands, "+ /etc/by-hand") || strings.Contains(hands, "~ /etc/greeter.conf") ||
			!strings.Contains(packages, "~ /etc/greeter.conf") {
			t.Errorf("what hands did is not apart:\n%s", words)
		}
		for _, line := range []string{"-loud=no", "+loud=yes", "+mine", "--- a/etc/greeter.conf", "+++ /dev/null"} {
			if !strings.Contains(words, "\n"+line+"\n") {
				t.Errorf("%q is not in\n%s", line, words)
			}
		}
		doc := document[struct {
			Number     uint64      `json:"number"`
			EtcPatches []bus.Patch `json:"etc_patches"`
		}](s, "show", itoa64(edited))
		if doc.Number != edited || len(doc.EtcPatches) != 3 {
			t.Errorf("%+v", doc)
		}
	})
	t.Run("blame", func(t *testing.T) {
		conf := document[bus.Blame](s, "blame", "/etc/greeter.conf")
		if len(conf.Changes) != 2 || conf.Changes[0].Number != edited || conf.Changes[0].Change != record.Modified || conf.Changes[1].Number != added ||
			conf.Changes[1].Owner != "greeter" || conf.Changes[0].Message != "turn it up" {
			t.Errorf("%+v", conf)
		}
		pkg := document[bus.Blame](s, "blame", "greeter")
		if !pkg.IsPackage || len(pkg.Changes) != 1 || pkg.Changes[0].Package.New != "2.0" || pkg.Changes[0].Number != added {
			t.Errorf("%+v", pkg)
		}
		if glob := s.must("blame", "/etc/*-hand").stdout; !strings.Contains(glob, "turn it up") || !strings.Contains(glob, "/etc/by-hand") {
			t.Errorf("%s", glob)
		}
		if none := s.must("blame", "/srv/nothing").stdout; !strings.Contains(none, "No recorded transaction") {
			t.Errorf("%s", none)
		}
	})
	t.Run("log", func(t *testing.T) {
		for _, c := range []struct {
			args []string
			want []uint64
		}{
			{[]string{"--package", "greeter"}, []uint64{added}},
			{[]string{"--path", "/etc/greeter.conf"}, []uint64{edited, added}},
			{[]string{"--tag", "fun"}, []uint64{edited}},
			{[]string{"--state", "failed"}, []uint64{edited + 1}},
			{[]string{"--actor", "root", "-n", "1"}, []uint64{edited + 1}},
			{[]string{"--grep", "GREETED"}, []uint64{added}},
			{[]string{"--since", "1h", "--until", "yesterday"}, nil},
		} {
			var got []uint64
			for _, rec := range document[bus.Log](s, append([]string{"log"}, c.args...)...).Records {
				got = append(got, rec.Number)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("log %q: %v, want %v", c.args, got, c.want)
			}
		}
	})
	t.Run("diff", func(t *testing.T) {
		doc := document[bus.Diff](s, "diff")
		if doc.From != s.status().Booted.Number || doc.To != edited || doc.Recorded || doc.PackageCounts.Added != 1 ||
			len(doc.Packages) != 1 || doc.Packages[0].Name != "greeter" {
			t.Errorf("%+v", doc)
		}
		owner := ""
		for _, f := range doc.Files {
			if f.Path == "/usr/share/greeter/text" {
				owner = f.Owner
			}
		}
		if owner != "greeter" {
			t.Errorf("the owner of a file is %q: %+v", owner, doc.Files)
		}
		patch := s.must("diff", "-p", itoa64(added), itoa64(edited), "/etc/greeter.conf").stdout
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "greeter.conf"), []byte("loud=no\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("patch", "-s", "-p2")
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(patch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("patch does not take it: %v: %s\n%s", err, out, patch)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "greeter.conf")); err != nil || string(text) != "loud=yes\n" {
			t.Errorf("patched: %q %v", text, err)
		}
		back := document[bus.Diff](s, "diff", itoa64(edited), itoa64(added))
		if !back.Recorded || back.FileCounts.Removed == 0 || len(back.Packages) != 0 {
			t.Errorf("backwards: %+v", back)
		}
		if stat := s.must("diff", "--stat").stdout; !strings.Contains(stat, "greeter") || !strings.Contains(stat, "(no package)") {
			t.Errorf("%s", stat)
		}
	})
	t.Run("output", func(t *testing.T) {
		if got := s.must("output", itoa64(edited)).stdout; !strings.Contains(got, "a loud word\n") || !strings.Contains(got, "shout\n") {
			t.Errorf("%q", got)
		}
		grep := document[bus.Grep](s, "grep", "loud word")
		if len(grep.Matches) != 1 || grep.Matches[0].Number != edited || grep.Matches[0].Text != "a loud word" {
			t.Errorf("%+v", grep)
		}
		if got := s.must("grep", "-i", "ONLY in").stdout; !strings.Contains(got, "only in the log") {
			t.Errorf("what failed is not found: %s", got)
		}
		s.expect(4, "nowhere to be found", "grep", "nowhere to be found")
		s.expect(4, "terminal", "replay", itoa64(edited))
		logs, err := filepath.Glob(filepath.Join(s.machine.Root, ".snapshots/.txupd/log/*"))
		if err != nil || len(logs) < 3 {
			t.Fatalf("%q %v", logs, err)
		}
		for _, l := range logs {
			if st, err := os.Stat(l); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", l, st.Mode(), err)
			}
		}
	})
	t.Run("annotate", func(t *testing.T) {
		s.must("note", itoa64(added), "the", "neighbours", "complain")
		s.must("tag", "pending", "noisy", "--remove", "fun")
		s.must("pin", itoa64(added))
		if words := s.must("show", itoa64(added)).stdout; !strings.Contains(words, "the neighbours complain") || !strings.Contains(words, "pinned") {
			t.Errorf("%s", words)
		}
		if tags := s.show(edited).Tags; !slices.Equal(tags, []string{"noisy"}) {
			t.Errorf("tags %q", tags)
		}
		s.must("rollback", "booted")
		s.expect(5, "pinned", "delete", "-y", itoa64(added))
		s.must("unpin", itoa64(added))
		s.must("delete", "-y", itoa64(added))
		tree := s.must("tree").stdout
		if !strings.Contains(tree, "deleted") || !strings.Contains(tree, "turn it up") || !strings.Contains(tree, "+1") {
			t.Errorf("%s", tree)
		}
		s.must("note", itoa64(added), "gone at last")
	})
	t.Run("strangers", func(t *testing.T) {
		nobody := func(args ...string) result {
			cmd := s.command(args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			return s.finish(cmd)
		}
		n := itoa64(edited)
		for _, verb := range [][]string{{"tree"}, {"blame", "/etc"}, {"diff", "booted", n}, {"diff", "--now", "booted", n}, {"verify"}, {"show", n}, {"rollback", "--dry-run", n}} {
			r := nobody(verb...)
			if r.exit != 0 {
				t.Errorf("txctl %v as nobody: exit %d %s", verb, r.exit, r.stderr)
			}
			if strings.Contains(r.stdout, "\n+loud=yes") {
				t.Errorf("txctl %v shows nobody what is in files:\n%s", verb, r.stdout)
			}
		}
		for _, verb := range [][]string{{"diff", "-p", "booted", n}, {"note", n, "x"}, {"tag", n, "x"}, {"pin", n}, {"output", n}, {"replay", n}, {"grep", "x"}, {"journal", "export"}} {
			if r := nobody(verb...); r.exit != 9 || r.stdout != "" {
				t.Errorf("txctl %v as nobody: exit %d, want 9: %s%s", verb, r.exit, r.stdout, r.stderr)
			}
		}
	})
	if doc := document[bus.Verification](s, "verify"); !doc.OK {
		t.Errorf("the journal is not sound: %+v", doc.Problems)
	}
}

func TestChangelogRollbackShowsEditsThatStayBehind(t *testing.T) {
	for _, layout := range []string{"debian", "opensuse"} { // in the latter /etc is a writable subvolume of a sealed root
		t.Run(layout, func(t *testing.T) {
			s := newSystem(t, options{layout: layout})
			s.must("run", "-m", "first", "--", "touch", "/usr/first")
			first := s.pending()
			s.reboot()
			if err := os.WriteFile(filepath.Join(s.machine.Root, "etc/by-hand"), []byte("mine\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			before := s.footprint()
			words := s.must("rollback", "--dry-run").stdout
			if !strings.Contains(words, "+ /etc/by-hand") || !strings.Contains(words, "dry run") {
				t.Errorf("%s", words)
			}
			since := document[bus.Diff](s, "diff", "--now", "booted", itoa64(first))
			if !slices.Contains(since.Files, record.FileChange{Path: "/etc/by-hand", Change: record.Added}) {
				t.Errorf("%+v", since)
			}
			if after := s.footprint(); !slices.Equal(before.Subvolumes, after.Subvolumes) || before.Mounts != after.Mounts {
				t.Errorf("looking left something: before %+v\nafter %+v", before, after)
			}
		})
	}
}

func TestChangelogKeepsShellsButNothingThatWasNotShown(t *testing.T) {
	s := newSystem(t, options{})
	cmd, terminal := s.startShell()
	defer terminal.Close()
	// Taken apart, so that the echo of the line is not taken for what it prints.
	send(t, terminal, "stty -echo; printf 'the wo''rd: '; read word; stty echo; echo; echo le''n=${#word}; touch /usr/by-hand\n")
	readUntil(t, terminal, "the word: ")
	send(t, terminal, "SwordfishIsSecret\n")
	readUntil(t, terminal, "len=17")
	send(t, terminal, "exit\n")
	readUntil(t, terminal, "boots next")
	if got := exitOf(t, cmd); got != 0 {
		t.Fatalf("exit %d", got)
	}
	n := itoa64(s.pending())
	cast := s.must("replay", "--cast", n).stdout
	header, events, _ := strings.Cut(cast, "\n")
	var h struct{ Version, Width, Height int }
	if err := json.Unmarshal([]byte(header), &h); err != nil || h.Version != 2 || h.Width != 97 || h.Height != 31 {
		t.Errorf("header %s: %v", header, err)
	}
	last := -1.0
	for line := range strings.Lines(events) {
		var e [3]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		at, ok := e[0].(float64)
		if !ok || at < last || e[1] != "o" && e[1] != "r" {
			t.Errorf("event %s", line)
		}
		last = at
	}
	played := s.must("replay", "--idle", "0s", n).stdout
	output := s.must("output", n).stdout
	for what, text := range map[string]string{"transcript": played, "output": output} {
		if !strings.Contains(text, "the word: ") || !strings.Contains(text, "len=17") {
			t.Errorf("the %s lacks what was shown:\n%q", what, text)
		}
	}
	s.expect(4, "Swordfish", "grep", "Swordfish")
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	// Nowhere at all: not in the log, not in the journal.
	out, err := exec.Command("grep", "-rl", "SwordfishIsSecret", filepath.Join(s.machine.Root, ".snapshots/.txupd")).CombinedOutput()
	if err == nil {
		t.Errorf("what was typed unseen is in %s", out)
	}
}

func TestChangelogJournalGoesToAnotherDiskAndIsVerified(t *testing.T) {
	s := newSystem(t, options{})
	s.must("run", "-m", "first", "--", "touch", "/usr/first")
	s.must("run", "-m", "second", "--", "touch", "/usr/second")
	s.must("note", "pending", "kept")
	verified := document[bus.Verification](s, "verify")
	if !verified.OK || len(verified.Unproven) == 0 || verified.Records < 3 {
		t.Errorf("%+v", verified)
	}
	head := verified.Journal + ":" + itoa64(verified.Seq) + ":" + verified.Hash
	if !strings.Contains(s.log.String(), "journal="+verified.Journal+" seq="+itoa64(verified.Seq)+" hash="+verified.Hash) {
		t.Error("the daemon did not print the head")
	}
	exported := s.must("journal", "export").stdout
	before := s.must("log", "--json").stdout
	offline := func(input string, args ...string) result {
		cmd := exec.Command(s.programs.Txupd, append([]string{"journal", "--root", s.machine.Root}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		return s.finish(cmd)
	}
	if r := offline("", "compact"); r.exit != 6 {
		t.Errorf("compact under the daemon: exit %d %s", r.exit, r.stderr)
	}
	if err := s.bus.StopDaemon(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.machine.Root, ".snapshots/.txupd/journal.db")
	if r := offline("", "export"); r.exit != 0 || r.stdout != exported {
		t.Errorf("export without the daemon: exit %d, the same: %v %s", r.exit, r.stdout == exported, r.stderr)
	}
	if r := offline(exported, "import", "-"); r.exit == 0 {
		t.Error("an import over a journal succeeded")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r := offline(exported[:len(exported)/2], "import", "-"); r.exit != 1 || exists(path) {
		t.Errorf("half an import: exit %d, there: %v", r.exit, exists(path))
	}
	if r := offline(exported, "import", "-"); r.exit != 0 {
		t.Fatalf("import: exit %d %s", r.exit, r.stderr)
	}
	if r := offline("", "compact"); r.exit != 0 {
		t.Errorf("compact: exit %d %s", r.exit, r.stderr)
	}
	if r := offline("", "check"); r.exit != 0 || !strings.Contains(r.stdout, "nothing is wrong") {
		t.Errorf("check: exit %d %s%s", r.exit, r.stdout, r.stderr)
	}
	if got := s.must("log", "--json").stdout; got != before {
		t.Errorf("the log was\n%s\nand is\n%s", before, got)
	}
	again := document[bus.Verification](s, "verify", "--head", head)
	if !again.OK || again.Covered != verified.Seq || again.Journal != verified.Journal {
		t.Errorf("%+v", again)
	}
	wrong := strings.Replace(head, verified.Hash[:8], "00000000", 1)
	if r := s.txctl("verify", "--head", wrong); r.exit != 1 || !strings.Contains(r.stdout, itoa64(verified.Seq)) {
		t.Errorf("a head that never was: exit %d\n%s", r.exit, r.stdout)
	}
	if !bytes.Contains([]byte(s.must("show", "pending").stdout), []byte("kept")) {
		t.Error("the note is lost")
	}
}
