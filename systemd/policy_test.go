package systemd

import (
	"encoding/xml"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/polkit"
)

// actions are those of the design, and update, which is not as much as transact:
// an active local session may ask for it with its own password.
var actions = []string{"transact", "shell", "rollback", "delete", "reboot", "configure", "read-log", "update"}

// defaults is who may do something where no rule says otherwise.
type defaults struct {
	Any      string `xml:"allow_any"`
	Inactive string `xml:"allow_inactive"`
	Active   string `xml:"allow_active"`
}

func TestActionsAreThoseOfTheDesign(t *testing.T) {
	text, err := os.ReadFile(bus.Name + ".policy")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "<!-- Installed as /usr/share/polkit-1/actions/"+bus.Name+".policy -->") {
		t.Error("it does not say where it belongs")
	}
	var policy struct {
		Actions []struct {
			ID          string   `xml:"id,attr"`
			Description string   `xml:"description"`
			Message     string   `xml:"message"`
			Defaults    defaults `xml:"defaults"`
		} `xml:"action"`
	}
	if err := xml.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	var want, described []string
	for _, name := range actions {
		want = append(want, bus.Name+"."+name)
	}
	admin := defaults{"auth_admin_keep", "auth_admin_keep", "auth_admin_keep"}
	// Own passwords, and only of those who sit at the machine.
	self := map[string]string{polkit.Update: "auth_self_keep", polkit.Reboot: "auth_self"}
	for _, a := range policy.Actions {
		described = append(described, a.ID)
		if a.Description == "" || !strings.HasPrefix(a.Message, "Authentication is required to ") || !strings.HasSuffix(a.Message, ".") {
			t.Errorf("%s is described by %q and asks %q", a.ID, a.Description, a.Message)
		}
		may := admin
		if own := self[a.ID]; own != "" {
			may.Active = own
		}
		if a.Defaults != may {
			t.Errorf("%s: %+v, want %+v", a.ID, a.Defaults, may)
		}
	}
	slices.Sort(want)
	slices.Sort(described)
	if asked := slices.Sorted(slices.Values(polkit.Actions())); !slices.Equal(described, want) || !slices.Equal(asked, want) {
		t.Errorf("the policy has %v,\npolkit is asked about %v,\nthe design has %v", described, asked, want)
	}
}
