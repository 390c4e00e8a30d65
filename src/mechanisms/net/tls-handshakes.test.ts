import { once } from 'node:events'
import { connect } from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { makeCertificate, type TestCertificate } from './certificate.testkit.ts'
import { closed, ListenerBench } from './listener.testkit.ts'
import { readToEnd } from './sockets.testkit.ts'

const noFaults = { badProxyHeaders: 0, failedHandshakes: 0, overdue: 0, displaced: 0 }
let certificate: TestCertificate
let other: TestCertificate

beforeAll(async () => {
  certificate = await makeCertificate()
  other = await makeCertificate(['localhost', 'other.test'])
})

describe('TcpListener with TLS', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('speaks %s with clients that trust it', async (version) => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const client = await bench.dialTls({ ca: certificate.cert, minVersion: version, maxVersion: version })
    client.write('hello')
    await expect.poll(() => bench.accepted[0]?.received.toString()).toBe('hello')
    expect(client.getProtocol()).toBe(version)
    expect(bench.accepted[0]?.info).toEqual({
      remoteAddress: '127.0.0.1',
      remotePort: client.localPort,
      localAddress: '127.0.0.1',
      localPort: bench.port,
      isProxied: false,
      servername: 'localhost',
    })
    expect(bench.listener.counts).toEqual(noFaults)
    expect(bench.listener.unfinished).toBe(0)
  })

  it('refuses older versions, and counts it', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const
    await expect(bench.dialTls({ ca: certificate.cert, ...old })).rejects.toMatchObject({
      code: expect.stringContaining('PROTOCOL_VERSION'),
    })
    await expect.poll(() => bench.listener.counts).toEqual({ ...noFaults, failedHandshakes: 1 })
    expect(bench.listener.connections).toBe(0)
  })

  it.each([
    ['one of ours', ['stun.turn'], 'stun.turn'],
    ['several: our dearest', ['http/1.1', 'x', 'stun.turn'], 'stun.turn'],
    ['none of ours', ['x', 'y'], undefined],
    ['nothing', undefined, undefined],
  ])('serves a client that offers %s by ALPN', async (_, offered, agreed) => {
    await using bench = await ListenerBench.start({ tls: { certificate, alpn: ['stun.turn', 'http/1.1'] } })
    await bench.dialTls({ ca: certificate.cert, ...(offered && { ALPNProtocols: offered }) })
    await expect.poll(() => bench.accepted.length).toBe(1)
    expect(bench.accepted[0]?.info.alpn).toBe(agreed)
  })

  it('serves any ALPN when it has none of its own', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const client = await bench.dialTls({ ca: certificate.cert, ALPNProtocols: ['x'] })
    expect(client.alpnProtocol).toBe(false)
  })

  it('reads the header of a balancer that comes in one segment with the handshake', async () => {
    await using bench = await ListenerBench.start({
      tls: { certificate, alpn: ['stun.turn'] },
      proxyProtocolFrom: ['127.0.0.1'],
    })
    const raw = await bench.dial()
    raw.pause()
    raw.cork()
    raw.write('PROXY TCP6 2001:db8::1 2001:db8::2 56324 5349\r\n')
    const client = connect({
      socket: raw,
      ca: certificate.cert,
      servername: 'localhost',
      ALPNProtocols: ['stun.turn'],
    })
    process.nextTick(() => raw.uncork())
    await once(client, 'secureConnect')
    client.write('hello')
    await expect.poll(() => bench.accepted[0]?.received.toString()).toBe('hello')
    const { info, socket } = bench.accepted[0] ?? {}
    expect(info).toEqual({
      remoteAddress: '2001:db8::1',
      remotePort: 56_324,
      localAddress: '2001:db8::2',
      localPort: 5349,
      isProxied: true,
      alpn: 'stun.turn',
      servername: 'localhost',
    })
    expect(socket?.remoteAddress).toBe('2001:db8::1')
  })

  it('counts what is no handshake, and what breaks off, and serves on', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const garbage = await bench.dial()
    garbage.write('GET / HTTP/1.1\r\n\r\n')
    await closed(garbage)
    const breaking = await bench.dial()
    breaking.end(Buffer.from('160301', 'hex'))
    await expect.poll(() => bench.listener.counts.failedHandshakes).toBe(2)
    expect(bench.listener.counts).toEqual({ ...noFaults, failedHandshakes: 2 })
    await expect.poll(() => bench.listener.connections).toBe(0)
    await bench.dialTls({ ca: certificate.cert })
    await expect.poll(() => bench.accepted.length).toBe(1)
  })

  it('takes it for no failure when a client only connects and leaves', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const client = await bench.dial()
    client.end()
    await closed(client)
    await expect.poll(() => bench.listener.connections).toBe(0)
    expect(bench.listener.counts).toEqual(noFaults)
    expect(bench.listener.unfinished).toBe(0)
  })

  it('cuts a handshake that is late', async () => {
    const clock = new ManualClock()
    await using bench = await ListenerBench.start({ tls: { certificate }, clock })
    const client = await bench.dial()
    client.write(Buffer.from('160301', 'hex'))
    await expect.poll(() => bench.listener.unfinished).toBe(1)
    clock.advance(9999)
    expect(bench.listener.unfinished).toBe(1)
    clock.advance(1)
    await closed(client)
    expect(bench.listener.counts).toEqual({ ...noFaults, overdue: 1 })
    await bench.dialTls({ ca: certificate.cert })
    await expect.poll(() => clock.pending).toBe(0)
  })

  it('a flood of handshakes that never end does not keep out a client that ends its own', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate }, maxUnfinished: 4 })
    for (let i = 0; i < 10; i++) await bench.dial()
    await bench.dialTls({ ca: certificate.cert })
    await expect.poll(() => bench.accepted.length).toBe(1)
    expect(bench.listener.counts).toMatchObject({ displaced: 7, overdue: 0 })
  })

  it('each side can end its own direction and go on in the other', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const client = await bench.dialTls({ ca: certificate.cert })
    client.allowHalfOpen = true
    await expect.poll(() => bench.accepted.length).toBe(1)
    const { socket } = bench.accepted[0] ?? {}
    if (socket === undefined) throw new Error('nothing accepted')
    const all = readToEnd(client)
    const ended = once(socket, 'end')
    client.end()
    await ended
    socket.end('still here')
    expect((await all).toString()).toBe('still here')
    await expect.poll(() => bench.listener.connections).toBe(0)
  })

  it('close cuts connections and handshakes', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const client = await bench.dialTls({ ca: certificate.cert })
    const shaking = await bench.dial()
    await expect.poll(() => bench.listener.connections).toBe(2)
    const cut = Promise.all([closed(client), closed(shaking)])
    await bench.listener.close()
    await cut
    expect(bench.listener.connections).toBe(0)
  })
})

