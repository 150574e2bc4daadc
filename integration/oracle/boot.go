// What the boot loader's files say, read as text, and whether what they name is there.

package oracle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Boot is what a boot loader with a menu of ours would do.
type Boot struct {
	// Menu: there is one, at Path.
	Menu bool   `json:"menu"`
	Path string `json:"path,omitempty"`
	// Default, Fallback, Tries, Entries are what the menu says of itself.
	Default  uint64   `json:"default"`
	Fallback *uint64  `json:"fallback,omitempty"`
	Tries    int      `json:"tries,omitempty"`
	Summary  []uint64 `json:"summary"`
	// Entries are those that its script has.
	Entries []Entry `json:"entries"`
	// Problems are what in the text does not fit together.
	Problems []string `json:"problems"`
	// Variables are those of ours in the file that GRUB counts in, "" for none.
	Env       string            `json:"env,omitempty"`
	Variables map[string]string `json:"variables"`
	// Staged are the files in our directory on the boot partition.
	Staged []string `json:"staged"`
	// Leftovers are files that were being written.
	Leftovers []string `json:"leftovers"`
}

// Entry is one entry of the menu.
type Entry struct {
	Number uint64 `json:"number"`
	Title  string `json:"title"`
	// SearchUUID is the file system that kernel and initial ramdisks are loaded from.
	SearchUUID string   `json:"search_uuid"`
	Kernel     string   `json:"kernel"`
	Initrd     []string `json:"initrd"`
	Arguments  []string `json:"arguments"`
	// RootUUID and RootPath are what the arguments pin.
	RootUUID string `json:"root_uuid"`
	RootPath string `json:"root_path"`
	// KernelVersion is what the file's name says, or the title.
	KernelVersion string `json:"kernel_version"`
	// Missing are the files that cannot be loaded.
	Missing []string `json:"missing"`
}

const menuName = "txupd.cfg"

// lookAtBoot finds the menu in the directories where GRUB's files are.
func lookAtBoot(o Options, f *Facts, top *topLevel) (Boot, error) {
	b := Boot{Variables: map[string]string{}}
	partition, partitionUUID := bootPartition(o, f)
	var staged string
	if partition != "" {
		staged = filepath.Join(partition, "txupd")
	}
	var err error
	if b.Staged, err = names(staged); err != nil {
		return b, err
	}
	dirs := []string{o.GrubDir}
	if o.GrubDir == "" {
		if dirs, err = grubDirs(f.Root); err != nil {
			return b, err
		}
	}
	for _, dir := range dirs {
		found, err := names(dir)
		if err != nil {
			return b, err
		}
		for _, name := range found {
			if strings.HasPrefix(name, ".") && strings.Contains(name, "txupd") {
				b.Leftovers = append(b.Leftovers, filepath.Join(dir, name))
			}
		}
		text, err := os.ReadFile(filepath.Join(dir, menuName))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
			continue
		}
		if err != nil {
			return b, err
		}
		if b.Menu {
			b.problem("there are two menus, %s and %s", b.Path, filepath.Join(dir, menuName))
			continue
		}
		b.Menu, b.Path = true, filepath.Join(dir, menuName)
		b.readMenu(text)
	}
	envs := []string{o.Env}
	if o.Env == "" {
		envs = nil
		for _, dir := range []string{"boot/efi", "efi", "boot"} {
			envs = append(envs, filepath.Join(f.Root, dir, "EFI/txupd/grubenv"))
		}
		for _, dir := range dirs {
			envs = append(envs, filepath.Join(dir, "txupd.env"))
		}
	}
	for _, file := range envs {
		if err := b.readEnv(file); err != nil {
			return b, err
		}
	}
	boots := map[string]string{}
	for uuid, dir := range o.BootDirs {
		boots[strings.ToLower(uuid)] = dir
	}
	if partitionUUID != "" {
		boots[partitionUUID] = partition
	}
	for i := range b.Entries {
		b.Entries[i].lookForFiles(f, top, boots)
	}
	return b, nil
}

func (b *Boot) problem(format string, args ...any) {
	b.Problems = append(b.Problems, fmt.Sprintf(format, args...))
}

