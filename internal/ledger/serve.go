package ledger

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Handler serves the log as C2SP tlog-tiles prescribes: checkpoint, tile/<L>/<N>[.p/<W>] and
// tile/entries/<N>[.p/<W>]. Mount it with http.StripPrefix under the log's prefix. Everything else is 404. It serves
// no payloads.
func (r *reader) Handler() http.Handler { return http.HandlerFunc(r.serve) }

func (r *reader) serve(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are allowed", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	name := strings.TrimPrefix(req.URL.Path, "/")
	if name == checkpointName {
		cp := r.cp.Load()
		if cp.note == nil {
			http.NotFound(w, req)
			return
		}
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		writeBody(w, req, cp.note)
		return
	}
	t, ok := parseTilePath(name)
	// Only what the published checkpoint covers is public; a tile may be asked for in any width that it once had.
	if !ok || t.W > tileAt(t.L, t.N, r.cp.Load().size).W {
		http.NotFound(w, req)
		return
	}
	r.serveTile(w, req, t)
}

func (r *reader) serveTile(w http.ResponseWriter, req *http.Request, t tlog.Tile) {
	b, err := r.tileData(t)
	if err != nil {
		http.Error(w, "the tile cannot be read", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	writeBody(w, req, b)
}

func writeBody(w http.ResponseWriter, req *http.Request, b []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if req.Method != http.MethodHead {
		_, _ = w.Write(b) // nobody is left to tell
	}
}
