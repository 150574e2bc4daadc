// The order of rpm versions, as rpm's manual has it (rpm-version(7)).

package pkgmgr

import "strings"

// compareRPM orders [epoch:]version[-release]; a missing epoch is 0.
func compareRPM(a, b string) int {
	epochA, a := cutEpoch(a)
	epochB, b := cutEpoch(b)
	if c := compareNumbers(epochA, epochB); c != 0 {
		return c
	}
	versionA, releaseA := cutLast(a, '-')
	versionB, releaseB := cutLast(b, '-')
	if c := compareRPMPart(versionA, versionB); c != 0 {
		return c
	}
	return compareRPMPart(releaseA, releaseB)
}

// compareRPMPart compares segments of digits and of letters in turn. What
// separates them does not count, except "~" (older than the end) and "^"
// (newer than the end, older than everything else).
func compareRPMPart(a, b string) int {
	for a != "" || b != "" {
		_, a = cutRun(a, isRPMSeparator)
		_, b = cutRun(b, isRPMSeparator)
		tildeA, tildeB := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~")
		caretA, caretB := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^")
		switch {
		case tildeA && tildeB, !tildeA && !tildeB && caretA && caretB:
			a, b = a[1:], b[1:]
			continue
		case tildeA:
			return -1
		case tildeB:
			return 1
		case caretA && b == "", caretB && a != "":
			return 1
		case caretA, caretB:
			return -1
		}
		if a == "" || b == "" {
			break
		}
		class, numeric := isAlpha, isDigit(a[0])
		if numeric {
			class = isDigit
		}
		var segmentA, segmentB string
		segmentA, a = cutRun(a, class)
		segmentB, b = cutRun(b, class)
		switch {
		case segmentB == "" && numeric: // a number is newer than a word
			return 1
		case segmentB == "":
			return -1
		}
		order := strings.Compare
		if numeric {
			order = compareNumbers
		}
		if c := order(segmentA, segmentB); c != 0 {
			return c
		}
	}
	switch {
	case a != "":
		return 1
	case b != "":
		return -1
	}
	return 0
}

func isRPMSeparator(c byte) bool { return !isAlnum(c) && c != '~' && c != '^' }
