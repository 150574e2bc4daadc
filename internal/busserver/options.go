// What is checked of arguments before a method sees them.

package busserver

import (
	"fmt"
	"slices"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// options are the last argument of a method. All are checked before anything
// is done: one that the method does not have is an error, not silently nothing.
type options map[string]dbus.Variant

// optionTypes are the signatures of every option.
var optionTypes = map[string]string{
	bus.OptMessage: "s", bus.OptMethod: "s", bus.OptTags: "as", bus.OptFrom: "s", bus.OptDetach: "b", bus.OptKeepUnchanged: "b",
	bus.OptStdin: "b", bus.OptTerminal: "b", bus.OptRows: "q", bus.OptColumns: "q", bus.OptTerm: "s",
	bus.OptDryRun: "b", bus.OptExpires: "t", bus.OptLimit: "t", bus.OptPackage: "s", bus.OptCommand: "u",
	bus.OptAsCommitted: "b", bus.OptRestoreShared: "b", bus.OptPath: "s", bus.OptPaths: "as", bus.OptSince: "x", bus.OptUntil: "x", bus.OptActor: "s",
	bus.OptState: "s", bus.OptTag: "s", bus.OptText: "s", bus.OptNote: "s", bus.OptDropTags: "as", bus.OptPin: "b",
	bus.OptNow: "b", bus.OptPatch: "b", bus.OptContext: "u", bus.OptIgnoreCase: "b", bus.OptHead: "s", bus.OptBrief: "b",
	bus.OptSnapshot: "s", bus.OptContent: "ay", bus.OptSeen: "s", bus.OptStrict: "b", bus.OptEtc: "s",
}

func (o options) check(method string, accepted []string) error {
	for name, v := range o {
		if !slices.Contains(accepted, name) {
			return fmt.Errorf("%w: %s has no option %s", fault.ErrInvalidArgument, method, quoted(name))
		}
		if got := v.Signature().String(); got != optionTypes[name] {
			return fmt.Errorf("%w: option %q is of type %q, not %q", fault.ErrInvalidArgument, name, optionTypes[name], got)
		}
		if name == bus.OptMessage || name == bus.OptNote { // longer ones, with a check of their own
			continue
		}
		if err := checkLength("option", name, v.Value()); err != nil {
			return err
		}
	}
	return nil
}

const (
	// maxString is the longest argument that is a name, a path or a word (bytes): PATH_MAX.
	maxString = 4096
	// maxList is how many of them one question has at most.
	maxList = 1000
)

// checkArguments checks the lengths of what is not an option. The words of a
// command and the names of packages have checks of their own.
func checkArguments(names []string, args []any) error {
	for i, v := range args {
		if s, ok := v.(string); ok {
			if err := checkLength("argument", names[i], s); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkLength(what, name string, value any) error {
	list, ok := value.([]string)
	if s, one := value.(string); one {
		list, ok = []string{s}, true
	}
	if !ok {
		return nil
	}
	if len(list) > maxList {
		return fmt.Errorf("%w: %s %q: %d of them, at most %d are accepted", fault.ErrInvalidArgument, what, name, len(list), maxList)
	}
	for _, s := range list {
		if len(s) > maxString {
			return fmt.Errorf("%w: %s %q is %d bytes long, at most %d are accepted", fault.ErrInvalidArgument, what, name, len(s), maxString)
		}
	}
	return nil
}

// option reads one that check has seen; the zero value where it is not given.
func option[T any](o options, name string) T {
	value, _ := o[name].Value().(T)
	return value
}
