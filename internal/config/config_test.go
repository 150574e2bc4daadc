package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/grubcfg"
)

// dirMaker is what testing.T and rapid.T share.
type dirMaker interface {
	Helper()
	Fatal(...any)
}

// write fills a root with files by their path in it.
func write(t dirMaker, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// rooted is a root with files in it.
func rooted(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, files)
	return root
}

var unexported = cmpopts.IgnoreUnexported(Config{})

func TestWithoutFilesTheDefaultsHold(t *testing.T) {
	c, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Boot: Boot{Tries: 3, AutomaticRollbacks: 2, PanicTimeout: 10 * time.Second},
		Health: Health{
			Timeout: time.Minute, TotalTimeout: 10 * time.Minute,
			FailedUnits: true, Network: true, NetworkWait: 30 * time.Second,
		},
		Log:      Log{TotalSize: 256, TransactionSize: 16},
		Packages: Packages{Wait: 20 * time.Second},
		GC:       GC{Automatic: true, Least: 3, Most: 20, FreePercent: 10},
		Auto:     Auto{Policy: "stage"},
		Reboot:   Reboot{Method: "auto", Sessions: true, Spread: 30 * time.Minute, Notice: time.Minute},

		FleetLock: FleetLock{Group: "default"},
	}
	if diff := cmp.Diff(want, c, unexported); diff != "" {
		t.Errorf("without a file (-want +got):\n%s", diff)
	}
	for _, v := range c.Values() {
		if v.Origin != "default" || v.Doc == "" {
			t.Errorf("%s comes from %q, described as %q", v.Key, v.Origin, v.Doc)
		}
	}
	if MaxTries != grubcfg.MaxTries {
		t.Errorf("boot.tries may be %d, the boot loader counts to %d", MaxTries, grubcfg.MaxTries)
	}
}

func TestLaterFilesWinKeyByKey(t *testing.T) {
	root := rooted(t, map[string]string{
		VendorFile:               "[boot]\ntries = 5\nautomatic-rollbacks = 7\npanic-timeout = \"20s\"\n[health]\nignore-units = [\"a.service\", \"b.service\"]\n",
		AdminFile:                "boot.tries = 6\nhealth = { failed-units = false, timeout = '1m30s' }\n",
		AdminDir + "/20-b.toml":  "[boot]\ntries = 0x8\n",
		AdminDir + "/10-a.toml":  "[boot]\ntries = 7\n\n[health]\nignore-units = [\n  # only this one\n  \"c-*.service\",\n]\n",
		AdminDir + "/.hidden":    "not read, and nobody thinks it is",
		"/etc/txupd/other.toml~": "not ours",
	})
	c, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Boot.Tries, want.Boot.AutomaticRollbacks, want.Boot.PanicTimeout = 8, 7, 20*time.Second
	want.Health.FailedUnits, want.Health.Timeout, want.Health.IgnoreUnits = false, 90*time.Second, []string{"c-*.service"}
	if diff := cmp.Diff(want, c, unexported); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := map[string]string{}
	for _, v := range c.Values() {
		got[v.Key] = v.Text() + " " + strings.TrimPrefix(v.Origin, root)
	}
	if diff := cmp.Diff(map[string]string{
		"boot.tries":               "8 /etc/txupd/conf.d/20-b.toml:2",
		"boot.automatic-rollbacks": "7 /usr/lib/txupd/txupd.toml:3",
		"boot.panic-timeout":       `"20s" /usr/lib/txupd/txupd.toml:4`,
		"boot.grub-directory":      `"" default`,
		"health.timeout":           `"1m30s" /etc/txupd/txupd.toml:2`,
		"health.total-timeout":     `"10m" default`,
		"health.failed-units":      "false /etc/txupd/txupd.toml:2",
		"health.network":           "true default",
		"log.total-size":           "256 default",
		"log.transaction-size":     "16 default",
		"packages.wait":            `"20s" default`,
		"etc.lines":                "[] default",
		"etc.whole":                "[] default",
		"etc.set":                  "[] default",
		"etc.state":                "[] default",
		"etc.live":                 "[] default",
		"etc.derived":              "[] default",
		"etc.never":                "[] default",
		"gc.automatic":             "true default",
		"fleetlock.url":            `"" default`,
		"fleetlock.group":          `"default" default`,
		"auto.policy":              `"stage" default`,
		"auto.metered":             "false default",
		"metrics.textfile":         `"" default`,
		"reboot.method":            `"auto" default`,
		"reboot.window":            "[] default",
		"reboot.sessions":          "true default",
		"reboot.spread":            `"30m" default`,
		"reboot.deadline":          `"0s" default`,
		"reboot.notice":            `"1m" default`,
		"gc.least":                 "3 default",
		"gc.most":                  "20 default",
		"gc.days":                  "0 default",
		"gc.tags":                  "[] default",
		"gc.free-percent":          "10 default",
		"health.network-wait":      `"30s" default`,
		"health.ignore-units":      `["c-*.service"] /etc/txupd/conf.d/10-a.toml:5`,
	}, got); diff != "" {
		t.Errorf("values and where they come from (-want +got):\n%s", diff)
	}
}

