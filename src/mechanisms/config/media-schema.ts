import { z } from 'zod'
import { parseStreamId } from '../../protocols/srt/index.ts'
import { accessSchema } from './access-schema.ts'
import { address, cidr, LIST_MAX, listenText, seconds } from './fields.ts'
import type { MediaConfig } from './media-config.ts'
import { mediaTlsSchema } from './tls-schema.ts'

/** Of a TCP edge. */
const connectionCaps = {
  maxConnections: z
    .int()
    .min(1)
    .default(20_000)
    .describe('Most connections; further ones are closed at once.'),
  maxConnectionsPerAddress: z
    .int()
    .min(1)
    .default(2_000)
    .describe('The same for one client address (IPv6: /64).'),
}

const listeners = (...otherwise: string[]) => z.array(listenText).max(LIST_MAX).default(otherwise)

const publicAddress = z.strictObject({
  address: address.describe('Address that clients reach.'),
  port: z
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe('Port that clients reach, where it is not the one bound (port mapping).'),
})

const http = z.strictObject({
  listen: listeners('8080', '1985').describe(
    'WHIP, WHEP, HTTP-FLV, HTTP-TS, HLS and pages. 1985 is where clients of SRS look. Empty: none.',
  ),
  secureListen: listeners().describe(
    'The same over TLS (HTTPS), with the certificates of `media.tls`. Empty: none.',
  ),
  takesRtmp: z
    .boolean()
    .default(false)
    .describe(
      'Whether clients may speak RTMP on these ports too, over TLS on those of `secureListen`: told apart by their first bytes.',
    ),
  pages: z.string().min(1).optional().describe('Directory of static files served at `/`. Absent: none.'),
  ...connectionCaps,
  stallSeconds: seconds.default(30).describe('A viewer that takes nothing for so long is cut.'),
  idleSeconds: seconds
    .default(60)
    .describe(
      'A request whose origin sends nothing for so long is ended: no answer yet, or a live body that stands still.',
    ),
  resumeSeconds: z
    .number()
    .min(0)
    .max(600)
    .default(10)
    .describe(
      'How long viewers wait when their origin is lost, until it is back or another has the stream: HTTP-FLV and HTTP-TS go on in the same response, HLS requests are answered late. 0: they are ended at once.',
    ),
})

const rtmp = z.strictObject({
  listen: listeners('1935').describe('RTMP. Empty: none.'),
  secureListen: listeners().describe(
    'RTMP over TLS (RTMPS), with the certificates of `media.tls`. Empty: none.',
  ),
  ...connectionCaps,
  idleSeconds: seconds.default(60).describe('A connection on which nothing comes for so long is ended.'),
  resumeSeconds: z
    .number()
    .min(0)
    .max(600)
    .default(0)
    .describe(
      'How long a player is kept whose origin is lost, while it is led to another; timestamps go on. 0: it is cut, and comes back by itself or not.',
    ),
  proxyProtocolToOrigins: z
    .enum(['v1', 'v2'])
    .optional()
    .describe(
      'Tells RTMP origins of the client by a PROXY protocol header of this version; they must expect it. Absent: none is sent.',
    ),
})

