import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeProxyHeader } from '../../protocols/proxy-protocol/index.ts'
import { makeCertificate, type TestCertificate } from './certificate.testkit.ts'
import { type DialOptions, dialTcp } from './dial.ts'
import { ListenerBench } from './listener.testkit.ts'
import { dialOptionsOf, originDial } from './origin-dial.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-dial-'))
const ca = join(folder, 'ca.pem')
let certificate: TestCertificate

beforeAll(async () => {
  certificate = await makeCertificate(['localhost', 'origin.test'])
  writeFileSync(ca, certificate.cert)
})
afterAll(() => rmSync(folder, { recursive: true }))

const header = encodeProxyHeader({
  version: 2,
  command: 'proxy',
  addresses: {
    source: { address: '192.0.2.1', port: 56_324 },
    destination: { address: '198.51.100.7', port: 1935 },
  },
})

/** Dials and gives the socket once it can be used; it is gone after the test. */
async function dialled(options: DialOptions): Promise<Socket & Disposable> {
  const socket = dialTcp(options)
  const dispose = (): void => void socket.destroy()
  await once(socket, options.tls === undefined ? 'connect' : 'secureConnect')
  return Object.assign(socket, { [Symbol.dispose]: dispose })
}

describe('dialling an origin', () => {
  it.each([
    ['http', 'a.example.com', undefined],
    ['rtmp', '192.0.2.1', undefined],
    ['https', 'a.example.com', { servername: 'a.example.com', ALPNProtocols: ['http/1.1'] }],
    ['rtmps', 'a.example.com', { servername: 'a.example.com' }],
    ['https', '192.0.2.1', { ALPNProtocols: ['http/1.1'] }],
    ['rtmps', '2001:db8::1', {}],
  ])('by %s at %s', (scheme, host, tls) => {
    expect(dialOptionsOf({ scheme, host, port: 1 })).toEqual({
      host,
      port: 1,
      ...(tls && { tls: { rejectUnauthorized: true, ...tls } }),
    })
  })

  it('verifies its certificate, by name and by address', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate, alpn: ['http/1.1'] } })
    const { port } = bench
    const trusting = originDial({ ca })
    using byName = await dialled(trusting({ scheme: 'https', host: 'localhost', port }))
    expect(byName instanceof TLSSocket && byName.authorized).toBe(true)
    using named = await dialled({
      host: '127.0.0.1',
      port,
      tls: { servername: '127.0.0.1', ca: certificate.cert },
    })
    expect(named instanceof TLSSocket && named.authorized).toBe(true)
    using byAddress = await dialled(trusting({ scheme: 'rtmps', host: '127.0.0.1', port }))
    expect(byAddress instanceof TLSSocket && byAddress.authorized).toBe(true)
    await expect
      .poll(() => bench.accepted.map(({ info }) => [info.servername, info.alpn]))
      .toEqual([
        ['localhost', 'http/1.1'],
        [undefined, undefined],
        [undefined, undefined],
      ])
  })

  it.each([
    ['of nobody we know', {}, 'localhost', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['of another name', { ca }, 'other.test', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ])('refuses a certificate %s', async (_, tls, servername, code) => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const options = originDial(tls)({ scheme: 'https', host: 'localhost', port: bench.port })
    const socket = dialTcp({ ...options, tls: { ...options.tls, servername } })
    const [error] = (await once(socket, 'error')) as [unknown]
    expect(error).toMatchObject({ code })
  })

  it.each([undefined, header])('tells by an error that nobody listens', async (proxyHeader) => {
    const bench = await ListenerBench.start({})
    const { port } = bench
    await bench[Symbol.asyncDispose]()
    for (const scheme of ['rtmp', 'rtmps']) {
      const options = originDial()({ scheme, host: '127.0.0.1', port })
      const socket = dialTcp({ ...options, ...(proxyHeader && { proxyHeader }) })
      const [error] = (await once(socket, 'error')) as [unknown]
      expect(error).toMatchObject({ code: 'ECONNREFUSED' })
    }
  })

  it('closes the connection beneath TLS when it is given up before it stands', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const options = originDial({ ca })({ scheme: 'rtmps', host: '127.0.0.1', port: bench.port })
    for (const proxyHeader of [undefined, header]) {
      const socket = dialTcp({ ...options, ...(proxyHeader && { proxyHeader }) })
      socket.destroy()
      await once(socket, 'close')
    }
    await expect.poll(() => bench.listener.connections).toBe(0)
  })

  it('takes any certificate when told so', async () => {
    await using bench = await ListenerBench.start({
      tls: { certificate: await makeCertificate(['x.test'], []) },
    })
    const options = originDial({ insecure: true })({ scheme: 'https', host: 'localhost', port: bench.port })
    using socket = await dialled(options)
    expect(socket.destroyed).toBe(false)
  })

  it('says which file of authorities it cannot use', () => {
    const empty = join(folder, 'empty.pem')
    writeFileSync(empty, 'x')
    for (const file of [empty, join(folder, 'gone.pem')]) {
      const expected = { code: 'NET_BAD_CERTIFICATE', message: expect.stringContaining(file) }
      expect(() => originDial({ ca: file })).toThrow(expect.objectContaining(expected))
    }
  })

  it.each(['plain', 'TLS'])('sends a PROXY protocol header ahead of everything: %s', async (how) => {
    await using bench = await ListenerBench.start({
      proxyProtocolFrom: ['127.0.0.1'],
      ...(how === 'TLS' && { tls: { certificate } }),
    })
    const scheme = how === 'TLS' ? 'rtmps' : 'rtmp'
    const socket = dialTcp({
      ...originDial({ ca })({ scheme, host: '127.0.0.1', port: bench.port }),
      proxyHeader: header,
    })
    socket.write('hello')
    await expect.poll(() => bench.accepted[0]?.received.toString()).toBe('hello')
    expect(bench.accepted[0]?.info).toMatchObject({ remoteAddress: '192.0.2.1', isProxied: true })
    const answer = once(socket, 'data')
    bench.accepted[0]?.socket.write('answer')
    expect(String((await answer)[0])).toBe('answer')
    socket.destroy()
  })

  it('gives bytes to `onread` over TLS that stay as they are, and none while paused', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const parts: Uint8Array[] = []
    let isPaused = false
    let givenWhilePaused = 0
    const socket = dialTcp({
      ...originDial({ ca })({ scheme: 'https', host: '127.0.0.1', port: bench.port }),
      onread: {
        buffer: Buffer.alloc(16),
        callback: (length, bytes) => {
          if (isPaused) givenWhilePaused++
          isPaused = true
          parts.push(bytes.subarray(0, length))
          setImmediate(() => {
            isPaused = false
            socket.resume()
          })
          return false
        },
      },
    })
    await expect.poll(() => bench.accepted.length).toBe(1)
    const sent = Buffer.alloc(500_000, '0123456789')
    const ended = once(socket, 'end')
    bench.accepted[0]?.socket.end(sent)
    await ended
    expect(Buffer.concat(parts).equals(sent)).toBe(true)
    expect(givenWhilePaused).toBe(0)
    expect(parts.length).toBeGreaterThan(1)
    socket.destroy()
  })
})
