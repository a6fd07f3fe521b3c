package ledger_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// getBundle asks for an entry bundle of a width.
func getBundle(t *testing.T, h http.Handler, n, width int) []byte {
	t.Helper()
	name := fmt.Sprintf("/tile/entries/%03d", n)
	if width < 256 {
		name += fmt.Sprintf(".p/%d", width)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, name, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d", name, w.Code)
	}
	return w.Body.Bytes()
}

// checkBundles asks for every entry bundle of the log that fullLog makes, in every width.
func checkBundles(t *testing.T, h http.Handler) {
	t.Helper()
	for n, most := range []int{256, 280 - 256} {
		var want []byte
		for k := range most {
			leaf := ledgertest.Entry(256*n + k).Leaf
			want = binary.BigEndian.AppendUint16(want, uint16(len(leaf)))
			want = append(want, leaf...)
			if got := getBundle(t, h, n, k+1); !bytes.Equal(got, want) {
				t.Fatalf("bundle %d of %d entries is %q, want %q", n, k+1, got, want)
			}
		}
	}
}

// C2SP tlog-tiles: entry bundles hold the leaves, wherever these lie: here in a sealed segment, a raw one, and both.
func TestBundlesFromSegments(t *testing.T) {
	mem := fullLog(t, false)
	r, err := ledger.OpenReader("/log", ledgertest.Options(mem))
	if err != nil {
		t.Fatal(err)
	}
	checkBundles(t, r.Handler())
	checkBundles(t, ledgertest.MustOpen(t, ledgertest.Options(mem), "/log").Handler())
	for _, file := range mem.Files() {
		if strings.HasPrefix(file, "/log/tile/entries/") {
			t.Errorf("%s was stored", file)
		}
	}
}

// A log of an earlier version has its entry bundles stored. Nothing reads them, whatever is in them; the next writer
// removes them, and nothing else.
func TestStoredBundlesOfAnEarlierVersion(t *testing.T) {
	mem := fullLog(t, false)
	files := mem.Files()
	for _, name := range []string{"000", "001.p/14", "001.p/24", "x001/000"} {
		mem.Put("/log/tile/entries/"+name, []byte("not what it was"))
	}
	report := ledgertest.Verify(t, mem, "/log")
	if !report.OK() || len(report.Notes) != 1 || report.Notes[0].File != "tile/entries" || !strings.Contains(report.Notes[0].What, "(4)") {
		t.Errorf("verify: %+v", report)
	}
	r, err := ledger.OpenReader("/log", ledgertest.Options(mem))
	if err != nil {
		t.Fatal(err)
	}
	checkBundles(t, r.Handler())

	mem.Put("/log/tile/entries/x001/notes.txt", []byte("somebody's"))
	l := ledgertest.MustOpen(t, ledgertest.Options(mem), "/log")
	checkBundles(t, l.Handler())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mem.Remove("/log/tile/entries/x001/notes.txt"); err != nil {
		t.Errorf("a file that is no entry bundle: %v", err)
	}
	// Opening seals the segment that was raw; all else is as it was.
	sealed := func(names []string) []string {
		for i := range names {
			names[i] = strings.TrimSuffix(strings.TrimSuffix(names[i], ".raw"), ".sealed")
		}
		return names
	}
	if got, want := sealed(mem.Files()), sealed(files); !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if report := ledgertest.Verify(t, mem, "/log"); !report.OK() || len(report.Notes) > 0 {
		t.Errorf("verify afterwards: %+v", report)
	}
}
