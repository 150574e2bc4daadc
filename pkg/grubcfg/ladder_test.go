// Trial boots, counted. GRUB itself runs in the machine suite; here a shell
// stands in for its script language, which is a subset of the shell's in what
// the menu uses, with grub-editenv as the writer of the counter.

package grubcfg_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/pkg/grubcfg"
)

// loader is GRUB's commands for the shell. Files are looked for below $DISK/<uuid>.
const loader = `
set() { printf -v "${1%%=*}" %s "${1#*=}"; }
insmod() { :; }
search() {
	local name=${3#--set=}
	[ -d "$DISK/$4" ] && printf -v "$name" %s "$4"
}
file() { case "$1" in "("*) printf %s "$DISK/$(tr -d '()' <<<"$1")";; *) printf %s "$DISK/$root$1";; esac; }
[() {
	if builtin [ "$1" = -s ]; then builtin [ -s "$(file "$2")" ]; else builtin [ "$@"; fi
}
load_env() {
	local value
	value=$(grub-editenv "$(file "$2")" list | sed -n "s/^$3=//p")
	if builtin [ -n "$value" ]; then printf -v "$3" %s "$value"; fi
}
save_env() { builtin [ -z "$READONLY" ] && grub-editenv "$(file "$2")" set "$3=${!3}"; }
sound() { builtin [ "$(cat "$(file "$1")")" = sound ]; }
linux() {
	sound "$1" || return
	loaded=adopted
	case "$1" in *.snapshots*) loaded=${1#*.snapshots/}; loaded=txupd-${loaded%%/*};; esac
	case "$2" in txupd.fallback=*) loaded="$loaded instead of ${2#*=}";; esac
}
initrd() { sound "$1"; }
echo() { :; }
boot() { printf '%s\n' "$loaded"; exit; }
`

var menuentry = regexp.MustCompile(`(?m)^menuentry .* --id 'txupd-(\d+)' \{$`)

// machine boots a rendered menu.
type machine struct {
	t        *testing.T
	disk     string
	script   string
	readOnly bool
	chosen   string // an entry that somebody picks instead of the default
}

func newMachine(t *testing.T, m grubcfg.Menu) *machine {
	t.Helper()
	tool(t, "grub-editenv")
	tool(t, "bash")
	text, err := m.Render()
	if err != nil {
		t.Fatal(err)
	}
	v := &machine{t: t, disk: t.TempDir(), script: loader + menuentry.ReplaceAllString(string(text), "entry_txupd_$1() {") + `
id=${CHOSEN:-$default}
"entry_${id//-/_}"
printf 'nothing\n'
`}
	for _, e := range m.Entries {
		for _, file := range append([]string{e.Kernel}, e.Initrd...) {
			v.write(filepath.Join(e.RootUUID, e.RootPath, file), []byte("sound"))
		}
	}
	v.write(filepath.Join(espUUID, "EFI/txupd/grubenv"), grubcfg.NewEnv().Render())
	return v
}

func (v *machine) write(name string, content []byte) {
	v.t.Helper()
	file := filepath.Join(v.disk, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		v.t.Fatal(err)
	}
}

func (v *machine) remove(name string) {
	v.t.Helper()
	if err := os.RemoveAll(filepath.Join(v.disk, name)); err != nil {
		v.t.Fatal(err)
	}
}

