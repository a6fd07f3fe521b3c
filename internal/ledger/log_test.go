package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// TestGroupCommitSharesSyncs: entries that wait for the disk at the same time become durable with one sync, and one
// that is alone does not wait for others.
func TestGroupCommitSharesSyncs(t *testing.T) {
	fsys := ledgertest.NewFaulty(ledgertest.NewMem())
	l := ledgertest.MustOpen(t, ledgertest.Options(fsys), "/log")
	ledgertest.Append(t, l, 0, 1)

	// Hold up the sync of the first group until the others are in the queue.
	const others = 100
	tickets := make([]*ledger.Ticket, others)
	fsys.On("write", "0000000001.raw", func() {
		for i := range tickets {
			var err error
			if tickets[i], err = l.Enqueue(ledgertest.Entry(2 + i)); err != nil {
				t.Error(err)
			}
		}
	})
	before := fsys.Count("sync")
	ledgertest.Append(t, l, 1, 2)
	for i, ticket := range tickets {
		if r, err := ticket.Wait(t.Context()); err != nil || r.Index != uint64(2+i) || r.Group.Count() != others {
			t.Fatalf("entry %d: %+v, %v", 2+i, r, err)
		}
	}
	if n := fsys.Count("sync") - before; n > 2+3 { // the segment being prepared may take some
		t.Errorf("%d syncs for two groups", n)
	}
	ledgertest.CheckEntries(t, l, 2+others)
}

func TestReceipts(t *testing.T) {
	fsys := ledgertest.NewFaulty(ledgertest.NewMem())
	o := ledgertest.Options(fsys)
	l := ledgertest.MustOpen(t, o, "/log")
	var tickets []*ledger.Ticket
	fsys.On("write", "0000000001.raw", func() {
		for i := range 7 {
			ticket, err := l.Enqueue(ledgertest.Entry(1 + i))
			if err != nil {
				t.Error(err)
			}
			tickets = append(tickets, ticket)
		}
	})
	ledgertest.Append(t, l, 0, 1)
	for _, ticket := range tickets {
		r, err := ticket.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Committed()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(c.Note, ledgertest.Origin+"/commit\n1 7\n") {
			t.Errorf("note %q", c.Note)
		}
		if err := ledger.VerifyReceipt(c, o.Verifier); err != nil {
			t.Errorf("entry %d: %v", r.Index, err)
		}
		for name, forge := range map[string]func(*ledger.CommitReceipt){
			"another index":        func(c *ledger.CommitReceipt) { c.Index = 8 - c.Index },
			"an index beyond":      func(c *ledger.CommitReceipt) { c.Index = 8 },
			"another leaf":         func(c *ledger.CommitReceipt) { c.LeafHash[0] ^= 1 },
			"a shorter path":       func(c *ledger.CommitReceipt) { c.Path = c.Path[:len(c.Path)-1] },
			"a longer path":        func(c *ledger.CommitReceipt) { c.Path = append(c.Path, c.LeafHash) },
			"another first":        func(c *ledger.CommitReceipt) { c.Note = strings.Replace(c.Note, "\n1 7\n", "\n0 7\n", 1) },
			"a checkpoint":         func(c *ledger.CommitReceipt) { c.Note = string(l.Checkpoint()) },
			"no note":              func(c *ledger.CommitReceipt) { c.Note = "" },
			"a note of another":    func(c *ledger.CommitReceipt) { c.Note = foreignNote(t, c.Note) },
			"somebody else's path": func(c *ledger.CommitReceipt) { c.Path[0][3] ^= 4 },
		} {
			forged := c
			forged.Path = append(forged.Path[:0:0], c.Path...)
			forge(&forged)
			// Swapping an index with itself is no forgery.
			if forged.Index == c.Index && name == "another index" {
				continue
			}
			if ledger.VerifyReceipt(forged, o.Verifier) == nil {
				t.Errorf("entry %d: a receipt with %s passed", r.Index, name)
			}
		}
	}
}

