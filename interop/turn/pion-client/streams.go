package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pion/turn/v4"
)

// relayStreams makes a TCP allocation and sends bytes both ways through a connection that it opens to the peer, and through
// one that a peer, which is here too, opens to the relayed address.
func relayStreams(s settings, client *turn.Client) error {
	allocation, err := client.AllocateTCP()
	if err != nil {
		return err
	}
	defer allocation.Close()
	peer, err := net.ResolveTCPAddr("tcp4", s.peer)
	if err != nil {
		return err
	}
	if err := client.CreatePermission(peer); err != nil {
		return err
	}

	data, err := s.dial()
	if err != nil {
		return err
	}
	out, err := allocation.DialTCPWithConn(data, "tcp", peer)
	if err != nil {
		return fmt.Errorf("connecting out: %w", err)
	}
	defer out.Close()
	outBytes, err := throughEcho(out, out, s.size)
	if err != nil {
		return fmt.Errorf("through the connection out: %w", err)
	}

	// The peer's own connection is made by the system before the client takes it.
	far, err := net.Dial("tcp4", allocation.Addr().String())
	if err != nil {
		return err
	}
	defer far.Close()
	if data, err = s.dial(); err != nil {
		return err
	}
	in, err := allocation.AcceptTCPWithConn(data)
	if err != nil {
		return fmt.Errorf("accepting: %w", err)
	}
	defer in.Close()
	inBytes, err := throughEcho(in, far, s.size)
	if err != nil {
		return fmt.Errorf("from the client to the peer that came in: %w", err)
	}
	backBytes, err := throughEcho(far, in, s.size)
	if err != nil {
		return fmt.Errorf("from the peer that came in to the client: %w", err)
	}
	say(map[string]any{
		"msg": "relayed", "relayed": allocation.Addr().String(),
		"outBytes": outBytes, "inBytes": inBytes, "backBytes": backBytes,
		"seenFrom": in.RemoteAddr().String(), "from": far.LocalAddr().String(),
	})
	return nil
}

// throughEcho writes bytes at one end and gives how many came out at the other, in order.
func throughEcho(from io.Writer, to net.Conn, size int) (int, error) {
	wanted := make([]byte, size)
	fill(wanted, uint64(size))
	wrote := make(chan error, 1)
	go func() {
		_, err := from.Write(wanted)
		wrote <- err
	}()
	got := make([]byte, size)
	_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := io.ReadFull(to, got)
	if err != nil {
		return n, err
	}
	if !bytes.Equal(got, wanted) {
		return n, errors.New("other bytes than were sent")
	}
	return n, <-wrote
}
