package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/interop/quicudp"
	"github.com/oobnet/oobnet/proto/udp"
)

// transfer is how much a QUIC stream carries, bytes.
const transfer = 16 << 20

const quicProtocol = "oobnet-test"

// identity is a certificate for the server of a test.
func identity(t *testing.T) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// carry sends a stream from the client to the server, and its sum back.
func carry(t *testing.T, server, client net.PacketConn, to netip.AddrPort) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 3*patience)
	defer stop()
	st, ct := &quic.Transport{Conn: server}, &quic.Transport{Conn: client}
	l, err := st.Listen(&tls.Config{Certificates: []tls.Certificate{identity(t)}, NextProtos: []string{quicProtocol}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- digest(ctx, l) }()

	data := make([]byte, transfer)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	sum, err := send(ctx, ct, to, data)
	if err != nil {
		t.Errorf("client: %v", err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum, want[:]) {
		t.Errorf("the server has %x of %x", sum, want)
	}
	if err := <-served; err != nil {
		t.Errorf("server: %v", err)
	}
	// Transport.Close waits for the reader of the connection, which is blocked.
	if err := errors.Join(l.Close(), ct.Close(), st.Close(), client.Close(), server.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// digest takes one stream and answers with the sum of what came.
func digest(ctx context.Context, l *quic.Listener) error {
	c, err := l.Accept(ctx)
	if err != nil {
		return err
	}
	s, err := c.AcceptStream(ctx)
	if err != nil {
		return err
	}
	h := sha256.New()
	if n, err := io.Copy(h, s); err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	_, err = s.Write(h.Sum(nil))
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	<-c.Context().Done() // the client has read it
	return nil
}

func send(ctx context.Context, t *quic.Transport, to netip.AddrPort, data []byte) (sum []byte, err error) {
	c, err := t.Dial(ctx, net.UDPAddrFromAddrPort(to), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{quicProtocol}}, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.CloseWithError(0, "")) }()
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(data); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return io.ReadAll(s)
}

// TestQUIC has quic-go on a socket as it is, as server and as client.
func TestQUIC(t *testing.T) {
	onWires(t, func(t *testing.T, e *ends) {
		t.Run("server", func(t *testing.T) { carry(t, e.conn(4433), e.peer(50001), e.ours.At(4433)) })
		t.Run("client", func(t *testing.T) { carry(t, e.peer(4434), e.conn(50002), netip.AddrPortFrom(e.addr, 4434)) })
	})
}

// marked counts what the adapter makes possible.
type marked struct {
	*quicudp.Conn
	marks, segmented, batched atomic.Int64
}

func (m *marked) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	n, err := m.Conn.ReadBatch(ms, flags)
	for i := range n {
		if oob := ms[i].OOB[:ms[i].NN]; len(oob) > 0 && oob[unix.CmsgLen(0)]&3 == capable {
			m.marks.Add(1)
		}
	}
	if n > 1 {
		m.batched.Add(1)
	}
	return n, err
}

func (m *marked) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (int, int, error) {
	if len(b) > 1500 {
		m.segmented.Add(1)
	}
	return m.Conn.WriteMsgUDP(b, oob, addr)
}

// capable is the mark of RFC 3168 that quic-go sends.
const capable = 2

// TestQUICWithAdapter: the same with batches, marks and segments, which are used.
func TestQUICWithAdapter(t *testing.T) {
	onWires(t, func(t *testing.T, e *ends) {
		// The peer of ours in memory has the adapter as well.
		adapted := func(c net.PacketConn) net.PacketConn {
			if c, ok := c.(*udp.Conn); ok {
				return quicudp.New(c)
			}
			return c
		}
		t.Run("server", func(t *testing.T) {
			c := &marked{Conn: quicudp.New(e.conn(4433))}
			carry(t, c, adapted(e.peer(50001)), e.ours.At(4433))
			if c.marks.Load() == 0 || c.batched.Load() == 0 {
				t.Errorf("%d datagrams came marked, %d batches of more than one", c.marks.Load(), c.batched.Load())
			}
		})
		t.Run("client", func(t *testing.T) {
			c := &marked{Conn: quicudp.New(e.conn(50002))}
			carry(t, adapted(e.peer(4434)), c, netip.AddrPortFrom(e.addr, 4434))
			if c.marks.Load() == 0 || c.segmented.Load() == 0 {
				t.Errorf("%d datagrams came marked, %d writes of more than one", c.marks.Load(), c.segmented.Load())
			}
		})
	})
}
