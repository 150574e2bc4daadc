package health

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// machine answers as told.
type machine struct {
	units    []string
	unitsErr error
	route    func() (bool, error) // nil: there is one
}

func (m machine) FailedUnits(ctx context.Context) ([]string, error) {
	return m.units, errors.Join(m.unitsErr, ctx.Err())
}

func (m machine) DefaultRoute() (bool, error) {
	if m.route == nil {
		return true, nil
	}
	return m.route()
}

// programs fills the directories of a root with executable checks: "vendor/required/NAME" → its text.
func programs(t *testing.T, checks map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range checks {
		path := check(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, link := strings.CutPrefix(text, "-> "); link {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func check(root, name string) string {
	parts := strings.SplitN(name, "/", 3)
	dir := map[string]string{"vendor": VendorDir, "admin": AdminDir}[parts[0]]
	return filepath.Join(root, dir, parts[1]+".d", parts[2])
}

// run runs the checks of a root, and no built-in ones.
func run(t *testing.T, root string, change ...func(*Options)) Report {
	t.Helper()
	o := Options{Root: root, Timeout: time.Minute, Machine: machine{}}
	for _, c := range change {
		c(&o)
	}
	return Run(t.Context(), o)
}

func named(r Report, name string) Result {
	i := slices.IndexFunc(r.Results, func(one Result) bool { return one.Name == name })
	if i < 0 {
		return Result{Error: "there is no result of " + name}
	}
	return r.Results[i]
}

func TestChecksRunInOrderRequiredFirst(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	say := `printf '%s ' "${0##*/}" >> ` + said
	root := programs(t, map[string]string{
		"admin/wanted/10": say, "vendor/wanted/05": say,
		"vendor/required/30": say, "admin/required/20": say, "vendor/required/10": say,
	})
	r := run(t, root, func(o *Options) {
		o.Network, o.FailedUnits, o.Before = true, true, Baseline{Known: true, Network: true}
	})
	order, err := os.ReadFile(said)
	if want := "10 20 30 05 10 "; err != nil || string(order) != want {
		t.Errorf("they ran as %q, %v; want %q", order, err, want)
	}
	if first, last := r.Results[0].Name, r.Results[len(r.Results)-1].Name; first != "network" || last != "failed-units" {
		t.Errorf("first was %s, last %s", first, last)
	}
	if !r.Healthy || len(r.Failed)+len(r.Warned)+len(r.Notes) > 0 || len(r.Results) != 7 {
		t.Errorf("all is well, and the report says %+v", r)
	}
}

func TestARequiredCheckFailsTheBootAWantedOneWarns(t *testing.T) {
	root := programs(t, map[string]string{
		"admin/required/ok":   "true",
		"admin/wanted/slow":   "echo looking; printf 'it is \\033[31mslow\\n' >&2; exit 3",
		"admin/wanted/silent": "exit 1",
	})
	r := run(t, root)
	if diff := cmp.Diff([]string{"silent: exit status 1", "slow: exit status 3: it is  [31mslow"}, r.Warned); diff != "" || !r.Healthy || len(r.Failed) > 0 {
		t.Errorf("a wanted check failed (-want +got):\n%s%+v", diff, r)
	}
	if got := named(r, "slow"); got.Exit != 3 || got.Output != "looking\nit is \x1b[31mslow\n" || got.Kind != Wanted || got.OK || got.Took <= 0 {
		t.Errorf("slow ended as %+v", got)
	}
	root = programs(t, map[string]string{"admin/required/disk": "echo the disk is full; kill -KILL $$", "admin/required/other": "true"})
	r = run(t, root)
	if diff := cmp.Diff([]string{"disk: signal: killed: the disk is full"}, r.Failed); diff != "" || r.Healthy {
		t.Errorf("a required check failed (-want +got):\n%s%+v", diff, r)
	}
	if named(r, "disk").Exit != 137 || !named(r, "other").OK {
		t.Errorf("the checks ended as %+v", r.Results)
	}
}

func TestFilesOfTheAdministratorReplaceAndMask(t *testing.T) {
	root := programs(t, map[string]string{
		"vendor/required/replaced": "exit 1", "admin/required/replaced": "echo mine",
		"vendor/required/masked": "exit 1", "admin/required/masked": "-> /dev/null",
		// Another kind is another check.
		"vendor/required/kept": "echo vendor", "admin/wanted/kept": "-> /dev/null",
		"vendor/wanted/linked": "-> ../elsewhere", "vendor/x/unused": "exit 1",
	})
	if err := os.WriteFile(filepath.Join(root, VendorDir, "elsewhere"), []byte("#!/bin/sh\necho linked\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := run(t, root)
	got := map[string]string{}
	for _, one := range r.Results {
		got[one.Name] = one.Output + one.Error
	}
	if diff := cmp.Diff(map[string]string{"replaced": "mine\n", "kept": "vendor\n", "linked": "linked\n"}, got); diff != "" {
		t.Errorf("what ran (-want +got):\n%s", diff)
	}
	if want := []string{"masked is masked by " + check(root, "admin/required/masked"), "kept is masked by " + check(root, "admin/wanted/kept")}; !slices.Equal(r.Notes, want) {
		t.Errorf("notes %q, want %q", r.Notes, want)
	}
}

func TestWhatCannotRunDoesNotPassUnseen(t *testing.T) {
	root := programs(t, map[string]string{
		"admin/required/not-executable": "true", "admin/required/directory/x": "true", "admin/required/dangling": "-> nowhere",
		"admin/required/.hidden": "exit 1", "admin/required/old~": "exit 1", "admin/required/10.dpkg-dist": "exit 1",
		"admin/wanted/no-program": "",
	})
	if err := os.Chmod(check(root, "admin/required/not-executable"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(check(root, "admin/wanted/no-program"), []byte("neither a script nor a program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := run(t, root)
	for name, want := range map[string]string{
		"not-executable": "is not executable (chmod +x " + check(root, "admin/required/not-executable"),
		"directory":      "is not a file that can be run",
		"dangling":       "cannot be run: no such file or directory",
		"no-program":     "cannot be started: exec format error",
	} {
		if got := named(r, name); got.OK || got.Exit != NoExit || !strings.HasPrefix(got.Error, want) {
			t.Errorf("%s: %+v, want %q", name, got, want)
		}
	}
	if len(r.Failed) != 3 || len(r.Warned) != 1 || r.Healthy {
		t.Errorf("failed %q, warned %q", r.Failed, r.Warned)
	}
	var notes []string
	for _, note := range r.Notes {
		notes = append(notes, strings.TrimPrefix(note, check(root, "admin/required/")+"/"))
	}
	if diff := cmp.Diff([]string{
		".hidden is not run: its name is hidden",
		"10.dpkg-dist is not run: it looks like a copy that the package manager left",
		"old~ is not run: it looks like a copy that an editor or a person left",
	}, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestDirectoriesThatCannotBeListedFail(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, AdminDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "required.d"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := run(t, root)
	if want := []string{dir + "/required.d: cannot list the checks: not a directory"}; !slices.Equal(r.Failed, want) {
		t.Errorf("failed %q, want %q", r.Failed, want)
	}
}

func TestChecksGetABuiltEnvironmentAndNoInput(t *testing.T) {
	t.Setenv("SECRET", "of the daemon")
	root := programs(t, map[string]string{"admin/required/look": `cat; pwd; cut -d' ' -f5 /proc/$$/stat; echo $$; env | sort`})
	r := run(t, root, func(o *Options) { o.Env = []string{"TXUPD_SNAPSHOT=7", "TXUPD_TRIAL=1"} })
	lines := strings.Split(named(r, "look").Output, "\n")
	if len(lines) < 3 || lines[0] != "/" || lines[1] != lines[2] {
		t.Errorf("neither in / nor in a group of its own: %q", lines)
	}
	var env []string
	for _, line := range lines {
		if name, _, pair := strings.Cut(line, "="); pair && name != "PWD" && name != "_" {
			env = append(env, line)
		}
	}
	want := append(slices.Clone(environment), "TXUPD_SNAPSHOT=7", "TXUPD_TRIAL=1")
	slices.Sort(want)
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

// whileAlive is a named pipe that reads as ended when everything that was
// started with its writing end open has died.
func whileAlive(t *testing.T) (path string, wait func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "alive")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, func() {
		t.Helper()
		f.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 16)
		if n, err := f.Read(buf); err == nil && n == 0 {
			return
		} else if err == nil {
			t.Fatalf("the pipe says %q", buf[:n])
		} else if err.Error() != "EOF" {
			t.Errorf("something that the check started still lives: %v", err)
		}
	}
}

func TestACheckThatTakesTooLongIsEndedWithAllItStarted(t *testing.T) {
	alive, allDead := whileAlive(t)
	root := programs(t, map[string]string{
		"admin/required/hangs": "exec 9>" + alive + "; (trap '' TERM; while :; do sleep 1; done) & echo waiting; wait; sleep 60",
		"admin/required/next":  "true",
	})
	r := run(t, root, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	allDead()
	got := named(r, "hangs")
	if got.OK || got.Error != "did not end within 0.3s" || got.Exit != 128+15 || got.Output != "waiting\n" || got.Took > 2*time.Second {
		t.Errorf("it ended as %+v", got)
	}
	if diff := cmp.Diff([]string{"hangs: did not end within 0.3s: waiting"}, r.Failed); diff != "" || !named(r, "next").OK {
		t.Errorf("%+v, failed (-want +got):\n%s", r.Results, diff)
	}
}

func TestACheckThatIgnoresSIGTERMIsKilled(t *testing.T) {
	alive, allDead := whileAlive(t)
	root := programs(t, map[string]string{"admin/required/deaf": "exec 9>" + alive + "; trap '' TERM; while :; do sleep 1; done"})
	r := run(t, root, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	allDead()
	if got := named(r, "deaf"); got.Exit != 128+9 || got.Error != "did not end within 0.1s" || got.Took < grace {
		t.Errorf("it ended as %+v", got)
	}
}

func TestWhatACheckLeavesInItsGroupEndsWithIt(t *testing.T) {
	alive, allDead := whileAlive(t)
	root := programs(t, map[string]string{"admin/required/quick": "exec 9>" + alive + "; sleep 60 & echo done"})
	r := run(t, root)
	allDead()
	if got := named(r, "quick"); !got.OK || got.Output != "done\n" || got.Took > 10*time.Second {
		t.Errorf("it ended as %+v", got)
	}
}

func TestAProcessThatLeftTheGroupDoesNotKeepUsWaiting(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	alive, allDead := whileAlive(t)
	// It is a session of its own before the check ends, and holds the output open.
	root := programs(t, map[string]string{"admin/required/daemon": "exec 9>" + alive + "; mkfifo " + pid + ".up; setsid sh -c 'echo $$ > " + pid + "; echo > " + pid + ".up; exec sleep 60' & read x < " + pid + ".up; echo up"})
	r := run(t, root)
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	var left int
	for _, c := range strings.TrimSpace(string(text)) {
		left = left*10 + int(c-'0')
	}
	if err := syscall.Kill(left, syscall.SIGKILL); err != nil {
		t.Errorf("what left the group is gone already: %v", err)
	}
	allDead()
	if got := named(r, "daemon"); !got.OK || got.Output != "up\n" || got.Took > 10*time.Second {
		t.Errorf("it ended as %+v", got)
	}
}

func TestTheEndOfTheOutputIsKept(t *testing.T) {
	root := programs(t, map[string]string{"admin/required/chatty": `i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; printf '\377 the end' >&2; exit 1`})
	r := run(t, root)
	got := named(r, "chatty")
	if len(got.Output) > keptOutput || len(got.Output) < keptOutput-100 || !strings.HasSuffix(got.Output, "line 19998\nline 19999\n? the end") {
		t.Errorf("%d bytes were kept, the last %q", len(got.Output), got.Output[max(0, len(got.Output)-60):])
	}
}

func TestAllChecksTogetherHaveALimit(t *testing.T) {
	root := programs(t, map[string]string{"admin/required/1-quick": "true", "admin/required/2-slow": "sleep 60", "admin/required/3-late": "true", "admin/wanted/4-late": "true"})
	r := run(t, root, func(o *Options) {
		o.Total, o.FailedUnits, o.Before = 1500*time.Millisecond, true, Baseline{Known: true}
		o.Machine = machine{units: []string{"new.service"}}
	})
	if diff := cmp.Diff([]string{
		"2-slow: did not end within the 1.5s that all checks have together",
		"3-late: was not run: the 1.5s that all checks have together were over",
		// Why it took so long may be what this says.
		"failed-units: failed, and did not before: new.service",
	}, r.Failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	if want := []string{"4-late: was not run: the 1.5s that all checks have together were over"}; !slices.Equal(r.Warned, want) || !named(r, "1-quick").OK {
		t.Errorf("warned %q; %+v", r.Warned, r.Results)
	}
}

func TestAShutdownWhileCheckingSaysNothingOfTheBoot(t *testing.T) {
	alive, allDead := whileAlive(t)
	started := filepath.Join(t.TempDir(), "started")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	root := programs(t, map[string]string{
		"admin/required/1": "true",
		"admin/required/2": "exec 9>" + alive + "; echo > " + started + "; sleep 60",
		"admin/required/3": "exit 1",
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		os.ReadFile(started) // until it has written
		cancel()
	}()
	r := Run(ctx, Options{Root: root, FailedUnits: true, Machine: machine{unitsErr: errors.New("asked after the end")}})
	allDead()
	if !r.Interrupted || r.Healthy || len(r.Failed) > 0 || len(r.Results) != 1 {
		t.Errorf("the report says %+v", r)
	}
}
