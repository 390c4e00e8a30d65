import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { makeCertificate, type TestCertificate } from '../../../../mechanisms/net/certificate.testkit.ts'
import { type Dial, dialTcp } from '../../../../mechanisms/net/index.ts'
import { CHUNKED, chunk, LIVE, unchunked } from './flv.testkit.ts'
import { FakeBalancer, FakeOrigin, Gateway, get, RawClient, until } from '../http.testkit.ts'

const ending = (text: string) => (socket: Socket) => void socket.end(text, 'latin1')
const good = ending(`${LIVE}\r\nFLV`)
const moved = (location: string, status = '302 Found') =>
  ending(`HTTP/1.1 ${status}\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`)

describe('LiveProxy finds the origin', () => {
  it.each(['flv', 'ts', 'aac', 'mp3'])('that offers .%s', async (extension) => {
    await using origin = await FakeOrigin.start(ending(`${LIVE}Content-Length: 3\r\n\r\nFLV`))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer)
    await using viewer = await RawClient.send(gateway.port, get(`/live/s.${extension}`))
    await viewer.closed()
    expect(viewer.body).toBe('FLV')
    expect(balancer).toMatchObject({ needs: [extension], keys: ['__defaultVhost__/live/s'] })
  })

  it.each([
    '/api/v1/clients/s.flv',
    '/live/s.m3u8',
    '/live/s.tsx',
    '/live/sts',
    '/live.ts/s',
    '/live/s.flv/',
  ])('and leaves %s to others', async (path) => {
    await using gateway = await Gateway.start(new FakeBalancer([]))
    expect(gateway.live.matches(path)).toBe(false)
  })

  it.each([
    ['/out/{app}/{stream}.flv', '/out/live/s%20a.flv?token=t&&x=%2F'],
    ['/get?name={app}/{stream}', '/get?name=live/s%20a&token=t&&x=%2F'],
  ])('at %s, with what the client says beside it', async (template, asked) => {
    await using origin = await FakeOrigin.start(good)
    const flv = `http://127.0.0.1:${origin.port}${template}`
    await using gateway = await Gateway.start(new FakeBalancer([{ urls: { flv } }]))
    await using viewer = await RawClient.send(gateway.port, get('/live/s%20a.flv?token=t&&x=%2F'))
    await viewer.closed()
    expect(viewer.body).toBe('FLV')
    expect(origin.requests[0]).toMatch(/^GET (.*) HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\n/)
    expect(origin.requests[0]?.split(' ')[1]).toBe(asked)
  })

  it('whose query names the stream, which the client cannot name again', async () => {
    await using origin = await FakeOrigin.start(good)
    const flv = `http://127.0.0.1:${origin.port}/get?app={app}&name={stream}`
    await using gateway = await Gateway.start(new FakeBalancer([{ urls: { flv } }]))
    const asked = '/live/s.flv?name=secret&t=1&%6eame=secret&app=x'
    await using viewer = await RawClient.send(gateway.port, get(asked))
    await viewer.closed()
    expect(origin.requests[0]?.split(' ')[1]).toBe('/get?app=live&name=s&t=1')
  })
})

