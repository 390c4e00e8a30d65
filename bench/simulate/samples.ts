import { createHash } from 'node:crypto'
import type { OriginAnnouncement, OriginId, RtcSession } from '../../src/mechanisms/balancer/contract.ts'
import { KEY, streamKeys, type StreamKeys } from '../../src/mechanisms/balancer/redis/keys.ts'
import { SessionCodec } from '../../src/mechanisms/balancer/redis/session-codec.ts'
import { serverList, serverValue } from '../../src/mechanisms/balancer/redis/srs-server-value.ts'
import { rtcValue } from '../../src/mechanisms/balancer/redis/srs-rtc-value.ts'
import { hlsValue } from '../../src/mechanisms/balancer/redis/srs-hls-value.ts'
import { parseStreamKey, type StreamKey } from '../../src/mechanisms/balancer/stream-key.ts'

/** What gateways write to Redis, made by their own code: lengths of names are as SRS, browsers and gateways have them. */

const noPrefix = { key: (name: string): string => name }

export function originIdOf(index: number): OriginId {
  return `vid-${hex(index, 7)}-${hex(index * 31, 7)}-${10_000 + index}` as OriginId
}

export function serverKeyOf(index: number): string {
  return KEY.server(originIdOf(index))
}

export function announcementOf(index: number): OriginAnnouncement {
  const [, server = '', service = '', pid = ''] = /^(vid-\w+)-(\w+)-(\d+)$/.exec(originIdOf(index)) ?? []
  return {
    ip: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`,
    deviceId: `origin-${index}`,
    server,
    service,
    pid,
    rtmp: [1935],
    http: [8080],
    api: [1985],
    srt: [10_080],
    rtc: [8000],
    load: 0.25,
  }
}

export function serverTextOf(index: number, updateMs: number): string {
  return serverValue({ announcement: announcementOf(index), updateMs })
}

export function serverListText(origins: number): string {
  return serverList(Array.from({ length: origins }, (_, index) => serverKeyOf(index)))
}

export function streamKeyOf(index: number): StreamKey {
  return parseStreamKey(`__defaultVhost__/live/stream-${hex(index, 8)}`)
}

export function keysOfStream(index: number): StreamKeys {
  return streamKeys(noPrefix, streamKeyOf(index))
}

export function hlsTextOf(index: number): string {
  const streamKey = streamKeyOf(index)
  return hlsValue({
    id: hex(index, 7),
    streamKey,
    fullUrl: `http://media.example.com/live/stream-${hex(index, 8)}.m3u8`,
  })
}

/** As `newGatewayId` makes it. */
export function gatewayIdOf(index: number): string {
  return `gateway-${index}-${hex(index * 2_654_435_761, 8)}`
}

/** As browsers and SRS make them: `answer-ufrag:offer-ufrag`. */
export function usernameOf(index: number): string {
  return `${hex(index, 8)}:${hex(index * 7, 4)}`
}

export function tokenHashOf(index: number): string {
  return createHash('sha256').update(`token ${index}`).digest('hex')
}

export function hex(value: number, digits: number): string {
  return (value % 16 ** digits).toString(16).padStart(digits, '0')
}

/** What a gateway says of itself. */
export function memberTextOf(index: number): string {
  const host = `10.1.${index >> 8}.${index & 255}`
  return JSON.stringify({
    instance: `${hex(index * 2_654_435_761, 8)}-0000-4000-8000-${hex(index, 12)}`,
    version: '1.0.0',
    startedMs: 1_790_000_000_000 + index,
    addresses: {
      http: [`${host}:8080`, `${host}:1985`],
      rtmp: [`${host}:1935`],
      webrtc: [`${host}:8000`],
      srt: [`${host}:10080`],
      turn: [`${host}:3478`],
      registration: [`${host}:12025`],
      admin: [`${host}:9190`],
    },
    isDraining: false,
    load: { sessions: 10_000 + index, allocations: 0, tunnelClients: 0, cpu: 1.25, memoryBytes: 734_003_200 },
  })
}

/** Of one WebRTC session. */
export interface SessionKeys {
  readonly ufrag: string
  readonly token: string
  readonly rtc: string
}

export function sessionKeysOf(index: number, stream: number): SessionKeys {
  return {
    ufrag: KEY.ufrag(usernameOf(index)),
    token: KEY.session(tokenHashOf(index)),
    rtc: KEY.rtc(streamKeyOf(stream)),
  }
}

export function rtcSessionOf(index: number, stream: number): RtcSession {
  const query = `action=delete&token=${hex(index, 9)}&app=live&stream=stream-${hex(stream, 8)}`
  return {
    streamKey: streamKeyOf(stream),
    role: 'play',
    username: usernameOf(index),
    originId: originIdOf(stream),
    originAddress: '10.0.0.1',
    originPort: 8000,
    icePassword: hex(index, 32),
    resource: {
      id: hex(index, 16),
      tokenHash: tokenHashOf(index),
      originUrl: `http://10.0.0.1:1985/rtc/v1/whip/?${query}&session=${usernameOf(index)}`,
      clientAddress: `198.51.${(index >> 8) & 255}.${index & 255}`,
      sinceMs: 1_790_000_000_000 + index,
      hasTcp: false,
    },
  }
}

/** The value of a session, with everything that a gateway of ours knows of it. */
export function sessionTextOf(index: number, stream: number, gateway: number): string {
  return codec.write(rtcSessionOf(index, stream), gatewayIdOf(gateway))
}

/** The last session of a stream. */
export function rtcTextOf(index: number, stream: number): string {
  return rtcValue({ streamKey: streamKeyOf(stream), username: usernameOf(index) })
}

const codec = new SessionCodec('a secret of the bench')
