package index

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/query"
)

func parse(t testing.TB, text string) *query.Query {
	t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return q
}

// all reads a search to its end, in pages.
func all(t testing.TB, x *Index, q *query.Query, page Page) (out []uint64) {
	t.Helper()
	for {
		found, err := x.Search(context.Background(), q, page)
		if err != nil {
			t.Fatalf("%q: %v", q, err)
		}
		out = append(out, found.Entries...)
		if !found.More {
			return out
		}
		if page.Oldest {
			page.From = found.Next
		} else {
			page.To = found.Next
		}
	}
}

// agrees checks random queries against what they mean.
func agrees(t *testing.T, h *history, x *Index, queries int) {
	t.Helper()
	ctx := context.Background()
	matched := 0
	for range queries {
		q := parse(t, h.query(3))
		want := h.matching(q)
		if got := all(t, x, q, Page{Limit: 1 + h.random.IntN(3000)}); !slices.Equal(got, want) {
			t.Fatalf("%q: %d decisions, want %d; the first that differ: %v", q, len(got), len(want), differ(got, want))
		}
		matched += min(1, len(want))
		slices.Reverse(want)
		if got := all(t, x, q, Page{Limit: 1 + h.random.IntN(3000), Oldest: true}); !slices.Equal(got, want) {
			t.Fatalf("%q, oldest first: %d decisions, want %d", q, len(got), len(want))
		}
		span := []time.Duration{0, time.Second, time.Minute, time.Hour}[h.random.IntN(4)]
		counted, err := x.Count(ctx, q, Page{}, span)
		if err != nil {
			t.Fatal(err)
		}
		buckets := map[aver.Time]int{}
		for _, i := range want {
			if span > 0 {
				buckets[h.facts[i].Time/aver.Time(span.Milliseconds())*aver.Time(span.Milliseconds())]++
			}
		}
		sum := 0
		for i, b := range counted.Buckets {
			if buckets[b.From] != b.Count || i > 0 && counted.Buckets[i-1].From >= b.From {
				t.Fatalf("%q by %s: %d decisions from %s, want %d", q, span, b.Count, b.From, buckets[b.From])
			}
			sum += b.Count
		}
		if counted.Count != len(want) || len(counted.Buckets) != len(buckets) || span > 0 && sum != len(want) {
			t.Fatalf("%q by %s: %d decisions in %d spans, want %d in %d", q, span, counted.Count, len(counted.Buckets), len(want), len(buckets))
		}
	}
	if matched < queries/4 {
		t.Errorf("only %d of %d queries matched anything", matched, queries)
	}
}

func differ(got, want []uint64) (out []uint64) {
	for _, i := range got {
		if !slices.Contains(want, i) && len(out) < 5 {
			out = append(out, i)
		}
	}
	for _, i := range want {
		if !slices.Contains(got, i) && len(out) < 10 {
			out = append(out, i)
		}
	}
	return out
}

