package api

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aver-authz/aver"
)

// body is a request's body. It is given back with free.
type body struct{ bytes.Buffer }

var bodies = sync.Pool{New: func() any { return new(body) }}

// free gives the memory back; nothing that was sent stays in it. What was large is not kept.
func (b *body) free() {
	const most = 16 << 10
	if b.Cap() > most {
		return
	}
	clear(b.Bytes())
	b.Reset()
	bodies.Put(b)
}

// readBody reads the request's body, which must be JSON by its content type.
func (a *API) readBody(c *call, limit int64) (*body, error) {
	if !isJSON(c.header("Content-Type")) {
		return nil, &problem{Slug: "unsupported-media-type", Status: http.StatusUnsupportedMediaType,
			Detail: "the body must be JSON and say so: Content-Type: application/json"}
	}
	b := bodies.Get().(*body)
	b.Grow(int(max(min(c.ContentLength, limit), 0)) + bytes.MinRead)
	if _, err := b.ReadFrom(http.MaxBytesReader(c.w.ResponseWriter, c.Body, limit)); err != nil {
		b.free()
		return nil, c.bodyError(err, limit)
	}
	c.Body.Close() // else net/http looks for more of it when the answer is written
	if len(bytes.TrimSpace(b.Bytes())) == 0 {
		b.free()
		return nil, &problem{Slug: "invalid-json", Status: http.StatusBadRequest, Detail: "the body is empty: a JSON object is needed"}
	}
	return b, nil
}

func (c *call) bodyError(err error, limit int64) error {
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return &problem{Slug: "too-large", Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("the body is longer than %d bytes", limit)}
	case c.Context().Err() != nil:
		return c.Context().Err()
	}
	return &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: "the body could not be read to its end", cause: err}
}

// readJSON reads the body as strictly as [aver.ParseJSON].
func (a *API) readJSON(c *call, limit int64) (any, error) {
	b, err := a.readBody(c, limit)
	if err != nil {
		return nil, err
	}
	defer b.free()
	return aver.ParseJSON(b.Bytes(), aver.Limits{Bytes: int(limit)})
}

// readObject reads the body of an AuthZEN request that must be an object.
func (a *API) readObject(c *call) (map[string]any, error) {
	v, err := a.readJSON(c, a.o.MaxBody)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, &aver.RequestError{Pointer: "", Reason: "the request must be a JSON object"}
	}
	return object, nil
}

// randomID makes an id with 80 random bits, for who sends none.
func randomID(prefix string) string { return prefix + strings.ToLower(rand.Text()[:16]) }

// isJSON tells whether a content type is JSON's.
func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == "application/json"
}

// decode reads the body into a struct. Members that it does not have, by their exact name, are refused.
func (a *API) decode(c *call, limit int64, into any) error {
	v, err := a.readJSON(c, limit)
	if err != nil {
		return err
	}
	if _, ok := v.(map[string]any); !ok {
		return &aver.RequestError{Pointer: "", Reason: "the body must be a JSON object"}
	}
	d := json.NewDecoder(bytes.NewReader(aver.AppendCanonical(nil, v)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return decodeError(err)
	}
	again, err := aver.CanonicalJSON(into)
	if err != nil {
		return &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	kept, err := aver.ParseJSON(again, aver.Limits{Bytes: len(again)})
	if err != nil {
		return err
	}
	if pointer := lost(v, kept, ""); pointer != "" {
		return &aver.RequestError{Pointer: pointer, Reason: "is not known here; names are case-sensitive"}
	}
	return nil
}

// decodeOptional is decode, but takes no body at all for an empty one.
func (a *API) decodeOptional(c *call, into any) error {
	if c.ContentLength == 0 {
		return nil
	}
	return a.decode(c, a.o.MaxBody, into)
}

func decodeError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return &aver.RequestError{Pointer: "/" + strings.ReplaceAll(wrong.Field, ".", "/"),
			Reason: fmt.Sprintf("must not be a JSON %s", wrong.Value)}
	}
	detail := strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(detail, "unknown field "); ok {
		detail = "the member " + name + " is not known here"
	}
	return &problem{Slug: "invalid-request", Status: http.StatusBadRequest, Detail: detail}
}

// lost returns the pointer of the first member that was sent and not kept, "" if there is none. encoding/json takes
// names in any case; here that would hide a mistake. Empty values may be left out of what is kept.
func lost(sent, kept any, at string) string {
	switch sent := sent.(type) {
	case map[string]any:
		kept, _ := kept.(map[string]any)
		names := make([]string, 0, len(sent))
		for name := range sent {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			pointer := at + "/" + name
			value, ok := kept[name]
			if !ok && !empty(sent[name]) {
				return pointer
			}
			if ok {
				if p := lost(sent[name], value, pointer); p != "" {
					return p
				}
			}
		}
	case []any:
		kept, _ := kept.([]any)
		for i := range min(len(sent), len(kept)) {
			if p := lost(sent[i], kept[i], at+"/"+strconv.Itoa(i)); p != "" {
				return p
			}
		}
	}
	return ""
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case int64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// writeJSON answers with v. Characters stay as they are, so that canonical JSON inside of v does, too.
func (c *call) writeJSON(status int, v any) error {
	var body bytes.Buffer
	out := json.NewEncoder(&body)
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	c.writeBody(status, "application/json", body.Bytes())
	return nil
}

func (c *call) writeText(text string) {
	c.writeBody(http.StatusOK, "text/plain; charset=utf-8", []byte(text))
}

func (c *call) writeBody(status int, contentType string, body []byte) {
	h := c.w.Header()
	if contentType == jsonType[0] {
		h["Content-Type"] = jsonType
	} else {
		h.Set("Content-Type", contentType)
	}
	c.length[0] = strconv.Itoa(len(body))
	h["Content-Length"] = c.length[:]
	c.w.WriteHeader(status)
	c.w.Write(body) // an error means that the caller has gone
}

// wantsText reports whether the caller would rather have text than JSON.
func (c *call) wantsText() bool {
	for _, accept := range c.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			switch mediaType, _, _ := mime.ParseMediaType(part); mediaType {
			case "text/plain":
				return true
			case "application/json", "*/*":
				return false
			}
		}
	}
	return false
}
