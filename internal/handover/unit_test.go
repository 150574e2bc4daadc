package handover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
)

// cluster makes a directory that looks like PostgreSQL's.
func cluster(t fataler, dir string) {
	t.Helper()
	for name, content := range map[string]string{
		"PG_VERSION": "15", "global/pg_control": "control 1", "base/1/112": "table", "pg_wal/0001": "log", "postgresql.auto.conf": "",
	} {
		write(t, filepath.Join(dir, name), content)
	}
	must(t, os.Chmod(dir, 0o700))
}

func upgrade(t fataler, dir string) {
	t.Helper()
	write(t, dir+"/PG_VERSION", "16")
	write(t, dir+"/global/pg_control", "control 2")
	write(t, dir+"/base/1/200", "new table")
	must(t, os.Remove(dir+"/pg_wal/0001"))
}

const data = "/lib/postgresql/main"

func TestDatabaseIsHandedOverWhole(t *testing.T) {
	top := testbed.Loop(t, 512)
	const kept = "/var/lib/postgresql/main kept /var/lib/postgresql/main.txupd-10 (PostgreSQL database: "
	for i, test := range []struct {
		name   string
		theirs func(dir string) // "" is the directory of the database
		used   string           // a file that a process writes
		rows   string
	}{
		{"as it was", func(string) {}, "", `/var/lib/postgresql/main/PG_VERSION replaced
/var/lib/postgresql/main/base/1/200 created
/var/lib/postgresql/main/global/pg_control replaced
/var/lib/postgresql/main/pg_wal/0001 removed
`},
		{"a file changed that ours leaves alone", func(dir string) { write(t, dir+"/base/1/112", "rows") }, "", kept + "the live side changed it)\n"},
		{"a file added", func(dir string) { write(t, dir+"/base/1/113", "rows") }, "", kept + "the live side changed it)\n"},
		{"a file removed", func(dir string) { must(t, os.Remove(dir+"/postgresql.auto.conf")) }, "", kept + "the live side changed it)\n"},
		{"its server was started", func(dir string) { write(t, dir+"/postmaster.pid", "1") }, "", kept + "the live side changed it)\n"},
		{"all removed", func(dir string) { must(t, os.RemoveAll(dir)) }, "", kept + "the live side removed it)\n"},
		{"in use", func(string) {}, "/base/1/112", kept + "it is in use)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sceneIn(t, filepath.Join(top, fmt.Sprint(i)), func(live string) { cluster(t, live+data) })
			saw := ""
			s.sandbox(t, func(view string) {
				upgrade(t, view+data)
				saw = dump(t, view+data)
			})
			test.theirs(s.live + data)
			before := ""
			if exists(s.live + data) {
				before = dump(t, s.live+data)
			}
			for range 2 {
				end := func() {}
				if test.used != "" {
					end = use(t, "write", s.live+data+test.used)
				}
				rows := tell(s.give(t, 0))
				end()
				equal(t, "rows", rows, test.rows)
				if i == 0 {
					equal(t, "the database", dump(t, s.live+data), saw)
					continue
				}
				if before != "" {
					equal(t, "the live database", dump(t, s.live+data), before)
				} else if exists(s.live + data) {
					t.Error("the database is back")
				}
				// A whole one, which can be started.
				equal(t, "the database beside it", dump(t, s.live+data+".txupd-10"), saw)
			}
		})
	}
}

func TestDatabaseThatTheSandboxOnlyReadStays(t *testing.T) {
	s := newScene(t, func(live string) { cluster(t, live+data) })
	s.sandbox(t, func(view string) {
		must(t, os.Chmod(view+data+"/PG_VERSION", 0o600))
		must(t, os.Chmod(view+data+"/PG_VERSION", 0o644))
		must(t, os.Chmod(view+data, 0o750))
	})
	write(t, s.live+data+"/base/1/112", "rows")
	equal(t, "rows", tell(s.give(t, 0)), "/var/lib/postgresql/main replaced\n")
}

func TestDatabaseMadeOnBothSides(t *testing.T) {
	s := newScene(t, nil)
	s.sandbox(t, func(view string) { cluster(t, view+data); upgrade(t, view+data) })
	cluster(t, s.live+data)
	before := dump(t, s.live+data)
	equal(t, "rows", tell(s.give(t, 0)), `/var/lib created
/var/lib/postgresql created
/var/lib/postgresql/main kept /var/lib/postgresql/main.txupd-10 (PostgreSQL database: the live side changed it)
`)
	equal(t, "the live database", dump(t, s.live+data), before)
}

func TestTreeThatIsADatabase(t *testing.T) {
	s := newScene(t, func(live string) { cluster(t, live) })
	saw := s.sandbox(t, func(view string) { upgrade(t, view) })
	write(t, s.live+"/base/1/112", "rows")
	for range 2 {
		equal(t, "rows", tell(s.give(t, 0)), "/var kept /var/var.txupd-10 (PostgreSQL database: the live side changed it)\n")
	}
	equal(t, "ours", dump(t, s.live+"/var.txupd-10"), saw)
	if read(t, s.live+"/PG_VERSION") != "15" {
		t.Error("the live database was changed")
	}
}

