package schemas

import "strings"

// ValidVersion reports whether v is empty or numbers between dots.
func ValidVersion(v string) bool {
	digits := 0
	for i := range len(v) {
		switch {
		case v[i] >= '0' && v[i] <= '9':
			digits++
		case v[i] == '.' && digits > 0:
			digits = 0
		default:
			return false
		}
	}
	return v == "" || digits > 0
}

// CompareVersions compares valid versions segment by segment as numbers of any
// size; a missing segment counts as 0 (spec D23). The result is -1, 0 or 1.
func CompareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if len(x) != len(y) {
			return sign(len(x) - len(y))
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
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