describe('setCertificate', () => {
  it('holds for new connections, and old ones go on', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const old = await bench.dialTls({ ca: certificate.cert })
    await expect.poll(() => bench.accepted.length).toBe(1)

    bench.listener.setCertificate(other)
    const young = await bench.dialTls({ ca: other.cert })
    expect(young.getPeerCertificate().subjectaltname).toContain('other.test')
    await expect(bench.dialTls({ ca: certificate.cert })).rejects.toThrow()
    old.write('still here')
    await expect.poll(() => bench.accepted[0]?.received.toString()).toBe('still here')
  })

  it('a client that resumes a session of the certificate before is served', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    const client = connect({
      port: bench.port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: certificate.cert,
    })
    const [session]: Buffer[] = await once(client, 'session')
    client.destroy()
    bench.listener.setCertificate(other)
    const again = await bench.dialTls({ ca: other.cert, ...(session && { session }) })
    expect(again.isSessionReused()).toBe(false)
  })

  it.each([
    [
      'a text that is no certificate',
      () => ({ cert: 'x', key: other.key }),
      'the certificate cannot be read',
    ],
    ['no certificate at all', () => ({ cert: '', key: other.key }), 'the certificate cannot be read'],
    ['a text that is no key', () => ({ cert: other.cert, key: 'x' }), 'the key cannot be read'],
    ['the key of another', () => ({ cert: other.cert, key: certificate.key }), 'another one than that of'],
    [
      'a broken chain',
      () => ({ cert: `${other.cert}\n${other.cert.slice(0, 100)}`, key: other.key }),
      'certificate and key cannot be used',
    ],
  ])('refuses %s, says so and keeps the one before', async (_, bad, text) => {
    await using bench = await ListenerBench.start({ tls: { certificate } })
    expect(() => bench.listener.setCertificate(bad())).toThrow(
      expect.objectContaining({ code: 'NET_BAD_CERTIFICATE', message: expect.stringContaining(text) }),
    )
    await bench.dialTls({ ca: certificate.cert })
  })

  it('is a misuse on a listener without TLS', async () => {
    await using bench = await ListenerBench.start({})
    expect(() => bench.listener.setCertificate(certificate)).toThrow(TypeError)
  })
})
