package authority_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// signalled makes the event of a signal, received at a time, by a transmitter or told by somebody.
func signalled(at aver.Time, g aver.Signal) *aver.Event {
	if g.Type == "" {
		g.Type = "https://schemas.openid.net/secevent/risc/event-type/account-" + g.Values["status"]
	}
	e, err := aver.NewEvent(aver.EventSignalReceived, g)
	if err != nil {
		panic(err)
	}
	e.ID, e.Time, e.Salt = "019b7cbb-0000-7000-8000-000000000001", at, "AAAAAAAAAAAAAAAAAAAAAA"
	e.By = aver.By{Name: "root", Method: "bearer"}
	if g.Token != nil {
		e.By = aver.By{Name: g.Source, Method: aver.MethodSET, Subject: aver.Ref{Type: "issuer", ID: g.Source}}
	}
	return &e
}

func account(id string, about aver.Ref, status string, at aver.Time) aver.Signal {
	return aver.Signal{
		ID: id, Source: `credential::"root"`, About: about, Fact: aver.FactAccount, Values: map[string]string{"status": status}, At: at,
	}
}

func session(id, name, issuer string, at aver.Time) aver.Signal {
	g := account(id, aver.Ref{Type: aver.SessionType, ID: name}, "revoked", at)
	g.Fact, g.Issuer = aver.FactSession, issuer
	return g
}

func received(t *testing.T, s *authority.State, list ...*aver.Event) *authority.State {
	t.Helper()
	for _, e := range list {
		next, err := s.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	return s
}

func inForce(s *authority.State, about aver.Ref) string {
	var out []string
	for _, g := range s.SignalsAbout(about) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s=%s %s", g.Member(), g.Values["status"], g.Issuer)))
	}
	return strings.Join(out, ", ")
}

// D1: what is newer by its own time is in force, in whatever order it comes, and the state before stays as it was.
func TestSignalsOutOfOrder(t *testing.T) {
	ann := ref("user:ann")
	s := received(t, authority.New(), signalled(start, account("1", ann, "disabled", start-1000)))
	before := s
	for i, step := range []struct {
		status string
		at     aver.Time
		want   string
	}{
		{"enabled", start - 2000, "account=disabled"}, // late
		{"enabled", start - 1000, "account=enabled"},  // of two of one time, what comes last
		{"purged", start - 999, "account=purged"},
		{"enabled", 1, "account=purged"},
	} {
		s = received(t, s, signalled(start, account(fmt.Sprint("n", i), ann, step.status, step.at)))
		if got := inForce(s, ann); got != step.want {
			t.Errorf("%s at %s: %s, want %s", step.status, step.at, got, step.want)
		}
		if _, ok := s.SignalReceived(`credential::"root"`, fmt.Sprint("n", i)); !ok {
			t.Error("that it was received is not known")
		}
	}
	if got := inForce(before, ann); got != "account=disabled" {
		t.Errorf("the state before changed: %s", got)
	}
	if throughSnapshot(t, s).Digest() != s.Digest() {
		t.Error("the snapshot gives another state")
	}
}

// Sessions of two issuers can have the same id, and what is said of a session is let go when it is over for long.
func TestSignalsOfSessions(t *testing.T) {
	const day = aver.Time(24 * 3600_000)
	about := ref("session:s")
	s := received(t, authority.New(),
		signalled(start, session("1", "s", "https://a.example.com", start)),
		signalled(start+day, session("2", "s", "https://b.example.com", start)))
	if got := inForce(s, about); got != "session=revoked https://a.example.com, session=revoked https://b.example.com" {
		t.Errorf("in force: %s", got)
	}
	s = throughSnapshot(t, s)
	later := received(t, s, signalled(start+30*day-1, session("3", "other", "", start)))
	if got := inForce(later, about); strings.Count(got, "revoked") != 2 {
		t.Errorf("let go too early: %s", got)
	}
	later = received(t, s, signalled(start+30*day, account("4", ref("user:ann"), "disabled", start)))
	if got := inForce(later, about); got != "session=revoked https://b.example.com" {
		t.Errorf("after 30 days: %s", got)
	}
	// What was said again meanwhile stays.
	again := received(t, s, signalled(start+2*day, session("5", "s", "https://a.example.com", start+2*day)), signalled(start+31*day, account("6", ref("user:ann"), "disabled", start)))
	if got := inForce(again, about); got != "session=revoked https://a.example.com" {
		t.Errorf("said again: %s", got)
	}
	if later.HasSignals() != true || authority.New().HasSignals() {
		t.Error("whether there are signals is told wrongly")
	}
}

