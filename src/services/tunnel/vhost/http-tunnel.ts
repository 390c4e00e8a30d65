import type { Duplex } from 'node:stream'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Backend, BackendPicker } from '../server/backend.ts'
import { type FailureStatus, statusOfConnectError } from './exchange.ts'
import type { TunnelRequest } from './http1-front.ts'
import { headerPairs, type RawHeaders } from './raw-headers.ts'
import type { UserConnection } from './user-connection.ts'

/**
 * Connects the backend of a CONNECT request, and gives it the request as it came: whoever answers it is there. A number is
 * the status of the failure.
 */
export async function openTunnel(
  { authority, headers, httpVersion }: TunnelRequest,
  backends: BackendPicker,
  user: UserConnection,
): Promise<ByteStream | FailureStatus> {
  try {
    const connected = await connectNext(backends, user)
    if (connected === undefined) return 503
    const lines = headerPairs(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const head = `CONNECT ${authority} HTTP/${httpVersion}\r\n${lines.join('')}\r\n`
    connected.stream.write(Buffer.from(head, 'latin1'))
    return connected.stream
  } catch (error) {
    return statusOfConnectError(error)
  }
}

/** A connection to a backend, and the backend that it is to. */
interface Connected {
  readonly backend: Backend
  readonly stream: ByteStream
}

/**
 * Connects to the next member, and to the one after it when that fails.
 * @throws what `Backend.connect` throws; undefined: no member is there
 */
async function connectNext(backends: BackendPicker, user: UserConnection): Promise<Connected | undefined> {
  const backend = backends.next()
  if (backend === undefined) return undefined
  try {
    return { backend, stream: await backend.connect(user.address) }
  } catch (error) {
    const next = backends.next()
    if (next === undefined || next === backend) throw error
    return { backend: next, stream: await next.connect(user.address) }
  }
}

/** Answers a request whose connection is raw by now, and ends the connection. */
export function replyRaw(
  socket: Duplex,
  status: string,
  headers: RawHeaders = [],
  body: Uint8Array = EMPTY,
): void {
  const lines = headerPairs(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = `HTTP/1.1 ${status}\r\n${lines.join('')}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`
  socket.resume()
  socket.end(Buffer.concat([Buffer.from(head), body]), () => socket.destroy())
}

const EMPTY = new Uint8Array(0)
