package api

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// stuck is a connection whose other side takes so much and then nothing more.
type stuck struct {
	*httptest.ResponseRecorder
	takes    int
	deadline time.Time
}

func (s *stuck) SetReadDeadline(time.Time) error    { return nil }
func (s *stuck) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }

func (s *stuck) Write(b []byte) (int, error) {
	if s.takes -= len(b); s.takes < 0 {
		return 0, os.ErrDeadlineExceeded // what a write returns once its deadline is over
	}
	return s.ResponseRecorder.Write(b)
}

func (s *stuck) FlushError() error { return nil }

// A consumer that does not take what it is sent is dropped, and holds up nothing meanwhile: what there is to tell is only
// looked for when it has taken what came before.
func TestSlowConsumerIsDropped(t *testing.T) {
	a := &API{}
	a.streams.init()
	conn := &stuck{ResponseRecorder: httptest.NewRecorder(), takes: 100}
	asked := 0
	begun := time.Now()
	c := &call{Request: httptest.NewRequest(http.MethodGet, "/", nil), w: answerWriter{ResponseWriter: conn}}
	err := a.stream(c, func() (string, bool, <-chan struct{}, error) {
		asked++
		return "data: 1234567890123456789012345678901234567890\n\n", true, make(chan struct{}), nil
	})
	if err != nil || asked > 3 {
		t.Errorf("asked for %d events for a consumer that takes two, %v", asked, err)
	}
	if d := conn.deadline.Sub(begun); d <= 0 || d > writeTimeout+time.Second {
		t.Errorf("it has %s to take what it is sent", d)
	}
}

// Streams end with the server, whatever they wait for.
func TestStreamsEndWithTheServer(t *testing.T) {
	a := &API{}
	a.streams.init()
	conn := &stuck{ResponseRecorder: httptest.NewRecorder(), takes: 100}
	c := &call{Request: httptest.NewRequest(http.MethodGet, "/", nil), w: answerWriter{ResponseWriter: conn}}
	done := make(chan error)
	go func() {
		done <- a.stream(c, func() (string, bool, <-chan struct{}, error) {
			conn.deadline = time.Now().Add(-time.Second) // nothing was sent for a long time
			return "", false, make(chan struct{}), nil
		})
	}()
	a.EndStreams()
	a.EndStreams() // twice does no harm
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !conn.deadline.After(time.Now()) {
		t.Error("there is no time left to write the end of the answer, so that it looks broken off")
	}
}

// All streams together are bounded, and each place is given back once.
func TestStreamsAreBoundedTogether(t *testing.T) {
	var s streams
	s.init()
	var leave []func()
	for i := range maxStreams {
		f, err := s.enter([]string{"pep", "pep-2"}[i%2], withdrawalStreamsEach)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, f)
	}
	if _, err := s.enter("other", withdrawalStreamsEach); err == nil || err.(*problem).Status != http.StatusServiceUnavailable {
		t.Errorf("one more: %v", err)
	}
	leave[0]()
	if _, err := s.enter("other", 1); err != nil {
		t.Error(err)
	}
	for _, f := range leave[1:] {
		f()
	}
	if len(s.of) != 1 || s.total != 1 {
		t.Errorf("%d, %v", s.total, s.of)
	}
}

// One credential can't take all places, so that the others still learn of what is withdrawn.
func TestStreamsAreBoundedByCredential(t *testing.T) {
	var s streams
	s.init()
	for range withdrawalStreamsEach {
		if _, err := s.enter("pep", withdrawalStreamsEach); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.enter("pep", withdrawalStreamsEach); err == nil || err.(*problem).Status != http.StatusTooManyRequests {
		t.Errorf("one more: %v", err)
	}
	if _, err := s.enter("other", withdrawalStreamsEach); err != nil {
		t.Errorf("another credential: %v", err)
	}
}
