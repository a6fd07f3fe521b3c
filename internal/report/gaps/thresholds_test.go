package gaps_test

import (
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/report/gaps"
)

func TestThresholdsReplaceSomeOfTheDefaults(t *testing.T) {
	got, err := gaps.ParseThresholds([]byte("excess: {idle: 10d}\nmachines: {session: [context.sid]}\nexceptions: {longest: {override: 2h}}"))
	if err != nil {
		t.Fatal(err)
	}
	want := gaps.Defaults()
	if got.Excess.Idle.String() != "10 days" || got.Excess.IdleLong != want.Excess.IdleLong || len(got.Machines.Session) != 1 || len(got.Machines.Workload) == 0 {
		t.Errorf("%+v", got)
	}
	if got.Exceptions.Longest["override"].String() != "2h" || got.Exceptions.Instant.String() != "10s" ||
		got.Exceptions.Longest["break_glass"] != want.Exceptions.Longest["break_glass"] {
		t.Errorf("longest: %v", got.Exceptions.Longest)
	}
	if got.Digest() == want.Digest() {
		t.Error("other thresholds have the digest of the defaults")
	}
}

func TestThresholdsAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"excess: {idel: 10d}":                                   "idel",
		"excess: {idle: soon}":                                  "not a duration",
		"excess: {idle: -1d}":                                   "not a duration",
		"excess: {idle: 100d}":                                  "idle_long is shorter",
		"window: 0s":                                            "not a duration",
		"machines: {session: [session]}":                        "not a path",
		"excess: {privileged: ['a*b']}":                         "followed by one *",
		"excess: {wildcard_used_percent: 0}":                    "from 1 to 100",
		"exceptions: {repeated: 1}":                             "too small",
		"exceptions: {longest: {sabbatical: 8h}}":               "the kinds are",
		"excess: {conflicts: [{name: x, duties: [[a]]}]}":       "two to eight duties",
		"workflows: [{name: x}]":                                "actions or kinds",
		"proofs: 100000":                                        "from 0 to",
		"window: 90d\n---\nwindow: 80d":                         "more than one document",
		"workflows: [{name: x, actions: [a], kinds: [], y: 1}]": "y",
	} {
		if _, err := gaps.ParseThresholds([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something about %q", text, err, want)
		}
	}
}

func FuzzThresholds(f *testing.F) {
	f.Add(gaps.DefaultFile())
	f.Add([]byte("excess: {idle: 10d}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := gaps.ParseThresholds(text); err == nil && (got.Window <= 0 || got.Excess.IdleLong < got.Excess.Idle) {
			t.Errorf("%q is accepted: %+v", text, got)
		}
	})
}