// What can't be a signal is refused with a word, and so is one that comes twice.
func TestSignalsThatAreRefused(t *testing.T) {
	ann := ref("user:ann")
	s := received(t, authority.New(), signalled(start, account("1", ann, "disabled", start)))
	for says, change := range map[string]func(*aver.Signal){
		"was received already, by event 0": func(g *aver.Signal) { g.ID = "1" },
		"is in the future":                 func(g *aver.Signal) { g.At = start + aver.SignalLeeway + 1 },
		"it was told by":                   func(g *aver.Signal) { g.Source = "https://login.example.com" },
		"comes with one":                   func(g *aver.Signal) { g.Token = nil; g.Source = "x"; g.Source = `credential::"root"`; g.About = ann },
		"nothing is told of":               func(g *aver.Signal) { g.About = ref("device:d") },
		"only a session has one":           func(g *aver.Signal) { g.Issuer = "x" },
		"is reserved":                      func(g *aver.Signal) { g.About.Type = "Aver::Policy" },
		`"weather" is not one of`:          func(g *aver.Signal) { g.Fact = "weather" },
		"status is missing":                func(g *aver.Signal) { g.Values = map[string]string{"reason": "x"} },
		`"mood" is not one of`:             func(g *aver.Signal) { g.Values["mood"] = "x" },
		"has 1 to 256 bytes":               func(g *aver.Signal) { g.Values["reason"] = strings.Repeat("x", 257) },
		"the id is missing":                func(g *aver.Signal) { g.ID = "" },
	} {
		g := account("2", ann, "enabled", start)
		change(&g)
		e := signalled(start, g)
		if says == "comes with one" {
			e.By = aver.By{Name: `credential::"root"`, Method: aver.MethodSET}
		}
		if _, err := s.Apply(e); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want one that says %q", err, says)
		}
	}
}

// Memory is bounded: of ids, the latest are known; of each source, so many are in force, which keeps no other from being
// heard.
func TestSignalsAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes 100,000 events")
	}
	s, err := authority.Fold(authority.New(), func(yield func(*aver.Event, error) bool) {
		for i := range 100_000 {
			if !yield(signalled(start, account(fmt.Sprint(i), aver.Ref{Type: "user", ID: fmt.Sprint(i)}, "disabled", start)), nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"99999": true, "80000": true, "79999": false, "0": false} {
		if _, ok := s.SignalReceived(`credential::"root"`, id); ok != want {
			t.Errorf("id %s is remembered: %v", id, ok)
		}
	}
	if _, err := s.Apply(signalled(start, account("more", ref("user:more"), "disabled", start))); err == nil || !strings.Contains(err.Error(), "no more are taken") {
		t.Errorf("one more: %v", err)
	}
	s = received(t, s, signalled(start, account("known", ref("user:7"), "enabled", start)))
	other := account("1", ref("user:more"), "disabled", start)
	other.Source, other.Token = "https://login.example.com", &aver.SignalToken{Digest: aver.Digest(nil), KeyID: "k1", Issued: start}
	s = received(t, s, signalled(start, other))
	if inForce(s, ref("user:more")) != "account=disabled" || len(s.Signals()) != 100_001 {
		t.Errorf("another source was not heard: %d in force", len(s.Signals()))
	}
}