const webrtc = z.strictObject({
  listen: z
    .union([listenText.transform((text) => [text]), z.array(listenText).min(1).max(16)])
    .default(['8000'])
    .describe('WebRTC media (UDP): a listener, or a list of them, each of which answers offer.'),
  publicAddresses: z
    .array(publicAddress)
    .max(16)
    .default([])
    .describe(
      'Addresses offered to clients, one candidate each. Empty: the address on which the request came in.',
    ),
  keepOriginAddresses: z
    .boolean()
    .default(false)
    .describe(
      'Whether clients are told the addresses in the origin’s answer too, with our port: for origins that are set to announce the public address themselves, as behind the SRS proxy (`CANDIDATE`, `eip`).',
    ),
  tcpListen: listeners().describe(
    'Where clients connect whose way over UDP is barred (ICE-TCP, RFC 6544). Empty: none.',
  ),
  tcpPublicAddresses: z
    .array(publicAddress)
    .max(16)
    .default([])
    .describe('What `publicAddresses` is for UDP. Empty: the same addresses, with the port of `tcpListen`.'),
  iceTcp: z
    .boolean()
    .default(false)
    .describe('Whether every answer offers `tcpListen`; otherwise that to a URL with `transport=tcp` does.'),
  idleSeconds: seconds
    .default(30)
    .describe('A session without packets from one of its ends for so long is ended.'),
  maxSessions: z
    .int()
    .min(1)
    .max(10_000_000)
    .default(10_000)
    .describe('Most sessions; further ones get 503.'),
  allowIceQuery: z
    .boolean()
    .default(false)
    .describe('Whether `ice-ufrag` and `ice-pwd` in the query reach the origin.'),
  lookupsPerSecond: z
    .int()
    .min(1)
    .max(100_000)
    .default(2000)
    .describe(
      'Sessions of other gateways that are looked up in Redis per second because of a packet or a request; what is beyond waits for its next packet. A quarter is kept for requests by HTTP and for ICE-TCP, whose address cannot be forged. In a large fleet 20,000 divided by the number of gateways.',
    ),
  lookupsPerSource: z
    .int()
    .min(1)
    .max(100_000)
    .default(20)
    .describe(
      'The same for one source (IPv4: /24, IPv6: /48). Behind a balancer that hides the addresses of clients it is one source for all of them: then as much as `lookupsPerSecond`.',
    ),
  unverified: z
    .enum(['refuse', 'bind-once'])
    .default('refuse')
    .describe(
      'What becomes of media whose session another gateway began and nobody can prove, since the shared Redis has no password of it: a Go proxy wrote it, or `fleet.secret` is not set. `refuse`: it is dropped, because the user name in its packets can be read on the wire and would let whoever reads it lead the stream away. `bind-once`: while no living gateway serves the session, the first address that names it gets it, and no other ever does; as safe as the Go proxies that made it, and what sharing a Redis with them takes (the default of `sluice srs-proxy`).',
    ),
})

const srt = z.strictObject({
  listen: listeners('10080').describe('SRT (UDP). Empty: none.'),
  defaultStreamId: z
    .string()
    .max(512)
    .superRefine((text, context) => {
      const fault = text === '' ? undefined : parseStreamId(text)
      if (typeof fault === 'string')
        context.addIssue({ code: 'custom', message: `is no stream id: ${fault}` })
    })
    .default('')
    .describe('Stands for the stream id of callers that send none. Empty: they are refused.'),
  plainRole: z
    .enum(['publish', 'play'])
    .default('publish')
    .describe(
      'What a caller wants whose stream id is no more than `app/stream`. Stream ids with keys (`#!::r=…`) and without `m` play.',
    ),
  plainApp: z
    .string()
    .max(512)
    .default('live')
    .describe('App of stream ids that are no more than a name. Empty: they are refused.'),
  originTimeoutSeconds: seconds
    .default(1)
    .describe('How long an origin may take for the handshake; callers themselves give up after 3 s.'),
  dialogueSeconds: seconds
    .default(10)
    .describe('How long a call may take until its session begins, rules of access and all origins included.'),
  maxDialogues: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1000)
    .describe('Most calls that are being answered; further callers are refused (1402).'),
  maxDialoguesPerSource: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(100)
    .describe('The same of one client address (IPv6: /64).'),
  idleSeconds: seconds
    .default(15)
    .describe('A session without packets from one of its ends for so long is ended.'),
  maxSessions: z
    .int()
    .min(1)
    .max(10_000_000)
    .default(10_000)
    .describe('Most sessions; further callers are refused (1402).'),
  maxSessionsPerSource: z
    .int()
    .min(1)
    .max(10_000_000)
    .default(1000)
    .describe('The same of one client address (IPv6: /64).'),
})

export const mediaSchema: z.ZodType<MediaConfig> = z
  .strictObject({
    trustedProxies: z
      .array(cidr)
      .max(LIST_MAX)
      .default([])
      .describe(
        'Proxies before us whose `X-Forwarded-For` and `Forwarded` are believed. What others say there is dropped.',
      ),
    proxyProtocolFrom: z
      .array(cidr)
      .max(LIST_MAX)
      .default([])
      .describe(
        'Balancers before us whose TCP connections (HTTP, RTMP, ICE-TCP) begin with a PROXY protocol header, version 1 or 2. Others send none.',
      ),
    tls: mediaTlsSchema,
    access: accessSchema,
    http: http.prefault({}),
    rtmp: rtmp.prefault({}),
    webrtc: webrtc
      .check(({ value: { iceTcp, tcpListen }, issues }) => {
        if (!iceTcp || tcpListen.length > 0) return
        issues.push({ code: 'custom', path: ['iceTcp'], input: iceTcp, message: 'needs `tcpListen`' })
      })
      .prefault({}),
    srt: srt.prefault({}),
  })
  .prefault({})