describe('LiveProxy and an origin behind TLS', () => {
  let certificate: TestCertificate
  beforeAll(async () => {
    certificate = await makeCertificate()
  })

  async function secureOrigin(answer: (socket: Socket) => void) {
    const server = createTlsServer({ key: certificate.key, cert: certificate.cert }, (socket) => {
      socket.on('error', () => {})
      socket.once('data', () => answer(socket))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return {
      urls: { flv: `https://localhost:${port}/{app}/{stream}.flv` },
      async [Symbol.asyncDispose]() {
        server.close()
        await once(server, 'close')
      },
    }
  }

  const trusting: Dial = ({ tls, ...options }) =>
    dialTcp({ ...options, host: '127.0.0.1', tls: { ...tls, ca: certificate.cert } })

  it('passes its body on, byte for byte, to a viewer who is slow', async () => {
    const body = Buffer.alloc(4_000_000, 'a media stream that repeats; ')
    await using origin = await secureOrigin((socket) => {
      socket.write(CHUNKED)
      for (let at = 0; at < body.length; at += 50_000) socket.write(chunk(body.subarray(at, at + 50_000)))
      socket.end('0\r\n\r\n')
    })
    await using gateway = await Gateway.start(new FakeBalancer([origin]), { dial: trusting })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    viewer.socket.pause()
    await until(() => (gateway.live.listSessions()[0]?.bytesOut ?? 0) > 100_000)
    viewer.socket.resume()
    await viewer.closed(50_000)
    expect(unchunked(viewer.body).equals(body)).toBe(true)
  })

  it('goes on to the next one when its certificate is not trusted', async () => {
    await using origin = await secureOrigin(good)
    await using next = await FakeOrigin.start(good)
    const balancer = new FakeBalancer([origin, next.port])
    const dial: Dial = (options) => dialTcp({ ...options, host: '127.0.0.1' })
    await using gateway = await Gateway.start(balancer, { dial })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await viewer.closed()
    expect(viewer.body).toBe('FLV')
    expect(balancer).toMatchObject({ failed: ['o0'], kept: ['o1'] })
  })
})

describe('LiveProxy and an origin that redirects', () => {
  it.each(['301 Moved', '302 Found', '307 Temporary', '308 Permanent'])(
    'by %s to another origin, follows',
    async (status) => {
      await using other = await FakeOrigin.start(good)
      await using origin = await FakeOrigin.start(moved(`http://127.0.0.1:${other.port}/x/y.flv?a=b`, status))
      const balancer = new FakeBalancer([origin.port, other.port])
      await using gateway = await Gateway.start(balancer, { origins: balancer })
      await using viewer = await RawClient.send(gateway.port, get('/live/s.flv?token=t', 'X-A: b\r\n'))
      await viewer.closed()
      expect(viewer.head).toContain('200 OK')
      expect(viewer.body).toBe('FLV')
      expect(other.requests[0]).toMatch(
        /^GET \/x\/y\.flv\?a=b HTTP\/1\.1\r\nHost: play\.example\.com:8080\r\nX-A: b\r\n/,
      )
      expect(balancer).toMatchObject({ kept: ['o0'], holds: 0 })
    },
  )

  it('to a place that is no origin, does not go there and does not tell of it', async () => {
    await using other = await FakeOrigin.start(good)
    await using origin = await FakeOrigin.start(moved(`http://127.0.0.1:${other.port}/x.flv`))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { origins: balancer })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await viewer.closed()
    expect(viewer.head).toContain('302 Found')
    expect(viewer.text).not.toContain(String(other.port))
    expect(other.accepted).toBe(0)
  })

  it('within itself: an SRS origin sends the client there, any other is followed', async () => {
    const answer = (socket: Socket, head: string): void => {
      if (head.includes('/real')) good(socket)
      else moved('/real/s.flv')(socket)
    }
    await using origin = await FakeOrigin.start(answer)
    const srs = new FakeBalancer([origin.port])
    await using before = await Gateway.start(srs, { origins: srs })
    await using sent = await RawClient.send(before.port, get('/live/s.flv'))
    await sent.closed()
    expect(sent.head).toContain('Location: /real/s.flv')

    const other = new FakeBalancer([{ urls: { flv: `http://127.0.0.1:${origin.port}/{stream}` } }])
    await using beside = await Gateway.start(other, { origins: other })
    await using led = await RawClient.send(beside.port, get('/live/s.flv'))
    await led.closed()
    expect(led.body).toBe('FLV')
  })

  it('in a circle, goes on to the next one', async () => {
    const ports: number[] = []
    await using one = await FakeOrigin.start((socket) => moved(`http://127.0.0.1:${ports[1]}/`)(socket))
    await using two = await FakeOrigin.start((socket) => moved(`http://127.0.0.1:${ports[0]}/`)(socket))
    await using origin = await FakeOrigin.start(good)
    ports.push(one.port, two.port)
    const all = new FakeBalancer([one.port, two.port])
    const balancer = new FakeBalancer([one.port, origin.port])
    await using gateway = await Gateway.start(balancer, { origins: all })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await viewer.closed()
    expect(viewer.body).toBe('FLV')
    expect(one.accepted + two.accepted).toBe(4)
    expect(balancer).toMatchObject({ failed: [], released: ['o0'], kept: ['o1'] })
  })

  it('to an origin that is away, does not blame the one that did', async () => {
    const gone = await FakeOrigin.start(good)
    const { port } = gone
    await gone[Symbol.asyncDispose]()
    await using origin = await FakeOrigin.start(moved(`http://127.0.0.1:${port}/`))
    const all = new FakeBalancer([port])
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { origins: all })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', 'Connection: close\r\n'))
    await viewer.closed()
    expect(viewer.head).toContain('502 Bad Gateway')
    expect(viewer.text).not.toContain(String(port))
    expect(balancer).toMatchObject({ failed: [], released: ['o0'] })
  })
})
