package state

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files of this package")

// inspected makes a store with something of everything in it.
func inspected(t *testing.T, dir string) {
	t.Helper()
	shared, cfg := newShared(t), config(t, vfs.Default)
	cfg.Dir = dir
	s, w := open(t, shared, cfg), newTwin()
	s.dedupe.limit = 1 << 20
	sync := schemas.SyncConfig{BizType: "UCHAT", Scope: "specified", Target: "user", MultiDevice: true, Persistent: true, RepushMode: "threshold", Threshold: 100, Online: true}
	key := func(i int) []byte {
		return schemas.CounterKey(nil, "demo_APP1", "UCHAT", []string{"user-1", "user-2", "group-1"}[i%3])
	}
	for i := range int64(5) {
		b := &Batch{Position: Position{Request: 10*i + 9, OplogOffset: 12 * i, Entry: 10*i + 8, Chain: Hash{1, 2, byte(i)}, StreamTime: 1_700_000_000_000 + 10_000*i, Revision: 4, Rules: 1}}
		if i == 0 {
			b.Changes = []schemas.Change{{Kind: schemas.PutInstance, InstanceID: "demo_APP1"}, {Kind: schemas.PutSync, InstanceID: "demo_APP1", Sync: sync}}
		}
		for j := range int64(9) {
			b.Dedupe = append(b.Dedupe, DedupePut{Bucket: 20_000 + i/4, Key: nthKey(uint64(10*i + j)), ID: 3*i + j/3 + 1})
			k := key(int(j))
			b.Counters = append(b.Counters, CounterPut{Hash: HashKey(k), Key: k, ID: 3*i + j/3 + 1, Position: 10*i + j})
		}
		mustApply(t, s, w, b)
	}
	if err := s.PutNote("sweep", []byte{1, 2, 0xff}); err != nil {
		t.Fatal(err)
	}
	closeTask(t, s)
}

// snapshot reads a directory whole; times are the same if nothing was written.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "LOCK" { // held while it is read
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		b.WriteString(e.Name() + " " + fi.ModTime().String() + "\n" + string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	inspected(t, dir)
	before := snapshot(t, dir)
	key := nthKey(41)
	for name, cfg := range map[string]InspectConfig{
		"whole":  {Limit: 4},
		"all":    {Limit: -1},
		"chosen": {Instance: "demo", Business: "UC", LinkToken: "user", Key: &key},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Dir = dir
			var got bytes.Buffer
			if err := Inspect(&got, cfg); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "inspect-"+name+".txt")
			if *rewrite {
				if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", &got, want)
			}
		})
	}
	if after := snapshot(t, dir); after != before {
		t.Error("inspecting changed the store")
	}
}

func TestInspectRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := Inspect(&bytes.Buffer{}, InspectConfig{Dir: filepath.Join(dir, "none")}); err == nil {
		t.Error("a store that is not there is inspected")
	}
	shared, cfg := newShared(t), config(t, vfs.Default)
	cfg.Dir = dir
	s := open(t, shared, cfg)
	if err := Inspect(&bytes.Buffer{}, InspectConfig{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("inspecting a store that is open: %v", err)
	}
	if err := s.BeginRestore(); err != nil {
		t.Fatal(err)
	}
	feed(t, s, &Feed{Progress: []byte("oplog 7")})
	closeTask(t, s)
	var b bytes.Buffer
	if err := Inspect(&b, InspectConfig{Dir: dir}); err != nil || !strings.Contains(b.String(), `restoring  not complete; fed up to "oplog 7"`) {
		t.Errorf("%v\n%s", err, &b)
	}
}
