package main

import "testing"

func TestRefusalsInWords(t *testing.T) {
	for answer, want := range map[string]string{
		`{"error":{"problem":"notFound","path":"bizType","reason":"no config \"X\""}}`: `bizType: no config "X"`,
		`{"error":{"reason":"log in first"}}`:                                          "log in first",
		"starting: waiting for the registry\n":                                         "starting: waiting for the registry",
		`{"success":false}`:                                                            `{"success":false}`,
		"<html>502</html>":                                                             "<html>502</html>",
		"":                                                                             "",
	} {
		if got := inWords([]byte(answer)); got != want {
			t.Errorf("%q reads %q, want %q", answer, got, want)
		}
	}
}
