package offheap

import "testing"

func TestSparse(t *testing.T) {
	before := Live()
	s, err := Reserve(3*HugePageSize + 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := s.Bytes()
	for range 2 {
		for _, piece := range [][2]int{{0, HugePageSize}, {2 * HugePageSize, len(b) - 2*HugePageSize - 1}} {
			if _, err := s.Populate(piece[0], piece[1]); err != nil {
				t.Fatal(err)
			}
			part := b[piece[0]:][:piece[1]]
			if part[0] != 0 || part[len(part)-1] != 0 {
				t.Error("memory that is not zeroed")
			}
			part[0], part[len(part)-1] = 1, 2
		}
		for _, piece := range [][2]int{{0, HugePageSize}, {2 * HugePageSize, len(b) - 2*HugePageSize}} {
			if err := s.Release(piece[0], piece[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, piece := range [][2]int{{-4096, 4096}, {0, 0}, {1, HugePageSize}, {HugePageSize, 1 << 40}, {len(b), HugePageSize}} {
		if _, err := s.Populate(piece[0], piece[1]); err == nil {
			t.Errorf("Populate(%d, %d) worked", piece[0], piece[1])
		}
		if err := s.Release(piece[0], piece[1]); err == nil {
			t.Errorf("Release(%d, %d) worked", piece[0], piece[1])
		}
	}
	if Live() != before+1 {
		t.Errorf("%d regions are live, want %d", Live(), before+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if Live() != before {
		t.Errorf("%d regions are left, want %d", Live(), before)
	}
	if _, err := Reserve(0); err == nil {
		t.Error("Reserve(0) worked")
	}
}
