package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// plant makes a tree: a path that ends in "/" is a directory, a value that
// begins with "->" a link, all else a file.
func plant(t *testing.T, tree map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range tree {
		full := filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		target, isLink := strings.CutPrefix(content, "->")
		switch {
		case err != nil:
		case strings.HasSuffix(path, "/"):
			err = os.MkdirAll(full, 0o755)
		case isLink:
			err = os.Symlink(target, full)
		default:
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// These need no root and no btrfs; internal/btrfs has the rest.
func TestWalkNeedsNoRights(t *testing.T) {
	outside := plant(t, map[string]string{"secret": "1", "d/secret": "1"})
	for _, c := range []struct {
		name          string
		before, after map[string]string
		want          []Change
	}{
		{"both empty", nil, nil, nil},
		{"the same", map[string]string{"a/b": "1", "l": "->x"}, map[string]string{"a/b": "1", "l": "->x"}, nil},
		{"sorted by path", nil, map[string]string{"a/b": "1", "a.b": "1", "a!": "1"},
			[]Change{{"/a", Added}, {"/a!", Added}, {"/a.b", Added}, {"/a/b", Added}}},
		{"every kind", map[string]string{"a": "1", "b": "1", "c": "1", "d/x": "1"}, map[string]string{"a": "2", "c": "->b", "d": "1", "e/": ""},
			[]Change{{"/a", Modified}, {"/b", Removed}, {"/c", TypeChanged}, {"/d", TypeChanged}, {"/d/x", Removed}, {"/e", Added}}},
		{"a link is not followed", map[string]string{"l": "->" + outside + "/d", "d/x": ""}, map[string]string{"l": "->" + outside + "/d", "d": "->" + outside + "/d"},
			[]Change{{"/d", TypeChanged}, {"/d/x", Removed}}},
		{"large files that differ at the end", map[string]string{"a": strings.Repeat("x", 1<<20) + "1"}, map[string]string{"a": strings.Repeat("x", 1<<20) + "2"},
			[]Change{{"/a", Modified}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Walk(context.Background(), plant(t, c.before), plant(t, c.after))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWalkOfWhatIsNotADirectory(t *testing.T) {
	dir := plant(t, map[string]string{"file": ""})
	for path, want := range map[string]error{dir + "/none": fs.ErrNotExist, dir + "/file": unix.ENOTDIR} {
		for _, sides := range [][2]string{{dir, path}, {path, dir}} {
			_, err := Walk(context.Background(), sides[0], sides[1])
			if !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v of %s", err, want, path)
			}
		}
	}
}
