import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import { SluiceError } from '../../../../foundation/errors.ts'
import type { Access, AccessRequest, Admission, BandwidthLimit } from '../../access/index.ts'
import { LIVE } from './flv.testkit.ts'
import { FakeBalancer, FakeOrigin, Gateway, get, RawClient, until } from '../http.testkit.ts'

/** Lets in, or throws, and counts what becomes of it. */
class FakeAccess implements Access {
  readonly requests: AccessRequest[] = []
  readonly over = new AbortController()
  limits: readonly BandwidthLimit[] = []
  refusal: Error | undefined
  /** Nobody may play it. */
  secret: string | undefined
  ended = 0

  async admit(request: AccessRequest): Promise<Admission> {
    this.requests.push(request)
    if (this.refusal !== undefined) throw this.refusal
    if (request.key === this.secret) throw refusal('ACCESS_DENIED', 403)
    return { limits: this.limits, signal: this.over.signal, end: () => void this.ended++ }
  }
}

const live = (socket: Socket): void => void socket.write(`${LIVE}\r\nFLV`)

function refusal(code: string, status: number): SluiceError {
  return new SluiceError(code, 'no', { side: 'client', retryable: false, status })
}

describe('LiveProxy asks who may play', () => {
  it('a segment of HLS for each stream that it may be of, and cuts nobody off that a stream is open to', async () => {
    const head =
      'HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: 3\r\nConnection: close\r\n\r\nseg'
    await using origin = await FakeOrigin.start((socket) => void socket.end(head))
    const access = new FakeAccess()
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { access })
    await using viewer = await RawClient.send(
      gateway.port,
      get('/live/secret-33.ts', 'Connection: close\r\n'),
    )
    await viewer.closed()
    expect(viewer.body).toBe('seg')
    expect(access.requests.map(({ key }) => key)).toEqual([
      '__defaultVhost__/live/secret-33',
      '__defaultVhost__/live/secret',
    ])
    expect(access.ended).toBe(2)

    access.secret = '__defaultVhost__/live/secret'
    await using other = await RawClient.send(gateway.port, get('/live/secret-33.ts', 'Connection: close\r\n'))
    await other.closed()
    expect(other.head).toContain('403 Forbidden')
    expect(access.ended).toBe(3)
    expect(balancer).toMatchObject({ holds: 0 })
  })

  it('with all that speaks for the viewer, and tells once when it has left', async () => {
    await using origin = await FakeOrigin.start(live)
    const access = new FakeAccess()
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), {
      access,
      clientOf: () => ({ address: '192.0.2.9', isSecure: true, headers: [] }),
    })
    const headers = 'Authorization: Bearer abc.def\r\nReferer: https://page.example/\r\n'
    await using viewer = await RawClient.send(gateway.port, get('/a/b/s.flv?key=k&x=y', headers))
    await until(() => viewer.body === 'FLV')
    const [request] = access.requests
    expect(request).toMatchObject({
      protocol: 'http',
      role: 'play',
      key: '__defaultVhost__/a/b/s',
      address: '192.0.2.9',
      query: 'key=k&x=y',
      bearer: 'abc.def',
      tcUrl: 'https://play.example.com:8080/a/b',
      pageUrl: 'https://page.example/',
    })
    const [session] = gateway.live.listSessions()
    expect(session).toMatchObject({ id: request?.sessionId, address: '192.0.2.9' })
    expect(origin.requests[0]).toContain('Authorization: Bearer abc.def')
    expect(access.ended).toBe(0)

    viewer.socket.end()
    await until(() => access.ended > 0 && gateway.live.listSessions().length === 0)
    expect(access.ended).toBe(1)
    expect(request?.signal?.aborted).toBe(false)
  })

  it.each([
    ['ACCESS_CREDENTIALS_MISSING', 401],
    ['ACCESS_CREDENTIALS_WRONG', 403],
    ['ACCESS_TOO_MANY', 429],
    ['ACCESS_HOOK_AWAY', 503],
  ])('and answers %s with %i, before an origin is picked', async (code, status) => {
    const access = new FakeAccess()
    access.refusal = refusal(code, status)
    const balancer = new FakeBalancer([])
    await using gateway = await Gateway.start(balancer, { access })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))
    await viewer.closed()
    expect(viewer.head).toContain(`HTTP/1.1 ${status} `)
    expect(viewer.head).toContain('Access-Control-Allow-Origin: *')
    expect(/^WWW-Authenticate: Bearer\r$/m.test(`${viewer.head}\r`)).toBe(status === 401)
    expect(JSON.parse(viewer.body)).toMatchObject({ code })
    expect(balancer.keys).toEqual([])
  })

  it.each([
    [
      'an origin refuses',
      (socket: Socket) => void socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx'),
    ],
    ['an origin has no body', (socket: Socket) => void socket.end('HTTP/1.1 204 No Content\r\n\r\n')],
    ['the body ends', (socket: Socket) => void socket.end(`${LIVE}Content-Length: 3\r\n\r\nFLV`)],
    ['the body is empty', (socket: Socket) => void socket.end(`${LIVE}Content-Length: 0\r\n\r\n`)],
    ['no origin answers', (socket: Socket) => void socket.destroy()],
  ])('and tells once that it is over when %s', async (_, answer) => {
    await using origin = await FakeOrigin.start(answer)
    const access = new FakeAccess()
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { access })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))
    await viewer.closed()
    await until(() => access.ended > 0)
    expect(access.ended).toBe(1)
    expect(balancer.holds).toBe(0)
  })

  it('and tells that it is over when the viewer leaves before an origin answered', async () => {
    await using origin = await FakeOrigin.start(() => {})
    const access = new FakeAccess()
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), { access })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => origin.requests.length === 1)
    viewer.socket.destroy()
    await until(() => access.ended === 1 && origin.sockets.size === 0)
    expect(access.requests[0]?.signal?.aborted).toBe(true)
  })

  it('and ends the body when access ends', async () => {
    await using origin = await FakeOrigin.start(live)
    const access = new FakeAccess()
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), { access })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => viewer.body === 'FLV')
    access.over.abort(refusal('ACCESS_TOKEN_EXPIRED', 403))
    await viewer.closed()
    await until(() => origin.sockets.size === 0)
    expect(access.ended).toBe(1)
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_ACCESS_ENDED')).toBe(1)
  })

  it('and says why when access ends before an origin answered', async () => {
    await using origin = await FakeOrigin.start(() => {})
    const access = new FakeAccess()
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), { access })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))
    await until(() => origin.requests.length === 1)
    access.over.abort(refusal('ACCESS_CREDENTIALS_WRONG', 403))
    await viewer.closed()
    expect(viewer.head).toContain('HTTP/1.1 403 ')
    expect(access.ended).toBe(1)
  })
})

