package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/turn/v4"
)

// stragglers is how long to wait for what is still on its way when sending has ended.
const stragglers = 2 * time.Second

// echoes counts the numbered datagrams that came back.
type echoes struct {
	mutex  sync.Mutex
	seen   map[uint64]bool
	bytes  int
	broken int
	twice  int
	last   time.Time
	gap    time.Duration
}

// relayDatagrams sends numbered datagrams to the peer until its input has a line or ends. The first ones travel in Send
// indications and wait for nothing; pion binds a channel meanwhile and goes on in that.
func relayDatagrams(s settings, client *turn.Client) error {
	peer, err := net.ResolveUDPAddr("udp4", s.peer)
	if err != nil {
		return err
	}
	relay, err := client.Allocate()
	if err != nil {
		return err
	}
	got := &echoes{seen: map[uint64]bool{}, last: time.Now()}
	read := make(chan struct{})
	go func() {
		got.readFrom(relay, s.size)
		close(read)
	}()

	// One round trip first, so that the permission is there and nothing of what is counted is lost for want of it.
	if err := client.CreatePermission(peer); err != nil {
		return err
	}
	say(map[string]any{"msg": "relaying", "relayed": relay.LocalAddr().String()})
	sent, renewals, sendErr := s.send(client, relay, peer, stopLine())
	for end := time.Now().Add(stragglers); got.count() < sent && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	closeErr := relay.Close()
	<-read

	got.mutex.Lock()
	defer got.mutex.Unlock()
	say(map[string]any{
		"msg": "relayed", "sent": sent, "received": len(got.seen), "lost": sent - len(got.seen),
		"bytes": got.bytes, "broken": got.broken, "twice": got.twice,
		"longestGapMs": got.gap.Milliseconds(), "renewals": renewals,
	})
	return errors.Join(sendErr, closeErr)
}

// send gives how many datagrams went out and how often the permission was renewed.
func (s settings) send(
	client *turn.Client, relay net.PacketConn, peer net.Addr, stop <-chan struct{},
) (sent int, renewals int, err error) {
	ticks := time.NewTicker(s.interval)
	defer ticks.Stop()
	var renew <-chan time.Time
	if s.renew > 0 {
		ticker := time.NewTicker(s.renew)
		defer ticker.Stop()
		renew = ticker.C
	}
	datagram := make([]byte, s.size)
	for {
		select {
		case <-stop:
			return sent, renewals, nil
		case <-renew:
			if err := client.CreatePermission(peer); err != nil {
				return sent, renewals, err
			}
			renewals++
		case <-ticks.C:
			fill(datagram, uint64(sent))
			if _, err := relay.WriteTo(datagram, peer); err != nil {
				return sent, renewals, err
			}
			sent++
		}
	}
}

// readFrom counts until the relay is closed.
func (e *echoes) readFrom(relay net.PacketConn, size int) {
	buffer := make([]byte, 65536)
	wanted := make([]byte, size)
	for {
		n, _, err := relay.ReadFrom(buffer)
		if err != nil {
			return
		}
		e.mutex.Lock()
		now := time.Now()
		e.gap = max(e.gap, now.Sub(e.last))
		e.last = now
		if n == size {
			number := binary.BigEndian.Uint64(buffer)
			fill(wanted, number)
			switch {
			case string(wanted) != string(buffer[:n]):
				e.broken++
			case e.seen[number]:
				e.twice++
			default:
				e.seen[number] = true
				e.bytes += n
			}
		} else {
			e.broken++
		}
		e.mutex.Unlock()
	}
}

func (e *echoes) count() int {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return len(e.seen)
}

// fill writes a number and bytes that follow from it.
func fill(datagram []byte, number uint64) {
	binary.BigEndian.PutUint64(datagram, number)
	for i := 8; i < len(datagram); i++ {
		datagram[i] = byte(number + uint64(i))
	}
}

// stopLine is closed when the input has a line, or has ended.
func stopLine() <-chan struct{} {
	stop := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		close(stop)
	}()
	return stop
}
