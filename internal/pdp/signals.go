package pdp

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// session is a session that a request names, or of which nothing is known but
// whose it is.
type session struct {
	issuer  string // whose sessions have such ids; "": not known
	id      string
	owner   aver.Ref  // zero: the acting party
	started aver.Time // 0: not known
}

// seenSignal is a signal that stood in the context of a frame.
type seenSignal struct {
	path  policy.Path
	event uint64
}

// What Aver reads of the request to find signals.
var (
	sessionReads = policy.ReadSet{}.With("context.session.id", "context.session.issuer", "context.session.started")
	deviceReads  = policy.ReadSet{}.With("context.device.id")
)

// sessions lists the sessions in which a request is made: those that the token
// and the caller name. If neither names one, it is that of the party whose token
// it is, or of the acting party where nobody's grants let it act.
func (d *decider) sessions() []session {
	var out []session
	var owner aver.Ref
	if len(d.links) > 0 {
		owner = d.links[0].from
	}
	if t := d.q.token; t != nil && t.Fault == "" {
		started := t.AuthTime
		if started == 0 {
			started = t.Issued
		}
		out = append(out, session{issuer: t.Issuer, id: t.Session, owner: t.Party, started: started})
	}
	switch v := d.q.Request.Context["session"].(type) {
	case string:
		out = append(out, session{id: v, owner: owner})
	case map[string]any:
		s := session{owner: owner}
		s.id, _ = v["id"].(string)
		s.issuer, _ = v["issuer"].(string)
		if text, ok := v["started"].(string); ok {
			s.started, _ = aver.ParseTime(text)
		}
		out = append(out, s)
	}
	if len(out) == 0 && len(d.links) == 0 {
		out = append(out, session{owner: owner})
	}
	return out
}

// device is the device that a request names, zero if it names none.
func (q *Query) device() aver.Ref {
	switch v := q.Request.Context["device"].(type) {
	case string:
		return aver.Ref{Type: aver.DeviceType, ID: v}
	case map[string]any:
		if id, ok := v["id"].(string); ok {
			return aver.Ref{Type: aver.DeviceType, ID: id}
		}
	}
	return aver.Ref{}
}

// resolveSignals finds out about whom signals count. What it reads of the request
// is evidence even where nothing was received yet: a later signal may end what is
// allowed now.
func (d *decider) resolveSignals() {
	if !d.reads.Has(policy.AverSignals) {
		return // nobody need look for them
	}
	context := d.q.Request.Context
	named := context["session"] != nil || context["device"] != nil || d.q.token != nil && d.q.token.Session != ""
	if d.heeds = named || d.st.HasSignals(); !d.heeds {
		return
	}
	d.inSessions = d.sessions()
	for _, s := range d.inSessions {
		if s.id != "" {
			d.evidence.watched = append(d.evidence.watched, aver.Ref{Type: aver.SessionType, ID: s.id})
		}
	}
	if context["session"] != nil {
		d.evidence.read(sessionReads)
	}
	if d.onDevice = d.q.device(); !d.onDevice.IsZero() {
		d.evidence.watched = append(d.evidence.watched, d.onDevice)
		d.evidence.read(deviceReads)
	}
}

// signals is context.aver.signals of a frame; it is empty if nothing was received.
func (d *decider) signals(principal types.EntityUID) types.Record {
	list := d.signalsOf(principal)
	if len(list) == 0 {
		return types.Record{}
	}
	out := make(types.RecordMap, len(list))
	for _, g := range list {
		name := g.Member()
		out[types.String(name)] = g.Record()
		d.evidence.seeSignal(seenSignal{policy.Path("context.aver.signals." + name), g.Event})
	}
	return types.NewRecord(out)
}

// signalsOf lists what was received about the principal of a frame, and about the
// session and the device of the request. Of several of one name the last counts.
func (d *decider) signalsOf(principal types.EntityUID) []*authority.Signal {
	if !d.heeds {
		return nil
	}
	party := ref(principal)
	about := d.st.SignalsAbout(party)
	var out []*authority.Signal
	for _, g := range about {
		if g.Fact != aver.FactSession {
			out = append(out, g)
		}
	}
	out = append(out, d.st.SignalsAbout(d.onDevice)...)
	for _, s := range d.inSessions {
		if s.owner == party || s.owner.IsZero() && principal == d.q.subject {
			if g := revokedBy(about, s); g != nil {
				out = append(out, g)
			}
		}
	}
	for _, s := range d.inSessions { // what is said of the session itself counts more
		if s.id == "" {
			continue
		}
		for _, g := range d.st.SignalsAbout(aver.Ref{Type: aver.SessionType, ID: s.id}) {
			if s.issuer == "" || g.Issuer == "" || s.issuer == g.Issuer {
				out = append(out, g)
			}
		}
	}
	return out
}

// revokedBy returns the signal that revoked all sessions of a party if this is
// one of them: it had begun by then. If nobody tells when it began, it had, unless
// the party began another one since.
func revokedBy(about []*authority.Signal, s session) *authority.Signal {
	var revoked, login *authority.Signal
	for _, g := range about {
		switch g.Fact {
		case aver.FactSession:
			revoked = g
		case aver.FactLogin:
			login = g
		}
	}
	switch {
	case revoked == nil:
		return nil
	case s.started != 0 && s.started > revoked.At:
		return nil
	case s.started == 0 && login != nil && login.At > revoked.At:
		return nil
	}
	return revoked
}

// Watched lists the sessions and devices that the decision was made in, whether or
// not a signal was received about them.
func (e *Evidence) Watched() []aver.Ref { return e.watched }

func (e *Evidence) seeSignal(s seenSignal) {
	if !slices.Contains(e.signals, s) {
		e.signals = append(e.signals, s)
	}
}

// citeSignals appends the events of the signals that policies can have read.
func (e *Evidence) citeSignals(out []uint64) []uint64 {
	for _, s := range e.signals {
		if e.mayRead(s.path) {
			out = append(out, s.event)
		}
	}
	return out
}
