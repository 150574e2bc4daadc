// A journal that goes to another disk is the same journal there.

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/pkg/journal/record"
)

// exported fills a journal with some transactions and notes, and returns it with its export.
func exported(t *testing.T) (*Journal, []byte) {
	t.Helper()
	j := newJournal(t)
	for n := uint64(1); n <= 30; n++ {
		update(t, j, func(tx *Tx) error { return putTransaction(tx, n, 40) })
	}
	update(t, j, func(tx *Tx) error {
		_, err := tx.Annotate("note", &record.Actor{Name: "ada"}, 7, func(a *record.Annotations) error {
			a.Notes = append(a.Notes, record.Note{Text: "a <note> & more"})
			return nil
		})
		return errors.Join(err, tx.PutFiles(8, []record.FileChange{{Path: "/odd\xff\nname", Change: record.Added}}))
	})
	update(t, j, func(tx *Tx) error { return tx.Tell("repaired", nil, []string{"undid transaction 9"}) })
	var out bytes.Buffer
	if err := j.Export(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return j, out.Bytes()
}

func TestImportedJournalIsTheSame(t *testing.T) {
	j, lines := exported(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := Import(t.Context(), path, bytes.NewReader(lines), Options{}); err != nil {
		t.Fatal(err)
	}
	other := openAt(t, path)
	checkSound(t, other)
	var head Head
	view(t, j, func(tx *Tx) (err error) {
		head, err = tx.Head()
		return err
	})
	if err := other.VerifyHead(head); err != nil {
		t.Errorf("a head that was printed before: %v", err)
	}
	all := func(j *Journal) (recs []record.Record) {
		view(t, j, func(tx *Tx) error {
			for rec, err := range tx.Records(0, false) {
				if err != nil {
					return err
				}
				if rec.FileChanges, err = tx.Files(rec.Number); err != nil {
					return err
				}
				recs = append(recs, rec)
			}
			return nil
		})
		return recs
	}
	if diff := cmp.Diff(all(j), all(other)); diff != "" {
		t.Errorf("-exported +imported:\n%s", diff)
	}
	name := all(j)[3].PackageChanges[0].Name
	view(t, other, func(tx *Tx) error {
		if numbers, err := tx.ByPackage(name); err != nil || len(numbers) == 0 {
			t.Errorf("%s is not in the index: %v", name, err)
		}
		return nil
	})
	var again bytes.Buffer
	if err := other.Export(t.Context(), &again); err != nil || !bytes.Equal(again.Bytes(), lines) {
		t.Errorf("an export of the import differs: %v", err)
	}
}

func TestImportTakesNothingThatDoesNotFit(t *testing.T) {
	_, lines := exported(t)
	all := strings.SplitAfter(strings.TrimSuffix(string(lines), "\n"), "\n")
	without := func(i int) string { return strings.Join(append(append([]string{}, all[:i]...), all[i+1:]...), "") }
	for what, c := range map[string]struct{ text, want string }{
		"nothing":              {"", "empty"},
		"the last line gone":   {strings.Join(all[:len(all)-1], ""), "cut short"},
		"cut in a line":        {string(lines[:len(lines)/2]), "cannot be read"},
		"an event gone":        {without(5), "event"},
		"a path list gone":     {without(len(all) - 2), "path lists"},
		"no beginning":         {without(0), "not expected"},
		"an event twice":       {strings.Join(append(append([]string{}, all[:3]...), all[2:]...), ""), "event"},
		"words changed":        {strings.Replace(string(lines), "a <note> & more", "another note!!!", 1), "not what is stored"},
		"a later format":       {strings.Replace(string(lines), `"format":1`, `"format":2`, 1), "format 2"},
		"something behind":     {string(lines) + all[1], "follows the last"},
		"something else":       {"{}\n", "not expected"},
		"not even JSON":        {"hello\n", "line 1"},
		"another journal's id": {strings.Replace(string(lines), `"head":{"journal":"`, `"head":{"journal":"X`, 1), "does not follow"},
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			err := Import(t.Context(), path, strings.NewReader(c.text), Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 0 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

// TestImportTakesNoJournalThatVerifyWouldRefuse: whoever made the lines knows how to make hashes.
func TestImportTakesNoJournalThatVerifyWouldRefuse(t *testing.T) {
	const begin = `{"kind":"begin","number":1,"patch":{"number":1,"created":"2026-01-02T03:04:05Z"}}` + "\n"
	for what, c := range map[string]struct{ events, want string }{
		"sound":                          {begin + `{"kind":"note","number":1,"patch":{"message":"x"}}`, ""},
		"a member in another spelling":   {begin + `{"kind":"note","number":1,"patch":{"Package_Changes":[{"name":"htop"}]}}`, `index of package "htop"`},
		"files that are nowhere":         {begin + `{"kind":"files","number":1,"patch":{"file_list":{"sha256":"x","count":1}}}`, "files of snapshot 1 are missing"},
		"a record of another's number":   {`{"kind":"begin","number":1,"patch":{"number":2}}`, "record 1 says that it is 2"},
		"a record without a time":        {`{"kind":"begin","number":1,"patch":{"number":1}}`, ""},
		"a package whose name is a book": {begin + `{"kind":"x","number":1,"patch":{"package_changes":[{"name":"` + strings.Repeat("x", maxPackageName+1) + `"}]}}`, "package name"},
	} {
		path := filepath.Join(t.TempDir(), "journal.db")
		err := Import(t.Context(), path, bytes.NewReader(chained(t, []byte(c.events), nil, 0)), Options{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		if err == nil {
			checkSound(t, openAt(t, path))
		}
	}
}

func TestImportOnlyIntoAnEmptyJournal(t *testing.T) {
	j, lines := exported(t)
	path := j.path
	if err := Import(t.Context(), path, bytes.NewReader(lines), Options{Timeout: 1}); !errors.Is(err, ErrLocked) {
		t.Errorf("into one that is open: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Import(t.Context(), path, bytes.NewReader(lines), Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into one with events: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "journal.db")
	if err := openAt(t, empty).Close(); err != nil {
		t.Fatal(err)
	}
	if err := Import(t.Context(), empty, bytes.NewReader(lines), Options{}); err != nil {
		t.Errorf("into an empty one: %v", err)
	}
	checkSound(t, openAt(t, empty))
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct{ pattern, below, yes, no string }{
		{"/", "", "/etc /usr/bin/x", ""},
		{"/etc/", "/etc", "/etc /etc/fstab /etc/a/b", "/etcetera /usr/etc /"},
		{"/etc/fstab", "/etc/fstab", "/etc/fstab", "/etc/fstab~ /etc"},
		{"/etc/*.conf", "/etc", "/etc/a.conf /etc/.conf /etc/d.conf/inside", "/etc/a/b.conf /etc/a.conf2"},
		{"/etc/**.conf", "/etc", "/etc/a.conf /etc/a/b.conf", "/etc/a.confx"},
		{"/usr/bin/[", "/usr/bin/[", "/usr/bin/[", "/usr/bin/x"},
		{"/usr/bin/[a-c]?", "/usr/bin", "/usr/bin/ax /usr/bin/cc", "/usr/bin/dx /usr/bin/a /usr/bin/axx"},
		{"/x/[!a]b", "/x", "/x/cb", "/x/ab /x//b"},
		{`/x/\*`, "/x/*", "/x/*", "/x/y"},
		{"/u*", "", "/usr /usr/bin /u", "/var /x/usr"},
		{"/srv/ü?", "/srv", "/srv/üx", "/srv/ux"},
		{"/x/[+-9]b", "/x", "/x/+b /x/5b", "/x//b /x/b"},
		{`/x/[\d]`, "/x", `/x/\ /x/d`, "/x/7"},
		{"/x/[]-]y", "/x", "/x/]y /x/-y", "/x/ay"},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil || p.Below() != c.below {
			t.Errorf("%s: below %q, %v", c.pattern, p.Below(), err)
			continue
		}
		for yes := range strings.FieldsSeq(c.yes) {
			if !p.Match(yes) {
				t.Errorf("%s does not select %s", c.pattern, yes)
			}
		}
		for no := range strings.FieldsSeq(c.no) {
			if p.Match(no) {
				t.Errorf("%s selects %s", c.pattern, no)
			}
		}
	}
	for bad, want := range map[string]string{
		"": "does not begin", "etc": "does not begin", "*": "does not begin", "/a\x00b": "NUL", "/[z-a]": "a set like [a-z] is expected", "/*\xff": "not valid UTF-8",
		"/" + strings.Repeat("a", maxPattern): "4097 bytes, at most 4096 are accepted",
	} {
		if _, err := ParsePattern(bad); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 200 {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestFilesMatchingAgreesWithBruteForce(t *testing.T) {
	j := newJournal(t)
	for n := uint64(1); n <= 12; n++ {
		update(t, j, func(tx *Tx) error { return putTransaction(tx, n, 120) })
	}
	for _, text := range []string{"/", "/etc", "/etc/ld.so.cache", "/usr/lib/**.so.*", "/usr/share/doc/*", "/usr/share/man/man[12]", "/nothing/*"} {
		p, err := ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		view(t, j, func(tx *Tx) error {
			for n := uint64(1); n <= 12; n++ {
				all, err := tx.Files(n)
				if err != nil {
					return err
				}
				var want []record.FileChange
				for _, c := range all {
					if p.Match(c.Path) {
						want = append(want, c)
					}
				}
				got, err := tx.FilesMatching(n, p)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s in %d: %v, want %v, %v", text, n, got, want, err)
				}
				found += len(got)
			}
			return nil
		})
		if (found == 0) != strings.HasPrefix(text, "/nothing") {
			t.Errorf("%s selects %d paths", text, found)
		}
	}
}

// TestAnnotationsOutliveWhoeverReadTheRecordBefore: a check of a boot may take minutes between its reading and writing.
func TestAnnotationsOutliveWhoeverReadTheRecordBefore(t *testing.T) {
	j := newJournal(t)
	rec := sample(1)
	update(t, j, func(tx *Tx) error { return tx.Put("begin", nil, rec) })
	update(t, j, func(tx *Tx) error {
		_, err := tx.Annotate("pin", nil, 1, func(a *record.Annotations) error {
			a.Pinned, a.Tags = true, nil
			a.Notes = append(a.Notes, record.Note{Text: "keep this one"})
			return nil
		})
		return err
	})
	rec.Verdict = record.Good
	update(t, j, func(tx *Tx) error { return tx.Put("good", nil, rec) })
	view(t, j, func(tx *Tx) error {
		got, err := tx.Record(1)
		if err != nil || !got.Pinned || len(got.Notes) != 1 || len(got.Tags) != 0 || got.Verdict != record.Good {
			t.Errorf("%+v, %v", got, err)
		}
		return nil
	})
	if err := j.Update(func(tx *Tx) error {
		_, err := tx.Annotate("pin", nil, 2, func(*record.Annotations) error { return nil })
		return err
	}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a record that is not there: %v", err)
	}
	checkSound(t, j)
}
