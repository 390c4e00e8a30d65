import { SessionDescription } from './session-description.ts'

/** Lines joined as SDP writes them. */
export function sdpText(...lines: string[]): string {
  return lines.map((line) => `${line}\r\n`).join('')
}

/** Parses text that is known to be SDP. */
export function sdpOf(text: string): SessionDescription {
  const description = SessionDescription.parse(Buffer.from(text, 'latin1'))
  if (typeof description === 'string') throw new Error(`refused: ${description}`)
  return description
}

/** An offer of a browser that has found its candidates: one UDP, one TCP, one mDNS. */
export const browserOffer = sdpText(
  'v=0',
  'o=- 4611731400430051336 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0 1',
  'm=audio 50000 UDP/TLS/RTP/SAVPF 111',
  'c=IN IP4 192.0.2.7',
  'a=rtcp:50001 IN IP4 192.0.2.7',
  'a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0',
  'a=candidate:2 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active generation 0',
  'a=candidate:3 1 udp 2122194687 4f1d3a7e-0000-4000-8000-0123456789ab.local 50002 typ host',
  'a=end-of-candidates',
  'a=ice-ufrag:Cl1t',
  'a=ice-pwd:clientpasswordclientpass',
  'a=ice-options:trickle',
  'a=mid:0',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'c=IN IP4 0.0.0.0',
  'a=rtcp:9 IN IP4 0.0.0.0',
  'a=ice-ufrag:Cl1t',
  'a=ice-pwd:clientpasswordclientpass',
  'a=mid:1',
)

/** An answer of an origin that tells more than clients should know. */
export const originAnswer = sdpText(
  'v=0',
  'o=SRS/7.0.18 4611 2 IN IP4 0.0.0.0',
  's=SRSPublishSession',
  't=0 0',
  'a=ice-lite',
  'a=group:BUNDLE 0 1',
  'm=audio 8001 UDP/TLS/RTP/SAVPF 111',
  'c=IN IP4 10.0.0.5',
  'a=rtcp:8002 IN IP4 10.0.0.5',
  'a=ice-ufrag:or16',
  'a=ice-pwd:originpasswordoriginpass',
  'a=candidate:0 1 udp 2130706431 10.0.0.5 8001 typ host generation 0',
  'a=candidate:1 1 tcp 2128609279 10.0.0.5 8001 typ host tcptype passive',
  'a=mid:0',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'c=IN IP4 0.0.0.0',
  'a=ice-ufrag:or16',
  'a=ice-pwd:originpasswordoriginpass',
  'a=candidate:0 1 udp 2130706431 10.0.0.5 8001 typ host generation 0',
  'a=candidate:2 1 udp 1694498815 198.51.100.4 61000 typ srflx raddr 10.0.0.5 rport 8001',
  'a=mid:1',
  'a=end-of-candidates',
)
