package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pap"
)

// evidenceUse is the action that somebody who wants evidence asks the bundle administration to be allowed; "" is for
// routes that give none.
type evidenceUse string

const (
	readsEvidence   evidenceUse = "evidence.read"   // on a page, or in an answer
	exportsEvidence evidenceUse = "evidence.export" // in a form that is made to be taken away: packs, exports, samples
)

// purposeHeader is why the caller wants evidence, in their words.
const purposeHeader = "X-Aver-Purpose"

const maxPurpose = 512 // bytes

// recordEvidenceAccess asks the bundle administration whether the caller may have evidence, and returns once that
// decision is durable in the decision log, which is the record of the access: who, how they were authenticated, when,
// for which purpose, and what. What is the path of the request, which holds the ids that it asks for, and the digest of
// the query; the query itself may name people, so it is not kept.
//
// It comes before anything is read. A route that says all it wants in its URL only names its use in the table of
// routes (evidence: readsEvidence, or exportsEvidence). One whose query stands in the body calls this itself, with the
// query as text, once it has parsed it; "" if there is none.
//
// The error is a [*pap.DeniedError], or that of the log: without a record there is no evidence.
func (a *API) recordEvidenceAccess(c *call, use evidenceUse, query string) error {
	who := c.who()
	who.Purpose = c.Header.Get(purposeHeader)
	if len(who.Purpose) > maxPurpose || !utf8.ValidString(who.Purpose) {
		return &problem{Slug: "invalid-request", Status: http.StatusBadRequest,
			Detail: fmt.Sprintf("%s: valid UTF-8 of at most %d bytes", purposeHeader, maxPurpose)}
	}
	digest := ""
	if query != "" {
		digest = aver.Digest([]byte(query))
	}
	thing := pap.Evidence(c.URL.Path, digest)
	at := a.state()
	key := accessKey(sha256.Sum256(aver.AppendCanonical(nil, []any{
		who.Name, who.Method, string(who.Role), who.Principal().String(), string(use), thing.ID, digest, who.Purpose, int64(at.Size()),
	})))
	if a.accesses.recorded(key, a.now()) {
		return nil
	}
	evaluation, err := a.o.PAP.Permit(c.Context(), who, string(use), thing)
	if err != nil {
		return err
	}
	c.notes = append(c.notes, "evidence_access", evaluation)
	a.accesses.remember(key, a.now(), until(at, who.Principal(), a.now()))
	return nil
}

// sameAccess is for how long one record stands for all times that somebody asks for exactly the same, while the
// authority does not change: so a page that renews itself does not flood the log.
const sameAccess = aver.Time(time.Minute / time.Millisecond)

// until is how long a decision about an access can be relied on: not beyond the expiry of who has it.
func until(st *authority.State, who aver.Ref, now aver.Time) aver.Time {
	end := now + sameAccess
	if i, ok := st.Identity(who); ok && i.Expires != 0 {
		end = min(end, i.Expires)
	}
	return end
}

// accessKey is the digest of who asked for what, at which state of the authority.
type accessKey [sha256.Size]byte

// maxAccesses bounds the accesses that are remembered. Beyond it they are recorded once more.
const maxAccesses = 10_000

// accesses are those that were recorded a moment ago. The zero value remembers none.
type accesses struct {
	mu    sync.Mutex
	until map[accessKey]aver.Time
}

func (s *accesses) recorded(key accessKey, now aver.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now < s.until[key]
}

func (s *accesses) remember(key accessKey, now, end aver.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil || len(s.until) >= maxAccesses {
		kept := map[accessKey]aver.Time{}
		for k, t := range s.until {
			if now < t && len(kept) < maxAccesses/2 {
				kept[k] = t
			}
		}
		s.until = kept
	}
	s.until[key] = end
}
