import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { json } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import type { SeenRequest } from './local-services.ts'

/** Every wait of a probe, in milliseconds. */
const deadlineMs = 15_000

/** Sends random bytes through an echo service and ends when all of them have come back. */
export async function echoTcp(
  port: number,
  bytes: number,
  connection: Socket = connect(port, '127.0.0.1'),
): Promise<void> {
  const sent = randomBytes(bytes)
  const received = await exchange(connection, sent, { until: bytes })
  if (!received.equals(sent)) throw new Error(`${received.length} of ${bytes} bytes came back, or others`)
}

/** Sends bytes, ends this side, and gives what a service answers that waits for the end. */
export async function digestTcp(
  port: number,
  bytes: number,
  connection: Socket = connect(port, '127.0.0.1'),
): Promise<{ readonly answer: string; readonly right: string }> {
  const sent = randomBytes(bytes)
  const answer = await exchange(connection, sent, { ends: true })
  return { answer: answer.toString(), right: createHash('sha256').update(sent).digest('hex') }
}

/** Sends datagrams to an echo service, one after the other, each again until it comes back. */
export async function echoUdp(port: number, sizes: readonly number[]): Promise<void> {
  const socket = createSocket('udp4')
  try {
    for (const size of sizes) {
      const sent = randomBytes(size)
      await new Promise<void>((resolve, reject) => {
        // What a udp proxy is sent before its first work connection is lost, as datagrams are.
        const again = setInterval(() => socket.send(sent, port, '127.0.0.1'), 250)
        const timer = setTimeout(
          () => settle(new Error(`a datagram of ${size} bytes did not come back`)),
          deadlineMs,
        )
        const settle = (error?: Error): void => {
          clearInterval(again)
          clearTimeout(timer)
          socket.off('message', onMessage)
          if (error === undefined) resolve()
          else reject(error)
        }
        const onMessage = (message: Buffer): void => {
          if (message.equals(sent)) settle()
        }
        socket.on('message', onMessage)
        socket.send(sent, port, '127.0.0.1')
      })
    }
  } finally {
    socket.close()
  }
}

/** Asks an HTTP service by host and gives its status, and what it saw. */
export async function askHttp(
  port: number,
  host: string,
  options: { readonly path?: string; readonly headers?: Record<string, string>; readonly body?: Buffer } = {},
): Promise<{
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly seen: SeenRequest
}> {
  const asked = request({
    port,
    host: '127.0.0.1',
    path: options.path ?? '/',
    method: options.body === undefined ? 'GET' : 'POST',
    headers: { host, ...options.headers },
    agent: false,
    timeout: deadlineMs,
  })
  asked.end(options.body)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const status = response.statusCode ?? 0
  const isJson = response.headers['content-type'] === 'application/json'
  const seen = (isJson ? await json(response) : response.resume()) as SeenRequest
  return { status, headers: response.headers, seen }
}

/** The path that an HTTPS service was asked for, through a port that is shared by name. */
export async function askHttps(port: number, servername: string): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', servername, rejectUnauthorized: false })
  const answer = await exchange(
    socket,
    Buffer.from(`GET /secure HTTP/1.1\r\nhost: ${servername}\r\nconnection: close\r\n\r\n`),
    {},
  )
  return answer.toString()
}

/** A connection through a CONNECT proxy, once that has agreed. */
export async function connectThrough(port: number, host: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.write(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  let head = ''
  while (!head.includes('\r\n\r\n')) {
    const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(deadlineMs) })) as [Buffer]
    head += chunk.toString('latin1')
  }
  socket.pause()
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(head)
  return socket
}

interface ExchangeOptions {
  /** Ends the connection when so many bytes have come. @defaultValue the peer ends it */
  readonly until?: number
  /** Ends this side after what is sent. */
  readonly ends?: boolean
}

function exchange(socket: Socket, sent: Buffer, { until, ends = false }: ExchangeOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let received = 0
    const timer = setTimeout(
      () => socket.destroy(new Error(`${received} bytes came within ${deadlineMs} ms`)),
      deadlineMs,
    )
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      received += chunk.length
      if (until !== undefined && received >= until) socket.end()
    })
    socket.on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks))
    })
    if (ends) socket.end(sent)
    else socket.write(sent)
    // It may have been paused by who spoke on it before.
    socket.resume()
  })
}
