package aver

import "testing"

// Only requests with nothing special take the short way. That both ways read the
// same is held by FuzzReadRequest.
func TestPlainRequestsAreReadTheShortWay(t *testing.T) {
	for text, plain := range map[string]bool{
		anEvaluation: true,
		`{}`:         true,
		` { "subject" : { "id" : "\u0061" } , "context" : { "parts" : [ ] } } `: true, // its mistake is told later
		`{"options":{}}`:                    false,
		`{"Subject":{}}`:                    false,
		`{"subject":null}`:                  false,
		`{"subject":{"id":""}}`:             false,
		`{"subject":{"name":"a"}}`:          false,
		`{"context":{"a":[{"_sd":1}]}}`:     false,
		`{"subject":{"id":"a","id":"a"}}`:   false,
		`{"action":{"properties":{"a":01}}`: false,
		`{} {}`:                             false,
		`[]`:                                false,
		``:                                  false,
	} {
		if _, ok := readPlain([]byte(text), Limits{}); ok != plain {
			t.Errorf("%s: plain %v, want %v", text, ok, plain)
		}
	}
}
