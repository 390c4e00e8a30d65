// A TURN server on pion/turn that the gateway's is compared with: long-term credentials bench/bench, every peer
// admitted, no limits. With more than one socket they share the port by SO_REUSEPORT, each with a read loop, as
// pion's own example of a multi-threaded server does it.
//
// Arguments: how many sockets. Prints its port and serves until its standard input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/pion/turn/v5"
	"golang.org/x/sys/unix"
)

const (
	realm           = "bench"
	edgeBufferBytes = 4 << 20
)

func main() {
	sockets := 1
	if len(os.Args) > 1 {
		var err error
		if sockets, err = strconv.Atoi(os.Args[1]); err != nil || sockets < 1 {
			log.Fatal("usage: pion-turn SOCKETS")
		}
	}
	edges, err := listen(sockets)
	if err != nil {
		log.Fatal(err)
	}
	relays := &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"}
	configs := make([]turn.PacketConnConfig, len(edges))
	for at, edge := range edges {
		configs[at] = turn.PacketConnConfig{PacketConn: edge, RelayAddressGenerator: relays}
	}
	key := turn.GenerateAuthKey("bench", realm, "bench")
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: realm,
		AuthHandler: func(request *turn.RequestAttributes) (string, []byte, bool) {
			return request.Username, key, request.Username == "bench"
		},
		PacketConnConfigs: configs,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(edges[0].LocalAddr().(*net.UDPAddr).Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = server.Close()
}

// listen opens sockets on one port that the system chooses.
func listen(count int) ([]net.PacketConn, error) {
	config := net.ListenConfig{}
	if count > 1 {
		config.Control = sharePort
	}
	address := "127.0.0.1:0"
	var edges []net.PacketConn
	for range count {
		edge, err := config.ListenPacket(context.Background(), "udp4", address)
		if err != nil {
			return nil, err
		}
		if err := edge.(*net.UDPConn).SetReadBuffer(edgeBufferBytes); err != nil {
			return nil, err
		}
		edges, address = append(edges, edge), edge.LocalAddr().String()
	}
	return edges, nil
}

func sharePort(_, _ string, connection syscall.RawConn) error {
	var failure error
	err := connection.Control(func(descriptor uintptr) {
		failure = unix.SetsockoptInt(int(descriptor), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if err != nil {
		return err
	}
	return failure
}
