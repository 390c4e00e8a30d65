// Command pion-client is a TURN client on pion/turn. It allocates over UDP, TCP or TLS, relays to a peer that echoes, and
// says what came back, in lines of JSON. Everything it starts ends with it, and it ends with its standard input.
//
//	pion-client -transport tls -server 127.0.0.1:5349 -ca cert.pem -username u -password p -peer 127.0.0.1:7 MODE
//
// Modes: `datagrams` sends numbered datagrams until a line comes in, then says how many came back; `streams` makes a TCP
// allocation (RFC 6062), connects out to the peer and lets a peer of its own connect in; `binding` asks for its address.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/pion/turn/v4"
)

// settings are what the command line says.
type settings struct {
	transport string
	server    string
	username  string
	password  string
	peer      string
	roots     *x509.CertPool
	interval  time.Duration
	size      int
	// renew is how often a permission is asked for again; 0 for never. Each is a request with the client's credentials.
	renew time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.transport, "transport", "udp", "udp, tcp or tls")
	flag.StringVar(&s.server, "server", "", "address and port of the server")
	flag.StringVar(&s.username, "username", "", "")
	flag.StringVar(&s.password, "password", "", "")
	flag.StringVar(&s.peer, "peer", "", "address and port of a peer that echoes")
	flag.DurationVar(&s.interval, "interval", 5*time.Millisecond, "between datagrams")
	flag.IntVar(&s.size, "size", 200, "bytes of a datagram, or of what is sent on each stream")
	flag.DurationVar(&s.renew, "renew", 0, "how often to ask for the permission again, 0 for never")
	ca := flag.String("ca", "", "PEM file of whom to trust with tls")
	flag.Parse()

	if err := run(s, *ca, flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

func run(s settings, ca string, mode string) error {
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return err
		}
		s.roots = x509.NewCertPool()
		s.roots.AppendCertsFromPEM(pem)
	}
	client, err := s.newClient()
	if err != nil {
		return err
	}
	defer client.Close()
	switch mode {
	case "binding":
		mapped, err := client.SendBindingRequest()
		if err != nil {
			return err
		}
		say(map[string]any{"msg": "mapped", "mapped": mapped.String()})
		return nil
	case "datagrams":
		return relayDatagrams(s, client)
	case "streams":
		return relayStreams(s, client)
	default:
		return fmt.Errorf("mode %q: want binding, datagrams or streams", mode)
	}
}

// newClient opens a socket of the transport and a client on it.
func (s settings) newClient() (*turn.Client, error) {
	var socket net.PacketConn
	if s.transport == "udp" {
		bound, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		socket = bound
	} else {
		stream, err := s.dial()
		if err != nil {
			return nil, err
		}
		socket = turn.NewSTUNConn(stream)
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: s.server,
		TURNServerAddr: s.server,
		Username:       s.username,
		Password:       s.password,
		Conn:           socket,
	})
	if err != nil {
		return nil, err
	}
	return client, client.Listen()
}

// dial connects to the server over TCP or TLS.
func (s settings) dial() (net.Conn, error) {
	if s.transport != "tcp" && s.transport != "tls" {
		return nil, fmt.Errorf("transport %q: want udp, tcp or tls", s.transport)
	}
	conn, err := net.Dial("tcp4", s.server)
	if err != nil || s.transport == "tcp" {
		return conn, err
	}
	host, _, err := net.SplitHostPort(s.server)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: s.roots, ServerName: host, MinVersion: tls.VersionTLS12})
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	return &tlsStream{TCPConn: conn.(*net.TCPConn), secure: secure}, nil
}

// tlsStream is a TLS connection with the methods of a TCP connection, which pion wants for RFC 6062.
type tlsStream struct {
	*net.TCPConn
	secure *tls.Conn
}

func (s *tlsStream) Read(p []byte) (int, error)  { return s.secure.Read(p) }
func (s *tlsStream) Write(p []byte) (int, error) { return s.secure.Write(p) }
func (s *tlsStream) Close() error                { return s.secure.Close() }
func (s *tlsStream) CloseWrite() error           { return s.secure.CloseWrite() }
func (s *tlsStream) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(s.secure, r)
}

// say prints a line of JSON.
func say(fields map[string]any) {
	line, err := json.Marshal(fields)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}
