// Which package owns a path, by dpkg's file lists and diversions. Layout:
// var/lib/dpkg/info/PACKAGE.list, one path a line; dpkg-divert(1).

package pkgmgr

import (
	"context"
	"fmt"
	"strings"
)

func (m apt) Owners(ctx context.Context, root Root, paths []string) (map[string]string, error) {
	if len(paths) == 0 {
		return map[string]string{}, nil
	}
	owners, err := m.owners(ctx, root, paths)
	if err != nil {
		return nil, fmt.Errorf("cannot find the owners of files in %s: %w", root.Dir, err)
	}
	return owners, nil
}

func (apt) owners(ctx context.Context, root Root, paths []string) (map[string]string, error) {
	t, err := openTree(root.Dir)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	found := newOwnership(t.aliases(), paths)
	data, err := t.readIfThere(dpkgDir + "/diversions")
	if err != nil {
		return nil, err
	}
	diverted, err := parseDiversions(data, found.aliases)
	if err != nil {
		return nil, err
	}
	files, err := t.names(dpkgDir + "/info")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		name, isList := strings.CutSuffix(file, ".list")
		if !isList {
			continue
		}
		name, _, _ = strings.Cut(name, ":") // "libc6:amd64.list"
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := t.read(dpkgDir + "/info/" + file)
		if err != nil {
			return nil, err
		}
		scanList(data, name, diverted, found)
	}
	return found.result(), nil
}

// scanList takes over the paths of one package that were asked for.
func scanList(data []byte, name string, diverted map[string]diversion, found *ownership) {
	for line := range strings.Lines(string(data)) {
		path := found.aliases.real(strings.TrimSuffix(line, "\n"))
		if d, ok := diverted[path]; ok && d.by != name {
			path = d.to
		}
		found.owns(name, path)
	}
}

// diversion sends a path of all packages but one elsewhere.
type diversion struct{ to, by string }

// parseDiversions reads triples of lines: from, to, and the package that keeps
// the name, or ":" for none.
func parseDiversions(data []byte, merged aliases) (map[string]diversion, error) {
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(data) == 0 {
		lines = nil
	}
	if len(lines)%3 != 0 {
		return nil, fmt.Errorf("diversions has %d lines, which is no multiple of 3", len(lines))
	}
	diverted := make(map[string]diversion, len(lines)/3)
	for i := 0; i < len(lines); i += 3 {
		diverted[merged.real(lines[i])] = diversion{to: merged.real(lines[i+1]), by: lines[i+2]}
	}
	return diverted, nil
}

// ownership collects who owns the paths that were asked for.
type ownership struct {
	aliases aliases
	asked   map[string][]string // where a path lies → how it was asked for
	owner   map[string]string   // where a path lies → package, "" for several
}

func newOwnership(merged aliases, paths []string) *ownership {
	o := &ownership{aliases: merged, asked: make(map[string][]string, len(paths)), owner: map[string]string{}}
	for _, path := range paths {
		real := merged.real(path)
		o.asked[real] = append(o.asked[real], path)
	}
	return o
}

// owns notes that the package says what lies at path is its own.
func (o *ownership) owns(name, path string) {
	if _, asked := o.asked[path]; !asked {
		return
	}
	if known, ok := o.owner[path]; ok && known != name {
		name = ""
	}
	o.owner[path] = name
}

func (o *ownership) result() map[string]string {
	owners := make(map[string]string, len(o.owner))
	for real, name := range o.owner {
		if name == "" {
			continue
		}
		for _, path := range o.asked[real] {
			owners[path] = name
		}
	}
	return owners
}
