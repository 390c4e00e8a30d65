import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'

/** What came back over a socket that the server closed, or that was silent after `content-length` bytes. */
export interface RawReply {
  readonly status: number
  readonly head: string
  readonly body: string
  readonly json: unknown
}

/**
 * Sends bytes as they are and reads until the server closes: give `Connection: close`, expect to be cut, or let `end`
 * close this side.
 */
export function sendRaw(
  to: AddressInfo | undefined,
  bytes: string | Buffer,
  { end = false }: { readonly end?: boolean } = {},
): Promise<RawReply> {
  if (to === undefined) throw new Error('not listening')
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect(to.port, to.address)
    socket.setTimeout(10_000, () => socket.destroy(new Error('silent')))
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', (error) => (chunks.length > 0 ? resolve(parse(chunks)) : reject(error)))
    socket.on('close', () => resolve(parse(chunks)))
    if (end) socket.end(bytes)
    else socket.write(bytes)
  })
}

/** Asks for a path and reads the whole reply. */
export function ask(
  to: AddressInfo | undefined,
  method: string,
  path: string,
  { headers = {}, body = '' }: { readonly headers?: Record<string, string>; readonly body?: string } = {},
): Promise<RawReply> {
  const lines = Object.entries({ Host: 'localhost', Connection: 'close', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  const length = body === '' ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`
  return sendRaw(to, `${method} ${path} HTTP/1.1\r\n${lines.join('')}${length}\r\n${body}`)
}

function parse(chunks: readonly Buffer[]): RawReply {
  const text = Buffer.concat(chunks).toString()
  const end = text.indexOf('\r\n\r\n')
  const head = end < 0 ? text : text.slice(0, end)
  const body = end < 0 ? '' : text.slice(end + 4)
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch {
    json = undefined
  }
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]), head, body, json }
}
