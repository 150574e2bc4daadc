// The keys of the configuration, of what the code that reads them says.

package main

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/config"
)

// keys lists every key below the heading of its section.
func keys(values []config.Value) string {
	p := &page{}
	section := ""
	for _, v := range values {
		if name, _, _ := strings.Cut(v.Key, "."); name != section {
			section = name
			p.line(".SS %s", escaped("["+name+"]"))
		}
		p.item(bold(strings.TrimPrefix(v.Key, section+".")), fmt.Sprintf("%s.\n\nIt takes %s. The default is %s.", upper(v.Doc), v.Wants, v.Text()))
	}
	return strings.TrimSuffix(p.String(), "\n")
}
