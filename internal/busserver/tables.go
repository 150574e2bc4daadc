// The methods and what they take, held together with the introspection data.

package busserver

import (
	"encoding/xml"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// method is one method of an interface: what it takes is in the introspection data.
type method struct {
	right
	changes bool     // something; else it is a question, which ends with who asked it
	slow    bool     // a question that takes its time; all that answer with a file are
	options []string // what the last argument may hold
	run     func(*call) ([]any, error)
}

// kind of object: its interfaces, and which paths are of it.
type kind struct {
	methods map[string]map[string]method    // interface, name
	in      map[string]map[string]arguments // interface, name
	// handsOut are the methods that answer with descriptors, as interface.name.
	handsOut map[string]bool
	xml      string
}

// arguments are what a method takes.
type arguments struct {
	signature string
	names     []string
}

// newKind ties methods to their introspection data and refuses to start where they differ.
func newKind(interfaces string, methods map[string]map[string]method) (kind, error) {
	k := kind{methods: methods, in: map[string]map[string]arguments{}, handsOut: map[string]bool{}, xml: interfaces}
	var node struct {
		Interfaces []struct {
			Name    string `xml:"name,attr"`
			Methods []struct {
				Name string `xml:"name,attr"`
				Args []struct {
					Name      string `xml:"name,attr"`
					Type      string `xml:"type,attr"`
					Direction string `xml:"direction,attr"`
				} `xml:"arg"`
			} `xml:"method"`
		} `xml:"interface"`
	}
	if err := xml.Unmarshal([]byte("<node>"+interfaces+"</node>"), &node); err != nil {
		return kind{}, fmt.Errorf("internal error: introspection data: %w", err)
	}
	described := 0
	for _, i := range node.Interfaces {
		k.in[i.Name] = map[string]arguments{}
		for _, m := range i.Methods {
			var in arguments
			for _, a := range m.Args {
				if a.Direction == "in" {
					in.signature += a.Type
					in.names = append(in.names, a.Name)
				} else if a.Type == "h" {
					k.handsOut[i.Name+"."+m.Name] = true
				}
			}
			k.in[i.Name][m.Name] = in
			described++
			if _, ok := methods[i.Name][m.Name]; !ok {
				return kind{}, fmt.Errorf("internal error: %s.%s is described and not there", i.Name, m.Name)
			}
		}
	}
	for _, table := range methods {
		described -= len(table)
	}
	if described != 0 {
		return kind{}, errors.New("internal error: methods without a description")
	}
	return k, nil
}

// find is the method that a call means. A call may leave the interface out, and then any method of that name will do.
func (k kind) find(in *incoming) (name string, m method, takes arguments, err error) {
	found := in.iface == ""
	for i, table := range k.methods {
		if in.iface != "" && in.iface != i {
			continue
		}
		found = true
		if m, ok := table[in.member]; ok {
			return i + "." + in.member, m, k.in[i][in.member], nil
		}
	}
	if !found {
		return "", m, takes, dbus.NewError(errUnknownInterface, []any{fmt.Sprintf("%s has no interface %s", in.path, in.iface)})
	}
	return "", m, takes, dbus.NewError(errUnknownMethod, []any{fmt.Sprintf("%s has no method %s", in.path, in.member)})
}
