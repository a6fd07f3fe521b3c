package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
)

// entry is an entry of a log: its leaf and payload exactly as the log has them, so that sha256sum checks them.
type entry struct {
	Index   uint64          `json:"index"`
	Leaf    json.RawMessage `json:"leaf"`
	Payload json.RawMessage `json:"payload"`          // null if it was erased
	Erased  []erasedMark    `json:"erased,omitempty"` // what of it, and why
}

func (a *API) entry(log *Log, index uint64) (entry, error) {
	leaf, payload, err := log.Entry(index)
	if err != nil && a.o.Fault(err).Kind != Erased {
		return entry{}, err
	}
	e := entry{Index: index, Leaf: leaf, Payload: payload}
	if log == &a.o.Decisions {
		e.Erased = erasedOf(a.state(), index)
	}
	return e, nil
}

func (a *API) getDecision(c *call) error {
	index, err := a.o.FindDecision(c.PathValue("id"))
	if err != nil {
		return err
	}
	e, err := a.entry(&a.o.Decisions, index)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, e)
}

const (
	maxScan      = 20_000  // leaves that one request looks at for the few that it wants
	maxPageBytes = 4 << 20 // payloads on one page; the one that goes beyond is the last
)

// listDecisions lists records, newest first.
func (a *API) listDecisions(c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	size := c.asOf
	before, err := c.number("before", size)
	if err != nil {
		return err
	}
	var outcome *aver.Outcome
	if text := c.URL.Query().Get("outcome"); text != "" {
		outcome = new(aver.Outcome)
		if err := outcome.UnmarshalText([]byte(text)); err != nil {
			return badParameter("outcome", "%v", err)
		}
	}
	entries := []entry{}
	at, bytes := min(before, size), 0
	for scanned := 0; at > 0 && len(entries) < limit && scanned < maxScan && bytes < maxPageBytes; scanned++ {
		at--
		text, err := a.o.Decisions.Leaf(at)
		if err != nil {
			return err
		}
		leaf, err := aver.ParseLeaf(text)
		if err != nil {
			return fmt.Errorf("entry %d: %w", at, err)
		}
		if leaf.Kind != aver.KindDecision || outcome != nil && (leaf.Outcome == nil || *leaf.Outcome != *outcome) {
			continue
		}
		e, err := a.entry(&a.o.Decisions, at)
		if err != nil {
			return err
		}
		entries = append(entries, e)
		bytes += len(e.Payload)
	}
	next := ""
	if at > 0 {
		next = strconv.FormatUint(at, 10)
	}
	return c.writeList("decisions", entries, next)
}

func (a *API) explainDecision(c *call) error {
	index, err := a.o.FindDecision(c.PathValue("id"))
	if err != nil {
		return err
	}
	explanation, err := a.o.Why(c.Context(), index)
	if err != nil {
		return err
	}
	if c.wantsText() {
		c.writeText(explanation.String())
		return nil
	}
	return c.writeJSON(http.StatusOK, explanation)
}

func (a *API) proveDecision(c *call) error {
	index, err := a.o.FindDecision(c.PathValue("id"))
	if err != nil {
		return err
	}
	return prove(c, &a.o.Decisions, index)
}

func (a *API) proveEvent(c *call) error {
	index, err := c.pathIndex()
	if err != nil {
		return err
	}
	return prove(c, &a.o.Authority, index)
}

// prove answers with the inclusion proof of an entry in the tree of a signed checkpoint: as JSON, or as C2SP tlog-proof.
func prove(c *call, log *Log, index uint64) error {
	leaf, err := log.Leaf(index)
	if err != nil {
		return err
	}
	note, size, err := log.Checkpoint(c.Context(), index+1)
	if c.URL.Query().Get("witnessed") == "true" {
		note, size, err = witnessedCheckpoint(log, index)
	}
	if err != nil {
		return err
	}
	hashes, err := log.Inclusion(index, size)
	if err != nil {
		return err
	}
	if c.wantsText() {
		c.writeText(proofText(index, hashes, note))
		return nil
	}
	return c.writeJSON(http.StatusOK, struct {
		Origin     string          `json:"origin"`
		Index      uint64          `json:"index"`
		Leaf       json.RawMessage `json:"leaf"`
		LeafHash   string          `json:"leaf_hash"`
		Proof      []string        `json:"proof"`
		Checkpoint string          `json:"checkpoint"`
	}{log.Origin, index, leaf, tlog.RecordHash(leaf).String(), hashTexts(hashes), string(note)})
}

// proofText is C2SP tlog-proof, without extra data.
func proofText(index uint64, hashes []tlog.Hash, checkpoint []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nindex %d\n", index)
	for _, h := range hashes {
		b.WriteString(h.String() + "\n")
	}
	b.WriteString("\n" + string(checkpoint))
	return b.String()
}

func hashTexts(hashes []tlog.Hash) []string {
	texts := make([]string, len(hashes))
	for i, h := range hashes {
		texts[i] = h.String()
	}
	return texts
}

