package sim

import (
	"errors"
	"testing"

	"github.com/tidemarkio/tidemark/processor"
)

func TestNothingIsWrongWithoutAFault(t *testing.T) {
	rep, err := Run(Options{Schedules: 3000})
	t.Logf("%+v", rep)
	if err != nil {
		t.Fatal(err)
	}
}

func TestEachPlantedFaultIsFound(t *testing.T) {
	for name, f := range map[string]processor.Fault{"NoPrevCheck": processor.NoPrevCheck, "EarlyApply": processor.EarlyApply, "WallClock": processor.WallClock, "EarlyResult": processor.EarlyResult, "WrongPosition": processor.WrongPosition} {
		t.Run(name, func(t *testing.T) {
			rep, err := Run(Options{Schedules: 3000, Fault: f})
			var v *Violation
			if !errors.As(err, &v) {
				t.Fatalf("not found in %d schedules", rep.Schedules)
			}
			t.Logf("found by schedule %d\n%v", rep.Schedules, v)
		})
	}
}
