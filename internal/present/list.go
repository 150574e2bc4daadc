// `txctl list` and `txctl pkg list`.

package present

import (
	"fmt"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// List draws the snapshots, one a line.
func (s Screen) List(doc bus.List) string {
	if len(doc.Snapshots) == 0 {
		return "There is no snapshot.\n"
	}
	columns := []column{{head: "NUMBER", right: true}, {head: "ROLES"}, {head: "CREATED"}, {head: "KERNEL", least: 10}, {head: "CHANGES"}, {head: "MESSAGE", least: 16}}
	kernel, same := doc.Snapshots[0].Kernel, true
	rows := make([][]string, len(doc.Snapshots))
	for i, one := range doc.Snapshots {
		same = same && one.Kernel == kernel
		message := why(one.Message, one.Kind)
		if one.Foreign {
			message = faint("(not made by txupd)")
		}
		rows[i] = []string{fmt.Sprint(one.Number), roles(one), s.ago(one.Created), plain(one.Kernel), signs(one.Packages, one.Files), message}
	}
	foot := ""
	// A column that says the same in every line takes the room that the messages need.
	if same && len(rows) > 1 || kernel == "" && same {
		columns = slices.Delete(columns, 3, 4)
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 3, 4)
		}
		if kernel != "" {
			foot = "\nAll have kernel " + plain(kernel) + ".\n"
		}
	}
	return s.table(columns, rows, 0) + foot
}

// roles says in a few words what a snapshot is.
func roles(one bus.Snapshot) string {
	has := func(role string) bool { return slices.Contains(one.Roles, role) }
	var words []string
	add := func(yes bool, word string) {
		if yes {
			words = append(words, word)
		}
	}
	add(has(bus.RoleBooted), bold(green("booted")))
	add(has(bus.RolePending), bold(amber("pending")))
	// On a machine that runs what boots next, saying so in every list would be noise.
	add(has(bus.RoleDefault) && !has(bus.RoleBooted) && !has(bus.RolePending), "default")
	add(has(bus.RoleOpen), cyan("open"))
	add(one.Verdict == record.Bad, red("bad"))
	add(has(bus.RoleLastGood), green("last-good"))
	if has(bus.RoleSuperseded) {
		word := "superseded"
		if one.ContainedIn != nil {
			word = fmt.Sprintf("in %d", *one.ContainedIn)
		}
		words = append(words, faint(word))
	}
	add(one.Pinned, "pinned")
	add(one.Adopted && len(words) == 0, faint("adopted"))
	return strings.Join(words, " ")
}

// Packages draws the packages of a snapshot.
func (s Screen) Packages(doc bus.Packages) string {
	rows := make([][]string, len(doc.Packages))
	for i, p := range doc.Packages {
		rows[i] = []string{plain(p.Name), plain(p.Version), plain(p.Arch)}
	}
	return s.table([]column{{head: "NAME", least: 16}, {head: "VERSION", least: 12}, {head: "ARCH"}}, rows, 0)
}

// Deletion names the snapshots that are about to be deleted.
func (s Screen) Deletion(doomed []bus.Snapshot) string {
	steps := make([]Step, len(doomed))
	for i, one := range doomed {
		steps[i] = StepOf(one)
	}
	return s.stepRows(steps, 2)
}
