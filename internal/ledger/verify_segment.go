package ledger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"sort"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/segment"
)

// segmentJob is one segment file to check.
type segmentJob struct {
	seq  uint64
	form int
	name string
	size int64
	next *segment.Header // of the segment that continues it, if there is one
	// duplicate: a later form of this one is there already; sealing or erasing was interrupted before its end.
	duplicate bool
	unused    bool // prepared, and not in use when the directory was read
}

// segmentResult is what a segment holds.
type segmentResult struct {
	job       segmentJob
	header    segment.Header
	used      bool   // it has a header, thus a place in the chain
	broken    bool   // its entries are not all known
	end       uint64 // index after the last entry
	last      tlog.Hash
	lastGroup uint64 // index of the first entry of the last group, if that may not be acknowledged; else end
	hashes    []tlog.Hash
}

func (v *verifier) listSegments() ([]segmentJob, error) {
	infos, err := v.fs.ReadDir(path.Join(v.dir, segmentsDir))
	if errors.Is(err, fs.ErrNotExist) {
		v.finding(segmentsDir, -1, 0, "the segments are missing")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var jobs []segmentJob
	for _, info := range infos {
		seq, form, ok := parseSegmentName(info.Name)
		if !ok || info.Dir {
			v.finding(segmentsDir+"/"+info.Name, -1, 0, "this does not belong to the log")
			continue
		}
		jobs = append(jobs, segmentJob{seq: seq, form: form, name: segmentsDir + "/" + info.Name, size: info.Size})
		v.total += info.Size
	}
	sort.Slice(jobs, func(i, j int) bool {
		return jobs[i].seq < jobs[j].seq || jobs[i].seq == jobs[j].seq && jobs[i].form < jobs[j].form
	})
	for i := range jobs[:max(len(jobs)-1, 0)] {
		jobs[i].duplicate = jobs[i].seq == jobs[i+1].seq
	}
	var next *segment.Header
	for i := len(jobs) - 1; i >= 0; i-- {
		if jobs[i].duplicate {
			continue // it has no place in the chain
		}
		jobs[i].next = next
		if h, err := v.peek(jobs[i]); err == nil {
			next = &h
		} else {
			jobs[i].unused = errors.Is(err, segment.ErrUnused)
		}
	}
	return jobs, nil
}

// peek reads a segment's header.
func (v *verifier) peek(job segmentJob) (segment.Header, error) {
	it := item{seq: job.seq, name: job.name}
	err := it.open(v.fs, v.dir, v.o.Origin, nil)
	if errors.Is(err, fs.ErrNotExist) { // sealed or rewritten since
		if it.name, err = latestForm(v.fs, v.dir, job.seq); err == nil {
			err = it.open(v.fs, v.dir, v.o.Origin, nil)
		}
	}
	if err == nil && it.unused {
		err = segment.ErrUnused
	}
	return it.header, err
}

// checkSegment checks one segment. Its error says that the check could not be done.
func (v *verifier) checkSegment(ctx context.Context, job segmentJob) (segmentResult, error) {
	defer v.progress(job.size)
	f, err := v.fs.Open(path.Join(v.dir, job.name))
	if errors.Is(err, fs.ErrNotExist) && v.live {
		if job.duplicate || job.unused {
			return segmentResult{job: job}, nil
		}
		// Sealed, rewritten, or found to be without entries and removed, since the directory was read.
		if job.name, err = latestForm(v.fs, v.dir, job.seq); errors.Is(err, fs.ErrNotExist) && job.form == rawForm {
			return segmentResult{job: job}, nil
		}
		if err == nil {
			f, err = v.fs.Open(path.Join(v.dir, job.name))
		}
	}
	if err != nil {
		return segmentResult{}, err
	}
	defer f.Close()
	if job.size, err = f.Size(); err != nil {
		return segmentResult{}, err
	}
	var res segmentResult
	if path.Ext(job.name) == sealedSuffix { // of any form but the raw one
		res, err = v.checkSealed(ctx, job, f)
	} else {
		res, err = v.checkRaw(ctx, job, f)
	}
	res.job = job
	var d *segment.DamageError
	if errors.As(err, &d) {
		v.finding(job.name, d.Offset, d.Index, "%s", d.Reason)
		res.broken = true
		return res, nil
	}
	if err != nil {
		return segmentResult{}, err
	}
	if res.used && (res.header.Origin != segment.OriginDigest(v.o.Origin) || res.header.Seq != job.seq) {
		v.finding(job.name, 0, res.header.Base, "the segment is not number %d of the log %s", job.seq, v.o.Origin)
	}
	return res, nil
}

func (v *verifier) checkSealed(ctx context.Context, job segmentJob, f disk.File) (segmentResult, error) {
	whole := make([]byte, job.size)
	if n, err := f.ReadAt(whole, 0); err != nil && (err != io.EOF || int64(n) < job.size) {
		return segmentResult{}, err
	}
	r := bytes.NewReader(whole)
	s, err := segment.OpenSealed(r, job.size)
	if err != nil {
		return segmentResult{broken: true}, err
	}
	res := segmentResult{job: job, header: s.Header, used: true, end: s.Base + s.Count, last: s.Last, lastGroup: s.Base + s.Count}
	if err := s.Check(r); err != nil {
		// Which block it is would be good to know, too.
		for b := range s.Blocks() {
			if _, err := s.Entries(r, b); err != nil {
				return res, err
			}
		}
		return res, err
	}
	for b := range s.Blocks() {
		if ctx.Err() != nil {
			return res, context.Cause(ctx)
		}
		entries, err := s.Entries(r, b)
		if err != nil {
			return res, err
		}
		v.take(&res, s.First(b), entries)
	}
	return res, s.CheckLinks(r, res.hashes)
}

// take checks entries and adds them to a result.
func (v *verifier) take(res *segmentResult, first uint64, entries []Entry) {
	for i, e := range entries {
		res.hashes = append(res.hashes, segment.LeafHash(e.Leaf))
		if v.o.CheckEntry != nil {
			if err := v.o.CheckEntry(Indexed{Index: first + uint64(i), Entry: e}); err != nil {
				v.finding(res.job.name, -1, first+uint64(i), "entry %d: %s", first+uint64(i), err)
			}
		}
	}
}

func (v *verifier) checkRaw(ctx context.Context, job segmentJob, f disk.File) (segmentResult, error) {
	if job.unused && v.live {
		// If it has been put to use since, its entries are younger than what the other segments were found to hold.
		if _, err := segment.ReadHeader(f); err == nil {
			return segmentResult{}, nil
		}
	}
	h, err := segment.ReadHeader(f)
	if errors.Is(err, segment.ErrUnused) {
		return segmentResult{}, v.checkUnused(job, f)
	}
	if errors.Is(err, segment.ErrHeader) {
		return segmentResult{}, &segment.DamageError{Offset: 0, Reason: err.Error()}
	}
	if err != nil {
		return segmentResult{}, err
	}
	res := segmentResult{job: job, header: h, used: true, end: h.Base, last: h.Prev, lastGroup: h.Base}
	scan := segment.NewScanner(f, job.size, segment.RawHeaderSize, h.Base, h.Prev)
	cut := false
	for {
		if job.next != nil && scan.Index() == job.next.Base && scan.Link() == job.next.Prev {
			cut = true
		}
		off := scan.Offset()
		if !scan.Next() {
			break
		}
		if ctx.Err() != nil {
			return res, context.Cause(ctx)
		}
		g := scan.Group()
		entries, err := segment.Records(scan.Content(), g.Count)
		if err != nil {
			return res, &segment.DamageError{Offset: off, Index: g.Base, Reason: err.Error()}
		}
		if cut {
			v.note(job.name, off, g.Base, "entries from %d on were never acknowledged; the next segment cuts them off", g.Base)
			continue
		}
		n := len(res.hashes)
		v.take(&res, g.Base, entries)
		if segment.Root(res.hashes[n:]) != g.Root {
			return res, &segment.DamageError{Offset: off, Index: g.Base, Reason: "the group's root is not that of its entries"}
		}
		res.lastGroup, res.end, res.last = g.Base, scan.Index(), scan.Link()
	}
	if scan.Err() != nil {
		return res, scan.Err()
	}
	for _, off := range scan.BadMarks() {
		v.finding(job.name, off, scan.Index(), "the mark at a group's end is damaged")
	}
	if job.next != nil && !cut && !job.duplicate {
		v.finding(job.name, scan.Offset(), scan.Index(), "the segment ends before entry %d, where the next one begins", job.next.Base)
	}
	return res, v.checkEnding(job, f, h, &res, scan, cut)
}

// checkEnding judges what follows the last group of a raw segment.
func (v *verifier) checkEnding(job segmentJob, f disk.File, h segment.Header, res *segmentResult, scan *segment.Scanner, cut bool) error {
	if cut {
		res.lastGroup = res.end
	}
	ending, reason := scan.Ending()
	switch ending {
	case segment.Closed:
		res.lastGroup = res.end
		if job.size != scan.Offset() && job.size != h.Size {
			v.finding(job.name, job.size, scan.Index(), "the file has another length than it was closed with")
		}
		return nil
	case segment.Padding:
	default:
		if v.live && v.inFlight(f, job.size, scan) {
			return nil
		}
		if ending == segment.Torn {
			v.note(job.name, scan.Offset(), scan.Index(), "%s; it was never acknowledged, and the next start cuts it off", reason)
			break
		}
		return &segment.DamageError{Offset: scan.Offset(), Index: scan.Index(), Reason: reason}
	}
	if job.size != h.Size {
		v.finding(job.name, job.size, scan.Index(), "the file is %d bytes long and should be %d", job.size, h.Size)
	}
	return nil
}

// inFlight reports whether what looks like a torn or damaged end is a group that is being written at the moment.
func (v *verifier) inFlight(f disk.File, size int64, scan *segment.Scanner) bool {
	for range 50 {
		again := segment.NewScanner(f, size, scan.Offset(), scan.Index(), scan.Link())
		if again.Next() {
			return true
		}
		if e, _ := again.Ending(); again.Err() == nil && (e == segment.Padding || e == segment.Closed) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// checkUnused checks a prepared segment, which must be all zeros.
func (v *verifier) checkUnused(job segmentJob, f disk.File) error {
	zero, at, err := segment.ZeroFrom(f, job.size, 0)
	if err != nil || zero {
		return err
	}
	if _, err := segment.ReadHeader(f); err == nil && v.live {
		return nil // put to use since the header was read
	}
	return &segment.DamageError{Offset: at, Reason: "the segment is prepared and not in use, but this byte is not zero"}
}
