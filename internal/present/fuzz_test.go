// The documents of the bus on a screen: what others wrote into them never reaches
// the terminal as anything but text.

package present

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// ours are the styles that this package uses.
var ours = func() *strings.Replacer {
	pairs := []string{ansi.ResetStyle, ""}
	for _, style := range []func(string) string{bold, faint, green, red, amber, cyan} {
		before, _, _ := strings.Cut(style("\x00"), "\x00")
		pairs = append(pairs, before, "")
	}
	return strings.NewReplacer(pairs...)
}()

// harmless fails where a terminal would obey what stands in text.
func harmless(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.Lines(ours.Replace(text)) {
		line = strings.TrimSuffix(line, "\n")
		if i := strings.IndexFunc(line, unprintable); i >= 0 || !utf8.ValidString(line) {
			t.Fatalf("%s prints %q", what, line)
		}
	}
}

// poison adds to every string in v what a terminal would obey.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem())
		}
	case reflect.Interface:
		if s, ok := v.Interface().(string); ok {
			v.Set(reflect.ValueOf(s + "\r\x1b[2J\u009b\u202e\xff"))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				poison(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case reflect.String:
		v.SetString(v.String() + "\r\x1b[2J\u009b\u202e\xff")
	}
}

// documents are what txctl draws, by what is drawn of them.
func documents() map[string]func(Screen) (doc any, draw func() string) {
	d := map[string]func(Screen) (any, func() string){}
	d["status"] = func(s Screen) (any, func() string) {
		var doc struct {
			Status bus.Status
			List   bus.List
		}
		return &doc, func() string { return s.Status(doc.Status, doc.List.Snapshots) }
	}
	d["list"] = func(s Screen) (any, func() string) {
		var doc bus.List
		return &doc, func() string { return s.List(doc) + s.Deletion(doc.Snapshots) }
	}
	d["tree"] = func(s Screen) (any, func() string) {
		var doc bus.List
		return &doc, func() string {
			seen := map[uint64]bool{}
			for _, one := range doc.Snapshots {
				if seen[one.Number] {
					return "" // a number is there once
				}
				seen[one.Number] = true
			}
			return s.Tree(doc)
		}
	}
	d["show"] = func(s Screen) (any, func() string) {
		var doc bus.Shown
		return &doc, func() string { return s.Show(doc.Record, doc.Roles, false) + s.Show(doc.Record, nil, true) }
	}
	d["log"] = func(s Screen) (any, func() string) {
		var doc bus.Log
		return &doc, func() string { return s.Log(doc) + s.FullLog(doc) }
	}
	d["diff"] = func(s Screen) (any, func() string) {
		var doc bus.Diff
		return &doc, func() string {
			all := s.Diff(doc, DiffParts{Packages: true, Files: true}) + s.Diff(doc, DiffParts{Stat: true})
			if s.Width > 0 { // else the text of patches is for programs
				all += s.Patches(doc.Patches) + s.Etc(doc.Patches)
			}
			return all
		}
	}
	d["blame"] = func(s Screen) (any, func() string) {
		var doc bus.Blame
		return &doc, func() string { return s.Blame(doc) }
	}
	d["doctor"] = func(s Screen) (any, func() string) {
		var doc bus.Doctor
		return &doc, func() string { return s.Doctor(doc) }
	}
	d["config"] = func(s Screen) (any, func() string) {
		var doc bus.Config
		return &doc, func() string { return s.Config(doc) }
	}
	d["packages"] = func(s Screen) (any, func() string) {
		var doc bus.Packages
		return &doc, func() string { return s.Packages(doc) }
	}
	d["grep"] = func(s Screen) (any, func() string) {
		var doc bus.Grep
		return &doc, func() string { return s.Matches(doc) }
	}
	d["verify"] = func(s Screen) (any, func() string) {
		var doc bus.Verification
		return &doc, func() string { return s.Verification(doc) }
	}
	d["outcome"] = func(s Screen) (any, func() string) {
		var doc bus.Outcome
		return &doc, func() string {
			return s.PackageChanges(doc.PackageChanges) + s.Committed(doc, Before{}) + s.Failure(FailureOf(doc), 7) + s.Warnings(doc.Warnings)
		}
	}
	d["rollback"] = func(s Screen) (any, func() string) {
		var doc Rollback
		return &doc, func() string { return s.Rollback(doc) }
	}
	return d
}

