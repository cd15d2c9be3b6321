package offheap

import "testing"

func TestMap(t *testing.T) {
	before := Live()
	for _, size := range []int{1, 4096, 3 << 20} {
		r, err := Map(size)
		if err != nil {
			t.Fatal(err)
		}
		b := r.Bytes()
		if len(b) < size {
			t.Fatalf("Map(%d): %d bytes", size, len(b))
		}
		b[0], b[size-1] = 1, 2
		if Live() != before+1 {
			t.Errorf("%d regions are live, want %d", Live(), before+1)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if r.Bytes() != nil {
			t.Error("a closed region still has bytes")
		}
		if err := r.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
	if Live() != before {
		t.Errorf("%d regions are left, want %d", Live(), before)
	}
	if _, err := Map(0); err == nil {
		t.Error("Map(0) worked")
	}
}