func TestWrongFilesAreNamedWithTheLine(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":             {"[boot]\n\ntrys = 3", "3: unknown key boot.trys; did you mean boot.tries?"},
		"unknown section":         {"\n[helth]\ntimeout = '1s'", "2: unknown key helth; did you mean health?"},
		"unknown and unlike all":  {"[entirely]\nother = 1", "1: unknown key entirely"},
		"unknown, dotted":         {"boot.panic_timeout = '3s'", "1: unknown key boot.panic_timeout; did you mean boot.panic-timeout?"},
		"unknown, inline":         {"boot = { tries = 3, fast = true }", "1: unknown key boot.fast"},
		"unknown, deep":           {"[boot.tries.more]\nx = 1", "1: unknown key boot.tries.more"},
		"unknown, quoted":         {`"boot.tries" = 3`, `1: unknown key "boot.tries"; did you mean boot.tries?`},
		"without its section":     {"tries = 3", "1: unknown key tries; did you mean boot.tries?"},
		"in another's section":    {"[boot]\nnetwork-wait = '3s'", "2: unknown key boot.network-wait; did you mean health.network-wait?"},
		"too small":               {"[boot]\ntries = 0", "2: boot.tries cannot be 0: it takes a whole number from 1 to 20"},
		"too large":               {"[boot]\ntries = 21", "2: boot.tries cannot be 21: it takes a whole number from 1 to 20"},
		"far too large":           {"[boot]\ntries = 9223372036854775807", "2: boot.tries cannot be 9223372036854775807: it takes a whole number from 1 to 20"},
		"text for a number":       {"[boot]\ntries = \"3\"", `2: boot.tries cannot be "3": it takes a whole number from 1 to 20`},
		"fraction for a number":   {"[boot]\ntries = 3.0", "2: boot.tries cannot be 3.0: it takes a whole number from 1 to 20"},
		"number for a time":       {"[boot]\npanic-timeout = 10", `2: boot.panic-timeout cannot be 10: it takes a time in whole seconds from 1s to 10m, such as "90s" or "2m"`},
		"zero for a time":         {"[boot]\npanic-timeout = '0s'", `2: boot.panic-timeout cannot be "0s": it takes a time in whole seconds from 1s to 10m, such as "90s" or "2m"`},
		"part of a second":        {"[boot]\npanic-timeout = '1500ms'", `2: boot.panic-timeout cannot be "1500ms": it takes a time in whole seconds from 1s to 10m, such as "90s" or "2m"`},
		"word for a flag":         {"[health]\nnetwork = 'yes'", `2: health.network cannot be "yes": it takes true or false`},
		"relative path":           {"[boot]\ngrub-directory = 'boot/grub'", `2: boot.grub-directory cannot be "boot/grub": it takes an absolute path without ".." in it, or ""`},
		"path that leads back":    {"[boot]\ngrub-directory = '/boot/../x'", `2: boot.grub-directory cannot be "/boot/../x": it takes an absolute path without ".." in it, or ""`},
		"text for a list":         {"[health]\nignore-units = 'a.service'", `2: health.ignore-units cannot be "a.service": it takes a list of names such as ["snapd.service", "backup-*.service"]`},
		"numbers in a list":       {"[health]\nignore-units = [1]", `2: health.ignore-units cannot be a list: it takes a list of names such as ["snapd.service", "backup-*.service"]`},
		"out of /etc":             {"[etc]\nlive = ['../x']", `2: etc.live: "../x" does not belong into a list of paths below /etc such as ["app/state.conf", "site/**"]`},
		"nothing below /etc":      {"[etc]\nlive = ['a//b']", `2: etc.live: "a//b" does not belong into a list of paths below /etc such as ["app/state.conf", "site/**"]`},
		"bad pattern":             {"[health]\nignore-units = ['a[']", `2: health.ignore-units: "a[" is not a pattern: a bracket or a backslash has no end`},
		"section that is a value": {"boot = 3", "1: boot is a section: write [boot] and its keys below"},
		"value that is a section": {"[boot.tries]", "1: boot.tries cannot be a table: it takes a whole number from 1 to 20"},
		"value that is inline":    {"[boot]\ntries = {}", "2: boot.tries cannot be a table: it takes a whole number from 1 to 20"},
		"list of tables":          {"[[boot]]\ntries = 3", "1: [[boot]] is a list of tables: write [boot]"},
		"twice":                   {"[boot]\ntries = 3\ntries = 4", "3: "},
		"no TOML":                 {"[boot]\ntries", "2: "},
	} {
		t.Run(name, func(t *testing.T) {
			root := rooted(t, map[string]string{AdminFile: c.text})
			_, err := Load(root)
			if err == nil {
				t.Fatal("it was accepted")
			}
			got, want := err.Error(), filepath.Join(root, AdminFile)+":"+c.want
			if got != want && !(strings.HasSuffix(c.want, ": ") && strings.HasPrefix(got, want)) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if strings.Contains(got, "\n") {
				t.Errorf("one problem takes several lines: %q", got)
			}
		})
	}
}

