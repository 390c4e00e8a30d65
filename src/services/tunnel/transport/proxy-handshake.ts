import { isIPv4, isIPv6, type Socket } from 'node:net'
import { ipToBytes } from '../../../foundation/ip-text.ts'
import { TunnelError } from '../errors.ts'
import { type Endpoint, formatEndpoint } from './endpoint.ts'
import type { ProxyServer } from './proxy-url.ts'

/** Longest answer of an HTTP proxy that is read. */
const maxHeaderBytes = 16_384

/** Asks an HTTP proxy for a connection to the target. @throws TunnelError TUNNEL_UNREACHABLE with the proxy's answer */
export async function httpConnect(
  socket: Socket,
  target: Endpoint,
  { credentials }: ProxyServer,
): Promise<void> {
  const authority = formatEndpoint(target)
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, 'User-Agent: Mozilla/5.0']
  if (credentials !== undefined) {
    const { user, password } = credentials
    lines.push(`Proxy-Authorization: Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`)
  }
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  const header = await readHeader(socket)
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(header)?.[1]
  // Go's clients take 200 alone; RFC 9110 §9.3.6 has any 2xx.
  if (status?.startsWith('2') !== true) throw refused(`answered "${header.split('\r\n', 1)[0] ?? ''}"`)
}

/** Asks a SOCKS5 proxy for a connection to the target, which it looks up itself (RFC 1928, RFC 1929). @throws TunnelError TUNNEL_UNREACHABLE */
export async function socks5Connect(
  socket: Socket,
  target: Endpoint,
  { credentials }: ProxyServer,
): Promise<void> {
  socket.write(Buffer.from(credentials !== undefined ? [5, 2, noAuth, userPassword] : [5, 1, noAuth]))
  const [version, method] = await readExactly(socket, 2)
  if (version !== 5) throw refused('does not speak SOCKS5')
  if (method === userPassword && credentials !== undefined) await sendPassword(socket, credentials)
  else if (method !== noAuth) throw refused('wants another kind of authentication')

  const port = Buffer.alloc(2)
  port.writeUInt16BE(target.port)
  socket.write(Buffer.concat([Buffer.from([5, 1, 0]), socksAddress(target.host), port]))
  const [, reply = 1, , kind] = await readExactly(socket, 4)
  if (reply !== 0) throw refused(socksReplies[reply] ?? `answered ${reply}`)
  const addressBytes = kind === 1 ? 4 : kind === 4 ? 16 : ((await readExactly(socket, 1))[0] ?? 0)
  await readExactly(socket, addressBytes + 2)
}

const noAuth = 0
const userPassword = 2

/** RFC 1928 §6 */
const socksReplies: readonly (string | undefined)[] = [
  undefined,
  'has failed',
  'does not allow the connection',
  'says that the network is unreachable',
  'says that the host is unreachable',
  'says that the connection was refused',
  'says that the time to live has run out',
  'does not know the command',
  'does not know the kind of address',
]

async function sendPassword(
  socket: Socket,
  { user, password }: NonNullable<ProxyServer['credentials']>,
): Promise<void> {
  socket.write(Buffer.concat([Buffer.from([1]), shortText(user, 'user'), shortText(password, 'password')]))
  const [, status] = await readExactly(socket, 2)
  if (status !== 0) throw refused('refused user and password')
}

function socksAddress(host: string): Buffer {
  const address = isIPv4(host) || isIPv6(host) ? ipToBytes(host) : undefined
  if (address === undefined) return Buffer.concat([Buffer.from([3]), shortText(host, 'server')])
  return Buffer.concat([Buffer.from([address.length === 4 ? 1 : 4]), address])
}

/** With its length in front. */
function shortText(text: string, what: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length > 255) {
    throw new TunnelError('TUNNEL_BAD_OPTION', `the name of the ${what} is too long for a SOCKS5 proxy`, {
      side: 'self',
    })
  }
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

function refused(what: string): TunnelError {
  return new TunnelError('TUNNEL_UNREACHABLE', `the proxy ${what}`, { side: 'origin', retryable: true })
}

/** Through the empty line; what comes behind stays in the socket. */
async function readHeader(socket: Socket): Promise<string> {
  let held = Buffer.alloc(0)
  while (held.length < maxHeaderBytes) {
    held = Buffer.concat([held, await readSome(socket)])
    const end = held.indexOf('\r\n\r\n')
    if (end < 0) continue
    putBack(socket, held.subarray(end + 4))
    return held.toString('latin1', 0, end)
  }
  throw refused('sends too long a header')
}

async function readExactly(socket: Socket, count: number): Promise<Buffer> {
  let held = Buffer.alloc(0)
  while (held.length < count) held = Buffer.concat([held, await readSome(socket)])
  putBack(socket, held.subarray(count))
  return held.subarray(0, count)
}

function putBack(socket: Socket, bytes: Buffer): void {
  if (bytes.length > 0) socket.unshift(bytes)
}

/** What has arrived, when something has. */
function readSome(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      socket.off('readable', onReadable)
      socket.off('end', onEnd)
      socket.off('close', onEnd)
    }
    const onReadable = (): void => {
      const bytes: unknown = socket.read()
      if (!(bytes instanceof Buffer)) return
      stop()
      resolve(bytes)
    }
    const onEnd = (): void => {
      stop()
      reject(refused('ended the connection'))
    }
    socket.on('readable', onReadable)
    socket.on('end', onEnd)
    socket.on('close', onEnd)
    if (socket.destroyed) onEnd()
    else onReadable()
  })
}