func TestSearchMeansWhatTheQueryMeans(t *testing.T) {
	h := newHistory(1)
	dir := filepath.Join(t.TempDir(), "index")
	x := h.open(t, dir, nil)
	for _, entries := range []int{1, 600, 3900, 1, 500} { // over two partitions, reports for old decisions included
		h.grow(t, entries)
		h.refresh(t, x)
		agrees(t, h, x, 25)
	}
	for at, want := range h.reports {
		if got, err := x.Reports(context.Background(), at); err != nil || !slices.Equal(got, want) {
			t.Fatalf("reports of %d: %v %v, want %v", at, got, err, want)
		}
	}
	if s := x.Status(); s.Lag() != 0 || s.Partitions != 2 || s.Bytes == 0 {
		t.Errorf("status %+v", s)
	}
	// Opened again, and by another process.
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = h.open(t, dir, nil)
	agrees(t, h, x, 20)
	for _, file := range files(t, dir) {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
}

// TestReadersFollow opens the index a second time, as another process does, before a new file is begun.
func TestReadersFollow(t *testing.T) {
	h := newHistory(8)
	h.grow(t, blockRows+300) // an event in twenty stands in the other log
	dir := filepath.Join(t.TempDir(), "index")
	x := h.open(t, dir, nil)
	h.refresh(t, x)
	other := h.open(t, dir, func(o *Options) { o.ReadOnly = true })
	agrees(t, h, other, 10)
	h.grow(t, 500)
	h.refresh(t, x)
	if err := other.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	agrees(t, h, other, 10)
	if err := other.Refresh(context.Background(), nil); err == nil {
		t.Error("a reader wrote")
	}
	if s := other.Status(); s.Partitions != 2 {
		t.Errorf("status %+v", s)
	}
}

// TestRunFollows lets the index follow by itself, and waits for what was there when somebody asked.
func TestRunFollows(t *testing.T) {
	h := newHistory(9)
	h.grow(t, 50)
	x := h.open(t, filepath.Join(t.TempDir(), "index"), nil)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Run(ctx)
	}()
	if err := x.Await(ctx, uint64(h.decisions.size)); err != nil {
		t.Fatal(err)
	}
	agrees(t, h, x, 5)
	late, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := x.Await(late, uint64(h.decisions.size)+1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what is not there: %v", err)
	}
	stop()
	<-done
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Search(context.Background(), parse(t, ""), Page{Limit: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed index: %v", err)
	}
	if _, err := x.Reports(context.Background(), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("reports of a closed index: %v", err)
	}
}

// TestReportsWhilePartsAreDropped asks for reports while their partition is thrown away and built again, as damage has it.
func TestReportsWhilePartsAreDropped(t *testing.T) {
	h := newHistory(10)
	h.grow(t, 300)
	x := h.open(t, filepath.Join(t.TempDir(), "index"), nil)
	h.refresh(t, x)
	ctx, stop := context.WithCancel(context.Background())
	failed := make(chan error, 2)
	for range cap(failed) {
		go func() {
			var err error
			for i := uint64(0); ctx.Err() == nil && err == nil; i++ {
				_, err = x.Reports(context.Background(), i%300)
			}
			failed <- err
		}()
	}
	for range 10 {
		x.following.Lock()
		if err := x.drop(context.Background(), 0); err != nil {
			t.Error(err)
		}
		x.following.Unlock()
		h.refresh(t, x)
	}
	stop()
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*sqlite*"))
	if err != nil || len(list) == 0 {
		t.Fatal("no files", err)
	}
	return list
}

// TestApplyingAgainChangesNothing stops after each of the steps of a refresh that spans partitions, as a crash would.
func TestApplyingAgainChangesNothing(t *testing.T) {
	h := newHistory(2)
	h.grow(t, blockRows+300) // an event in twenty stands in the other log
	dir := filepath.Join(t.TempDir(), "index")
	x := h.open(t, dir, nil)
	h.refresh(t, x)
	h.grow(t, 400)
	if x.next.Load() >= blockRows || h.decisions.size <= blockRows {
		t.Fatalf("from %d to %d is within one partition", x.next.Load(), h.decisions.size)
	}
	// Everything is written but the last partition's position: the next one begins where the first ended.
	ctx := context.Background()
	next, authority := x.next.Load(), x.authority.Load()
	h.refresh(t, x)
	for _, p := range x.parts {
		if _, err := p.db.ExecContext(ctx, "UPDATE meta SET value = ? WHERE name = 'next'", max(next, p.first)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.db.ExecContext(ctx, "UPDATE meta SET value = ? WHERE name = 'authority'", authority); err != nil {
			t.Fatal(err)
		}
	}
	if err := removePartition(dir, blockRows); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = h.open(t, dir, nil)
	if got := x.Indexed(); got != next {
		t.Fatalf("the index goes to %d, want %d", got, next)
	}
	h.refresh(t, x)
	agrees(t, h, x, 30)
}

func TestDamagedPartsAreBuiltAgain(t *testing.T) {
	h := newHistory(3)
	h.grow(t, blockRows+800)
	sound := filepath.Join(t.TempDir(), "index")
	x := h.open(t, sound, nil)
	h.refresh(t, x)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(t *testing.T, file string){
		"no database": func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte("this was a database"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, file string) {
			if err := os.Truncate(file, 5000); err != nil {
				t.Fatal(err)
			}
		},
		"zeroes": func(t *testing.T, file string) {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(make([]byte, info.Size()-4096), 4096); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
		"empty": func(t *testing.T, file string) {
			if err := os.Truncate(file, 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "index")
			if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
				t.Fatal(err)
			}
			damage(t, filepath.Join(dir, fileName(blockRows)))
			x := h.open(t, dir, nil)
			// What opening does not show, a search does, and the next refresh mends.
			if _, err := x.Count(context.Background(), parse(t, "outcome:denied"), Page{}, 0); err != nil {
				var bad *damagedError
				if !errors.As(err, &bad) || bad.first != blockRows {
					t.Fatalf("got %v", err)
				}
			}
			h.refresh(t, x)
			agrees(t, h, x, 8)
		})
	}
}

func TestIndexesOfOtherLogsAreNotUsed(t *testing.T) {
	h := newHistory(4)
	h.grow(t, 300)
	dir := filepath.Join(t.TempDir(), "index")
	x := h.open(t, dir, nil)
	h.refresh(t, x)
	x.Close()
	for name, change := range map[string]func(*history){
		"another origin": func(h *history) { h.decisions.origin = "elsewhere/decisions" },
		"shorter":        func(h *history) { h.decisions.size = 100 },
	} {
		other := newHistory(4)
		other.grow(t, 300)
		change(other)
		x := other.open(t, dir, nil)
		if got := x.Indexed(); got != 0 {
			t.Errorf("%s: %d entries are there", name, got)
		}
		x.Close()
	}
}

func TestOneProcessWrites(t *testing.T) {
	h := newHistory(5)
	dir := filepath.Join(t.TempDir(), "index")
	h.open(t, dir, nil)
	if _, err := Open(context.Background(), Options{Dir: dir, Decisions: &h.decisions, Authority: &h.authority}); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if err := Remove(dir); err != nil { // nothing is there yet
		t.Error(err)
	}
}

// An index of a long log has many files. It keeps open those that somebody reads or writes.
func TestFilesThatNobodyUsesAreClosed(t *testing.T) {
	h := newHistory(7)
	h.grow(t, 2*blockRows+100)
	dir := filepath.Join(t.TempDir(), "index")
	x := h.open(t, dir, nil)
	h.refresh(t, x)
	x.Close()
	x = h.open(t, dir, nil)
	open := func() (n int) {
		x.mu.RLock()
		defer x.mu.RUnlock()
		for _, p := range x.parts {
			n += p.db.Stats().OpenConnections
		}
		return n
	}
	if n := open(); n > 1 { // the newest's, of which the position was read
		t.Errorf("%d connections are open after the start", n)
	}
	q := parse(t, "outcome:denied")
	want := h.matching(q)
	if got := all(t, x, q, Page{Limit: 1000}); !slices.Equal(got, want) {
		t.Fatalf("%d decisions, want %d", len(got), len(want))
	}
	// database/sql closes them by a timer of its own, and tells nobody.
	for deadline := time.Now().Add(30 * time.Second); open() > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still open after a search", open())
		}
	}
	if got := all(t, x, q, Page{Limit: 1000}); !slices.Equal(got, want) {
		t.Errorf("afterwards %d decisions, want %d", len(got), len(want))
	}
}

