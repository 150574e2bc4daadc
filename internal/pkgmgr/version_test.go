package pkgmgr

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDebianVersionOrder(t *testing.T) {
	ascending := [][]string{
		{"1.0~~", "1.0~~a", "1.0~", "1.0~rc1-1", "1.0", "1.0-0.1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0a", "1.0+dfsg", "1.0.1", "1.1", "1.10", "2", "1:0.1", "2:0"},
		{"0", "0a", "1"},
	}
	checkAscending(t, compareDeb, ascending)
	for _, equal := range [][2]string{{"1.0", "0:1.0"}, {"1.0", "1.0-0"}, {"1.0-1", "1.00-01"}, {"", "0"}} {
		if c := compareDeb(equal[0], equal[1]); c != 0 {
			t.Errorf("%q and %q are equal to dpkg, got %d", equal[0], equal[1], c)
		}
	}
}

func TestRPMVersionOrder(t *testing.T) {
	ascending := [][]string{
		{"1.0~rc1-1", "1.0~rc2-1", "1.0-1", "1.0-1.1", "1.0-2", "1.0^git1-1", "1.0.1-1", "1.1-1", "1.10-1", "2-1", "1:0.1-1"},
		{"a", "b", "1"},
		{"5.5p1", "5.5p2", "5.5p10"},
		{"1.0^20160101~git1", "1.0^20160101", "1.0^20160102"},
	}
	checkAscending(t, compareRPM, ascending)
	for _, equal := range [][2]string{{"1.0-1", "0:1.0-1"}, {"2_0", "2.0"}, {"1.010", "1.10"}, {"fc4", "fc.4"}} {
		if c := compareRPM(equal[0], equal[1]); c != 0 {
			t.Errorf("%q and %q are equal to rpm, got %d", equal[0], equal[1], c)
		}
	}
}

func checkAscending(t *testing.T, compare func(a, b string) int, lists [][]string) {
	t.Helper()
	for _, list := range lists {
		for i, a := range list {
			for j, b := range list {
				want := 0
				if i < j {
					want = -1
				} else if i > j {
					want = 1
				}
				if got := sign(compare(a, b)); got != want {
					t.Errorf("compare(%q, %q) = %d, want %d", a, b, got, want)
				}
			}
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// randomVersion is short, so that near-equal versions meet often.
func randomVersion(r *rand.Rand, alphabet string) string {
	var b strings.Builder
	for range 1 + r.IntN(7) {
		b.WriteByte(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

func TestDebianVersionOrderIsThatOfDpkg(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		skip(t, "dpkg")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		// dpkg wants a digit first, and an upstream version before a revision.
		a, b := "1"+randomVersion(r, "0019aZ.+~"), "1"+randomVersion(r, "0019aZ.+~")
		if i%3 == 0 {
			a, b = a+"-"+randomVersion(r, "01a.~+"), b+"-"+randomVersion(r, "01a.~+")
		}
		if i%5 == 0 {
			a, b = fmt.Sprintf("%d:%s", r.IntN(2), a), fmt.Sprintf("%d:%s", r.IntN(2), b)
		}
		operator := map[int]string{-1: "lt-nl", 0: "eq", 1: "gt-nl"}[sign(compareDeb(a, b))]
		if out, err := exec.Command("dpkg", "--compare-versions", a, operator, b).CombinedOutput(); err != nil {
			t.Errorf("dpkg does not agree that %q is %s %q: %v %s", a, operator, b, err, out)
		}
	}
}

func TestRPMVersionOrderIsThatOfRPM(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		skip(t, "rpm")
	}
	r := rand.New(rand.NewPCG(3, 4))
	var pairs [][2]string
	for range 3000 {
		pairs = append(pairs, [2]string{randomVersion(r, "0019aZ._+~^"), randomVersion(r, "0019aZ._+~^")})
	}
	var out []byte
	for chunk := 0; chunk < len(pairs); chunk += 500 {
		var part strings.Builder
		for _, p := range pairs[chunk : chunk+500] {
			fmt.Fprintf(&part, "print(rpm.vercmp('%s','%s')..' ') ", p[0], p[1])
		}
		got, err := exec.Command("rpm", "--eval", "%{lua: "+part.String()+"}").Output()
		if err != nil {
			t.Fatalf("rpm --eval: %v", err)
		}
		out = append(append(out, bytes.TrimSpace(got)...), ' ')
	}
	results := strings.Fields(string(out))
	if len(results) != len(pairs) {
		t.Fatalf("rpm answered %d of %d questions", len(results), len(pairs))
	}
	for i, p := range pairs {
		if got := fmt.Sprint(sign(compareRPMPart(p[0], p[1]))); got != results[i] {
			t.Errorf("compare(%q, %q) = %s, and rpm says %s", p[0], p[1], got, results[i])
		}
	}
}

// Both orders are total: what sorts by them must not depend on where it started.
func TestVersionOrdersAreTotal(t *testing.T) {
	for name, compare := range map[string]func(a, b string) int{"deb": compareDeb, "rpm": compareRPM} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				version := rapid.StringMatching(`([01]:)?[01a.~^+-]{0,6}`)
				a, b, c := version.Draw(t, "a"), version.Draw(t, "b"), version.Draw(t, "c")
				if compare(a, a) != 0 {
					t.Fatalf("%q differs from itself", a)
				}
				if sign(compare(a, b)) != -sign(compare(b, a)) {
					t.Fatalf("%q and %q: the order depends on the side", a, b)
				}
				if compare(a, b) <= 0 && compare(b, c) <= 0 && compare(a, c) > 0 {
					t.Fatalf("%q <= %q <= %q, but not the first and the last", a, b, c)
				}
			})
		})
	}
}

func FuzzVersionOrders(f *testing.F) {
	f.Add("1:1.0-1", "1.0~rc1")
	f.Add("1.0^git", "1.0^")
	f.Fuzz(func(t *testing.T, a, b string) {
		for name, compare := range map[string]func(a, b string) int{"deb": compareDeb, "rpm": compareRPM} {
			if compare(a, a) != 0 || sign(compare(a, b)) != -sign(compare(b, a)) {
				t.Errorf("%s: %q and %q have no order", name, a, b)
			}
		}
	})
}

// skip is for machines without a tool, which CI must not be.
func skip(t testing.TB, tool string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and CI=true lets nothing be skipped", tool)
	}
	t.Skip(tool + " is not installed")
}
