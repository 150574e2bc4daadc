package pkgmgr

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckNamesAcceptsPackagesAndWhatNarrowsThemDown(t *testing.T) {
	for _, names := range [][]string{
		{"htop"}, {"htop", "vim"}, {"g++", "libstdc++6", "memtest86+", "0ad"},
		{"htop=3.2.2-2", "vim=2:9.0.1378-2+deb12u2", "linux-image-amd64/trixie", "libc6:i386", "lamp-server^"},
		{"zypper>=1.14", "foo<2", "bash.x86_64", "pattern:kde", "perl(Foo::Bar)", "libcurl.so.4()(64bit)", "foo~rc1"},
		{strings.Repeat("a", 255)},
	} {
		if err := CheckNames(names); err != nil {
			t.Errorf("CheckNames(%q): %v", names, err)
		}
	}
}

func TestCheckNamesRefusesWhatIsNoPackageName(t *testing.T) {
	tests := map[string]struct {
		names []string
		want  string // in the message
	}{
		"none":             {nil, "no package is named"},
		"empty":            {[]string{"htop", ""}, "empty"},
		"option":           {[]string{"--root=/"}, "option"},
		"short option":     {[]string{"htop", "-y"}, "option"},
		"space":            {[]string{"foo bar"}, "space"},
		"leading space":    {[]string{" --root=/"}, "space"},
		"newline":          {[]string{"foo\nbar"}, "control"},
		"nul":              {[]string{"foo\x00"}, "control"},
		"escape":           {[]string{"foo\x1b[31m"}, "control"},
		"long":             {[]string{strings.Repeat("a", 4096)}, "4096 bytes"},
		"twice":            {[]string{"htop", "vim", "htop"}, "twice"},
		"wildcard":         {[]string{"lib*"}, "wildcard"},
		"class":            {[]string{"lib[ab]"}, "wildcard"},
		"removal":          {[]string{"vim-"}, "removal"},
		"zypper's removal": {[]string{"!vim"}, "character"},
		"zypper's force":   {[]string{"+vim"}, "starts with"},
		"apt pattern":      {[]string{"~nvim"}, "starts with"},
		"regex":            {[]string{"^vim$"}, "character"},
		"file here":        {[]string{"./x.deb"}, "file"},
		"file":             {[]string{"/root/x.rpm"}, "file"},
		"home":             {[]string{"~/x"}, "file"},
		"parent":           {[]string{"../x"}, "file"},
		"bare file":        {[]string{"x_1.0_all.deb"}, "file"},
		"address":          {[]string{"https://example.org/x"}, "address"},
		"shell":            {[]string{"foo;reboot"}, "character"},
		"not ASCII":        {[]string{"vím"}, "character"},
		"not UTF-8":        {[]string{"vim\xff"}, "character"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := CheckNames(test.names)
			var invalid *InvalidNameError
			if !errors.As(err, &invalid) {
				t.Fatalf("CheckNames(%.60q) = %v, want an InvalidNameError", test.names, err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error %q does not say %q", err, test.want)
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
	if err := CheckNames(make([]string, maxNames+1)); err == nil {
		t.Error("any number of names is accepted")
	}
}

func FuzzCheckNames(f *testing.F) {
	for _, seed := range []string{"htop", "--root=/", "a b", "x-", "./x", "g++", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := CheckNames([]string{name})
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("the error %q would reach a terminal with its control characters", err)
			}
			return
		}
		if name == "" || len(name) > 255 || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "-") ||
			strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("%q is accepted", name)
		}
	})
}
