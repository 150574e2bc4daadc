// The hook by which GRUB's own menu loads ours, and the check that it is still
// there: without it a commit would change nothing.

package grubcfg

import (
	"path"
	"strings"
)

// HookPath is where the hook script belongs, executable. Its number puts it
// after the header, which sets a default of its own, and before every entry.
const HookPath = "/etc/grub.d/09_txupd"

// HookScript is the text of the hook: a part of grub.cfg that loads the menu
// next to it. A missing menu does nothing.
const HookScript = `#!/bin/sh
# Loads the boot menu of txupd. It belongs to txupd and is replaced by it.
set -e
cat <<'EOF'
if [ -s "${config_directory}/` + MenuName + `" ]; then
  source "${config_directory}/` + MenuName + `"
elif [ -z "${config_directory}" -a -s "${prefix}/` + MenuName + `" ]; then
  source "${prefix}/` + MenuName + `"
fi
EOF
`

// Hooked reports whether a grub.cfg loads our menu: whether one of its
// commands, which is not a comment, sources a file of that name.
func Hooked(grubCfg []byte) bool {
	for line := range strings.Lines(string(grubCfg)) {
		words := strings.Fields(strings.ReplaceAll(line, ";", " ; "))
		for i, word := range words {
			if strings.HasPrefix(word, "#") {
				break
			}
			first := i == 0 || strings.Contains(" ; then else { ", " "+words[i-1]+" ")
			if first && (word == "source" || word == ".") && i+1 < len(words) {
				file := strings.NewReplacer(`"`, "", "'", "").Replace(words[i+1])
				// Quotes stand around the name, not within it: one there may be what begins a text.
				if path.Base(file) == MenuName && strings.Contains(words[i+1], MenuName) {
					return true
				}
			}
		}
	}
	return false
}
