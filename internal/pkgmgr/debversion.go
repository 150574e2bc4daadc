// The order of Debian versions: deb-version(7).

package pkgmgr

import (
	"cmp"
	"strings"
)

// compareDeb orders [epoch:]upstream[-revision]; a missing part is 0.
func compareDeb(a, b string) int {
	epochA, a := cutEpoch(a)
	epochB, b := cutEpoch(b)
	if c := compareNumbers(epochA, epochB); c != 0 {
		return c
	}
	upstreamA, revisionA := cutLast(a, '-')
	upstreamB, revisionB := cutLast(b, '-')
	if c := compareDebPart(upstreamA, upstreamB); c != 0 {
		return c
	}
	return compareDebPart(revisionA, revisionB)
}

// compareDebPart compares runs of non-digits and of digits in turn.
func compareDebPart(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !isDigit(a[0]) || b != "" && !isDigit(b[0]) {
			if c := cmp.Compare(debWeight(a), debWeight(b)); c != 0 {
				return c
			}
			a, b = a[1:], b[1:] // of equal weight, so neither is at its end
		}
		var numberA, numberB string
		numberA, a = cutRun(a, isDigit)
		numberB, b = cutRun(b, isDigit)
		if c := compareNumbers(numberA, numberB); c != 0 {
			return c
		}
	}
	return 0
}

// debWeight is that of the first character: "~" is below the end, where a
// number begins counts as the end, and letters are below everything else.
func debWeight(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isAlpha(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

// cutEpoch splits "1:2-3" into "1" and "2-3"; without an epoch that is "".
func cutEpoch(version string) (epoch, rest string) {
	digits, after := cutRun(version, isDigit)
	if strings.HasPrefix(after, ":") {
		return digits, after[1:]
	}
	return "", version
}

// cutLast splits at the last sep; without one, after is empty.
func cutLast(s string, sep byte) (before, after string) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// cutRun splits off the leading characters of a class.
func cutRun(s string, class func(byte) bool) (run, rest string) {
	i := 0
	for i < len(s) && class(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// compareNumbers compares decimal numbers of any length; "" is 0.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
