package schemas

import "testing"

func TestValidVersion(t *testing.T) {
	for v, want := range map[string]bool{
		"": true, "0": true, "1": true, "1.0": true, "8.6.0.9999": true, "0.0.0.0": true, "100.100.100.100": true, "007.01": true, "99999999999999999999": true,
		".": false, "1.": false, ".1": false, "1..2": false, "1.2.": false, "v1": false, "1.2b": false, "1,2": false, "-1": false, "+1": false, " 1": false, "1 ": false, "1\x00": false, "１": false, "1.２": false,
	} {
		if got := ValidVersion(v); got != want {
			t.Errorf("%q: %t", v, got)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1", "1", 0}, {"1", "2", -1}, {"9", "10", -1}, {"1.9", "1.10", -1}, {"1.2.3", "1.2.4", -1}, {"2", "1.9.9", 1},
		{"1", "1.0", 0}, {"1", "1.0.0.0", 0}, {"1", "1.0.1", -1}, {"", "0", 0}, {"", "0.0", 0}, {"", "1", -1}, // missing = 0
		{"01.002", "1.2", 0}, {"1.000", "1", 0}, {"0010", "9", 1}, // leading zeros
		{"8.6.0.9999", "9.0.0.9999", -1}, {"0.0.0.0", "100.100.100.100", -1},
		{"99999999999999999999", "99999999999999999998", 1}, {"18446744073709551616", "1", 1}, // over 64 bits
	} {
		if got := CompareVersions(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := CompareVersions(c.b, c.a); got != -c.want {
			t.Errorf("%q and %q: %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		filter      Filter
		os, version string
		want        bool
	}{
		{Filter{}, "", "", true}, {Filter{}, "iOS", "1.0", true}, {Filter{}, "iOS", "beta", true},
		{Filter{OSType: "iOS"}, "IOS", "", true}, {Filter{OSType: "ANDROID"}, "android", "", true}, {Filter{OSType: "iOS"}, "Android", "", false}, {Filter{OSType: "iOS"}, "", "1", false},
		{Filter{AppMinVersion: "1.2"}, "", "1.2", true}, {Filter{AppMinVersion: "1.2"}, "", "1.1.9", false}, {Filter{AppMinVersion: "1.2"}, "", "", false}, {Filter{AppMinVersion: "0"}, "", "", false}, {Filter{AppMinVersion: "1.2"}, "", "2-beta", false},
		{Filter{AppMaxVersion: "9.0.0.9999"}, "", "9.0.0.9999", true}, {Filter{AppMaxVersion: "9"}, "", "9.0.0", true}, {Filter{AppMaxVersion: "9"}, "", "9.0.1", false}, {Filter{AppMaxVersion: "10"}, "", "9", true},
		{Filter{"iOS", "1", "2"}, "ios", "1.5", true}, {Filter{"iOS", "1", "2"}, "android", "1.5", false}, {Filter{"iOS", "1", "2"}, "ios", "2.0.1", false},
	} {
		if got := c.filter.Admits(c.os, c.version); got != c.want {
			t.Errorf("%+v for %q %q: %t", c.filter, c.os, c.version, got)
		}
	}
}