// foreignNote signs the text of a commit note with another key of the same name.
func foreignNote(t *testing.T, msg string) string {
	t.Helper()
	k, _, err := ledger.NewKey(ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	o := ledgertest.Options(ledgertest.NewMem())
	o.Signer, o.Verifier = k.Signer, k.Verifier
	l := ledgertest.MustOpen(t, o, "/log")
	r, err := l.Append(t.Context(), ledgertest.Entry(1))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Committed()
	if err != nil {
		t.Fatal(err)
	}
	_, sig, _ := strings.Cut(c.Note, "\n\n")
	text, _, _ := strings.Cut(msg, "\n\n")
	return text + "\n\n" + sig
}

func TestRolledBackDisk(t *testing.T) {
	mem := fullLog(t, false)
	checkpoint := mem.Read("/log/checkpoint")
	older := ledgertest.NewMem() // the same log with fewer entries
	l := ledgertest.MustOpen(t, ledgertest.Options(older), "/log")
	ledgertest.Append(t, l, 0, 270)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	older.Put("/log/checkpoint", checkpoint)
	_, err := ledger.Open("/log", ledgertest.Options(older))
	var shorter *ledger.ShorterError
	if !errors.Is(err, ledger.ErrShorterThanCheckpoint) || !errors.As(err, &shorter) || shorter.Entries != 270 || shorter.Checkpoint != 280 {
		t.Fatalf("open: %v", err)
	}
	if _, err := ledger.OpenReader("/log", ledgertest.Options(older)); !errors.Is(err, ledger.ErrShorterThanCheckpoint) {
		t.Errorf("open for reading: %v", err)
	}
	if !bytes.Equal(older.Read("/log/checkpoint"), checkpoint) {
		t.Error("the checkpoint was replaced")
	}
}

// TestAnotherHistory: segments that lead to another root than the one that was signed are not continued.
func TestAnotherHistory(t *testing.T) {
	mem, other := ledgertest.NewMem(), ledgertest.NewMem()
	l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	ledgertest.Append(t, l, 0, 5)
	l.Close()
	l = ledgertest.MustOpen(t, ledgertest.Options(other), "/log")
	for i := range 5 {
		if _, err := l.Append(t.Context(), ledgertest.Entry(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	other.Put("/log/checkpoint", mem.Read("/log/checkpoint"))
	if _, err := ledger.Open("/log", ledgertest.Options(other)); !errors.Is(err, ledger.ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
}

// TestReplacedDirectory: a log whose directory was replaced as a whole, checkpoint included, by an older copy, by another
// history or by nothing, is not continued, since its key has signed something else.
func TestReplacedDirectory(t *testing.T) {
	var signed []byte
	first := ledgertest.NewMem()
	o := ledgertest.Options(first)
	o.OnSigned = func(note []byte) { signed = note }
	l := ledgertest.MustOpen(t, o, "/log")
	ledgertest.Append(t, l, 0, 700)
	l.Close()
	if !bytes.Equal(signed, first.Read("/log/checkpoint")) {
		t.Fatalf("told of the checkpoint %q", signed)
	}
	log := func(skip, n int) *ledgertest.Mem {
		mem := ledgertest.NewMem()
		l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
		for i := range n {
			if _, err := l.Append(t.Context(), ledgertest.Entry(i+skip)); err != nil {
				t.Fatal(err)
			}
		}
		l.Close()
		return mem
	}
	for _, c := range []struct {
		name string
		mem  *ledgertest.Mem
		want error // nil: it is the log, and may be continued
		said string
	}{
		{"the same", first, nil, ""},
		{"longer", log(0, 900), nil, ""},
		{"older", log(0, 300), ledger.ErrShorterThanCheckpoint, "the directory is an older copy"},
		{"another", log(1, 800), ledger.ErrCorrupt, "the directory was replaced"},
		{"missing", ledgertest.NewMem(), ledger.ErrShorterThanCheckpoint, "the log is missing"},
	} {
		o := ledgertest.Options(c.mem)
		r, err := ledger.Verify(t.Context(), "/log", ledger.VerifyOptions{Origin: o.Origin, Verifier: o.Verifier, FS: c.mem, LastSigned: signed})
		if err != nil || r.OK() != (c.want == nil) || c.want != nil && !strings.Contains(findingsText(r.Findings), c.said) {
			t.Errorf("%s: verify: %v, %v", c.name, r.Findings, err)
		}
		o.LastSigned = signed
		l, err := ledger.Open("/log", o)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: open: %v, want %v", c.name, err, c.want)
		}
		if err == nil {
			l.Close()
		}
	}
	put := first.Read("/log/checkpoint")
	first.Put("/log/checkpoint", log(0, 300).Read("/log/checkpoint"))
	o = ledgertest.Options(first)
	older, err := ledger.Verify(t.Context(), "/log", ledger.VerifyOptions{Origin: o.Origin, Verifier: o.Verifier, FS: first, LastSigned: signed})
	if err != nil || !strings.Contains(findingsText(older.Findings), "checkpoint: the checkpoint is of 300 entries") {
		t.Errorf("an older checkpoint: %v, %v", older.Findings, err)
	}
	first.Put("/log/checkpoint", put)
	o.LastSigned = []byte("not signed")
	if _, err := ledger.Open("/log", o); err == nil {
		t.Error("what is no checkpoint was taken for one")
	}
	r, err := ledger.Verify(t.Context(), "/log", ledger.VerifyOptions{Origin: o.Origin, Verifier: o.Verifier, FS: first, LastSigned: o.LastSigned})
	if err != nil || r.OK() {
		t.Errorf("what is no checkpoint was taken for one: %v, %v", r, err)
	}
}

func findingsText(findings []ledger.Finding) string {
	var text strings.Builder
	for _, f := range findings {
		text.WriteString(f.String() + "\n")
	}
	return text.String()
}

// TestDamageStopsTheWriter: a log with damage in the middle is not opened for writing, and the error says where it is.
func TestDamageStopsTheWriter(t *testing.T) {
	for _, c := range []struct {
		file   string
		offset int
	}{
		{"segments/0000000001.sealed", 20},
		{"segments/0000000002.raw", 60},   // header
		{"segments/0000000002.raw", 140},  // first group's header
		{"segments/0000000002.raw", 1000}, // a later group
		{"checkpoint", 30},
	} {
		mem := fullLog(t, true)
		mem.Flip("/log/"+c.file, c.offset, 1)
		_, err := ledger.Open("/log", ledgertest.Options(mem))
		var corrupt *ledger.CorruptError
		if !errors.As(err, &corrupt) || corrupt.File != c.file {
			t.Errorf("%s, byte %d: %v", c.file, c.offset, err)
		}
	}
	mem := fullLog(t, true)
	if err := mem.Remove("/log/segments/0000000001.sealed"); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open("/log", ledgertest.Options(mem)); !errors.Is(err, ledger.ErrCorrupt) {
		t.Errorf("without the first segment: %v", err)
	}
}

// TestTilesAreBuiltAgain: whichever tile is missing, or all of them and the checkpoint: after Open they are
// what they were.
func TestTilesAreBuiltAgain(t *testing.T) {
	intact := fullLog(t, false)
	var all []string
	for _, file := range intact.Files() {
		if strings.HasPrefix(file, "/log/tile/") || file == "/log/checkpoint" {
			all = append(all, file)
		}
	}
	if len(all) != 4 {
		t.Fatalf("files %v", all)
	}
	cases := [][]string{all}
	for _, file := range all {
		cases = append(cases, []string{file})
	}
	for _, missing := range cases {
		mem := intact.Kill()
		for _, file := range missing {
			if err := mem.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
		for _, file := range missing {
			if !bytes.Equal(mem.Read(file), intact.Read(file)) {
				t.Errorf("without %v: %s is not what it was", missing, file)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if r := ledgertest.Verify(t, mem, "/log"); !r.OK() {
			t.Errorf("%+v", r)
		}
	}
}

// TestDamagedTiles: a tile that does not lead to the root makes a proof fail rather than be wrong, and a damaged edge is
// built again.
func TestDamagedTiles(t *testing.T) {
	mem := fullLog(t, false)
	l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	mem.Flip("/log/tile/0/000", 40, 1)
	if _, err := l.InclusionProof(3, 280); !errors.Is(err, ledger.ErrCorrupt) {
		t.Errorf("proof from a damaged tile: %v", err)
	}
	l.Close()

	mem = fullLog(t, false)
	mem.Flip("/log/tile/0/001.p/24", 40, 1)
	mem.Flip("/log/tile/0/000", 40, 1)
	l = ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	ledgertest.CheckProofs(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := ledgertest.Verify(t, mem, "/log"); !r.OK() {
		t.Errorf("%+v", r)
	}
}

// TestLimits: what is too large is refused, the largest entry is not.
func TestLimits(t *testing.T) {
	mem := ledgertest.NewMem()
	l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	largest := ledger.Entry{
		Leaf:    bytes.Repeat([]byte("l"), ledger.MaxLeaf),
		Payload: bytes.Repeat([]byte("p"), ledger.MaxPayload),
		Private: bytes.Repeat([]byte("s"), ledger.MaxPrivate),
	}
	for _, change := range []func(*ledger.Entry){
		func(e *ledger.Entry) { e.Leaf = append(e.Leaf, 'x') },
		func(e *ledger.Entry) { e.Payload = append(e.Payload, 'x') },
		func(e *ledger.Entry) { e.Private = append(e.Private, 'x') },
	} {
		e := largest
		change(&e)
		if _, err := l.Enqueue(e); !errors.Is(err, ledger.ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
	}
	for i, e := range []ledger.Entry{largest, {}, largest, {Leaf: []byte("only a leaf")}} {
		if _, err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if got, err := l.Entry(uint64(i)); err != nil || !ledgertest.Same(got, e) {
			t.Errorf("entry %d came back different: %v", i, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = ledgertest.MustOpen(t, ledgertest.Options(mem), "/log") // sealed now
	if got, err := l.Entry(2); err != nil || !ledgertest.Same(got, largest) {
		t.Errorf("the largest entry came back different once sealed: %v", err)
	}
}

func TestClosed(t *testing.T) {
	l := ledgertest.MustOpen(t, ledgertest.Options(ledgertest.NewMem()), "/log")
	ticket, err := l.Enqueue(ledgertest.Entry(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ticket.Wait(t.Context()); err != nil {
		t.Errorf("an entry that waited when the log was closed: %v", err)
	}
	if _, err := l.Enqueue(ledgertest.Entry(1)); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("enqueue after close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// TestWaitEndsWithContext: a caller may go away while the disk is busy.
func TestWaitEndsWithContext(t *testing.T) {
	fsys := ledgertest.NewFaulty(ledgertest.NewMem())
	l := ledgertest.MustOpen(t, ledgertest.Options(fsys), "/log")
	release := make(chan struct{})
	fsys.On("write", "0000000001.raw", func() { <-release })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, ledgertest.Entry(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	close(release)
	ledgertest.Append(t, l, 1, 2) // the first one was written nevertheless
}

// TestReadersWhileSealing reads single entries and proofs from many goroutines while segments are written and sealed.
func TestReadersWhileSealing(t *testing.T) {
	o := ledgertest.Options(disk.OS{})
	o.CheckpointEvery = 5 * time.Millisecond
	l := ledgertest.MustOpen(t, o, t.TempDir())
	done := make(chan struct{})
	var wg sync.WaitGroup
	for k := range 3 {
		wg.Go(func() {
			for i := uint64(k); ; i += 7 {
				select {
				case <-done:
					return
				default:
				}
				size, _ := l.Head()
				if size == 0 {
					continue
				}
				if e, err := l.Entry(i % size); err != nil || !ledgertest.Same(e, ledgertest.Large(int(i%size))) {
					t.Errorf("entry %d: %v", i%size, err)
					return
				}
				if _, err := l.InclusionProof(i%size, size); err != nil {
					t.Errorf("proof of %d in %d: %v", i%size, size, err)
					return
				}
			}
		})
	}
	for i := range 120 {
		if _, err := l.Append(t.Context(), ledgertest.Large(i)); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}
