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
	for _, v := range s.Bundles() {
		b := &snapshotBundle{Mark: v.Mark, Active: v.Active, History: v.History}
		b.Name, b.Digest, b.Files = v.Bundle.Name(), v.Bundle.Digest(), map[string]string{}
		for name, text := range v.Bundle.Files() {
			b.Files[name] = string(text)
		}
		if err := out.Encode(snapshotItem{Bundle: b}); err != nil {
			return err
		}
	}
	for _, i := range s.Identities() {
		if err := out.Encode(snapshotItem{Identity: i}); err != nil {
			return err
		}
	}
	for _, e := range s.EntityFacts() {
		if err := out.Encode(snapshotItem{Entity: e}); err != nil {
			return err
		}
	}
	for _, g := range s.Grants() {
		if err := out.Encode(snapshotItem{Grant: g}); err != nil {
			return err
		}
	}
	for _, c := range s.Credentials() {
		if err := out.Encode(snapshotItem{Credential: c}); err != nil {
			return err
		}
	}
	for _, a := range s.Approvals() {
		if err := out.Encode(snapshotItem{Approval: a}); err != nil {
			return err
		}
	}
	for _, x := range s.Exceptions() {
		if err := out.Encode(snapshotItem{Exception: x}); err != nil {
			return err
		}
	}
	for _, g := range s.Signals() {
		if err := out.Encode(snapshotItem{Signal: g}); err != nil {
			return err
		}
	}
	for _, id := range s.signals.receivedIDs() {
		if err := out.Encode(snapshotItem{SignalID: &id}); err != nil {
			return err
		}
	}
	for _, g := range s.Gaps() {
		if err := out.Encode(snapshotItem{Gap: g}); err != nil {
			return err
		}
	}
	for _, d := range s.Duties() {
		if err := out.Encode(snapshotItem{Duty: d}); err != nil {
			return err
		}
	}
	for _, p := range s.Populations() {
		if err := out.Encode(snapshotItem{Population: p}); err != nil {
			return err
		}
	}
	for _, r := range s.Reviews() {
		if err := out.Encode(snapshotItem{Review: r}); err != nil {
			return err
		}
	}
	for _, r := range s.ReviewRecords() {
		if err := out.Encode(snapshotItem{Reviewed: r}); err != nil {
			return err
		}
	}
	return s.encodeRetention(func(item snapshotItem) error { return out.Encode(item) })
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
	case s.restoreRetention(item):
	case item.Review != nil:
		s.reviews.put(item.Review.ID, item.Review)
	case item.Reviewed != nil:
		s.setReviewRecord(item.Reviewed)
	default:
		return fmt.Errorf("the line holds nothing")
	}
	return nil
}