// boot is the id of the entry whose kernel starts.
func (v *machine) boot() string {
	v.t.Helper()
	readOnly := ""
	if v.readOnly {
		readOnly = "1"
	}
	cmd := exec.Command("bash", "-c", v.script)
	cmd.Env = append(os.Environ(), "DISK="+v.disk, "READONLY="+readOnly, "CHOSEN="+v.chosen)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		v.t.Fatalf("the menu failed: %v\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// counter is what the environment block says of the tries of 7, after an edit of it.
func (v *machine) counter(edit func(*grubcfg.Env) error) string {
	v.t.Helper()
	return v.variable(grubcfg.TriesVariable(7), edit)
}

func (v *machine) variable(variable string, edit func(*grubcfg.Env) error) string {
	v.t.Helper()
	name := filepath.Join(espUUID, "EFI/txupd/grubenv")
	raw, err := os.ReadFile(filepath.Join(v.disk, name))
	if err != nil {
		v.t.Fatal(err)
	}
	env, err := grubcfg.ParseEnv(raw)
	if err != nil {
		v.t.Fatal(err)
	}
	if edit != nil {
		if err := edit(env); err != nil {
			v.t.Fatal(err)
		}
		v.write(name, env.Render())
	}
	value, ok := env.Get(variable)
	if !ok {
		return "none"
	}
	return value
}

// once asks for a snapshot to be booted one time.
func (v *machine) once(number string) {
	v.t.Helper()
	v.variable(grubcfg.OnceVariable, func(e *grubcfg.Env) error { return e.Set(grubcfg.OnceVariable, number) })
}

func (v *machine) boots(n int) []string {
	var all []string
	for range n {
		all = append(all, v.boot())
	}
	return all
}

func TestATrialIsBootedAsOftenAsItHasTries(t *testing.T) {
	for _, tries := range []int{1, 2, 3, 5} {
		for _, start := range []string{"none", "0", "1", strconv.Itoa(tries), "999", "-1", "many", "1; reboot", "1 = 1 -o 1"} {
			v := newMachine(t, trialMenu(tries))
			booted := tries // a counter that makes no sense stands for all tries
			if n, err := strconv.Atoi(start); err == nil && n >= 0 && n <= tries {
				booted = n
			}
			if start != "none" {
				v.counter(func(e *grubcfg.Env) error { return e.Set(grubcfg.TriesVariable(7), start) })
			}
			var want []string
			for range booted {
				want = append(want, "txupd-7")
			}
			want = append(want, "txupd-5", "txupd-5")
			if diff := cmp.Diff(want, v.boots(booted+2)); diff != "" {
				t.Errorf("%d tries, counter %q:\n%s", tries, start, diff)
			}
			if got := v.counter(nil); got != "0" {
				t.Errorf("%d tries, counter %q: at the end it is %s", tries, start, got)
			}
		}
	}
}

func TestACounterOfAnotherSnapshotDoesNotCount(t *testing.T) {
	v := newMachine(t, trialMenu(2))
	v.counter(func(e *grubcfg.Env) error { return e.Set(grubcfg.TriesVariable(70), "0") })
	if diff := cmp.Diff([]string{"txupd-7", "txupd-7", "txupd-5"}, v.boots(3)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeCountedIsNotTried(t *testing.T) {
	for what, harm := range map[string]func(*machine){
		"GRUB cannot write":       func(v *machine) { v.readOnly = true },
		"the file is missing":     func(v *machine) { v.remove(filepath.Join(espUUID, "EFI/txupd/grubenv")) },
		"the file system is gone": func(v *machine) { v.remove(espUUID) },
	} {
		v := newMachine(t, trialMenu(3))
		harm(v)
		if diff := cmp.Diff([]string{"txupd-5", "txupd-5"}, v.boots(2)); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
		v.chosen = "txupd-7"
		if got := v.boot(); got != "txupd-7" {
			t.Errorf("%s: chosen by hand, %s was booted", what, got)
		}
	}
}

func TestAnEntryChosenByHandCostsNoTry(t *testing.T) {
	v := newMachine(t, trialMenu(1))
	v.chosen = "txupd-0"
	if got := v.boots(2); got[0] != "adopted" || got[1] != "adopted" {
		t.Errorf("booted %v", got)
	}
	v.chosen = ""
	if diff := cmp.Diff([]string{"txupd-7", "txupd-5"}, v.boots(2)); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutASoundKernelOrInitrdTheFallbackBoots(t *testing.T) {
	for _, file := range []string{"vmlinuz-6.12.1", "initrd.img-6.12.1"} {
		for _, trial := range []bool{true, false} {
			m := trialMenu(2)
			if !trial {
				m.Trial = nil
			}
			v := newMachine(t, m)
			name := filepath.Join(rootUUID, "@/.snapshots/7/snapshot/boot", file)
			for _, harm := range []func(){
				func() { v.write(name, []byte("damaged")) },
				func() { v.remove(name) },
			} {
				harm()
				// Until the tries are used up, the kernel that boots is told that it does so instead.
				want := []string{"txupd-5 instead of 7", "txupd-5 instead of 7", "txupd-5 instead of 7"}
				if trial {
					v.counter(func(e *grubcfg.Env) error { return e.Unset(grubcfg.TriesVariable(7)) })
					want[2] = "txupd-5"
				}
				if diff := cmp.Diff(want, v.boots(3)); diff != "" {
					t.Errorf("%s, trial %v:\n%s", file, trial, diff)
				}
			}
		}
	}
}

func TestOnceIsBootedOneTime(t *testing.T) {
	v := newMachine(t, onceMenu(2))
	v.once("0")
	if diff := cmp.Diff([]string{"adopted", "txupd-7", "txupd-7", "txupd-5"}, v.boots(4)); diff != "" {
		t.Errorf("it cost a try of the default, or came again:\n%s", diff)
	}
	// The default itself can be asked for, and is counted as ever.
	v = newMachine(t, onceMenu(1))
	v.once("7")
	if diff := cmp.Diff([]string{"txupd-7", "txupd-5"}, v.boots(2)); diff != "" {
		t.Error(diff)
	}
}

func TestOnceThatMakesNoSenseIsForgotten(t *testing.T) {
	for _, asked := range []string{"", "8", "70", "txupd-5", "5; reboot", "5 = 5 -o 5", " 5"} {
		v := newMachine(t, onceMenu(1))
		v.once(asked)
		if diff := cmp.Diff([]string{"txupd-7", "txupd-5"}, v.boots(2)); diff != "" {
			t.Errorf("%q:\n%s", asked, diff)
		}
		if got := v.variable(grubcfg.OnceVariable, nil); got != "" {
			t.Errorf("%q: it is still there: %q", asked, got)
		}
	}
}

func TestOnceIsNotBootedWhereItCannotBeForgotten(t *testing.T) {
	m := onceMenu(2)
	m.Trial = nil
	v := newMachine(t, m)
	v.once("0")
	v.readOnly = true
	if diff := cmp.Diff([]string{"txupd-7", "txupd-7"}, v.boots(2)); diff != "" {
		t.Error(diff)
	}
	v.remove(espUUID)
	if got := v.boot(); got != "txupd-7" {
		t.Errorf("without the file, %s was booted", got)
	}
}

func TestOnceThatCannotBeLoadedBootsWhatWouldHaveBeen(t *testing.T) {
	kernel := filepath.Join(rootUUID, "@rootfs/boot/vmlinuz-6.12.1")
	defaultKernel := filepath.Join(rootUUID, "@/.snapshots/7/snapshot/boot/vmlinuz-6.12.1")
	for what, c := range map[string]struct {
		trial bool
		harm  func(*machine)
		want  string
		left  string
	}{
		"the default":        {false, func(*machine) {}, "txupd-7 instead of 0", "none"},
		"the fallback of it": {false, func(v *machine) { v.write(defaultKernel, []byte("damaged")) }, "txupd-5 instead of 7", "none"},
		"the trial, counted": {true, func(*machine) {}, "txupd-7 instead of 0", "1"},
		"the trial, used up": {true, func(v *machine) {
			v.counter(func(e *grubcfg.Env) error { return e.Set(grubcfg.TriesVariable(7), "0") })
		}, "txupd-5 instead of 0", "0"},
		"the fallback of a trial": {true, func(v *machine) { v.write(defaultKernel, []byte("damaged")) }, "txupd-5 instead of 7", "1"},
	} {
		m := onceMenu(2)
		if !c.trial {
			m.Trial = nil
		}
		v := newMachine(t, m)
		v.write(kernel, []byte("damaged"))
		v.once("0")
		c.harm(v)
		if got, left := v.boot(), v.counter(nil); got != c.want || left != c.left {
			t.Errorf("%s: %s was booted, with %s tries left", what, got, left)
		}
	}
}
