"""Publishes a picture and silence by WHIP, plays them by WHEP, and says how both fared, as JSON."""

import argparse
import asyncio
import json
import urllib.parse
import urllib.request

import aioice.ice
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

# Interfaces other than loopback differ from machine to machine.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def ask(method: str, url: str, body: str | None = None) -> tuple[int, str, str]:
    request = urllib.request.Request(url, method=method, data=body.encode() if body else None)
    if body:
        request.add_header("content-type", "application/sdp")
    with urllib.request.urlopen(request, timeout=20) as response:
        location = response.headers.get("location") or ""
        return response.status, urllib.parse.urljoin(url, location), response.read().decode()


async def signal(peer: RTCPeerConnection, url: str) -> str:
    """Returns the URL of the session."""
    await peer.setLocalDescription(await peer.createOffer())
    _, location, answer = await asyncio.to_thread(ask, "POST", url, peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return location


async def play(peer: RTCPeerConnection, url: str, wanted: int) -> tuple[str, dict[str, int]]:
    counts = {"audio": 0, "video": 0}
    enough = asyncio.Event()

    async def count(track) -> None:
        while True:
            await track.recv()
            counts[track.kind] += 1
            if min(counts.values()) >= wanted:
                enough.set()

    readers = set()

    @peer.on("track")
    def on_track(track) -> None:
        readers.add(asyncio.ensure_future(count(track)))

    peer.addTransceiver("audio", direction="recvonly")
    peer.addTransceiver("video", direction="recvonly")
    location = await signal(peer, url)
    await asyncio.wait_for(enough.wait(), 30)
    for reader in readers:
        reader.cancel()
    return location, counts


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--whip", required=True)
    parser.add_argument("--whep", required=True)
    parser.add_argument("--frames", type=int, required=True)
    options = parser.parse_args()

    publisher, player = RTCPeerConnection(), RTCPeerConnection()
    connected = asyncio.Event()

    @publisher.on("connectionstatechange")
    def on_state() -> None:
        if publisher.connectionState == "connected":
            connected.set()

    publisher.addTrack(AudioStreamTrack())
    publisher.addTrack(VideoStreamTrack())
    published = await signal(publisher, options.whip)
    await asyncio.wait_for(connected.wait(), 30)
    played, counts = await play(player, options.whep, options.frames)
    deleted = [(await asyncio.to_thread(ask, "DELETE", url))[0] for url in (played, published)]
    print(json.dumps({**counts, "deleted": deleted}), flush=True)
    await asyncio.gather(publisher.close(), player.close())


asyncio.run(main())
