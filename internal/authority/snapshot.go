package authority

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/aver-authz/aver"
)

// snapshotFormat is the first thing in a snapshot. It changes whenever an older program could misread a newer one's.
const snapshotFormat = "aver-authority-snapshot/1"

// snapshotHeader is the first line of a snapshot.
type snapshotHeader struct {
	Format string    `json:"format"`
	Size   uint64    `json:"size"` // events folded
	Root   string    `json:"root"` // of the log at that size
	Time   aver.Time `json:"time,omitzero"`
}

// snapshotItem is a line of a snapshot between the first and the last. One member is set.
type snapshotItem struct {
	Bundle     *snapshotBundle   `json:"bundle,omitempty"`
	Identity   *Identity         `json:"identity,omitempty"`
	Entity     *Entity           `json:"entity,omitempty"`
	Grant      *Grant            `json:"grant,omitempty"`
	Credential *Credential       `json:"credential,omitempty"`
	Approval   *Approval         `json:"approval,omitempty"`
	Exception  *Exception        `json:"exception,omitempty"`
	Signal     *Signal           `json:"signal,omitempty"`
	SignalID   *snapshotSignalID `json:"signal_id,omitempty"`
	Gap        *GapAnswer        `json:"gap,omitempty"`
	Duty       *Duty             `json:"duty,omitempty"`
	Population *Population       `json:"population,omitempty"`
	Review     *Review           `json:"review,omitempty"`
	Reviewed   *ReviewRecord     `json:"reviewed,omitempty"`
	Retention  *RetentionClass   `json:"retention,omitempty"`
	Hold       *Hold             `json:"hold,omitempty"`
	Erasure    *Erasure          `json:"erasure,omitempty"`
	Erased     *Erased           `json:"erased,omitempty"`
}

type snapshotBundle struct {
	aver.PolicyPublished
	Mark
	Active  bool         `json:"active"`
	History []Activation `json:"history,omitempty"`
}

// snapshotFooter is the last line of a snapshot.
type snapshotFooter struct {
	SHA256 string `json:"sha256"` // of all bytes before this line, in hexadecimal
}

// WriteSnapshot writes the state so that [ReadSnapshot] can bring it back without the log. Root is the root of the log
// at the state's size: a reader must not use the snapshot with a log that has another one. Equal states give equal
// bytes.
//
// A snapshot is as trustworthy as the place it lies in, and no more: its checksum finds damage, not malice. Whoever
// verifies folds the log instead.
func (s *State) WriteSnapshot(w io.Writer, root string) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	sum := sha256.New()
	out := json.NewEncoder(io.MultiWriter(buffered, sum))
	out.SetEscapeHTML(false)
	if err := s.encode(out, root); err != nil {
		return fmt.Errorf("write authority snapshot: %w", err)
	}
	if err := out.Encode(snapshotFooter{SHA256: hex.EncodeToString(sum.Sum(nil))}); err != nil {
		return fmt.Errorf("write authority snapshot: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write authority snapshot: %w", err)
	}
	return nil
}