// FuzzDocuments: any document is drawn, on any screen, and nothing of it is
// obeyed by the terminal, wherever in it somebody put what would be.
func FuzzDocuments(f *testing.F) {
	for name, doc := range map[string]any{
		"status": struct {
			Status bus.Status
			List   bus.List
		}{statuses()["back"], bus.List{Snapshots: []bus.Snapshot{adopted, nginx, upgraded, htop}}},
		"list": bus.List{Snapshots: []bus.Snapshot{adopted, nginx, upgraded, htop}},
		"tree": bus.List{Snapshots: []bus.Snapshot{adopted, nginx, upgraded, htop}},
		"show": bus.Shown{Record: htopRecord(), Roles: []string{bus.RolePending}},
		"log":  bus.Log{Records: []record.Record{htopRecord(), failedRecord(), manyFiles()}},
		"diff": bus.Diff{From: 1, To: 2, Packages: htopRecord().PackageChanges, Files: manyFiles().FileChanges, Warnings: []string{"w"}, Patches: []bus.Patch{{
			Path: "/etc/a", Text: "@@ -1 +1 @@\n-a\n+b\n", Before: &bus.File{Type: bus.FileLink, Target: "x"}, After: &bus.File{Type: bus.FileRegular, Mode: 0o4755},
		}}},
		"blame":    bus.Blame{Subject: "/etc", Changes: []bus.BlamedChange{{Number: 3, Path: "/etc/a", Change: record.Added, Message: "m"}, {Package: &record.PackageChange{Old: "1", New: "2", Change: record.Upgraded}}}},
		"doctor":   bus.Doctor{Root: "/", BootLoader: "GRUB", GrubDir: "/boot/grub", Counter: "c", RootFlags: "r", Fstab: "f", Boot: &bus.Partition{Mount: "/boot"}, ESP: &bus.Partition{Mount: "/e"}, Problems: []bus.Problem{{What: "w", Remedy: "a\nb"}}},
		"config":   bus.Config{Values: []bus.Setting{{Key: "a.b", Value: []any{"x", "y"}, Origin: "/etc/x:3"}, {Key: "c", Value: map[string]any{"k": "v"}}}, Error: "a\nb"},
		"packages": bus.Packages{Packages: []bus.Package{{Name: "htop", Version: "3", Arch: "amd64"}}},
		"grep":     bus.Grep{Text: "x", Matches: []bus.Match{{Number: 3, Line: 1, Text: "a\rb"}}},
		"verify":   bus.Verification{Journal: "J", Hash: "h", Problems: []bus.JournalProblem{{Kind: "edited", Text: "t"}}, Unproven: []string{"u"}, HeadsChecked: 2},
		"outcome":  bus.Outcome{Kind: "run", Error: "Failed", ErrorMessage: "first: \nrest\n", Warnings: []string{"w"}, PackageChanges: htopRecord().PackageChanges},
		"rollback": Rollback{Default: 1, Previous: 2, KernelBefore: "a", KernelAfter: "b", Edits: []record.FileChange{{Path: "/etc/a"}}, Difference: Difference{Brought: []Step{{Number: 3, Kind: "k", Changes: htopRecord().PackageChanges}}}},
	} {
		raw, err := json.Marshal(doc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, raw, uint8(80))
		f.Add(name, raw, uint8(0))
	}
	all := documents()
	f.Fuzz(func(t *testing.T, name string, raw []byte, width uint8) {
		make, known := all[name]
		if !known {
			return
		}
		s := Screen{Width: int(width), Now: now}
		doc, draw := make(s)
		if json.Unmarshal(raw, doc) != nil {
			return
		}
		harmless(t, name, draw())
		poison(reflect.ValueOf(doc))
		harmless(t, name+", poisoned,", draw())
	})
}

// FuzzPlain: text from elsewhere becomes text that can be printed, what could be
// printed stays as it is, and lines are told apart.
func FuzzPlain(f *testing.F) {
	log, err := os.ReadFile("testdata/failure.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(log), 80)
	f.Add("\x1b]0;title\x07 50%\r100%\x1b[K\x1b[0m\r\n\u009b31m\u2028\xff\ufffd\t", 10)
	f.Fuzz(func(t *testing.T, text string, width int) {
		safe := plain(text)
		harmless(t, "plain", safe)
		if strings.Contains(safe, "\n") || plain(safe) != safe || len(safe) > 12*len(text) {
			t.Fatalf("%q becomes %q, and that %q", text, safe, plain(safe))
		}
		if utf8.ValidString(text) && !strings.ContainsFunc(text, unprintable) && safe != text {
			t.Fatalf("%q becomes %q", text, safe)
		}
		for _, l := range lines(text) {
			harmless(t, "lines", l)
		}
		if got := len(lines(text)); got != strings.Count(text, "\n") && got != strings.Count(text, "\n")+1 {
			t.Fatalf("%q is %d lines", text, got)
		}
		s := Screen{Width: width % 200}
		harmless(t, "failure", s.Failure(text, 3)+firstLine(text)+"\n"+s.Output(text)+"\n"+CommandLine(strings.Split(text, " "))+"\n"+cut(safe, width%200))
		if wrapped := s.wrap(safe, 2); !slices.Equal(strings.Fields(strings.Join(wrapped, " ")), strings.Fields(safe)) {
			t.Fatalf("%q is wrapped as %q", safe, wrapped)
		}
	})
}