// grubDirs are where GRUB's files may lie below a root.
func grubDirs(root string) ([]string, error) {
	dirs := []string{filepath.Join(root, "boot/grub2"), filepath.Join(root, "boot/grub")}
	for _, esp := range []string{"boot/efi/EFI", "efi/EFI"} {
		vendors, err := names(filepath.Join(root, esp))
		if err != nil {
			return nil, err
		}
		for _, v := range vendors {
			dirs = append(dirs, filepath.Join(root, esp, v))
		}
	}
	return dirs, nil
}

// bootPartition is what is mounted at /boot, and its uuid; "" where nothing is.
func bootPartition(o Options, f *Facts) (dir, uuid string) {
	for id, dir := range o.BootDirs {
		if _, err := os.Stat(filepath.Join(dir, "txupd")); err == nil {
			return dir, strings.ToLower(id)
		}
	}
	dir = filepath.Join(f.Root, "boot")
	device, err := deviceOf(dir)
	if err != nil {
		return "", ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "blkid", "-p", "-o", "value", "-s", "UUID", device).Output()
	if err != nil {
		return dir, ""
	}
	return dir, strings.ToLower(strings.TrimSpace(string(out)))
}

var (
	summaryLine = regexp.MustCompile(`(?m)^# txupd-menu: (\{.*\}) sha256:([0-9a-f]{64})\n`)
	setDefault  = regexp.MustCompile(`(?m)^\s*set default='txupd-(\d+)'$`)
	function    = regexp.MustCompile(`(?ms)^function txupd_load_(\d+) \{\n(.*?)^\}$`)
	menuEntry   = regexp.MustCompile(`(?m)^menuentry ('(?:[^']|'\\'')*') .*--id '(txupd-\d+)' \{$`)
	counting    = regexp.MustCompile(`(?m)^\s*set (txupd_tries_(\d+))=(\d+)$`)
)

// ReadMenu reads a menu that came from elsewhere: Default, Entries and Problems of it.
func ReadMenu(text []byte) Boot {
	b := Boot{Menu: true, Path: menuName}
	b.readMenu(text)
	return b
}

// readMenu reads what GRUB would do from the script, and holds what the menu
// says of itself against it.
func (b *Boot) readMenu(text []byte) {
	m := summaryLine.FindSubmatchIndex(text)
	if m == nil {
		b.problem("%s has no line that says what it decides", b.Path)
		return
	}
	said, sum, script := text[m[2]:m[3]], string(text[m[4]:m[5]]), text[m[1]:]
	if hash(slices.Concat(said, []byte("\n"), script)) != sum {
		b.problem("%s is not as it was written: its hash is another", b.Path)
	}
	var s struct {
		Default  uint64
		Fallback *uint64
		Tries    int
		Entries  []uint64
	}
	if err := json.Unmarshal(said, &s); err != nil {
		b.problem("%s: what it says of itself cannot be read: %v", b.Path, err)
	}
	b.Default, b.Fallback, b.Tries, b.Summary = s.Default, s.Fallback, s.Tries, s.Entries
	b.readScript(string(script))
}

func (b *Boot) readScript(script string) {
	// The first is the default proper; on trial a second one is the fallback.
	var defaults []uint64
	for _, m := range setDefault.FindAllStringSubmatch(script, -1) {
		n, _ := strconv.ParseUint(m[1], 10, 64)
		defaults = append(defaults, n)
	}
	want := []uint64{b.Default}
	if b.Tries > 0 && b.Fallback != nil {
		want = append(want, *b.Fallback)
	}
	if !slices.Equal(defaults, want) {
		b.problem("the menu says that it boots %v, its script sets %v", want, defaults)
	}
	for _, m := range counting.FindAllStringSubmatch(script, -1) {
		if m[2] != fmt.Sprint(b.Default) || m[3] != fmt.Sprint(b.Tries) {
			b.problem("the menu counts %s from %s, and boots %d with %d tries", m[1], m[3], b.Default, b.Tries)
		}
	}
	titles := map[string]string{}
	for _, m := range menuEntry.FindAllStringSubmatch(script, -1) {
		titles[m[2]] = words(m[1])[0]
	}
	var numbers []uint64
	for _, m := range function.FindAllStringSubmatch(script, -1) {
		e := Entry{}
		e.Number, _ = strconv.ParseUint(m[1], 10, 64)
		numbers = append(numbers, e.Number)
		title, ok := titles["txupd-"+m[1]]
		if !ok {
			b.problem("nobody can choose %d: it has no entry", e.Number)
		}
		e.Title = title
		e.read(m[2])
		b.Entries = append(b.Entries, e)
	}
	if !slices.Equal(numbers, b.Summary) {
		b.problem("the menu says that it has %v, its script has %v", b.Summary, numbers)
	}
	if len(titles) != len(numbers) {
		b.problem("%d entries, %d of them can be loaded", len(titles), len(numbers))
	}
}

