package api

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	maxStreams     = 1000             // of all callers at once
	writeTimeout   = 10 * time.Second // for a consumer to take what it is sent; a slower one has to connect again
	keepAliveEvery = 15 * time.Second
)

// streams are the calls that stay: those of event streams and long polls.
type streams struct {
	mu    sync.Mutex
	total int
	of    map[string]int // by what bounds them: the credential, and perhaps the route
	ended chan struct{}  // closed when the server stops
	end   func()
}

func (s *streams) init() {
	s.of, s.ended = map[string]int{}, make(chan struct{})
	s.end = sync.OnceFunc(func() { close(s.ended) })
}

// enter lets a call stay, if there are not too many, of all, and of that credential. The caller calls leave.
func (s *streams) enter(credential string, most int) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.total >= maxStreams:
		return nil, &problem{Slug: "unavailable", Status: http.StatusServiceUnavailable, retryAfter: 5 * time.Second,
			Detail: fmt.Sprintf("%d callers wait for events already", maxStreams)}
	case s.of[credential] >= most:
		return nil, &problem{Slug: "too-many", Status: http.StatusTooManyRequests, retryAfter: 5 * time.Second,
			Detail: fmt.Sprintf("this credential has %d streams open already", most)}
	}
	s.total++
	s.of[credential]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.of[credential]--; s.of[credential] == 0 {
			delete(s.of, credential)
		}
	}, nil
}

// EndStreams ends all streams, when the server stops.
func (a *API) EndStreams() { a.streams.end() }

// feed gives a stream what there is to send, as server-sent events; whether there is more already; and a channel that
// closes when there may be, nil when there never will.
type feed func() (events string, more bool, changed <-chan struct{}, err error)

// stream sends server-sent events until the caller goes, is too slow, loses its credential or its role, or the server
// stops.
func (a *API) stream(c *call, next feed) error {
	control := http.NewResponseController(c.w.ResponseWriter)
	_ = control.SetReadDeadline(time.Time{})
	defer func() { _ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) }() // so that its end can still be written, however long it was quiet
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := c.w.Write([]byte(text)); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy must not hold it back
	c.w.WriteHeader(http.StatusOK)
	if !send("retry: 1000\n\n") {
		return nil
	}
	alive := time.NewTicker(keepAliveEvery)
	defer alive.Stop()
	for {
		events, more, changed, err := next()
		if err != nil { // the status was sent, so all that can be told is that it ends
			a.o.Logger.Warn("a stream ends", "route", c.route.pattern, "error", err)
			return nil
		}
		if events != "" && !send(events) || changed == nil {
			return nil
		}
		if more {
			continue
		}
		select {
		case <-changed:
		case <-a.streams.ended:
			return nil
		case <-c.Context().Done():
			return nil
		case <-alive.C:
			if a.authenticate(c) != nil || !send(": still here\n\n") {
				return nil
			}
		}
	}
}
