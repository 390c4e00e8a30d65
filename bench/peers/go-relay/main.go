// The bare relay in Go that the datapath is compared with, in the design of the SRS proxy without its protocol
// work: one socket towards the viewers, read by one goroutine, and per viewer one socket towards the origin with
// a goroutine that reads it.
//
// Arguments: the origin's UDP port. Prints its own.
package main

import (
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
)

const (
	bufferBytes     = 2048
	edgeBufferBytes = 4 << 20
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go-relay ORIGIN-PORT")
	}
	origin, err := net.ResolveUDPAddr("udp4", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	edge, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		log.Fatal(err)
	}
	if err := edge.SetReadBuffer(edgeBufferBytes); err != nil {
		log.Fatal(err)
	}
	fmt.Println(edge.LocalAddr().(*net.UDPAddr).Port)
	log.Fatal(relay(edge, origin))
}

// relay leads what viewers send to their sessions, until the edge fails.
func relay(edge *net.UDPConn, origin *net.UDPAddr) error {
	sessions := map[netip.AddrPort]*net.UDPConn{}
	buffer := make([]byte, bufferBytes)
	for {
		length, viewer, err := edge.ReadFromUDP(buffer)
		if err != nil {
			return err
		}
		session, isKnown := sessions[viewer.AddrPort()]
		if !isKnown {
			if session, err = net.DialUDP("udp4", nil, origin); err != nil {
				return err
			}
			sessions[viewer.AddrPort()] = session
			go answer(edge, session, viewer)
		}
		// An ICMP error of an earlier datagram surfaces here; the session goes on.
		_, _ = session.Write(buffer[:length])
	}
}

// answer leads what the origin sends to one viewer.
func answer(edge, session *net.UDPConn, viewer *net.UDPAddr) {
	buffer := make([]byte, bufferBytes)
	for {
		length, _, err := session.ReadFromUDP(buffer)
		if err != nil {
			continue
		}
		_, _ = edge.WriteToUDP(buffer[:length], viewer)
	}
}
