package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

type origin struct {
	api  *webrtc.API
	plis atomic.Int64

	mutex    sync.Mutex
	streams  map[string]*stream
	sessions map[string]*webrtc.PeerConnection
}

// stream is what one publisher sends, and the local tracks that carry it to every player.
type stream struct {
	publisher *webrtc.PeerConnection
	tracks    map[webrtc.RTPCodecType]*webrtc.TrackLocalStaticRTP
	videoSSRC atomic.Uint32
}

func newOrigin() (*origin, error) {
	codecs := &webrtc.MediaEngine{}
	for kind, codec := range offered {
		if err := codecs.RegisterCodec(codec, kind); err != nil {
			return nil, err
		}
	}
	interceptors := &interceptor.Registry{}
	if err := webrtc.ConfigureNack(codecs, interceptors); err != nil {
		return nil, err
	}
	if err := webrtc.ConfigureRTCPReports(interceptors); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(address net.IP) bool { return address.IsLoopback() })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	return &origin{
		api: webrtc.NewAPI(
			webrtc.WithMediaEngine(codecs),
			webrtc.WithInterceptorRegistry(interceptors),
			webrtc.WithSettingEngine(settings),
		),
		streams:  map[string]*stream{},
		sessions: map[string]*webrtc.PeerConnection{},
	}, nil
}

var offered = map[webrtc.RTPCodecType]webrtc.RTPCodecParameters{
	webrtc.RTPCodecTypeVideo: {
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
		},
		PayloadType: 96,
	},
	webrtc.RTPCodecTypeAudio: {
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
		},
		PayloadType: 111,
	},
}

func (o *origin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/stats", o.stats)
	mux.HandleFunc("/sessions/", o.end)
	mux.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		path := strings.TrimSuffix(request.URL.Path, "/")
		switch {
		case request.Method != http.MethodPost:
			http.Error(response, "POST an offer", http.StatusMethodNotAllowed)
		case strings.HasSuffix(path, "/whip"):
			o.begin(response, request, o.publish)
		case strings.HasSuffix(path, "/whep"):
			o.begin(response, request, o.play)
		default:
			http.NotFound(response, request)
		}
	})
	return mux
}

// refusal is an error that has an HTTP status.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

// begin answers an offer; prepare adds the tracks once the offer is known.
func (o *origin) begin(
	response http.ResponseWriter,
	request *http.Request,
	prepare func(peer *webrtc.PeerConnection, name string) (end func(), err error),
) {
	offer, err := io.ReadAll(io.LimitReader(request.Body, 100_000))
	if err == nil {
		var answer, id string
		if answer, id, err = o.answer(string(offer), streamOf(request), prepare); err == nil {
			response.Header().Set("Content-Type", "application/sdp")
			response.Header().Set("Location", "/sessions/"+id)
			response.Header().Set("ETag", `"`+id+`"`)
			response.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(response, answer)
			return
		}
	}
	status := http.StatusBadRequest
	if refused, ok := err.(refusal); ok {
		status = refused.status
	}
	http.Error(response, err.Error(), status)
}

func (o *origin) answer(
	offer, name string,
	prepare func(peer *webrtc.PeerConnection, name string) (end func(), err error),
) (answer, id string, err error) {
	peer, err := o.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", "", err
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	id = hex.EncodeToString(random)
	ended := func() {}
	peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateFailed:
			_ = peer.Close()
		case webrtc.PeerConnectionStateClosed:
			ended()
			o.mutex.Lock()
			delete(o.sessions, id)
			o.mutex.Unlock()
		}
	})
	fail := func(err error) (string, string, error) {
		_ = peer.Close()
		return "", "", err
	}
	if err = peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return fail(err)
	}
	if ended, err = prepare(peer, name); err != nil {
		ended = func() {}
		return fail(err)
	}
	description, err := peer.CreateAnswer(nil)
	if err != nil {
		return fail(err)
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err = peer.SetLocalDescription(description); err != nil {
		return fail(err)
	}
	<-gathered
	o.mutex.Lock()
	o.sessions[id] = peer
	o.mutex.Unlock()
	return peer.LocalDescription().SDP, id, nil
}

func (o *origin) publish(peer *webrtc.PeerConnection, name string) (func(), error) {
	published := &stream{publisher: peer, tracks: map[webrtc.RTPCodecType]*webrtc.TrackLocalStaticRTP{}}
	for _, transceiver := range peer.GetTransceivers() {
		kind := transceiver.Kind()
		track, err := webrtc.NewTrackLocalStaticRTP(offered[kind].RTPCodecCapability, kind.String(), name)
		if err != nil {
			return nil, err
		}
		published.tracks[kind] = track
	}
	peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if remote.Kind() == webrtc.RTPCodecTypeVideo {
			published.videoSSRC.Store(uint32(remote.SSRC()))
		}
		local := published.tracks[remote.Kind()]
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			// The extensions were negotiated with the publisher, not with the players.
			packet.Extension, packet.Extensions = false, nil
			_ = local.WriteRTP(packet)
		}
	})
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.streams[name] != nil {
		return nil, refusal{http.StatusConflict, fmt.Sprintf("%s is published already", name)}
	}
	o.streams[name] = published
	return func() {
		o.mutex.Lock()
		defer o.mutex.Unlock()
		if o.streams[name] == published {
			delete(o.streams, name)
		}
	}, nil
}

func (o *origin) play(peer *webrtc.PeerConnection, name string) (func(), error) {
	o.mutex.Lock()
	published := o.streams[name]
	o.mutex.Unlock()
	if published == nil {
		return nil, refusal{http.StatusNotFound, fmt.Sprintf("nobody publishes %s", name)}
	}
	for _, track := range published.tracks {
		sender, err := peer.AddTrack(track)
		if err != nil {
			return nil, err
		}
		go o.passOnKeyFrameRequests(sender, published)
	}
	return func() {}, nil
}

func (o *origin) passOnKeyFrameRequests(sender *webrtc.RTPSender, published *stream) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if _, ok := packet.(*rtcp.PictureLossIndication); !ok {
				continue
			}
			o.plis.Add(1)
			request := &rtcp.PictureLossIndication{MediaSSRC: published.videoSSRC.Load()}
			_ = published.publisher.WriteRTCP([]rtcp.Packet{request})
		}
	}
}

func (o *origin) end(response http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodDelete {
		http.Error(response, "DELETE only", http.StatusMethodNotAllowed)
		return
	}
	o.mutex.Lock()
	peer := o.sessions[strings.TrimPrefix(request.URL.Path, "/sessions/")]
	o.mutex.Unlock()
	if peer == nil {
		http.NotFound(response, request)
		return
	}
	_ = peer.Close()
	response.WriteHeader(http.StatusOK)
}

// stats tells a test what happened here: sessions by the peer's address as ICE chose it, key-frame requests.
func (o *origin) stats(response http.ResponseWriter, _ *http.Request) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	peers := []string{}
	for _, peer := range o.sessions {
		peers = append(peers, chosenRemote(peer))
	}
	_ = json.NewEncoder(response).Encode(map[string]any{"peers": peers, "keyFrameRequests": o.plis.Load()})
}

// chosenRemote is where ICE found the peer, empty before it did. All tracks share one transport.
func chosenRemote(peer *webrtc.PeerConnection) string {
	for _, transceiver := range peer.GetTransceivers() {
		pair, err := transceiver.Receiver().Transport().ICETransport().GetSelectedCandidatePair()
		if err == nil && pair != nil {
			return fmt.Sprintf("%s:%d", pair.Remote.Address, pair.Remote.Port)
		}
	}
	return ""
}
