// Package load sends requests over raw keep-alive HTTP/1.1 connections and measures the answers. The generator shares
// the machine with the server, so it is made to cost little: a request is one write of bytes made before the run, an
// answer is parsed where it lies in the connection's buffer.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Request is a request that is ready to be sent, and how its answer is recognized.
type Request struct {
	Raw  []byte // head and body, as they are written
	Want []byte // must occur in the body of the answer; empty: any answer with status 200 will do
}

// NewRequest makes the bytes of a POST. Header holds complete lines without their ends.
func NewRequest(host, path string, header []string, body []byte) Request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, host, len(body))
	for _, line := range header {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return Request{Raw: b.Bytes()}
}

// Conn is one connection. It carries one request at a time.
type Conn struct {
	net.Conn
	r    *bufio.Reader
	body []byte
}

// Dial opens a connection. It is closed when ctx ends.
func Dial(ctx context.Context, address string) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	return newConn(c), nil
}

func newConn(c net.Conn) *Conn { return &Conn{Conn: c, r: bufio.NewReaderSize(c, 8<<10)} }

// Do sends raw and reads the answer. The body is valid until the next call. After an error the connection is of no use.
func (c *Conn) Do(raw []byte) (status int, body []byte, err error) {
	if _, err := c.Write(raw); err != nil {
		return 0, nil, err
	}
	for {
		if status, err = c.answer(); err != nil || status >= 200 {
			return status, c.body, err
		}
	}
}

// answer reads one answer, which may be an interim one (RFC 9110, section 15.2).
func (c *Conn) answer() (status int, err error) {
	c.body = c.body[:0]
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, fmt.Errorf("not a status line of HTTP/1.1: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("not a status line of HTTP/1.1: %q", line)
	}
	length, chunked := -1, false
	for {
		if line, err = c.line(); err != nil {
			return 0, unexpected(err)
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, fmt.Errorf("content length %q", value)
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("connection")) && bytes.EqualFold(value, []byte("close")):
			return 0, errors.New("the server does not keep the connection")
		}
	}
	switch {
	case status < 200 || status == 204 || status == 304:
		return status, nil
	case chunked:
		return status, c.chunks()
	case length < 0:
		return 0, errors.New("an answer without a length")
	}
	return status, c.take(length)
}

// chunks reads a body in chunks (RFC 9112, section 7.1).
func (c *Conn) chunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return unexpected(err)
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil {
			return fmt.Errorf("size of a chunk: %q", line)
		}
		if n == 0 {
			break
		}
		if err := c.take(int(n)); err != nil {
			return err
		}
		if line, err = c.line(); err != nil || len(line) > 0 {
			return fmt.Errorf("end of a chunk: %q %w", line, unexpected(err))
		}
	}
	for { // trailers
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return unexpected(err)
		}
	}
}

// take appends n bytes to the body.
func (c *Conn) take(n int) error {
	at := len(c.body)
	if cap(c.body) < at+n {
		c.body = append(make([]byte, 0, 2*(at+n)), c.body...)
	}
	c.body = c.body[:at+n]
	_, err := io.ReadFull(c.r, c.body[at:])
	return unexpected(err)
}

// line reads a line and cuts off its end.
func (c *Conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		if len(line) > 0 {
			err = unexpected(err)
		}
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
