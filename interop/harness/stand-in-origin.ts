import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { registerOrigin } from './register-origin.ts'

/** An origin that signs every offer and echoes every datagram: cheap enough for thousands of sessions. */
export interface StandInOrigin extends AsyncDisposable {
  /** Sessions that were opened and not ended. */
  readonly sessions: number
  /** Sessions that were ended by DELETE. */
  readonly ended: number
}

/** Starts one and registers it. */
export async function startStandInOrigin(registrationUrl: string): Promise<StandInOrigin> {
  const media = createSocket('udp4')
  media.on('message', (datagram, { address, port }) => media.send(datagram, port, address))
  media.bind(0, '127.0.0.1')
  await once(media, 'listening')
  const sessions = new Set<string>()
  let ended = 0
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      if (request.method === 'DELETE') {
        if (sessions.delete(request.url ?? '')) ended++
        response.writeHead(200).end()
        return
      }
      const location = `/sessions/${randomBytes(16).toString('hex')}`
      sessions.add(location)
      response.writeHead(201, { 'content-type': 'application/sdp', location }).end(answer(media))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  await registerOrigin(registrationUrl, 'stand-in', {
    api: [String((server.address() as AddressInfo).port)],
    rtc: [`udp://0.0.0.0:${media.address().port}`],
  })
  return {
    get sessions() {
      return sessions.size
    },
    get ended() {
      return ended
    },
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      media.close()
      await Promise.all([once(server, 'close'), once(media, 'close')])
    },
  }
}

function answer(media: Socket): string {
  return [
    'v=0',
    'o=- 1 1 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'a=ice-lite',
    'a=group:BUNDLE 0',
    'm=video 9 UDP/TLS/RTP/SAVPF 96',
    'c=IN IP4 0.0.0.0',
    `a=ice-ufrag:${randomBytes(8).toString('hex')}`,
    `a=ice-pwd:${randomBytes(16).toString('hex')}`,
    `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`,
    'a=setup:passive',
    'a=mid:0',
    'a=sendonly',
    'a=rtcp-mux',
    'a=rtpmap:96 VP8/90000',
    `a=candidate:1 1 udp 2130706431 127.0.0.1 ${media.address().port} typ host`,
    'a=end-of-candidates',
    '',
  ].join('\r\n')
}
