package target

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

// idsInLines collects a string member of each line of JSON; the last line may be torn.
func idsInLines(file, name string) (map[string]bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ids := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if id := member(lines.Bytes(), name); id != "" && json.Valid(lines.Bytes()) {
			ids[id] = true
		}
	}
	return ids, lines.Err()
}

// sink is what decision logs over HTTP are sent to. While load runs it only keeps what arrives; reading that comes later.
type sink struct {
	url     string
	mu      sync.Mutex
	uploads [][]byte
}

func newSink(ctx context.Context) (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{url: "http://" + l.Addr().String()}
	server := &http.Server{Handler: s}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(l) // until it is closed
	return s, nil
}

// ServeHTTP takes an upload: a JSON list of decisions, compressed with gzip.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.uploads = append(s.uploads, body)
	s.mu.Unlock()
}

// size is how many bytes arrived, compressed.
func (s *sink) size() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uploads {
		n += int64(len(u))
	}
	return n
}

func (s *sink) ids() (map[string]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := map[string]bool{}
	for _, u := range s.uploads {
		r, err := gzip.NewReader(bytes.NewReader(u))
		if err != nil {
			return nil, err
		}
		var list []struct {
			ID string `json:"decision_id"`
		}
		if err := json.NewDecoder(r).Decode(&list); err != nil {
			return nil, err
		}
		for _, d := range list {
			ids[d.ID] = true
		}
	}
	return ids, nil
}
