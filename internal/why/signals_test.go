package why_test

import (
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// D1: of what a signal says, the explanation names who vouches for it, since when, and by which event it came.
func TestSignalsAreExplained(t *testing.T) {
	st := company(t)
	apply := func(typ aver.EventType, by aver.By, data any) {
		t.Helper()
		e, err := aver.NewEvent(typ, data)
		if err != nil {
			t.Fatal(err)
		}
		e.ID, e.Time, e.By, e.Salt = "019a0000-0000-7000-8000-000000000001", st.Time()+minute, by, strings.Repeat("A", 22)
		if st, err = st.Apply(&e); err != nil {
			t.Fatal(err)
		}
	}
	const text = "@id(\"disabled\") @reason(\"The account was disabled.\")\nforbid (principal, action, resource)\n" +
		"when { context.aver has signals.account && context.aver.signals.account.status == \"disabled\" };\n"
	b := bundle(t, "signals", text)
	admin := aver.By{Name: "carol", Method: "bearer"}
	apply(aver.EventPolicyPublished, admin, b)
	apply(aver.EventPolicyActivated, admin, aver.PolicyRef{Name: b.Name, Digest: b.Digest})
	request := `{` + alice + `,"action":{"name":"payment.prepare"},` + p77 + `}`
	without := decide(t, st, nil, request)

	idp := "https://login.example.com"
	apply(aver.EventSignalReceived, aver.By{Name: idp, Method: aver.MethodSET, Subject: ref("issuer", idp)}, aver.Signal{
		ID: "j", Source: idp, Type: "https://schemas.openid.net/secevent/risc/event-type/account-disabled", About: ref("user", "alice"),
		Fact: aver.FactAccount, Values: map[string]string{"status": "disabled"}, At: start,
		Token: &aver.SignalToken{Digest: aver.Digest(nil), KeyID: "k1", Issued: start},
	})
	with := decide(t, st, nil, request)
	event := st.Size() - 1
	cites := func(d decided) bool {
		for _, n := range d.record.Facts.Events {
			if n == event {
				return true
			}
		}
		return false
	}
	if !cites(with) || cites(without) {
		t.Error("the record does not cite the signal that was read")
	}
	said := with.explain(t).String()
	for _, want := range []string{"The account was disabled.", "context.aver.signals.account.status", "signal of " + idp + ` about user::"alice" (event `} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	if said := without.explain(t).String(); strings.Contains(said, "signal of") {
		t.Errorf("it tells of a signal that nobody had sent:\n%s", said)
	}
}

func bundle(t *testing.T, name, text string) aver.PolicyPublished {
	t.Helper()
	b, err := policy.Load(map[string][]byte{"main.cedar": []byte(text)}, name)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for name, text := range b.Files() {
		files[name] = string(text)
	}
	return aver.PolicyPublished{Name: name, Digest: b.Digest(), Files: files}
}
