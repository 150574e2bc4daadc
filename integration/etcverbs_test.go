// `txctl etc` and what goes with it, as a user has it.

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
)

// TestConflictsFromTheirAppearanceToTheirEnd in every layout: refused, shown, counted, settled.
func TestConflictsFromTheirAppearanceToTheirEnd(t *testing.T) {
	for _, layout := range testbed.Layouts {
		t.Run(layout, func(t *testing.T) {
			s := newSystem(t, options{layout: layout, prepare: func(root string) error {
				for _, name := range []string{"a", "b", "c"} {
					if err := os.WriteFile(filepath.Join(root, "etc", name), []byte("was\n"), 0o640); err != nil {
						return err
					}
				}
				return nil
			}})
			if words := s.must("etc").stdout; !strings.Contains(words, "a reboot does nothing to") {
				t.Errorf("where nothing is pending:\n%s", words)
			}
			s.must("begin")
			s.must("exec", "--", "sh", "-c", "for f in a b c; do echo snapshot >/etc/$f; done; echo p >/etc/package")
			for _, name := range []string{"a", "b", "c"} {
				s.edit("etc/"+name, "running\n")
			}
			s.expect(11, "/etc/a, /etc/b, /etc/c", "commit", "--strict")
			if st := s.status(); st.Transaction == nil {
				t.Error("the transaction did not stay open")
			}
			s.must("commit")
			n := s.pending()
			mark := ".txupd-" + itoa64(n)
			status := s.must("status").stdout
			if !strings.Contains(status, "3 conflicts that nobody has decided: /etc/a,") || len(s.status().EtcConflicts) != 3 {
				t.Errorf("status says\n%s", status)
			}
			doc := document[bus.Etc](s, "etc")
			if doc.Snapshot == nil || *doc.Snapshot != n || !doc.Merged || len(doc.Conflicts) != 3 || len(doc.Plan) != 0 {
				t.Errorf("etc tells %+v", doc)
			}
			if diff := s.must("etc", "diff", "/etc/package").stdout; !strings.Contains(diff, "+++ b/etc/package\n@@ -0,0 +1 @@\n+p\n") {
				t.Errorf("etc diff shows\n%s", diff)
			}
			s.must("etc", "resolve", "/etc/a", "--ours")
			s.must("etc", "resolve", "/etc/b"+mark, "--theirs")
			cmd := s.command("etc", "resolve", "/etc/c", "--edit")
			cmd.Env = append(cmd.Env, `EDITOR=sed -i -e '/^[<=>]/d' -e s/snapshot/both/`)
			if r := s.finish(cmd); r.exit != 0 {
				t.Fatalf("with an editor: exit %d\n%s", r.exit, r.stderr)
			}
			s.has(n, "etc/a", "snapshot\n")
			s.has(n, "etc/b", "running\n")
			s.has(n, "etc/c", "running\nboth\n")
			for _, name := range []string{"a", "b", "c"} {
				info, err := os.Stat(s.inSnapshot(n, "etc/"+name))
				if err != nil || info.Mode().Perm() != 0o640 || exists(s.inSnapshot(n, "etc/"+name+mark)) {
					t.Errorf("%s: %v, %v", name, info, err)
				}
			}
			s.expect(4, `"/etc/a"`, "etc", "resolve", "/etc/a", "--ours")
			if st := s.status(); len(st.EtcConflicts) > 0 {
				t.Errorf("status still tells of %+v", st.EtcConflicts)
			}
			rows := s.show(n).EtcDecisions
			if last := rows[len(rows)-1]; last.Decision != bus.ChoiceEdited || last.By == nil || last.By.Name != "root" || last.At == nil {
				t.Errorf("recorded is %+v", last)
			}
			s.must("verify")
		})
	}
}

// TestRollbackKeepsEtc through txctl; those that need another root to run are unit tests of update.
func TestRollbackKeepsEtc(t *testing.T) {
	s := newSystem(t, options{})
	s.must("run", "--", "sh", "-c", "echo p >/etc/package")
	n := s.pending()
	s.must("rollback", "booted")
	s.edit("etc/by-hand", "mine\n")
	s.expect(2, `"mine"`, "rollback", itoa64(n), "--etc=mine")
	if r := s.must("rollback", itoa64(n), "--etc=keep", "--dry-run"); !strings.Contains(r.stdout, "with what was edited in the running") {
		t.Errorf("a dry run says\n%s", r.stdout)
	}
	s.must("rollback", itoa64(n), "--etc=keep")
	m := s.pending()
	if m == n {
		t.Fatal("no new snapshot was made")
	}
	s.has(m, "etc/by-hand", "mine\n")
	s.has(m, "etc/package", "p\n")
	if rec := s.show(m); rec.Kind != "rollback" || *rec.Parent != n {
		t.Errorf("recorded is %+v", rec)
	}
}
