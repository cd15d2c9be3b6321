package capture

import "encoding/binary"

// ReadStats reads the statistics of a session from the end of the file that it
// wrote: the last kilobyte is enough. It reports false for a file that has none,
// because its writer was interrupted, or that is none of ours.
func ReadStats(end []byte) (st Stats, ok bool) {
	const head, foot = 8, 4 // of a block: type and length, and the length again
	le := binary.LittleEndian
	if len(end) < head+foot {
		return st, false
	}
	size := le.Uint32(end[len(end)-foot:])
	if size < head+12+foot || uint64(size) > uint64(len(end)) {
		return st, false
	}
	block := end[len(end)-int(size):]
	if le.Uint32(block) != blockStatistics || le.Uint32(block[4:]) != size {
		return st, false
	}
	values := map[uint16]uint64{}
	for b := block[head+12 : size-foot]; len(b) >= 4; {
		code, n := le.Uint16(b), int(le.Uint16(b[2:]))
		next := 4 + (n+3)/4*4
		if code == optEnd || next > len(b) {
			break
		}
		if n == 8 {
			values[code] = le.Uint64(b[4:])
		}
		b = b[next:]
	}
	st.Received = values[optStatisticsReceived] - values[optStatisticsIfDrop]
	st.Rejected = st.Received - values[optStatisticsAccepted]
	st.Lost, st.Written = values[optStatisticsOSDrop], values[optStatisticsUser]
	return st, true
}