func TestDatabaseHandedOverInPart(t *testing.T) {
	s := newScene(t, func(live string) { cluster(t, live+data) })
	saw := s.sandbox(t, func(view string) { upgrade(t, view+data) })
	live := s.live
	for n := 0; ; n++ {
		s.live = filepath.Join(s.dir, fmt.Sprintf("cut-%d", n))
		fork(t, live, s.live, false)
		step, done := cutAfter(n)
		_, err := give(nowhere, Request{Capture: s.captures[0], Live: s.live}, step)
		if err == nil {
			if *done < 10 {
				t.Errorf("only %d changes", *done)
			}
			return
		}
		if rows := s.give(t, 0); strings.Contains(tell(rows), "kept") {
			t.Errorf("after a cut at %d the rows are\n%s", n, tell(rows))
		}
		equal(t, fmt.Sprintf("after a cut at %d", n), dump(t, s.live), saw)
	}
}

func TestSQLiteFilesStayTogether(t *testing.T) {
	const header = "SQLite format 3\x00"
	top := testbed.Loop(t, 512)
	for i, test := range []struct {
		name, rows   string
		before       []string
		ours, theirs func(dir string)
		used         string
	}{
		{
			"as it was", "/var/db replaced\n/var/db-wal removed\n", []string{"db", header + "1", "db-wal", "1"},
			func(dir string) { write(t, dir+"/db", header+"2"); must(t, os.Remove(dir+"/db-wal")) }, func(string) {}, "",
		},
		{
			"written on the live side, into the log", "/var/db kept /var/db.txupd-10 (SQLite database: the live side changed it)\n", []string{"db", header + "1"},
			func(dir string) { write(t, dir+"/db", header+"2") }, func(dir string) { write(t, dir+"/db-wal", "theirs") }, "",
		},
		{
			"written on both sides, into the log",
			"/var/db kept /var/db.txupd-10 (SQLite database: the live side changed it)\n/var/db-wal kept /var/db.txupd-10-wal (SQLite database: the live side changed it)\n",
			[]string{"db", header + "1"},
			func(dir string) { write(t, dir+"/db", header+"2"); write(t, dir+"/db-wal", "ours") }, func(dir string) { write(t, dir+"/db-wal", "theirs") }, "",
		},
		{
			"its log in use", "/var/db kept /var/db.txupd-10 (SQLite database: it is in use)\n", []string{"db", header + "1", "db-wal", "1"},
			func(dir string) { write(t, dir+"/db", header+"2") }, func(string) {}, "/db-wal",
		},
		{
			"removed, written on the live side", "/var/db kept (SQLite database: the live side changed it)\n/var/db-wal kept (SQLite database: the live side changed it)\n",
			[]string{"db", header + "1", "db-wal", "1"},
			func(dir string) { must(t, os.Remove(dir+"/db")); must(t, os.Remove(dir+"/db-wal")) }, func(dir string) { write(t, dir+"/db-wal", "2") }, "",
		},
		{
			"another one beside it", "/var/db kept /var/db.txupd-10 (SQLite database: the live side changed it)\n/var/other replaced\n",
			[]string{"db", header + "1", "other", header + "1"},
			func(dir string) { write(t, dir+"/db", header+"2"); write(t, dir+"/other", header+"2") },
			func(dir string) { write(t, dir+"/db-journal", "theirs") }, "",
		},
		{
			"only looked at", "/var/other created\n", []string{"db", header + "1"},
			func(dir string) {
				must(t, os.Chmod(dir+"/db", 0o600))
				must(t, os.Chmod(dir+"/db", 0o644))
				write(t, dir+"/other", "x")
			}, func(dir string) { write(t, dir+"/db", header+"2") }, "",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sceneIn(t, filepath.Join(top, fmt.Sprint(i)), func(live string) {
				for i := 0; i < len(test.before); i += 2 {
					write(t, filepath.Join(live, test.before[i]), test.before[i+1])
				}
			})
			s.sandbox(t, test.ours)
			test.theirs(s.live)
			for range 2 {
				end := func() {}
				if test.used != "" {
					end = use(t, "lock", s.live+test.used)
				}
				rows := tell(s.give(t, 0))
				end()
				equal(t, "rows", rows, test.rows)
			}
		})
	}
}

func TestEachKindOfDatabaseIsKnown(t *testing.T) {
	top := testbed.Loop(t, 512)
	for i, d := range databases {
		s := sceneIn(t, filepath.Join(top, fmt.Sprint(i)), func(live string) {
			for _, file := range d.files {
				if strings.Contains(file, "/") || file == "global" || file == "member" || file == "appendonlydir" {
					must(t, os.MkdirAll(live+"/db/"+file, 0o755))
				} else {
					write(t, live+"/db/"+file, "before")
				}
			}
			write(t, live+"/db/one", "before")
			write(t, live+"/db/two", "before")
		})
		s.sandbox(t, func(view string) { write(t, view+"/db/one", "ours") })
		write(t, s.live+"/db/two", "theirs")
		want := "/var/db kept /var/db.txupd-10 (" + d.kind + " database: the live side changed it)\n"
		if rows := tell(s.give(t, 0)); rows != want {
			t.Errorf("%s (%v):\n%s", d.kind, d.files, rows)
		}
	}
}
