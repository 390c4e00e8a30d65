// Command pion-origin is a media server that has never heard of Sluice: WHIP in, WHEP out of the same stream,
// on pion/webrtc with full ICE. It announces itself to a gateway as SRS origins do and serves until its
// standard input ends, so that it cannot outlive the test that started it.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	register := flag.String("register", "", "URL at which to announce this origin, empty for none")
	flag.Parse()

	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	origin, err := newOrigin()
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, origin.handler())) }()

	port := listener.Addr().(*net.TCPAddr).Port
	if *register != "" {
		if err := announce(*register, port); err != nil {
			log.Fatal(err)
		}
		go func() {
			for range time.Tick(time.Second) {
				if err := announce(*register, port); err != nil {
					log.Print(err)
				}
			}
		}()
	}
	ready, _ := json.Marshal(map[string]any{"msg": "origin ready", "api": port})
	fmt.Println(string(ready))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// announce posts what an SRS origin posts. Each session has a UDP port of its own, so the one announced is 0.
func announce(url string, port int) error {
	pid := strconv.Itoa(os.Getpid())
	body, _ := json.Marshal(map[string]any{
		"device_id": "pion", "ip": "127.0.0.1", "server": "pion", "service": pid, "pid": pid,
		// Registration asks for an RTMP endpoint; nobody listens on this one.
		"rtmp": []string{"1"},
		"api":  []string{strconv.Itoa(port)},
		"rtc":  []string{"udp://0.0.0.0:0"},
	})
	response, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("registration: %s: %s", response.Status, text)
	}
	return nil
}

// streamOf reads the stream of `/rtc/v1/whip/?app=A&stream=S` and of `/A/S/whip`.
func streamOf(request *http.Request) string {
	query := request.URL.Query()
	if query.Get("stream") != "" {
		return query.Get("app") + "/" + query.Get("stream")
	}
	path := strings.Trim(request.URL.Path, "/")
	return strings.TrimSuffix(strings.TrimSuffix(path, "/whip"), "/whep")
}
