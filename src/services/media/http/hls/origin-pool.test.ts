import { once } from 'node:events'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { type Clock, ManualClock, systemClock } from '../../../../foundation/clock.ts'
import { makeCertificate } from '../../../../mechanisms/net/certificate.testkit.ts'
import { type Dial, dialOptionsOf, dialTcp } from '../../../../mechanisms/net/index.ts'
import { gatherBody } from './gather-body.ts'
import { FakeOrigin, until } from '../http.testkit.ts'
import type { OriginAnswer } from './origin-connection.ts'
import { OriginPool } from './origin-pool.ts'
import type { OriginUrl } from '../origin-url.ts'

const LARGE = 'x'.repeat(2_000_000)

describe('OriginPool', () => {
  it('speaks TLS, and keeps those connections as well', async () => {
    const certificate = await makeCertificate()
    const server = createSecureServer(certificate, (request, response) => {
      response.setHeader('Content-Length', LARGE.length).end(request.method === 'HEAD' ? '' : LARGE)
    })
    let handshakes = 0
    server.on('secureConnection', () => handshakes++)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const dial: Dial = (options) =>
      dialTcp(
        options.tls === undefined ? options : { ...options, tls: { ...options.tls, ca: certificate.cert } },
      )
    const pool = newPool({ dial })
    try {
      for (let count = 0; count < 3; count++) {
        const answer = await ask(pool, urlAt(portOf(server.address()), 'https'))
        expect(await textOf(answer)).toBe(LARGE)
      }
      expect([handshakes, pool.size]).toEqual([1, 1])
      await expect(ask(newPool(), urlAt(portOf(server.address()), 'https'))).rejects.toMatchObject({
        code: 'HTTP_ORIGIN_UNREACHABLE',
      })
    } finally {
      pool.close()
      server.closeAllConnections()
      server.close()
    }
  })

  it('gives up on a connection, and on an answer, in time', async () => {
    const clock = new ManualClock()
    await using silent = await FakeOrigin.start(() => {})
    const pool = newPool({ clock })
    const asked = ask(pool, urlAt(silent.port))
    await until(() => silent.requests.length === 1)
    clock.advance(20_000)
    await expect(asked).rejects.toMatchObject({ code: 'HTTP_ORIGIN_SILENT', status: 504 })
    const dial: Dial = () => dialTcp({ host: '127.0.0.1', port: silent.port, lookup: () => {}, tls: {} })
    const hanging = ask(newPool({ clock, dial }), urlAt(silent.port, 'https'))
    clock.advance(10_000)
    await expect(hanging).rejects.toMatchObject({ code: 'HTTP_ORIGIN_UNREACHABLE', status: 502 })
    expect([pool.size, clock.pending]).toEqual([0, 0])
  })

  it('reads no more than its reader takes, and does not give the connection away before', async () => {
    await using origin = await FakeOrigin.start((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE.length}\r\n\r\n${LARGE}`)
    })
    const pool = newPool()
    const answer = await ask(pool, urlAt(origin.port))
    const events: string[] = []
    const body = { left: LARGE.length }
    answer.deliver({
      bytes(bytes) {
        body.left -= bytes.length
        events.push('bytes')
        return false
      },
      ended: (error) => events.push(error === undefined ? 'end' : 'error'),
    })
    while (body.left > 0) {
      const seen = events.length
      expect(events).not.toContain('end')
      answer.resume()
      await until(() => events.length > seen)
    }
    expect(events.at(-1)).toBe('bytes')
    const other = ask(pool, urlAt(origin.port))
    await until(() => origin.requests.length === 2)
    expect(origin.accepted).toBe(2)
    answer.resume()
    expect(events.at(-1)).toBe('end')
    // What was said of an answer that is over does nothing to the next one on its connection.
    const third = await ask(pool, urlAt(origin.port))
    answer.destroy()
    answer.resume()
    expect(await textOf(third)).toBe(LARGE)
    ;(await other).destroy()
    expect(origin.accepted).toBe(2)
    pool.close()
    expect(pool.size).toBe(0)
  })

  it('keeps so many connections at rest, and none that was promised to end', async () => {
    const clock = new ManualClock()
    await using origin = await FakeOrigin.start((socket, head) => {
      const keep = head.includes('/short') ? 'Keep-Alive: timeout=2\r\n' : ''
      socket.write(`HTTP/1.1 200 OK\r\n${keep}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`)
    })
    const pool = newPool({ clock, maxIdlePerOrigin: 2 })
    const answers = await Promise.all(Array.from({ length: 4 }, () => ask(pool, urlAt(origin.port))))
    for (const answer of answers) expect(await textOf(answer)).toBe('ok')
    expect(pool.size).toBe(2)
    expect(await textOf(await ask(pool, { ...urlAt(origin.port), pathAndQuery: '/short' }))).toBe('ok')
    expect(origin.accepted).toBe(4)
    clock.advance(1500)
    expect(pool.size).toBe(1)
    pool.close()
  })
})

describe('gatherBody', () => {
  it('refuses what is too large, breaks off or does not come', async () => {
    const clock = new ManualClock()
    const bodies = [
      'Content-Length: 9\r\n\r\n123456789',
      'Content-Length: 9\r\n\r\n123',
      'Content-Length: 9\r\n\r\n',
    ]
    await using origin = await FakeOrigin.start((socket) => {
      const body = bodies.shift() ?? ''
      socket.write(`HTTP/1.1 200 OK\r\n${body}`)
      if (body.endsWith('123')) socket.end()
    })
    const pool = newPool({ clock })
    const codes: unknown[] = []
    for (let count = 0; count < 3; count++) {
      const gathered = gather(await ask(pool, urlAt(origin.port)), clock).catch((error: unknown) => error)
      if (count === 2) clock.advance(3000)
      codes.push(await gathered)
    }
    expect(codes).toMatchObject([
      { code: 'HTTP_ORIGIN_BAD_RESPONSE' },
      { code: 'HTTP_ORIGIN_BROKE' },
      { code: 'HTTP_ORIGIN_IDLE', status: 504 },
    ])
    expect([pool.size, clock.pending]).toEqual([0, 0])
  })
})

function newPool(options: Partial<ConstructorParameters<typeof OriginPool>[0]> = {}): OriginPool {
  return new OriginPool({
    dial: dialTcp,
    dialOptionsOf,
    clock: systemClock,
    connectTimeoutMs: 10_000,
    idleMs: 60_000,
    maxIdlePerOrigin: 10,
    ...options,
  })
}

function urlAt(port: number, scheme: 'http' | 'https' = 'http'): OriginUrl {
  return { scheme, host: '127.0.0.1', port, pathAndQuery: '/a', isAsAsked: true }
}

function ask(pool: OriginPool, url: OriginUrl): Promise<OriginAnswer> {
  const request = Buffer.from(`GET ${url.pathAndQuery} HTTP/1.1\r\nHost: a\r\n\r\n`)
  const { signal } = new AbortController()
  return pool.ask(url, { method: 'GET', request, headTimeoutMs: 20_000, signal })
}

function gather(answer: OriginAnswer, clock: Clock): Promise<Buffer> {
  return gatherBody(answer, { maxBytes: 8, timeoutMs: 3000, clock, signal: new AbortController().signal })
}

async function textOf(answer: OriginAnswer): Promise<string> {
  const { signal } = new AbortController()
  const body = await gatherBody(answer, { maxBytes: 1e9, timeoutMs: 60_000, clock: systemClock, signal })
  return body.toString()
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === 'object' && address !== null ? address.port : 0
}