describe('LiveProxy within a bandwidth', () => {
  it('reads no more from the origin until the budget allows', async () => {
    const clock = new ManualClock()
    const charged: number[] = []
    const access = new FakeAccess()
    const limit = (waitMs: number): BandwidthLimit => ({
      id: 'app live',
      bytesPerSecond: 1000,
      burstBytes: 1000,
      charge: (bytes) => {
        charged.push(bytes)
        return waitMs
      },
    })
    access.limits = [limit(0), limit(700)]
    await using origin = await FakeOrigin.start((socket) => {
      socket.write(`${LIVE}\r\n`)
      socket.write(Buffer.alloc(1_000_000, 'x'))
    })
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), { access, clock })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    const sum = (): number => charged.reduce((all, bytes) => all + bytes, 0) / 2
    for (let reads = 1; reads <= 4; reads++) {
      await until(() => charged.length === 2 * reads && viewer.body.length === sum())
      // The budget's timer, beside the one that looks after all viewers.
      expect(clock.pending).toBe(2)
      clock.advance(699)
      expect(charged.length).toBe(2 * reads)
      clock.advance(1)
    }
    expect(sum()).toBeLessThan(300_000)
    viewer.socket.destroy()
    await until(() => gateway.live.listSessions().length === 0)
    expect(clock.pending).toBe(0)
  })
})
