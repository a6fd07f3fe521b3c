// Command null is the ceiling of the benchmark: the least that a PDP in Go can do. It is net/http and cedar-go as they come,
// speaks AuthZEN, knows its people from the start, takes every check as it is sent, and keeps no record of anything.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/cedar-policy/cedar-go"
)

type party struct {
	Type       cedar.EntityType `json:"type"`
	ID         cedar.String     `json:"id"`
	Properties cedar.Record     `json:"properties"`
}

func (p party) uid() cedar.EntityUID { return cedar.NewEntityUID(p.Type, p.ID) }

// world is the entities as one request sees them: those that are known, and the resource as it was sent.
type world struct {
	known    cedar.EntityMap
	resource cedar.Entity
}

// Get implements [cedar.EntityGetter].
func (w *world) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	if uid == w.resource.UID {
		return w.resource, true
	}
	return w.known.Get(uid)
}

type request struct {
	Subject  party `json:"subject"`
	Resource party `json:"resource"`
	Action   struct {
		Name cedar.String `json:"name"`
	} `json:"action"`
	Context cedar.Record `json:"context"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	dir := flag.String("policies", "", "directory with Cedar policies")
	entities := flag.String("entities", "", "file with entities in Cedar's JSON format")
	flag.Parse()
	known, err := loadEntities(*entities)
	if err != nil {
		log.Fatal(err)
	}
	policies, err := load(*dir)
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	http.HandleFunc("POST /access/v1/evaluation", func(w http.ResponseWriter, r *http.Request) {
		var req request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		entities := &world{known, cedar.Entity{UID: req.Resource.uid(), Attributes: req.Resource.Properties}}
		decision, _ := cedar.Authorize(policies, entities, cedar.Request{
			Principal: req.Subject.uid(), Action: cedar.NewEntityUID("Action", req.Action.Name), Resource: req.Resource.uid(),
			Context: req.Context,
		})
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(struct {
			Decision bool `json:"decision"`
		}{bool(decision)})
	})
	log.Fatal(http.Serve(l, nil))
}

func loadEntities(file string) (cedar.EntityMap, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var known cedar.EntityMap
	err = json.Unmarshal(text, &known)
	return known, err
}

// load reads all policies of a directory. They have no names of their own: the file and the place do.
func load(dir string) (*cedar.PolicySet, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.cedar"))
	if err != nil {
		return nil, err
	}
	all := cedar.NewPolicySet()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		list, err := cedar.NewPolicyListFromBytes(file, text)
		if err != nil {
			return nil, err
		}
		for i, p := range list {
			all.Add(cedar.PolicyID(fmt.Sprintf("%s#%d", filepath.Base(file), i)), p)
		}
	}
	return all, nil
}
