// What becomes of one path, case by case.

package handover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

func TestEachCase(t *testing.T) {
	top := testbed.Loop(t, 512)
	remove := func(names ...string) func(string) {
		return func(dir string) {
			for _, name := range names {
				must(t, os.RemoveAll(filepath.Join(dir, name)))
			}
		}
	}
	put := func(pairs ...string) func(string) {
		return func(dir string) {
			for i := 0; i < len(pairs); i += 2 {
				file := filepath.Join(dir, pairs[i])
				if st, err := os.Lstat(file); err == nil && st.IsDir() {
					must(t, os.RemoveAll(file))
				}
				write(t, file, pairs[i+1])
			}
		}
	}
	both := func(deeds ...func(string)) func(string) {
		return func(dir string) {
			for _, d := range deeds {
				d(dir)
			}
		}
	}
	mode := func(name string, mode uint32) func(string) {
		return func(dir string) { must(t, unix.Chmod(filepath.Join(dir, name), mode)) }
	}
	for i, test := range []struct {
		name           string
		before         []string // name, content
		ours, theirs   func(dir string)
		want           []string // name, content; all files that there are
		rows, dirsLeft string   // directories without files
	}{
		{"new file", nil, put("f", "ours"), nil, []string{"f", "ours"}, "/var/f created\n", ""},
		{"new directory", nil, put("d/e/f", "ours"), nil, []string{"d/e/f", "ours"}, "/var/d created\n/var/d/e created\n/var/d/e/f created\n", ""},
		{"changed file", []string{"f", "before"}, put("f", "ours"), nil, []string{"f", "ours"}, "/var/f replaced\n", ""},
		{"changed on both sides", []string{"f", "before"}, put("f", "ours"), put("f", "theirs"), []string{"f", "theirs", "f.txupd-10", "ours"},
			"/var/f kept /var/f.txupd-10 (the live side changed it)\n", ""},
		{"changed alike", []string{"f", "before"}, put("f", "same"), put("f", "same"), []string{"f", "same"}, "/var/f replaced\n", ""},
		{"made on both sides", nil, put("f", "ours"), put("f", "theirs"), []string{"f", "theirs", "f.txupd-10", "ours"},
			"/var/f kept /var/f.txupd-10 (the live side made its own)\n", ""},
		{"same size", []string{"f", "aaaa"}, put("f", "bbbb"), put("f", "cccc"), []string{"f", "cccc", "f.txupd-10", "bbbb"},
			"/var/f kept /var/f.txupd-10 (the live side changed it)\n", ""},
		{"changed by the live side only", []string{"f", "before"}, put("g", "ours"), put("f", "theirs"), []string{"f", "theirs", "g", "ours"}, "/var/g created\n", ""},
		{"removed", []string{"f", "before", "g", "x"}, remove("f"), nil, []string{"g", "x"}, "/var/f removed\n", ""},
		{"removed, changed by the live side", []string{"f", "before"}, remove("f"), put("f", "theirs"), []string{"f", "theirs"},
			"/var/f kept (the live side changed it)\n", ""},
		{"removed on both sides", []string{"f", "before"}, remove("f"), remove("f"), nil, "/var/f removed\n", ""},
		{"changed, removed by the live side", []string{"f", "before"}, put("f", "ours"), remove("f"), []string{"f.txupd-10", "ours"},
			"/var/f kept /var/f.txupd-10 (the live side removed it)\n", ""},
		{"directory removed", []string{"d/e/f", "before"}, remove("d"), nil, nil, "/var/d removed\n", ""},
		{"directory removed, a file changed in it", []string{"d/e/f", "before", "d/g", "x"}, remove("d"), put("d/e/f", "theirs"), []string{"d/e/f", "theirs", "d/g", "x"},
			"/var/d kept (the live side changed it)\n", ""},
		{"directory removed, a file added in it", []string{"d/e/f", "before"}, remove("d"), put("d/new", "theirs"), []string{"d/e/f", "before", "d/new", "theirs"},
			"/var/d kept (the live side changed it)\n", ""},
		{"directory emptied and filled, a file added in it", []string{"d/f", "before", "d/g", "before"}, both(remove("d"), put("d/f", "ours")), put("d/new", "theirs"),
			[]string{"d/f", "ours", "d/new", "theirs"}, "/var/d/f replaced\n/var/d/g removed\n", ""},
		{"directory emptied, a file changed in it", []string{"d/f", "before", "d/g", "before"}, both(remove("d"), put("d/h", "ours")), put("d/g", "theirs"),
			[]string{"d/g", "theirs", "d/h", "ours"}, "/var/d/f removed\n/var/d/g kept (the live side changed it)\n/var/d/h created\n", ""},
		{"directory removed by the live side, a file changed in it", []string{"d/f", "before", "d/g", "x"}, put("d/f", "ours"), remove("d"), []string{"d/f.txupd-10", "ours"},
			"/var/d/f kept /var/d/f.txupd-10 (the live side removed it)\n", ""},
		{"directory removed by the live side, a file added in it", []string{"d/f", "before"}, put("d/new", "ours"), remove("d"), []string{"d/new", "ours"}, "/var/d/new created\n", ""},
		{"directory removed by the live side, its mode changed", []string{"d/f", "before"}, mode("d", 0o700), remove("d"), nil, "/var/d kept (the live side removed it)\n", ""},
		{"file becomes directory", []string{"f", "before"}, both(remove("f"), put("f/g", "ours")), nil, []string{"f/g", "ours"}, "/var/f replaced\n/var/f/g created\n", ""},
		{"file becomes directory, changed by the live side", []string{"f", "before"}, both(remove("f"), put("f/g", "ours")), put("f", "theirs"),
			[]string{"f", "theirs", "f.txupd-10/g", "ours"}, "/var/f kept /var/f.txupd-10 (the live side changed it)\n", ""},
		{"file becomes directory, removed by the live side", []string{"f", "before"}, both(remove("f"), put("f/g", "ours")), remove("f"),
			[]string{"f.txupd-10/g", "ours"}, "/var/f kept /var/f.txupd-10 (the live side removed it)\n", ""},
		{"directory becomes file", []string{"d/e/f", "before"}, put("d", "ours"), nil, []string{"d", "ours"}, "/var/d replaced\n", ""},
		{"directory becomes file, a file changed in it", []string{"d/f", "before"}, put("d", "ours"), put("d/f", "theirs"), []string{"d/f", "theirs", "d.txupd-10", "ours"},
			"/var/d kept /var/d.txupd-10 (the live side changed it)\n", ""},
		{"live file becomes directory", []string{"f", "before"}, put("f", "ours"), both(remove("f"), put("f/g", "theirs")), []string{"f.txupd-10", "ours", "f/g", "theirs"},
			"/var/f kept /var/f.txupd-10 (the live side changed it)\n", ""},
		{"live directory becomes file", []string{"d/f", "before", "d/g", "x"}, put("d/f", "ours"), put("d", "theirs"), []string{"d", "theirs", "d.txupd-10/f", "ours", "d.txupd-10/g", "x"},
			"/var/d kept /var/d.txupd-10 (the live side changed it)\n", ""},
		{"directory made on both sides", nil, put("d/f", "ours", "d/g", "ours"), put("d/f", "theirs", "d/h", "theirs"),
			[]string{"d/f", "theirs", "d/f.txupd-10", "ours", "d/g", "ours", "d/h", "theirs"},
			"/var/d created\n/var/d/f kept /var/d/f.txupd-10 (the live side made its own)\n/var/d/g created\n", ""},
		{"the place beside is taken", []string{"f", "before", "f.txupd-10", "mine"}, put("f", "ours"), put("f", "theirs"),
			[]string{"f", "theirs", "f.txupd-10", "mine", "f.txupd-10-2", "ours"}, "/var/f kept /var/f.txupd-10-2 (the live side changed it)\n", ""},
		{"mode changed", []string{"f", "x"}, mode("f", 0o4711), nil, []string{"f", "x"}, "/var/f replaced\n", ""},
		{"modes changed on both sides", []string{"f", "x"}, mode("f", 0o4711), mode("f", 0o600), []string{"f", "x", "f.txupd-10", "x"},
			"/var/f kept /var/f.txupd-10 (the live side changed it)\n", ""},
		{"directory's mode changed", []string{"d/f", "x"}, mode("d", 0o2770), put("d/g", "theirs"), []string{"d/f", "x", "d/g", "theirs"}, "/var/d replaced\n", ""},
		{"directory's modes changed on both sides", []string{"d/f", "x"}, mode("d", 0o2770), mode("d", 0o700), []string{"d/f", "x"},
			"/var/d kept (the live side changed its mode, owner or attributes)\n", ""},
		{"the tree's own mode changed", []string{"f", "x"}, mode(".", 0o751), nil, []string{"f", "x"}, "/var replaced\n", ""},
		{"empty directories", nil, func(dir string) { must(t, os.MkdirAll(dir+"/a/b", 0o755)) }, nil, nil, "/var/a created\n/var/a/b created\n", "a a/b"},
		{"touched", []string{"f", "x", "d/g", "y"}, func(dir string) {
			must(t, os.Chtimes(dir+"/f", time.Unix(1, 0), time.Unix(1, 0)))
			must(t, os.Chtimes(dir+"/d", time.Unix(1, 0), time.Unix(1, 0)))
			must(t, os.Chmod(dir+"/d/g", 0o600))
			must(t, os.Chmod(dir+"/d/g", 0o644))
		}, put("f", "theirs"), []string{"d/g", "y", "f", "theirs"}, "", ""},
		{"names as they come", []string{"a\xff,b:c\\d\n=", "x"}, put("a\xff,b:c\\d\n=", "ours", " ", "ours", "-rf", "ours"), put("a\xff,b:c\\d\n=", "theirs"),
			[]string{" ", "ours", "-rf", "ours", "a\xff,b:c\\d\n=", "theirs", "a\xff,b:c\\d\n=.txupd-10", "ours"},
			"/var/  created\n/var/-rf created\n/var/a\xff,b:c\\d\n= kept /var/a\xff,b:c\\d\n=.txupd-10 (the live side changed it)\n", ""},
		{"long name", []string{strings.Repeat("n", 255), "before"}, put(strings.Repeat("n", 255), "ours"), put(strings.Repeat("n", 255), "theirs"),
			[]string{strings.Repeat("n", 255), "theirs", besideName(strings.Repeat("n", 255), 10, 1, ""), "ours"},
			"/var/" + strings.Repeat("n", 255) + " kept /var/" + besideName(strings.Repeat("n", 255), 10, 1, "") + " (the live side changed it)\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sceneIn(t, filepath.Join(top, fmt.Sprint(i)), put(test.before...))
			s.sandbox(t, test.ours)
			if test.theirs != nil {
				test.theirs(s.live)
			}
			for run := range 2 {
				rows := s.give(t, 0)
				equal(t, fmt.Sprintf("rows of run %d", run+1), tell(rows), test.rows)
				files, empty := contents(t, s.live)
				var want []string
				for i := 0; i < len(test.want); i += 2 {
					want = append(want, fmt.Sprintf("%q %q\n", test.want[i], test.want[i+1]))
				}
				slices.Sort(want)
				equal(t, fmt.Sprintf("files after run %d", run+1), files, strings.Join(want, ""))
				if test.dirsLeft != "" && empty != test.dirsLeft {
					t.Errorf("directories: %q, want %q", empty, test.dirsLeft)
				}
			}
		})
	}
}
