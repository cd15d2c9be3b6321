package main

import (
	"strings"
	"testing"
)

const stream = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: needs root\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:1: chatter\n"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:1: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Test":"TestD","Output":"panic: cut off\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: syntax error\n"}
{"Action":"output","Package":"r","Output":"PASS\n"}
{"Action":"output","Package":"r","Output":"ok  \tr\t0.2s\n"}
{"Action":"pass","Package":"r"}
{"Action":"output","Package":"s","Output":"?   \ts\t[no test files]\n"}
{"Action":"skip","Package":"s"}
`

func TestShow(t *testing.T) {
	var out strings.Builder
	skips, err := show(strings.NewReader(stream), &out)
	if err != nil {
		t.Fatal(err)
	}
	if len(skips) != 1 || skips[0] != "p TestA: a_test.go:1: needs root" {
		t.Errorf("skips are %q", skips)
	}
	for _, want := range []string{"SKIP p TestA: a_test.go:1: needs root\n", "c_test.go:1: wrong", "panic: cut off", "FAIL\tp", "syntax error", "ok  \tr\t0.2s\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	for _, not := range []string{"chatter", "PASS", "SKIP s"} {
		if strings.Contains(out.String(), not) {
			t.Errorf("%q in:\n%s", not, out.String())
		}
	}
	if _, err := show(strings.NewReader("not json"), &out); err == nil {
		t.Error("took what is not JSON")
	}
}
