// The hook's output is what Hooked finds, in a real grub.cfg too.

package grubcfg_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/txupd/txupd/pkg/grubcfg"
)

func TestTheHookIsFoundInWhatItWrites(t *testing.T) {
	check := tool(t, "grub-script-check")
	cmd := exec.Command("sh")
	cmd.Stdin = strings.NewReader(grubcfg.HookScript)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	checkScript(t, check, out)
	golden(t, "hook.cfg", out)
	if !grubcfg.Hooked(append([]byte("set default=0\n"), out...)) {
		t.Errorf("not found in:\n%s", out)
	}
}

func TestHooked(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                    false,
		"source txupd.cfg":                    true,
		"source /boot/grub/txupd.cfg\n":       true,
		"\t. '($root)/grub2/txupd.cfg' ; x":   true,
		"if x; then source a/txupd.cfg; fi":   true,
		"# source txupd.cfg":                  false,
		"source custom.cfg # txupd.cfg":       false,
		"source nottxupd.cfg":                 false,
		". txup'd.cfg":                        false,
		"source txupd.cfg.old":                false,
		"echo source txupd.cfg":               false,
		"### BEGIN /etc/grub.d/09_txupd ###":  false,
		"set x=1; source $prefix/txupd.cfg":   true,
		"source":                              false,
		"configfile /txupd.cfg":               false,
		"source \"${prefix}/txupd.cfg\"\r\n":  true,
		"menuentry x {\nsource txupd.cfg.d\n": false,
	} {
		if got := grubcfg.Hooked([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
