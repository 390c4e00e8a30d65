import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { StunAttribute, StunClass, StunMethod, StunWriter } from '../../src/protocols/stun/index.ts'

/** A player that goes as far as its first connectivity check: no DTLS, no media. */
export interface IceClient extends AsyncDisposable {
  readonly location: string
  /** Sends a datagram to the gateway and gives the next one that comes back. */
  exchange(datagram: Uint8Array): Promise<Buffer>
  /** A binding request as this client's session has it. */
  check(): Buffer
  /** DELETE on the Location. Gives the status. */
  end(): Promise<number>
}

/** Opens a WHEP session. @throws Error unless it is answered with 201 and a candidate on loopback */
export async function openIceClient(url: string): Promise<IceClient> {
  const ufrag = randomBytes(4).toString('hex')
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/sdp' },
    body: iceOffer(ufrag, 'recvonly'),
  })
  const answer = await response.text()
  if (response.status !== 201) throw new Error(`${url} answered ${response.status}: ${answer}`)
  const location = new URL(response.headers.get('location') ?? '', url).href
  const field = (name: string): string => new RegExp(`^a=${name}:(\\S+)`, 'm').exec(answer)?.[1] ?? ''
  const port = Number(/^a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+) typ host/im.exec(answer)?.[1])
  if (!Number.isInteger(port)) throw new Error(`no candidate on 127.0.0.1 in ${answer}`)
  const username = `${field('ice-ufrag')}:${ufrag}`
  const password = Buffer.from(field('ice-pwd'))
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    location,
    check: () =>
      new StunWriter(StunMethod.binding, StunClass.request, randomBytes(12))
        .text(StunAttribute.username, username)
        .integrity(password)
        .fingerprint()
        .finish(),
    exchange: async (datagram) => await exchange(socket, datagram, port),
    end: async () => {
      const deleted = await fetch(location, { method: 'DELETE' })
      await deleted.arrayBuffer()
      return deleted.status
    },
    [Symbol.asyncDispose]: async () => {
      socket.close()
      await once(socket, 'close')
    },
  }
}

/** Sends again, as UDP may lose it, until something comes. */
async function exchange(socket: Socket, datagram: Uint8Array, port: number): Promise<Buffer> {
  for (let tries = 0; tries < 10; tries++) {
    const answered = once(socket, 'message', { signal: AbortSignal.timeout(500) })
    socket.send(datagram, port, '127.0.0.1')
    try {
      const [message] = (await answered) as [Buffer]
      return message
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'AbortError') throw error
    }
  }
  throw new Error(`nothing came back from port ${port}`)
}

/** An offer with one picture in it, and a fingerprint that is nobody's. */
export function iceOffer(ufrag: string, direction: 'sendonly' | 'recvonly'): string {
  return [
    'v=0',
    'o=- 1 1 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'a=group:BUNDLE 0',
    'm=video 9 UDP/TLS/RTP/SAVPF 96',
    'c=IN IP4 0.0.0.0',
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${randomBytes(16).toString('hex')}`,
    `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'CD').join(':')}`,
    'a=setup:actpass',
    'a=mid:0',
    `a=${direction}`,
    ...(direction === 'sendonly' ? ['a=ssrc:1 cname:nobody'] : []),
    'a=rtcp-mux',
    'a=rtpmap:96 VP8/90000',
    '',
  ].join('\r\n')
}
