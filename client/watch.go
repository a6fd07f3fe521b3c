package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/aver-authz/aver"
)

// ApprovalEvent is what the stream of approvals tells.
type ApprovalEvent struct {
	Event    uint64         `json:"event"` // index in the authority log
	Type     aver.EventType `json:"type"`
	Time     aver.Time      `json:"time"`
	Approval *Approval      `json:"approval,omitempty"` // as it was when it was sent
	Duty     *Duty          `json:"duty,omitempty"`
}

const (
	maxEvent   = 4 << 20          // bytes of one event of a stream
	silentTime = 45 * time.Second // after which a stream that tells nothing, not even that it lives, is taken for dead
)

// WatchApprovals tells of requests for approval as they come and are answered, until ctx ends. It begins with what is
// pending for the caller, or, if after is not "", behind the event of that index. When the connection is lost it goes on
// where it was; while the server is away it tries again every second. Any other error ends it.
func (c *Client) WatchApprovals(ctx context.Context, after string) iter.Seq2[ApprovalEvent, error] {
	return func(yield func(ApprovalEvent, error) bool) {
		for ctx.Err() == nil {
			goOn, err := c.watchOnce(ctx, &after, yield)
			var away *UnavailableError
			switch {
			case !goOn:
				return
			case err != nil && !errors.As(err, &away):
				yield(ApprovalEvent{}, err)
				return
			}
			if !wait(ctx, time.Second) {
				return
			}
		}
	}
}

// watchOnce reads one connection to its end. False: nobody wants to hear more.
func (c *Client) watchOnce(ctx context.Context, last *string, yield func(ApprovalEvent, error) bool) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(silentTime, cancel)
	defer silent.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.base.String(), "/")+"/v1/approvals/stream", nil)
	if err != nil {
		return true, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	stays := *c.http
	stays.Timeout = 0
	resp, err := stays.Do(req)
	if err != nil {
		return true, &UnavailableError{Err: c.noAnswer(ctx, err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		problem := readProblem(resp, answer)
		if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
			return true, &UnavailableError{RetryAfter: retryAfter(resp), Err: problem}
		}
		return true, problem
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	var id, data string
	for lines.Scan() {
		silent.Reset(silentTime)
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if data == "" {
				continue
			}
			var e ApprovalEvent
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return true, fmt.Errorf("an event of %s can't be read: %w", c.base.Host, err)
			}
			*last, data = id, ""
			if !yield(e, nil) {
				return false, nil
			}
		}
	}
	return true, nil
}
