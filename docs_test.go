package aver

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var jsonBlock = regexp.MustCompile("(?s)```json([^\n]*)\n(.*?)```")

// Every JSON block of the documentation names the file in testdata, and with a
// JSON pointer the place in it, that it shows.
func TestFormatsDocShowsTheGoldenFiles(t *testing.T) {
	blocks := jsonBlock.FindAllStringSubmatch(formatsDoc(t), -1)
	if len(blocks) < 10 {
		t.Fatalf("%d blocks of JSON were found", len(blocks))
	}
	for _, b := range blocks {
		name, shown := strings.TrimSpace(b[1]), b[2]
		file, pointer, _ := strings.Cut(name, "#")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("block %q: %v", name, err)
			continue
		}
		want := valueAt(t, parseJSON(t, string(text)), pointer)
		if got := parseJSON(t, shown); !bytes.Equal(AppendCanonical(nil, got), AppendCanonical(nil, want)) {
			t.Errorf("block %q\n shows %s\nis now %s", name, AppendCanonical(nil, got), AppendCanonical(nil, want))
		}
	}
}

func formatsDoc(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func parseJSON(t *testing.T, text string) any {
	t.Helper()
	v, err := ParseJSON([]byte(text), Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func valueAt(t *testing.T, v any, pointer string) any {
	t.Helper()
	for _, name := range strings.Split(pointer, "/")[1:] {
		object, ok := v.(map[string]any)
		if !ok || object[name] == nil {
			t.Fatalf("nothing stands at %s", pointer)
		}
		v = object[name]
	}
	return v
}

// The page has a word on every member and every value there is.
func TestFormatsDocIsComplete(t *testing.T) {
	doc := formatsDoc(t)
	var words []string
	words = append(words, constantsOf(t, "decision.go", "ReasonCode")...)
	words = append(words, constantsOf(t, "decision.go", "FrameKind")...)
	words = append(words, constantsOf(t, "decision.go", "Gate")...)
	words = append(words, constantsOf(t, "identity.go", "Kind")...)
	words = append(words, constantsOf(t, "event.go", "EventType")...)
	for _, typ := range []string{"ActivityStatus", "FindingCode", "ContinuityState", "LapseCause"} {
		words = append(words, constantsOf(t, "activity.go", typ)...)
	}
	for _, o := range Outcomes() {
		words = append(words, o.String())
	}
	for _, w := range words {
		if !strings.Contains(doc, "`"+w+"`") {
			t.Errorf("docs/formats.md does not mention `%s`", w)
		}
	}
	seen := map[reflect.Type]bool{}
	var members func(reflect.Type)
	members = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" && !strings.Contains(doc, "`"+name+"`") && !strings.Contains(doc, `"`+name+`"`) {
				t.Errorf("docs/formats.md does not mention the member %s of %s", name, typ)
			}
			members(f.Type)
		}
	}
	for _, v := range []any{Record{}, Event{}, Receipt{}, Activity{}} {
		members(reflect.TypeOf(v))
	}
	if !strings.Contains(doc, strconv.Itoa(MaxInteger)) || !strings.Contains(doc, "`"+Semantics+"`") {
		t.Error("docs/formats.md does not have the largest number, or the semantics")
	}
}

// The sample record holds what the page says it does about its request.
func TestSampleOfASensitiveAttribute(t *testing.T) {
	var request Request
	if err := json.Unmarshal(golden(t, "request/permitted.json"), &request); err != nil {
		t.Fatal(err)
	}
	record, err := ParseRecord(golden(t, "record/permitted.json"))
	if err != nil {
		t.Fatal(err)
	}
	if request.Digest() != record.Full {
		t.Errorf("the request has the digest %s, the record says %s", request.Digest(), record.Full)
	}

	// By the four steps, with the standard library.
	plain := AppendCanonical(nil, parseJSON(t, string(golden(t, "disclosure/creditor_iban.json"))))
	disclosure := base64.RawURLEncoding.EncodeToString(plain)
	sum := sha256.Sum256([]byte(disclosure))
	properties := valueAt(t, parseJSON(t, string(record.Request)), "/resource/properties").(map[string]any)
	if want := []any{base64.RawURLEncoding.EncodeToString(sum[:])}; !reflect.DeepEqual(properties["_sd"], want) {
		t.Errorf("_sd is %v, want %v", properties["_sd"], want)
	}
	private := parseJSON(t, string(golden(t, "disclosure/private.json")))
	if !reflect.DeepEqual(private, []any{disclosure}) {
		t.Errorf("the private part is %v, want the disclosure %s", private, disclosure)
	}
	list := parseJSON(t, string(plain)).([]any)
	if sent := request.Resource.Properties[list[1].(string)]; sent != list[2] {
		t.Errorf("it discloses %v, but %v was sent", list[2], sent)
	}
	if bytes.Contains(record.Request, []byte(list[2].(string))) {
		t.Error("the record holds the value itself")
	}
}