// read takes the function apart that loads an entry.
func (e *Entry) read(body string) {
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(strings.TrimSpace(line), "; then")
		line, _ = strings.CutPrefix(line, "if ")
		w := words(line)
		if len(w) < 2 {
			continue
		}
		switch w[0] {
		case "search":
			e.SearchUUID = strings.ToLower(w[len(w)-1])
		case "linux":
			e.Kernel = w[1]
			for _, a := range w[2:] {
				if a != "${txupd_note}" {
					e.Arguments = append(e.Arguments, a)
				}
			}
		case "initrd":
			e.Initrd = w[1:]
		}
	}
	for _, a := range e.Arguments {
		if uuid, ok := strings.CutPrefix(a, "root=UUID="); ok {
			e.RootUUID = strings.ToLower(uuid)
		}
		flags, ok := strings.CutPrefix(a, "rootflags=")
		for flag := range strings.SplitSeq(flags, ",") {
			if p, is := strings.CutPrefix(flag, "subvol="); ok && is {
				e.RootPath = strings.Trim(p, "/")
			}
		}
	}
	name := path.Base(e.Kernel)
	for _, prefix := range []string{"vmlinuz-", "vmlinux-", "Image-"} {
		if version, ok := strings.CutPrefix(name, prefix); ok {
			e.KernelVersion = version
		}
	}
	if e.KernelVersion == "" { // a staged one is named by its content, and the title says which it is
		if i := strings.LastIndex(e.Title, ", "); i >= 0 {
			e.KernelVersion = strings.TrimSuffix(e.Title[i+2:], ")")
		}
	}
}

// words splits a line of GRUB's script: single quotes take everything as it is,
// a backslash outside of them the next character.
func words(line string) []string {
	var all []string
	var word strings.Builder
	quoted, begun := false, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\'':
			quoted, begun = !quoted, true
		case !quoted && c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			begun = true
		case !quoted && (c == ' ' || c == '\t'):
			if begun {
				all = append(all, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if begun {
		all = append(all, word.String())
	}
	return all
}

var stagedFile = regexp.MustCompile(`^([0-9a-f]{64})-(vmlinuz|initrd)$`)

// lookForFiles notes what of an entry's files is not there.
func (e *Entry) lookForFiles(f *Facts, top *topLevel, boots map[string]string) {
	missing := func(format string, args ...any) { e.Missing = append(e.Missing, fmt.Sprintf(format, args...)) }
	base := top.path("")
	if e.SearchUUID != f.UUID {
		base = boots[e.SearchUUID]
		if base == "" {
			missing("its files lie on a file system %s that is not there", e.SearchUUID)
			return
		}
	}
	if e.Kernel == "" {
		missing("it loads no kernel")
		return
	}
	for _, file := range append([]string{e.Kernel}, e.Initrd...) {
		at := filepath.Join(base, file)
		info, err := os.Lstat(at)
		switch {
		case err != nil:
			missing("%s: %v", file, errors.Unwrap(err))
			continue
		case !info.Mode().IsRegular() || info.Size() == 0:
			missing("%s is no file with content", file)
			continue
		}
		if m := stagedFile.FindStringSubmatch(path.Base(file)); m != nil {
			sum, err := contentHash(at, make([]byte, 256<<10))
			if err != nil || sum != m[1] {
				missing("%s has another content than its name says (%s, %v)", file, sum, err)
			}
		}
	}
}

// readEnv reads our variables from an environment block: 1024 bytes, a
// signature, lines of name=value, and "#" up to the end.
func (b *Boot) readEnv(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return nil
	}
	if err != nil {
		return err
	}
	if b.Env != "" {
		b.problem("there are two files to count in, %s and %s", b.Env, file)
		return nil
	}
	b.Env = file
	if len(text) != 1024 || !bytes.HasPrefix(text, []byte("# GRUB Environment Block\n")) {
		b.problem("%s is no environment block", file)
		return nil
	}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if ok && strings.HasPrefix(name, "txupd_") {
			b.Variables[name] = value
		}
	}
	return nil
}
