import { isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import { createSecureContext } from 'node:tls'
import { WebSocket } from 'ws'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { FrpcCommonConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Dial } from '../../../mechanisms/net/index.ts'
import {
  socketStream,
  StreamDuplex,
  webSocketOptions,
  webSocketStream,
} from '../../../mechanisms/streams/index.ts'
import { type ClientTls, secureClientSide } from './client-tls.ts'
import type { DialAttempt } from './dial-attempt.ts'
import { type Endpoint, formatEndpoint, withoutBrackets } from './endpoint.ts'
import { lookupBy } from './lookup.ts'
import { httpConnect, socks5Connect } from './proxy-handshake.ts'
import type { ProxyServer } from './proxy-url.ts'
import { webSocketPath } from './web-socket-path.ts'

/** What is known before the first connection is dialled. */
export interface CarrierPlan {
  readonly config: Pick<FrpcCommonConfig, 'serverAddr' | 'serverPort' | 'dnsServer' | 'transport'>
  readonly proxy: ProxyServer | undefined
  readonly tls: ClientTls
  /** Besides those of the system, for an https proxy; PEM. */
  readonly proxyAuthorities: string | undefined
  readonly dial: Dial
}

/**
 * Ahead of TLS, where `disableCustomTLSFirstByte` is off: lets a server that shares its port with an HTTPS vhost tell frp's TLS.
 */
const tlsMarker = Buffer.from([0x17])

/**
 * One connection to the server with all its layers: TCP, perhaps through a proxy, then TLS, a WebSocket, TLS within a WebSocket or a
 * WebSocket within TLS. Rejects when one of them fails or the attempt is given up; all of it is destroyed then.
 */
export async function dialCarrier(plan: CarrierPlan, attempt: DialAttempt): Promise<ByteStream> {
  const socket = await dialServer(plan, attempt)
  try {
    return await addLayers(socket, plan)
  } catch (error) {
    socket.destroy()
    throw error
  }
}

async function addLayers(socket: Socket, { config, tls }: CarrierPlan): Promise<ByteStream> {
  const { protocol, tls: settings } = config.transport
  const mark = (stream: Duplex): void => {
    if (!settings.disableCustomTLSFirstByte) stream.write(tlsMarker)
  }
  switch (protocol) {
    case 'tcp': {
      if (!settings.enable) return socketStream(socket)
      mark(socket)
      return socketStream(await secureClientSide(socket, tls))
    }
    case 'websocket': {
      const stream = webSocketStream(await openWebSocket(socket, `ws://${formatEndpoint(serverOf(config))}`))
      if (!settings.enable) return stream
      const duplex = new StreamDuplex(stream)
      mark(duplex)
      return socketStream(await secureClientSide(duplex, tls))
    }
    case 'wss': {
      const secured = await secureClientSide(socket, tls)
      // As frpc has it: the name alone, which a balancer in front goes by.
      const host = isIP(tls.serverName) === 6 ? `[${tls.serverName}]` : tls.serverName
      return webSocketStream(await openWebSocket(secured, `wss://${host}`))
    }
    default:
      return protocol satisfies never
  }
}

function openWebSocket(socket: Socket, url: string): Promise<WebSocket> {
  const webSocket = new WebSocket(url + webSocketPath, {
    ...webSocketOptions,
    // frps refuses requests without one; this is what frpc says.
    origin: `http://${new URL(url).host}`,
    createConnection: () => socket,
  })
  return new Promise((resolve, reject) => {
    webSocket.on('error', reject)
    webSocket.once('open', () => resolve(webSocket))
    // The request takes the socket's end for its own affair.
    socket.once('close', () =>
      reject(new Error('the server ended the connection within the WebSocket handshake')),
    )
  })
}

/** TCP to the server, directly or through the proxy. */
async function dialServer(plan: CarrierPlan, attempt: DialAttempt): Promise<Socket> {
  const { config, proxy } = plan
  if (proxy === undefined) return dialTcp(serverOf(config), plan, attempt)
  const socket = await dialTcp(proxy, plan, attempt)
  try {
    switch (proxy.kind) {
      case 'http':
        await httpConnect(socket, serverOf(config), proxy)
        return socket
      case 'socks5':
        await socks5Connect(socket, serverOf(config), proxy)
        return socket
      case 'https': {
        const { proxyAuthorities: ca } = plan
        const context = createSecureContext({ minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) })
        const secured = await secureClientSide(socket, { context, isVerified: true, serverName: proxy.host })
        await httpConnect(secured, serverOf(config), proxy)
        return secured
      }
      default:
        return proxy.kind satisfies never
    }
  } catch (error) {
    socket.destroy()
    throw error
  }
}

function dialTcp(endpoint: Endpoint, { config, dial }: CarrierPlan, attempt: DialAttempt): Promise<Socket> {
  const { connectServerLocalIP: localAddress, dialServerKeepalive } = config.transport
  const options: TcpNetConnectOpts = {
    host: endpoint.host,
    port: endpoint.port,
    noDelay: true,
    allowHalfOpen: true,
    // Of several addresses the next is tried after this; Node's own quarter of a second is less than some round trips.
    autoSelectFamilyAttemptTimeout: 1000,
    ...(dialServerKeepalive > 0 && { keepAlive: true, keepAliveInitialDelay: dialServerKeepalive * 1000 }),
    ...(localAddress !== '' && { localAddress, family: isIP(localAddress) }),
    ...(config.dnsServer !== '' && { lookup: lookupBy(config.dnsServer) }),
  }
  return new Promise((resolve, reject) => {
    if (attempt.reason !== undefined) throw attempt.reason
    const socket = dial(options)
    attempt.begin(socket)
    // Stays, so that an error never lacks a listener; later ones show as `close`.
    socket.on('error', reject)
    socket.once('close', () => reject(new Error('the connection was closed')))
    socket.once('connect', () => resolve(socket))
  })
}

function serverOf({ serverAddr, serverPort }: CarrierPlan['config']): Endpoint {
  return { host: withoutBrackets(serverAddr), port: serverPort }
}
