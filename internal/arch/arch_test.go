// Package arch holds the rules of the design on who may import whom. It has no
// code, only this test.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/txupd/txupd/"
	godbus = "github.com/godbus/dbus"
	btrfs  = "github.com/containerd/btrfs"
	bbolt  = "go.etcd.io/bbolt"
)

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	CgoFiles     []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// name is the path in the module, as the rules have it.
func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// under reports whether a path is one of dirs or below one.
func under(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}

// floors are the rooms of the design from the top down. Imports go down only,
// and not between rooms of one floor. What is not named is a leaf.
var floors = [][]string{
	{"integration"},
	{"cmd"},
	{"internal/daemon"},
	{"internal/busserver", "internal/present"}, // the server speaks in the types of update, never the other way round
	{"internal/update"},
	{"internal/engine", "internal/boot", "internal/reboot", "client", "internal/testbed"},
	{"internal/btrfs", "internal/sandbox", "internal/pkgmgr", "internal/etcmerge", "internal/sharedtree", "internal/handover"},
	{"internal/bus"},
	{"pkg"},
}

func floor(name string) int {
	for i, rooms := range floors {
		if under(name, rooms...) {
			return i
		}
	}
	return len(floors)
}

// room is the part of the tree within which imports are free.
func room(name string) string {
	parts := strings.Split(name, "/")
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// violations lists what breaks a rule, one sentence each.
func violations(packages []pkg) []string {
	var found []string
	for _, p := range packages {
		name := p.name()
		say := func(format string, args ...any) { found = append(found, name+" "+fmt.Sprintf(format, args...)) }
		if len(p.CgoFiles) > 0 && name != "internal/btrfs" {
			say("uses cgo; only internal/btrfs may")
		}
		for _, imported := range p.Imports {
			checkImport(name, imported, say)
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if under(imported, btrfs) && name != "internal/btrfs" {
				say("imports %s; only internal/btrfs may", imported)
			}
		}
		if under(name, "pkg") {
			for _, dep := range p.Deps {
				if under(dep, godbus, btrfs) {
					say("depends on %s; pkg/* may not", dep)
				}
			}
		}
		if name == "cmd/txctl" {
			for _, dep := range p.Deps {
				if forbiddenInTxctl(dep) {
					say("depends on %s; it may know the bus client and presentation only", dep)
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func checkImport(name, imported string, say func(string, ...any)) {
	if under(imported, godbus) && !under(name, "internal/bus", "internal/busserver", "client", "internal/daemon",
		"internal/logind", "internal/polkit", "internal/testbed", "integration") {
		say("imports %s; only the packages of the bus may", imported)
	}
	local, ours := strings.CutPrefix(imported, module)
	if !ours || room(local) == room(name) {
		return
	}
	switch {
	case under(name, "integration/oracle"):
		say("imports %s; what judges the daemon shares no code with it", local)
	case under(local, "internal/testbed"):
		if !under(name, "integration") {
			say("imports %s outside of a test; only integration may", local)
		}
	case under(name, "pkg") && under(local, "pkg"):
		say("imports %s; packages of pkg do not know each other", local)
	case floor(local) == len(floors): // a leaf
	case floor(local) <= floor(name):
		say("imports %s, which is not below it", local)
	}
}

// forbiddenInTxctl: what would bring the journal, cgo or the daemon's work into
// the static client.
func forbiddenInTxctl(dep string) bool {
	if under(dep, btrfs, bbolt) || dep == "runtime/cgo" {
		return true
	}
	local, ours := strings.CutPrefix(dep, module)
	return ours && !under(local, "cmd/txctl", "internal/bus", "client", "internal/present", "pkg/journal/record") && floor(local) < len(floors)
}

func TestImportsFollowTheDesign(t *testing.T) {
	packages, err := list("1", module+"...")
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) == 0 {
		t.Fatal("go list found no package of the module")
	}
	// The client is built without cgo, which changes what it depends on.
	packages = slices.DeleteFunc(packages, func(p pkg) bool { return p.name() == "cmd/txctl" })
	txctl, err := list("0", module+"cmd/txctl")
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range violations(append(packages, txctl...)) {
		t.Error(broken)
	}
}

// list asks the go command about packages, those that do not compile included.
func list(cgo string, patterns ...string) ([]pkg, error) {
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,CgoFiles,Imports,TestImports,XTestImports,Deps"}, patterns...)...)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED="+cgo)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, said.Bytes())
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("cannot read what go list says: %w", err)
		}
		packages = append(packages, p)
	}
}

func TestRulesCatchWhatBreaksThem(t *testing.T) {
	for name, c := range map[string]struct {
		pkg  pkg
		want string // a part of the violation, "" for none
	}{
		"pkg imports pkg":              {pkg{ImportPath: "pkg/journal", Imports: []string{"pkg/snapshot"}}, "do not know each other"},
		"pkg imports its own":          {pkg{ImportPath: "pkg/journal", Imports: []string{"pkg/journal/record"}}, ""},
		"pkg imports a leaf":           {pkg{ImportPath: "pkg/journal", Imports: []string{"internal/atomicfile"}}, ""},
		"pkg imports internal":         {pkg{ImportPath: "pkg/snapshot", Imports: []string{"internal/btrfs"}}, "not below it"},
		"pkg reaches godbus":           {pkg{ImportPath: "pkg/journal", Deps: []string{godbus + "/v5"}}, "pkg/* may not"},
		"cgo elsewhere":                {pkg{ImportPath: "internal/sandbox", CgoFiles: []string{"x.go"}}, "uses cgo"},
		"cgo at its place":             {pkg{ImportPath: "internal/btrfs", CgoFiles: []string{"x.go"}, Imports: []string{btrfs + "/v2", "pkg/snapshot"}}, ""},
		"btrfs in a test":              {pkg{ImportPath: "internal/update", TestImports: []string{btrfs + "/v2"}}, "only internal/btrfs may"},
		"godbus in update":             {pkg{ImportPath: "internal/update", Imports: []string{godbus + "/v5"}}, "only the packages of the bus"},
		"update calls busserver":       {pkg{ImportPath: "internal/update", Imports: []string{"internal/busserver"}}, "not below it"},
		"busserver calls update":       {pkg{ImportPath: "internal/busserver", Imports: []string{"internal/update"}}, ""},
		"engine calls update":          {pkg{ImportPath: "internal/engine", Imports: []string{"internal/update"}}, "not below it"},
		"leaf imports engine":          {pkg{ImportPath: "internal/config", Imports: []string{"internal/engine"}}, "not below it"},
		"daemon wires":                 {pkg{ImportPath: "internal/daemon", Imports: []string{"internal/update", "internal/busserver", "internal/btrfs", "pkg/journal"}}, ""},
		"testbed in code":              {pkg{ImportPath: "internal/update", Imports: []string{"internal/testbed"}}, "outside of a test"},
		"testbed in a test":            {pkg{ImportPath: "internal/update", TestImports: []string{"internal/testbed"}}, ""},
		"testbed in the demo":          {pkg{ImportPath: "integration/demo", Imports: []string{"internal/testbed"}}, ""},
		"the oracle uses the journal":  {pkg{ImportPath: "integration/oracle", Imports: []string{"pkg/journal"}}, "shares no code"},
		"the oracle uses a leaf":       {pkg{ImportPath: "integration/oracle/cmd/oracle", Imports: []string{"internal/fault"}}, "shares no code"},
		"the oracle's command":         {pkg{ImportPath: "integration/oracle/cmd/oracle", Imports: []string{"integration/oracle", bbolt}}, ""},
		"the oracle's tests":           {pkg{ImportPath: "integration/oracle", TestImports: []string{"internal/testbed"}}, ""},
		"txctl with bbolt":             {pkg{ImportPath: "cmd/txctl", Deps: []string{bbolt}}, "bus client and presentation only"},
		"txctl with cgo":               {pkg{ImportPath: "cmd/txctl", Deps: []string{"runtime/cgo"}}, "bus client and presentation only"},
		"txctl with the journal":       {pkg{ImportPath: "cmd/txctl", Deps: []string{"pkg/journal"}}, "bus client and presentation only"},
		"txctl with the update":        {pkg{ImportPath: "cmd/txctl", Deps: []string{"internal/update"}}, "bus client and presentation only"},
		"txctl with what it may know":  {pkg{ImportPath: "cmd/txctl", Deps: []string{"pkg/journal/record", "internal/bus", "internal/fault", godbus + "/v5"}}, ""},
		"the name of another's prefix": {pkg{ImportPath: "internal/busted", Imports: []string{godbus + "/v5"}}, "only the packages of the bus"},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.pkg
			p.ImportPath = module + p.ImportPath
			for _, paths := range [][]string{p.Imports, p.TestImports, p.Deps} {
				for i, path := range paths {
					if strings.HasPrefix(path, "internal/") || strings.HasPrefix(path, "pkg/") {
						paths[i] = module + path
					}
				}
			}
			got := strings.Join(violations([]pkg{p}), "; ")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