// Digest is the SHA-256 of everything in the state, in hexadecimal. States that are folded from the same events have
// the same one.
func (s *State) Digest() string {
	sum := sha256.New()
	out := json.NewEncoder(sum)
	out.SetEscapeHTML(false)
	if err := s.encode(out, ""); err != nil {
		panic(err) // a hash takes everything, and the state holds nothing that has no JSON form
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func (s *State) encode(out *json.Encoder, root string) error {
	if err := out.Encode(snapshotHeader{Format: snapshotFormat, Size: s.size, Root: root, Time: s.time}); err != nil {
		return err
	}
	for item := range s.items {
		if err := out.Encode(item); err != nil {
			return err
		}
	}
	return nil
}

// items gives the lines of a snapshot between the first and the last, in the same order for equal states.
func (s *State) items(yield func(snapshotItem) bool) {
	_ = eachItem(yield, s.Bundles(), bundleItem) &&
		eachItem(yield, s.Identities(), func(i *Identity) snapshotItem { return snapshotItem{Identity: i} }) &&
		eachItem(yield, s.EntityFacts(), func(e *Entity) snapshotItem { return snapshotItem{Entity: e} }) &&
		eachItem(yield, s.Grants(), func(g *Grant) snapshotItem { return snapshotItem{Grant: g} }) &&
		eachItem(yield, s.Credentials(), func(c *Credential) snapshotItem { return snapshotItem{Credential: c} }) &&
		eachItem(yield, s.Approvals(), func(a *Approval) snapshotItem { return snapshotItem{Approval: a} }) &&
		eachItem(yield, s.Exceptions(), func(x *Exception) snapshotItem { return snapshotItem{Exception: x} }) &&
		eachItem(yield, s.Signals(), func(g *Signal) snapshotItem { return snapshotItem{Signal: g} }) &&
		eachItem(yield, s.signals.receivedIDs(), func(id snapshotSignalID) snapshotItem { return snapshotItem{SignalID: &id} }) &&
		eachItem(yield, s.Gaps(), func(g *GapAnswer) snapshotItem { return snapshotItem{Gap: g} }) &&
		eachItem(yield, s.Duties(), func(d *Duty) snapshotItem { return snapshotItem{Duty: d} }) &&
		eachItem(yield, s.Populations(), func(p *Population) snapshotItem { return snapshotItem{Population: p} }) &&
		eachItem(yield, s.Reviews(), func(r *Review) snapshotItem { return snapshotItem{Review: r} }) &&
		eachItem(yield, s.ReviewRecords(), func(r *ReviewRecord) snapshotItem { return snapshotItem{Reviewed: r} }) &&
		eachItem(yield, s.RetentionClasses(), func(c *RetentionClass) snapshotItem { return snapshotItem{Retention: c} }) &&
		eachItem(yield, s.Holds(), func(h *Hold) snapshotItem { return snapshotItem{Hold: h} }) &&
		eachItem(yield, s.Erasures(), func(e *Erasure) snapshotItem { return snapshotItem{Erasure: e} }) &&
		eachItem(yield, s.ErasedEvidence(), func(e *Erased) snapshotItem { return snapshotItem{Erased: e} })
}

// eachItem gives a line for each of a list, and tells whether more are wanted.
func eachItem[T any](yield func(snapshotItem) bool, list []T, item func(T) snapshotItem) bool {
	for _, v := range list {
		if !yield(item(v)) {
			return false
		}
	}
	return true
}

func bundleItem(v *BundleVersion) snapshotItem {
	b := &snapshotBundle{Mark: v.Mark, Active: v.Active, History: v.History}
	b.Name, b.Digest, b.Files = v.Bundle.Name(), v.Bundle.Digest(), map[string]string{}
	for name, text := range v.Bundle.Files() {
		b.Files[name] = string(text)
	}
	return snapshotItem{Bundle: b}
}

// ReadSnapshot reads what [State.WriteSnapshot] wrote, and the root of the log that it belongs to. Any damage is an
// error; the caller then folds the log.
func ReadSnapshot(r io.Reader) (s *State, root string, err error) {
	in := snapshotReader{in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	s, root, err = in.read()
	if err != nil {
		return nil, "", fmt.Errorf("read authority snapshot: line %d: %w", in.line, err)
	}
	return s, root, nil
}

// maxSnapshotLine is room for the largest bundle, escaped.
const maxSnapshotLine = 64 << 20

type snapshotReader struct {
	in   *bufio.Reader
	sum  hash.Hash
	line int
}

// next returns the next line, and whether it is the last.
func (in *snapshotReader) next() (line []byte, last bool, err error) {
	in.line++
	for {
		part, err := in.in.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, false, fmt.Errorf("the snapshot ends too early: %w", err)
		}
		if len(line) > maxSnapshotLine {
			return nil, false, fmt.Errorf("the line is longer than %d bytes", maxSnapshotLine)
		}
	}
	if bytes.HasPrefix(line, []byte(`{"sha256":`)) {
		return line, true, nil
	}
	in.sum.Write(line)
	return line, false, nil
}

func decodeLine(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func (in *snapshotReader) read() (*State, string, error) {
	line, last, err := in.next()
	if err != nil {
		return nil, "", err
	}
	var header snapshotHeader
	if err := json.Unmarshal(line, &header); err != nil || last || header.Format != snapshotFormat {
		return nil, "", fmt.Errorf("not a snapshot in the format %s", snapshotFormat)
	}
	s := New()
	s.size, s.time = header.Size, header.Time
	for {
		line, last, err := in.next()
		if err != nil {
			return nil, "", err
		}
		if last {
			if err := in.finish(line); err != nil {
				return nil, "", err
			}
			break
		}
		var item snapshotItem
		if err := decodeLine(line, &item); err != nil {
			return nil, "", err
		}
		if err := s.restore(item); err != nil {
			return nil, "", err
		}
	}
	s.freeze()
	return s, header.Root, nil
}

// finish checks the last line, and that it is the last.
func (in *snapshotReader) finish(line []byte) error {
	var footer snapshotFooter
	if err := decodeLine(line, &footer); err != nil {
		return err
	}
	if footer.SHA256 != hex.EncodeToString(in.sum.Sum(nil)) {
		return fmt.Errorf("the snapshot is damaged: its checksum differs")
	}
	if _, err := in.in.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the snapshot is damaged: more follows after its last line")
	}
	return nil
}

// restore takes over what one line says. What was checked when the event was applied is compiled again, but not checked
// again: the checksum vouches for it.
func (s *State) restore(item snapshotItem) error {
	switch {
	case item.Bundle != nil:
		b := item.Bundle
		bundle, err := loadBundle(&b.PolicyPublished)
		if err != nil {
			return err
		}
		versions, ok := s.bundles.get(b.Name)
		if !ok {
			versions = &bundleVersions{name: b.Name}
		}
		versions = versions.with(&BundleVersion{Mark: b.Mark, Bundle: bundle, Active: b.Active, History: b.History})
		if b.Active {
			s.setBundle(versions)
		} else {
			s.bundles.put(b.Name, versions)
		}
	case item.Identity != nil:
		i := item.Identity
		entity, err := cedarEntity(i.Ref, i.Properties, i.Parents)
		if err != nil {
			return err
		}
		i.entity = entity
		s.putIdentity(i)
	case item.Entity != nil:
		e := item.Entity
		entity, err := cedarEntity(e.Ref, e.Properties, e.Parents)
		if err != nil {
			return err
		}
		e.entity = entity
		s.entities.put(e.Ref, e)
	case item.Grant != nil:
		g := item.Grant
		permit, err := compileGrant(&g.Grant)
		if err != nil {
			return err
		}
		g.Permit = permit
		s.grants.put(g.ID, g)
	case item.Credential != nil:
		s.setCredential(item.Credential)
	case item.Approval != nil:
		s.setApproval(item.Approval)
	case item.Exception != nil:
		return s.setException(item.Exception)
	case item.Signal != nil:
		s.signals.set(newSignal(item.Signal.Signal, item.Signal.Mark))
	case item.SignalID != nil:
		s.signals.remember(signalID{item.SignalID.Source, item.SignalID.ID}, item.SignalID.Event)
	case item.Gap != nil:
		s.gaps.put(item.Gap.ID, item.Gap)
	case item.Duty != nil:
		s.setDuty(item.Duty)
	case item.Population != nil:
		s.populations.put(item.Population.ID, item.Population)
	case item.Review != nil:
		s.reviews.put(item.Review.ID, item.Review)
	case item.Reviewed != nil:
		s.setReviewRecord(item.Reviewed)
	case item.Retention != nil:
		s.setClass(item.Retention)
	case item.Hold != nil:
		s.setHold(item.Hold)
	case item.Erasure != nil:
		s.retention.erasures.put(item.Erasure.ID, item.Erasure)
	case item.Erased != nil:
		s.setErased(item.Erased)
	default:
		return fmt.Errorf("the line holds nothing")
	}
	return nil
}
