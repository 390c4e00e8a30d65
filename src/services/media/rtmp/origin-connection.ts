import type { Socket } from 'node:net'
import type { OriginTarget } from '../../../mechanisms/balancer/index.ts'
import type { ConnectionInfo } from '../../../mechanisms/net/index.ts'
import { encodeProxyHeader } from '../../../protocols/proxy-protocol/index.ts'
import type { CompleteRtmpOptions } from './options.ts'

type DialingOptions = Pick<CompleteRtmpOptions, 'dial' | 'dialOptionsOf' | 'proxyProtocolToOrigins'>

/** A connection to an origin that has been begun. */
export interface OriginConnection {
  readonly socket: Socket
  /** The event that says that it can be spoken on. */
  readonly readyEvent: 'connect' | 'secureConnect'
}

/** Dials an origin as its scheme wants it, and tells it who the client is where that is wanted. */
export function dialOrigin(
  target: OriginTarget,
  client: ConnectionInfo,
  options: DialingOptions,
): OriginConnection {
  const how = options.dialOptionsOf(target)
  const proxyHeader = proxyHeaderOf(client, options)
  const socket = options.dial({
    ...how,
    noDelay: true,
    allowHalfOpen: true,
    ...(proxyHeader !== undefined && { proxyHeader }),
  })
  return { socket, readyEvent: how.tls === undefined ? 'connect' : 'secureConnect' }
}

/** Whether something listens where the origin does. */
export function isReachable(
  { host, port }: OriginTarget,
  options: Pick<CompleteRtmpOptions, 'dial' | 'dialTimeoutMs' | 'clock'>,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = options.dial({ host, port })
    const settle = (isThere: boolean): void => {
      timer.cancel()
      socket.destroy()
      resolve(isThere)
    }
    const timer = options.clock.after(options.dialTimeoutMs, () => settle(false))
    socket.once('connect', () => settle(true))
    socket.on('error', () => settle(false))
  })
}

function proxyHeaderOf(client: ConnectionInfo, options: DialingOptions): Uint8Array | undefined {
  if (options.proxyProtocolToOrigins === undefined) return undefined
  return encodeProxyHeader({
    version: options.proxyProtocolToOrigins === 'v1' ? 1 : 2,
    command: 'proxy',
    addresses: {
      source: { address: withoutZone(client.remoteAddress), port: client.remotePort },
      destination: { address: withoutZone(client.localAddress), port: client.localPort },
    },
  })
}

/** Of a link-local address, which means something on this machine only. */
function withoutZone(address: string): string {
  return address.replace(/%.*$/, '')
}