func TestEverythingThatIsWrongIsSaidAtOnce(t *testing.T) {
	root := rooted(t, map[string]string{
		VendorFile:            "[boot]\ntries = 99\nfoo = 1\n",
		AdminDir + "/10.toml": "=",
		AdminDir + "/20.conf": "[boot]",
	})
	_, err := Load(root)
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 4 {
		t.Fatalf("four things are wrong; said: %v", err)
	}
	for _, one := range joined.Unwrap() {
		if !errors.As(one, new(*Error)) {
			t.Errorf("%v is not an *Error", one)
		}
	}
}

func TestFilesThatWouldBeOverlookedAreErrors(t *testing.T) {
	for name, want := range map[string]string{
		"10-a.toml~":           "is not read: it looks like a copy that an editor or a person left",
		"10-a.toml.bak":        "is not read: it looks like a copy that an editor or a person left",
		"10-a.toml.dpkg-dist":  "is not read: it looks like a copy that the package manager left",
		"10-a.toml.rpmnew":     "is not read: it looks like a copy that the package manager left",
		"10-a.toml.pacsave":    "is not read: it looks like a copy that the package manager left",
		"10-a.conf":            "is not read: only names that end in .toml are",
		"README":               "is not read: only names that end in .toml are",
		"10-a.TOML":            "is not read: only names that end in .toml are",
		"10-a.toml.disabled":   "is not read: only names that end in .toml are",
		"directory.toml/x":     "cannot be read: it is not a regular file",
		"dangling.toml -> no":  "cannot be read: no such file or directory",
		"pipe.toml -> ../pipe": "cannot be read: it is not a regular file",
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, AdminDir)
			file, target, link := strings.Cut(name, " -> ")
			if link {
				write(t, root, map[string]string{AdminDir + "/00.toml": ""})
				mkfifo(t, filepath.Join(dir, "../pipe"))
				if err := os.Symlink(target, filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, root, map[string]string{filepath.Join(AdminDir, name): ""})
			}
			_, err := Load(root)
			file, _, _ = strings.Cut(file, "/")
			if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, file)+": "+want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	for name, prepare := range map[string]func(root string) error{
		AdminFile: func(root string) error { return os.Symlink("nowhere", filepath.Join(root, AdminFile)) },
		AdminDir:  func(root string) error { return os.WriteFile(filepath.Join(root, AdminDir), nil, 0o644) },
		VendorFile: func(root string) error {
			return os.WriteFile(filepath.Join(root, VendorFile), make([]byte, maxFile+1), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := rooted(t, map[string]string{"/etc/txupd/x": "", "/usr/lib/txupd/x": ""})
			if err := prepare(root); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(root); err == nil || !strings.HasPrefix(err.Error(), filepath.Join(root, name)+": cannot be ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLinksAreFollowedInTheServedSystem(t *testing.T) {
	root := rooted(t, map[string]string{"/etc/static/txupd.toml": "[boot]\ntries = 4\n", "/etc/txupd/x": ""})
	if err := os.Symlink("/etc/static/txupd.toml", filepath.Join(root, AdminFile)); err != nil {
		t.Fatal(err)
	}
	c, err := Load(root)
	if err != nil || c.Boot.Tries != 4 {
		t.Errorf("an absolute link led to %v, %v", c, err)
	}
}

// drawn is a value that a setting takes, written in TOML.
func drawn(t *rapid.T, key string) string {
	switch key {
	case "boot.tries":
		return fmt.Sprint(rapid.IntRange(1, MaxTries).Draw(t, key))
	case "log.total-size", "log.transaction-size":
		return fmt.Sprint(rapid.IntRange(1, 1024).Draw(t, key))
	case "boot.automatic-rollbacks":
		return fmt.Sprint(rapid.IntRange(0, 100).Draw(t, key))
	case "boot.grub-directory":
		return literal(rapid.StringMatching(`(/[ -.0-~\x7f"é]{3,8}x){0,3}`).Draw(t, key))
	case "boot.panic-timeout", "health.timeout", "health.total-timeout", "health.network-wait":
		return literal(durationText(time.Duration(rapid.IntRange(1, 600).Draw(t, key)) * time.Second))
	case "packages.wait", "reboot.spread", "reboot.deadline", "reboot.notice":
		return literal(durationText(time.Duration(rapid.IntRange(0, 3600).Draw(t, key)) * time.Second))
	case "health.failed-units", "health.network", "gc.automatic", "reboot.sessions", "auto.metered":
		return fmt.Sprint(rapid.Bool().Draw(t, key))
	case "etc.lines", "etc.whole", "etc.set", "etc.state", "etc.live", "etc.derived", "etc.never":
		return literal(rapid.SliceOfN(rapid.StringMatching(`(/etc/)?[a-z]{1,5}(/[a-z*?]{1,4})?`), 0, 3).Draw(t, key))
	case "gc.least", "gc.most", "gc.days":
		return fmt.Sprint(rapid.IntRange(0, 10_000).Draw(t, key))
	case "gc.free-percent":
		return fmt.Sprint(rapid.IntRange(0, 90).Draw(t, key))
	case "gc.tags", "health.ignore-units":
		return literal(rapid.SliceOfN(rapid.StringMatching(`[a-z*?"@.-]{1,9}`), 0, 3).Draw(t, key))
	case "fleetlock.url":
		return literal(rapid.SampledFrom([]string{"", "http://10.0.0.1:8080", "https://locks.example.com/fleet/"}).Draw(t, key))
	case "fleetlock.group":
		return literal(rapid.StringMatching(`[a-zA-Z0-9.-]{1,9}`).Draw(t, key))
	case "auto.policy":
		return literal(rapid.SampledFrom([]string{"check", "stage", "apply"}).Draw(t, key))
	case "metrics.textfile":
		return literal(rapid.SampledFrom([]string{"", "/var/lib/node_exporter/txupd.prom"}).Draw(t, key))
	case "reboot.method":
		return literal(rapid.SampledFrom([]string{"auto", "reboot", "none"}).Draw(t, key))
	case "reboot.window":
		tables := make([]WindowTable, rapid.IntRange(0, 3).Draw(t, key))
		for i := range tables {
			tables[i] = WindowTable{
				Days:   rapid.SliceOfN(rapid.SampledFrom([]string{"Mon", "sat-sun", "Fri-Mon"}), 0, 2).Draw(t, "days"),
				Start:  rapid.StringMatching(`(0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]`).Draw(t, "start"),
				Length: rapid.SampledFrom([]string{"1m", "90m", "168h"}).Draw(t, "length"),
				Zone:   rapid.SampledFrom([]string{"", "UTC"}).Draw(t, "zone"),
			}
		}
		return literal(tables)
	}
	panic("no values are drawn for " + key)
}

func TestTheLastFileThatSetsAKeyWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp("", "config-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		want := map[string]string{}
		for _, v := range Default().Values() {
			want[v.Key] = v.Text() + " default"
		}
		for _, name := range []string{VendorFile, AdminFile, AdminDir + "/a.toml", AdminDir + "/b.toml"} {
			text := ""
			for line, v := range Default().Values() {
				if rapid.Bool().Draw(t, "set") {
					value := drawn(t, v.Key)
					text += v.Key + " = " + value
					want[v.Key] = fmt.Sprintf("%s %s:%d", value, filepath.Join(root, name), line+1)
				}
				text += "\n"
			}
			write(t, root, map[string]string{name: text})
		}
		c, err := Load(root)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, v := range c.Values() {
			got[v.Key] = v.Text() + " " + v.Origin
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestUnknownKeysAreFoundAtAnyDepth(t *testing.T) {
	word := rapid.StringMatching(`[a-z]{1,6}`)
	rapid.Check(t, func(t *rapid.T) {
		// No section is named like this, so that the path leads out of what there is.
		path := append(rapid.SliceOfN(rapid.SampledFrom([]string{"boot", "health", "tries"}), 0, 2).Draw(t, "above"), "x"+word.Draw(t, "strange"))
		path = append(path, rapid.SliceOfN(word, 0, 3).Draw(t, "below")...)
		header := rapid.IntRange(0, len(path)-1).Draw(t, "in the header")
		inline := rapid.IntRange(header+1, len(path)).Draw(t, "inline from")
		text := "\n\n"
		if header > 0 {
			text += "[" + strings.Join(path[:header], ".") + "]\n"
		}
		text += strings.Join(path[header:inline], ".") + " = "
		for _, part := range path[inline:] {
			text += "{ " + part + " = "
		}
		text += "1" + strings.Repeat(" }", len(path)-inline) + "\n"
		c := Default()
		problems := c.apply(file{"f.toml", []byte(text)})
		if len(problems) == 0 {
			t.Fatalf("nothing was wrong with\n%s", text)
		}
		var at *Error
		if !errors.As(problems[0], &at) || at.Line < 3 || at.Line > 4 {
			t.Fatalf("%v is not the line of\n%s", problems[0], text)
		}
	})
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "[boot]\ntries = 3", "boot = { tries = 3 }", "[[health]]\nignore-units = ['a', # x\n]", "boot.tries.x = 1",
		"\"\" = 1", "a.\"b.c\".'d' = [ { e = 1979-05-27 } ]", "[boot]\r\ntries = 1_0", "x = '''\n'''", "[health]\nignore-units = ['\\']",
		"[boot]\ngrub-directory = \"/a\\u0000\"", "health.timeout = '9223372036854775807h'",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := Default()
		problems := c.apply(file{"the.toml", text})
		for _, problem := range problems {
			if !strings.HasPrefix(problem.Error(), "the.toml:") {
				t.Errorf("%q does not name the file", problem)
			}
			if strings.Contains(problem.Error(), "\n") {
				t.Errorf("%q takes several lines", problem)
			}
		}
		if len(problems) > 0 {
			return
		}
		// What was accepted says the same when it is written as it is shown.
		var shown strings.Builder
		for _, v := range c.Values() {
			fmt.Fprintf(&shown, "%s = %s\n", v.Key, v.Text())
		}
		again := Default()
		if problems := again.apply(file{"again.toml", []byte(shown.String())}); len(problems) > 0 {
			t.Fatalf("%v in\n%s", problems, shown.String())
		}
		if diff := cmp.Diff(c, again, unexported, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("shown and read again (-before +after):\n%s", diff)
		}
	})
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWindowsOfReboots: tables of one file stand together, those of a later one in their place.
func TestWindowsOfReboots(t *testing.T) {
	first := "[[reboot.window]]\ndays = [\"Mon-Fri\"] # working days\nstart = \"23:00\"\nlength = \"2h\"\nzone = \"UTC\"\n\n[[reboot.window]]\nstart = \"12:00\"\nlength = \"10m\"\n[gc]\nleast = 1\n"
	c, err := Load(rooted(t, map[string]string{AdminFile: first}))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Reboot.Calendar()); got != "[Mon-Fri 23:00 for 2h, UTC daily 12:00 for 10m]" || c.GC.Least != 1 {
		t.Errorf("the windows are %s, gc.least %d", got, c.GC.Least)
	}
	if got := fmt.Sprint(Default().Reboot.Calendar()); got != "[daily 03:30 for 1h30m]" {
		t.Errorf("without any: %s", got)
	}
	c, err = Load(rooted(t, map[string]string{AdminFile: first, AdminDir + "/a.toml": "\n[[reboot.window]]\nstart = \"01:00\"\nlength = \"1h\"\n"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Reboot.Calendar()); got != "[daily 01:00 for 1h]" {
		t.Errorf("a later file has them: %s", got)
	}
	for _, v := range c.Values() {
		if v.Key == windowKey && !strings.HasSuffix(v.Origin, "a.toml:2") {
			t.Errorf("they come from %s", v.Origin)
		}
	}
	for text, want := range map[string]string{
		"[[reboot.window]]\nstart = \"01:00\"\n":                                        `:1: [[reboot.window]]: length: "" is not from "1m" to "168h"`,
		"[[reboot.window]]\nlength = \"1h\"\n":                                          `:1: [[reboot.window]]: start: "" is no time of day`,
		"[[reboot.window]]\nstart = 1\nlength = \"1h\"\n":                               `:2: [[reboot.window]]: start cannot be 1`,
		"[[reboot.window]]\nstrat = \"01:00\"\n":                                        `:2: [[reboot.window]]: a window has no "strat"`,
		"[[reboot.window]]\ndays = []\n":                                                `:2: [[reboot.window]]: days is empty`,
		"[[reboot.window]]\ndays = [\"So\"]\nstart = \"01:00\"\nlength = \"1h\"\n":      `:1: [[reboot.window]]: days: "So" is no day`,
		"[[reboot.window]]\nzone = \"Mars\"\nstart = \"01:00\"\nlength = \"1h\"\n":      `:1: [[reboot.window]]: zone: "Mars" is no time zone`,
		"[reboot.window]\nstart = \"01:00\"\n":                                          `:1: reboot.window cannot be a table: it takes tables [[reboot.window]]`,
		"reboot.window = [{ start = \"25:00\", length = \"1h\" }]\n":                    `:1: reboot.window: start: "25:00" is no time of day`,
		"reboot.window = [3]\n":                                                         `:1: reboot.window cannot be a list`,
		"[[reboot.window]]\nstart = \"01:00\"\nlength = \"1h\"\n[reboot]\nspraed = 1\n": `:5: unknown key reboot.spraed; did you mean reboot.spread?`,
	} {
		if _, err := Load(rooted(t, map[string]string{AdminFile: text})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n     %v\nnot %s", text, err, want)
		}
	}
}
