import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import type { ProxyConfig } from '../../../mechanisms/frp-config/index.ts'
import { ByteBucket, limitedStream } from '../../../mechanisms/streams/index.ts'
import type { Logger } from '../../../mechanisms/telemetry/index.ts'
import {
  cfbKey,
  parseBandwidth,
  type StartWorkConn,
  type UdpPacketCodec,
  type WireVersion,
} from '../../../protocols/frp/index.ts'
import { payloadLayers } from '../payload-layers.ts'
import type { DialLocal } from './local-dialer.ts'
import type { Joins } from './joins.ts'

/** What serves the work connections of one proxy. */
export interface ProxyService {
  /** Takes a work connection, which is paused. */
  serve(work: ByteStream, start: StartWorkConn, agreed: Agreed): void
  /** No more work connections will come; user connections may run on. */
  close(): void
}

/** What client and server agreed on at the login. */
export interface Agreed {
  readonly wireVersion: WireVersion
  readonly halfClose: boolean
  readonly udpPacketCodec: UdpPacketCodec
}

/** What all services of a client share. */
export interface ServiceParts {
  /** What payload encryption is keyed with. */
  readonly token: string
  readonly clock: Clock
  readonly log: Logger
  readonly datapath: Datapath
  readonly dialLocal: DialLocal
  readonly joins: Joins
}

/**
 * The layers of a proxy upon its work connections, in frp's order: the client's limit lies under the encryption, one budget
 * for all connections of the proxy (reference §17).
 */
export function workLayers(
  config: ProxyConfig,
  { token, clock }: ServiceParts,
): (work: ByteStream) => ByteStream {
  const { useEncryption, useCompression, bandwidthLimit, bandwidthLimitMode } = config.transport
  const key = useEncryption ? cfbKey(token) : undefined
  const limit = bandwidthLimitMode === 'client' ? parseBandwidth(bandwidthLimit) : undefined
  const bucket = limit === undefined || limit <= 0 ? undefined : new ByteBucket(limit, clock)
  return (work) =>
    payloadLayers(bucket === undefined ? work : limitedStream(work, bucket), {
      key,
      isCompressed: useCompression,
    })
}