// TestOldPartitionsCanGo deletes the file of the oldest entries, which is what retention does (G7).
func TestOldPartitionsCanGo(t *testing.T) {
	h := newHistory(6)
	h.grow(t, blockRows+800)
	dir := filepath.Join(t.TempDir(), "index")
	x := h.open(t, dir, nil)
	h.refresh(t, x)
	x.Close()
	if err := removePartition(dir, 0); err != nil {
		t.Fatal(err)
	}
	x = h.open(t, dir, nil)
	h.grow(t, 1000) // reports for what is gone included
	h.refresh(t, x)
	q := parse(t, "outcome:denied OR activity:*")
	want := slices.DeleteFunc(h.matching(q), func(i uint64) bool { return i < blockRows })
	if got := all(t, x, q, Page{Limit: 500}); !slices.Equal(got, want) {
		t.Errorf("%d decisions, want %d", len(got), len(want))
	}
	if s := x.Status(); s.From != blockRows {
		t.Errorf("status %+v", s)
	}
}

// TestErasedPayloadsAreForgotten erases in the log, then in the index, and compares with an index that is built afterwards (D3, G7).
func TestErasedPayloadsAreForgotten(t *testing.T) {
	h := newHistory(7)
	h.grow(t, blockRows+700)
	dir := filepath.Join(t.TempDir(), "index")
	x := h.open(t, dir, nil)
	h.refresh(t, x)
	size := uint64(h.decisions.size)
	words := []string{"req-201.", "req-501."} // each stands in one record
	if !holds(t, dir, words...) {
		t.Errorf("no file holds any of %q", words)
	}
	told := []aver.IndexRange{{From: 3, End: 9}, {From: 200, End: 203}, {From: size - 40, End: size - 20}}
	h.erase(t, told...)
	if err := x.Forget(context.Background(), told); err != nil {
		t.Fatal(err)
	}
	agrees(t, h, x, 10)
	followed := []aver.IndexRange{{From: 500, End: 1500}} // is learnt from the authority log
	h.erase(t, followed...)
	h.event(t, aver.EventPayloadErased, aver.ErasedEvidence{ID: "e", Log: h.decisions.origin, Ranges: followed})
	h.event(t, aver.EventPayloadErased, aver.ErasedEvidence{ID: "e", Log: "elsewhere", Ranges: []aver.IndexRange{{From: 3000, End: 3100}}})
	h.grow(t, 100)
	h.refresh(t, x)
	agrees(t, h, x, 10)
	again := h.open(t, filepath.Join(t.TempDir(), "index"), nil)
	h.refresh(t, again)
	agrees(t, h, again, 10)
	if holds(t, dir, words...) {
		t.Errorf("a file still holds one of %q", words)
	}
}

// holds tells whether a file of the index holds one of the words.
func holds(t *testing.T, dir string, words ...string) bool {
	t.Helper()
	for _, file := range files(t, dir) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range words {
			if bytes.Contains(content, []byte(word)) {
				return true
			}
		}
	}
	return false
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "hour": time.Hour, "Day": 24 * time.Hour, "15m": 15 * time.Minute} {
		if got, err := ParseSpan(text); err != nil || got != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"soon", "-1h", "10ms", "1500ms"} {
		if _, err := ParseSpan(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
