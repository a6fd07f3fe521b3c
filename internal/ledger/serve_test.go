package ledger_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
)

// TestHandler asks for everything that C2SP tlog-tiles has, and for things it has not.
func TestHandler(t *testing.T) {
	mem := ledgertest.NewMem()
	o := ledgertest.Options(mem)
	l := ledgertest.MustOpen(t, o, "/log")
	ledgertest.Append(t, l, 0, 300)
	if _, err := l.CheckpointNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 300, 310) // not covered, thus not public
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}

	cp := get("/checkpoint")
	size, root, err := ledger.ParseCheckpoint(cp.Body.Bytes(), ledgertest.Origin, o.Verifier)
	if err != nil || size != 300 {
		t.Fatalf("checkpoint of size %d: %v", size, err)
	}
	if ct := cp.Header().Get("Content-Type"); ct != "text/plain; charset=utf-8" {
		t.Errorf("content type of the checkpoint: %s", ct)
	}
	if cc := cp.Header().Get("Cache-Control"); cc != "no-cache" {
		t.Errorf("caching of the checkpoint: %s", cc)
	}

	// Somebody who has the tiles only can prove each entry.
	hr := tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: root}, httpTiles{t, get})
	for _, i := range []int64{0, 255, 256, 299} {
		p, err := tlog.ProveRecord(int64(size), i, hr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(p, int64(size), root, i, tlog.RecordHash(ledgertest.Entry(int(i)).Leaf)); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}

	bundle := get("/tile/entries/001.p/44").Body.Bytes()
	for i := 256; i < 300; i++ {
		n := int(bundle[0])<<8 + int(bundle[1])
		if !bytes.Equal(bundle[2:2+n], ledgertest.Entry(i).Leaf) {
			t.Fatalf("leaf %d in the bundle is %q", i, bundle[2:2+n])
		}
		bundle = bundle[2+n:]
	}
	if len(bundle) > 0 {
		t.Errorf("%d bytes after the bundle's last entry", len(bundle))
	}
	if w := get("/tile/0/000"); w.Header().Get("Content-Type") != "application/octet-stream" || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("headers of a tile: %v", w.Header())
	}
	// Widths of earlier checkpoints stay available.
	if w := get("/tile/0/000.p/17"); w.Code != 200 || w.Body.Len() != 17*32 || !bytes.Equal(w.Body.Bytes(), get("/tile/0/000").Body.Bytes()[:17*32]) {
		t.Errorf("a narrower tile: %d, %d bytes", w.Code, w.Body.Len())
	}

	for _, path := range []string{
		"/", "/lock", "/segments/0000000001.raw", "/tile/0/001", "/tile/0/001.p/45", "/tile/0/001.p/0", "/tile/0/002",
		"/tile/1/000", "/tile/1/000.p/2", "/tile/entries/001", "/tile/entries/001.p/300", "/tile/data/000", "/tile/8/0/000",
		"/tile/0/0", "/tile/0/0000", "/tile/0/000.p/017", "/tile/-1/000", "/tile/63/000", "/tile/64/000", "/tile/0/../checkpoint",
		"/tile/0/x999/x999/x999/x999/x999/x999/999",
	} {
		if w := get(path); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	l.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/checkpoint", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	w = httptest.NewRecorder()
	l.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/tile/0/000", nil))
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "8192" {
		t.Errorf("HEAD: %d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
	}
}

// httpTiles reads tiles as a client does.
type httpTiles struct {
	t   *testing.T
	get func(string) *httptest.ResponseRecorder
}

func (h httpTiles) Height() int { return 8 }

func (h httpTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		w := h.get("/tile/" + strings.TrimPrefix(tile.Path(), "tile/8/"))
		if w.Code != 200 {
			h.t.Fatalf("GET %s: %d", tile.Path(), w.Code)
		}
		data = append(data, w.Body.Bytes())
	}
	return data, nil
}

func (h httpTiles) SaveTiles([]tlog.Tile, [][]byte) {}
