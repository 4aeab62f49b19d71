package schemas

import "testing"

func TestSampled(t *testing.T) {
	const id = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
	for value, want := range map[string]bool{
		id + "01": true, id + "03": true, id + "0b": true, id + "0f": true, id + "ff": true,
		id + "00": false, id + "02": false, id + "0a": false, id + "0c": false, id + "0e": false,
		"": false, id: false, id + "1": false, id + "011": false,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01": false, // upper case is not W3C's
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e473z-00f067aa0ba902b7-01": false,
	} {
		if got := Sampled(value); got != want {
			t.Errorf("Sampled(%q) is %v, want %v", value, got, want)
		}
	}
}