func (c *call) pathIndex() (uint64, error) {
	index, err := strconv.ParseUint(c.PathValue("index"), 10, 62)
	if err != nil {
		return 0, notFound("%q is not an index", c.PathValue("index"))
	}
	return index, nil
}

func (a *API) listEvents(c *call) error { return a.listEntries(c, &a.o.Authority, "events") }

func (a *API) getEvent(c *call) error { return a.writeEntry(c, &a.o.Authority) }

func (a *API) logEntries(c *call) error {
	log, err := a.pathLog(c)
	if err != nil {
		return err
	}
	return a.listEntries(c, log, "entries")
}

func (a *API) logEntry(c *call) error {
	log, err := a.pathLog(c)
	if err != nil {
		return err
	}
	return a.writeEntry(c, log)
}

func (a *API) writeEntry(c *call, log *Log) error {
	index, err := c.pathIndex()
	if err != nil {
		return err
	}
	e, err := a.entry(log, index)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, e)
}

// listEntries lists a log's entries, oldest first: from the one behind ?after=, or from the first.
func (a *API) listEntries(c *call, log *Log, name string) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	from := uint64(0)
	if c.URL.Query().Get("after") != "" {
		after, err := c.number("after", 0)
		if err != nil {
			return err
		}
		from = after + 1
	}
	size, _ := log.Head()
	if log == &a.o.Decisions {
		size = c.asOf
	}
	to := min(from+uint64(limit), size)
	entries := []entry{}
	at := from
	for bytes := 0; at < to && bytes < maxPageBytes; at++ {
		e, err := a.entry(log, at)
		if err != nil {
			return err
		}
		entries = append(entries, e)
		bytes += len(e.Payload)
	}
	next := ""
	if at > from && at < size {
		next = strconv.FormatUint(at-1, 10)
	}
	return c.writeList(name, entries, next)
}

func (a *API) pathLog(c *call) (*Log, error) {
	switch c.PathValue("log") {
	case "authority":
		return &a.o.Authority, nil
	case "decisions":
		return &a.o.Decisions, nil
	}
	return nil, notFound("there are two logs: authority and decisions")
}

// logs says where both logs stand.
func (a *API) logs(c *call) error {
	type head struct {
		Origin      string `json:"origin"`
		VerifierKey string `json:"verifier_key"`
		Size        uint64 `json:"size"` // committed
		Root        string `json:"root"`
		Checkpoint  string `json:"checkpoint"` // the last signed one; it may cover a little less
		Witnessed   string `json:"witnessed,omitempty"`
	}
	answer := map[string]head{}
	for name, log := range map[string]*Log{"authority": &a.o.Authority, "decisions": &a.o.Decisions} {
		note, _, err := log.Checkpoint(c.Context(), 0)
		if err != nil {
			return err
		}
		size, root := log.Head()
		one := head{Origin: log.Origin, VerifierKey: log.VerifierKey, Size: size, Root: root.String(), Checkpoint: string(note)}
		if log.Witnessed != nil {
			witnessed, _ := log.Witnessed()
			one.Witnessed = string(witnessed)
		}
		answer[name] = one
	}
	return c.writeJSON(http.StatusOK, answer)
}

// consistency proves that the log at ?old= is the beginning of the log at ?new=, by default that of a signed checkpoint.
func (a *API) consistency(c *call) error {
	log, err := a.pathLog(c)
	if err != nil {
		return err
	}
	older, err := c.number("old", 0)
	if err != nil {
		return err
	}
	note, covered, err := log.Checkpoint(c.Context(), older)
	if err != nil {
		return err
	}
	newer, err := c.number("new", covered)
	if err != nil {
		return err
	}
	if older < 1 || older > newer {
		return badParameter("old", "a size of 1 or more that is not above ?new=")
	}
	hashes, err := log.Consistency(older, newer)
	if err != nil {
		return err
	}
	answer := struct {
		Origin     string   `json:"origin"`
		Old        uint64   `json:"old"`
		New        uint64   `json:"new"`
		Proof      []string `json:"proof"`
		Checkpoint string   `json:"checkpoint,omitempty"` // if it is of the size new
	}{Origin: log.Origin, Old: older, New: newer, Proof: hashTexts(hashes)}
	if newer == covered {
		answer.Checkpoint = string(note)
	}
	return c.writeJSON(http.StatusOK, answer)
}

func (a *API) authorityTiles(c *call) error { return serveTiles(c, "/log/authority", &a.o.Authority) }
func (a *API) decisionTiles(c *call) error  { return serveTiles(c, "/log/decisions", &a.o.Decisions) }

func serveTiles(c *call, prefix string, log *Log) error {
	c.w.Header().Del("Cache-Control") // full tiles never change; the handler knows which are
	http.StripPrefix(prefix, log.Tiles).ServeHTTP(&c.w, c.Request)
	return nil
}
