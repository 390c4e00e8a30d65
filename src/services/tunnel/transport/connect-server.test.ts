import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { makeCertificate, type TestCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import { fakeHttpProxy, fakeSocksProxy } from './fake-proxies.testkit.ts'
import { loginLike, readToClose, roundTrip, soon, TunnelBench } from './tunnel-bench.testkit.ts'

let folder: string
let certificate: TestCertificate

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-transport-'))
  certificate = await makeCertificate(['tunnel.example.com', 'localhost'])
  await writeFile(file('cert.pem'), certificate.cert)
  await writeFile(file('key.pem'), certificate.key)
})

afterAll(async () => rm(folder, { recursive: true }))

function file(name: string): string {
  return join(folder, name)
}

/** A port that takes connections and says nothing. */
async function silentServer(): Promise<{ port: number; sockets: Socket[] } & AsyncDisposable> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    sockets.push(socket.resume())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

describe('connectServer through a proxy', () => {
  it.each(['', 'sir%3A:p%40ss@'])('by HTTP, with "%s" in the URL', async (credentials) => {
    await using bench = await TunnelBench.start()
    await using proxy = await fakeHttpProxy()
    const link = await bench.connect({ proxyURL: `http://${credentials}127.0.0.1:${proxy.port}` })
    await roundTrip(await link.open())
    const authorization = `Proxy-Authorization: Basic ${Buffer.from('sir::p@ss').toString('base64')}\r\n`
    expect(proxy.requests).toEqual([
      `CONNECT 127.0.0.1:${bench.port} HTTP/1.1\r\nHost: 127.0.0.1:${bench.port}\r\nUser-Agent: Mozilla/5.0\r\n` +
        `${credentials === '' ? '' : authorization}\r\n`,
    ])
  })

  it('by HTTP within TLS, whose certificate is verified', async () => {
    await using bench = await TunnelBench.start()
    await using proxy = await fakeHttpProxy({ tls: certificate })
    const proxyURL = `https://127.0.0.1:${proxy.port}`
    const proxyAuthorities = certificate.cert
    for (const protocol of ['tcp', 'websocket', 'wss'] as const) {
      const link = await bench.connect({ protocol, proxyURL, proxyAuthorities })
      await roundTrip(await link.open())
    }
    expect(proxy.requests).toHaveLength(3)
    await expect(bench.connect({ proxyURL })).rejects.toMatchObject({
      code: 'TUNNEL_UNREACHABLE',
      message: expect.stringContaining('certificate') as string,
    })
  })

  it.each([
    ['without a password', '', undefined],
    ['with one', 'me:secret@', 'me:secret'],
  ])('by SOCKS5 %s, for each connection without tcpMux', async (_which, credentials, password) => {
    await using bench = await TunnelBench.start()
    await using proxy = await fakeSocksProxy(password === undefined ? {} : { password })
    const link = await bench.connect({
      tcpMux: false,
      proxyURL: `socks5://${credentials}127.0.0.1:${proxy.port}`,
    })
    await roundTrip(await link.open())
    await roundTrip(await link.open())
    const each = [...(password === undefined ? [] : [password]), `127.0.0.1:${bench.port}`]
    expect(proxy.requests).toEqual([...each, ...each])
  })

  it('a SOCKS5 proxy looks names up itself', async () => {
    await using bench = await TunnelBench.start()
    await using proxy = await fakeSocksProxy()
    const link = await bench.connect({
      serverAddr: 'localhost',
      protocol: 'websocket',
      proxyURL: `socks5://127.0.0.1:${proxy.port}`,
    })
    await roundTrip(await link.open())
    expect(proxy.requests).toEqual([`localhost:${bench.port}`])
  })

  it('says what the proxy answered', async () => {
    await using bench = await TunnelBench.start()
    await using http = await fakeHttpProxy({ refusal: 'HTTP/1.1 407 Who are you?\r\n\r\n' })
    await using long = await fakeHttpProxy({ refusal: `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}` })
    await using mute = await fakeHttpProxy({ refusal: 'HTTP/1.1 200 OK\r\n' })
    await using socks = await fakeSocksProxy({ reply: 5 })
    await using strict = await fakeSocksProxy({ password: 'me:secret' })
    const refusals: [string, string][] = [
      [`http://127.0.0.1:${http.port}`, 'the proxy answered "HTTP/1.1 407 Who are you?"'],
      [`http://127.0.0.1:${long.port}`, 'the proxy sends too long a header'],
      [`http://127.0.0.1:${mute.port}`, 'the proxy ended the connection'],
      [`socks5://127.0.0.1:${socks.port}`, 'the proxy says that the connection was refused'],
      [`socks5://127.0.0.1:${strict.port}`, 'the proxy wants another kind of authentication'],
      [`socks5://me:wrong@127.0.0.1:${strict.port}`, 'the proxy refused user and password'],
    ]
    for (const [proxyURL, message] of refusals) {
      await expect(bench.connect({ proxyURL })).rejects.toMatchObject({ code: 'TUNNEL_UNREACHABLE', message })
    }
    expect(bench.listener.counts.connections).toBe(0)
  })

  it.each([
    ['ntlm://user:pass@proxy:8080', 'TUNNEL_UNSUPPORTED', 'NTLM'],
    ['ftp://proxy', 'TUNNEL_BAD_OPTION', 'begins with ftp://'],
    ['proxy', 'TUNNEL_BAD_OPTION', 'is no URL'],
    ['http://secret%zz:x@proxy', 'TUNNEL_BAD_OPTION', 'not an escape'],
  ])('refuses %s before it dials', async (proxyURL, code, message) => {
    await using bench = await TunnelBench.start()
    const refusal = expect(bench.connect({ proxyURL })).rejects
    await refusal.toMatchObject({ code, message: expect.stringContaining(message) as string })
    await refusal.not.toMatchObject({ message: expect.stringContaining('secret') as string })
  })
})

describe('connectServer', () => {
  it('asks the DNS server that it was told', async () => {
    await using bench = await TunnelBench.start()
    const dns = createSocket('udp4')
    const asked: string[] = []
    dns.on('message', (query, peer) => {
      const nameEnd = query.indexOf(0, 12)
      const kind = query.readUInt16BE(nameEnd + 1)
      asked.push(`${query.toString('latin1', 13, nameEnd).replaceAll(/[^a-z]/g, '.')} ${kind}`)
      const question = query.subarray(12, nameEnd + 5)
      const header = Buffer.from([0, 0, 0x81, 0x80, 0, 1, 0, kind === 1 ? 1 : 0, 0, 0, 0, 0])
      query.copy(header, 0, 0, 2)
      const address = Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 127, 0, 0, 1])
      dns.send(Buffer.concat([header, question, ...(kind === 1 ? [address] : [])]), peer.port, peer.address)
    })
    dns.bind(0, '127.0.0.1')
    await once(dns, 'listening')
    try {
      const dnsServer = `127.0.0.1:${dns.address().port}`
      const link = await bench.connect({ serverAddr: 'frps.example.org', dnsServer })
      await roundTrip(await link.open())
      expect(asked.toSorted()).toEqual(['frps.example.org 1', 'frps.example.org 28'])
    } finally {
      dns.close()
    }
    await expect(bench.connect({ dnsServer: 'nonsense' })).rejects.toMatchObject({
      code: 'TUNNEL_BAD_OPTION',
      message: expect.stringContaining('dnsServer nonsense') as string,
    })
  })

  it('reaches servers by IPv6, written with brackets or without', async ({ skip }) => {
    const bench = await TunnelBench.start({ host: '::1' }).catch(() => undefined)
    if (bench === undefined) skip('this machine has no IPv6')
    await using server = bench
    for (const serverAddr of ['::1', '[::1]']) {
      for (const protocol of ['tcp', 'websocket', 'wss'] as const) {
        const link = await server?.connect({ serverAddr, protocol })
        if (link !== undefined) await roundTrip(await link.open())
      }
    }
    expect(server?.accepted.map(({ peer }) => peer.remoteAddress)).toEqual(Array(6).fill('::1'))
  })

  it('leaves from the address that it was told', async () => {
    await using bench = await TunnelBench.start()
    for (const protocol of ['tcp', 'websocket'] as const) {
      const link = await bench.connect({ connectServerLocalIP: '127.0.0.2', protocol })
      await roundTrip(await link.open())
    }
    expect(bench.accepted.map(({ peer }) => peer.remoteAddress)).toEqual(['127.0.0.2', '127.0.0.2'])
  })

  it('says where nobody listens', async () => {
    const bench = await TunnelBench.start()
    const serverPort = bench.port
    await bench[Symbol.asyncDispose]()
    await expect(bench.connect({ serverPort })).rejects.toMatchObject({
      code: 'TUNNEL_UNREACHABLE',
      retryable: true,
      message: `cannot connect to 127.0.0.1:${serverPort}: connect ECONNREFUSED 127.0.0.1:${serverPort}`,
    })
    const link = await bench.connect({ serverPort, tcpMux: false })
    await expect(link.open()).rejects.toMatchObject({ code: 'TUNNEL_UNREACHABLE' })
  })

  it.each([
    ['TLS', {}],
    ['a WebSocket', { protocol: 'websocket' }],
    ['a WebSocket within TLS', { protocol: 'wss' }],
  ] as const)('gives %s up after `dialServerTimeout`', async (_what, options) => {
    await using server = await silentServer()
    await using bench = await TunnelBench.start()
    const clock = new ManualClock()
    const linking = bench.connect({ ...options, serverPort: server.port, dialServerTimeout: 3, clock })
    const refusal = expect(linking).rejects.toMatchObject({ code: 'TUNNEL_TIMEOUT', retryable: true })
    await soon(() => server.sockets.length).toBe(1)
    clock.advance(3000)
    await refusal
    await soon(() => server.sockets[0]?.destroyed).toBe(true)
    expect(clock.pending).toBe(0)
  })

  it('stops when its signal is aborted, also before it began', async () => {
    await using server = await silentServer()
    await using bench = await TunnelBench.start()
    const abort = new AbortController()
    const linking = bench.connect({ serverPort: server.port, signal: abort.signal })
    const refusal = expect(linking).rejects.toMatchObject({ code: 'TUNNEL_CLOSED' })
    await soon(() => server.sockets.length).toBe(1)
    abort.abort()
    await refusal
    await soon(() => server.sockets[0]?.destroyed).toBe(true)
    await expect(bench.connect({ signal: abort.signal })).rejects.toMatchObject({ code: 'TUNNEL_CLOSED' })
  })

  it('without tcpMux `close` stops what is being dialled and leaves what is open', async () => {
    await using bench = await TunnelBench.start()
    const link = await bench.connect({ tcpMux: false })
    const stream = await link.open()
    const dialling = link.open()
    link.close()
    await expect(dialling).rejects.toMatchObject({ code: 'TUNNEL_CLOSED' })
    await expect(link.open()).rejects.toMatchObject({ code: 'TUNNEL_CLOSED' })
    expect(await roundTrip(stream)).toEqual(loginLike)
    stream.destroy()
  })

  it('leaves no timer behind once it is connected', async () => {
    await using bench = await TunnelBench.start()
    const clock = new ManualClock()
    const link = await bench.connect({ tcpMux: false, clock })
    const stream = await link.open()
    expect(clock.pending).toBe(0)
    stream.destroy()
  })

  it('with tcpMux `close` ends all that was opened, and is told', async () => {
    await using bench = await TunnelBench.start()
    const link = await bench.connect()
    const stream = await link.open()
    await roundTrip(stream)
    const closed = new Promise<unknown>((resolve) => link.onClose(resolve))
    const streamClosed = new Promise<void>((resolve) =>
      stream.attach({
        onBytes: () => true,
        onEnd: () => undefined,
        onDrain: () => undefined,
        onClose: () => resolve(),
      }),
    )
    link.close()
    await Promise.all([closed, streamClosed])
    await expect(link.open()).rejects.toMatchObject({ code: 'TUNNEL_CLOSED' })
  })

  it('a server that is no frps is told apart by its answer', async () => {
    await using bench = await TunnelBench.start({
      onHttp: () => undefined,
      onHttps: (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    })
    await expect(bench.connect()).rejects.toMatchObject({
      code: 'TUNNEL_UNREACHABLE',
      message: expect.stringContaining('TLS handshake') as string,
    })
  })
})

describe('the certificate of the server', () => {
  it('is verified with `trustedCaFile`, by name', async () => {
    const tls = { certFile: file('cert.pem'), keyFile: file('key.pem') }
    await using bench = await TunnelBench.start({ tls })
    const trustedCaFile = file('cert.pem')
    for (const protocol of ['tcp', 'websocket', 'wss'] as const) {
      for (const serverName of ['tunnel.example.com', '', '127.0.0.1']) {
        const link = await bench.connect({ protocol, tls: { trustedCaFile, serverName } })
        await roundTrip(await link.open())
      }
      await expect(
        bench.connect({ protocol, tls: { trustedCaFile, serverName: 'other.example.com' } }),
      ).rejects.toMatchObject({
        code: 'TUNNEL_UNREACHABLE',
        message: expect.stringContaining('other.example.com') as string,
      })
    }
  })

  it('made by the server itself does not pass verification, and passes without', async () => {
    await using bench = await TunnelBench.start()
    await expect(bench.connect({ tls: { trustedCaFile: file('cert.pem') } })).rejects.toMatchObject({
      code: 'TUNNEL_UNREACHABLE',
    })
    const link = await bench.connect({ tls: { serverName: 'whatever.example.com' } })
    await roundTrip(await link.open())
  })

  it.each(['trustedCaFile', 'certFile', 'keyFile'] as const)('%s must be there', async (name) => {
    await using bench = await TunnelBench.start()
    await expect(bench.connect({ tls: { [name]: file('none.pem') } })).rejects.toMatchObject({
      code: 'TUNNEL_BAD_OPTION',
      message: expect.stringContaining(`transport.tls.${name} `) as string,
    })
    await writeFile(file('bad.pem'), '-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n')
    if (name === 'trustedCaFile') return
    await expect(bench.connect({ tls: { [name]: file('bad.pem') } })).rejects.toMatchObject({
      code: 'TUNNEL_BAD_OPTION',
    })
  })
})

describe('TLS at the server', () => {
  it('with `force` connections without it are closed, in a WebSocket as well', async () => {
    await using bench = await TunnelBench.start({ tls: { force: true } })
    for (const protocol of ['tcp', 'websocket'] as const) {
      const plain = await bench.connect({ protocol, tls: { enable: false } })
      const closed = new Promise<void>((resolve) => plain.onClose(() => resolve()))
      void plain.open().catch(() => undefined)
      await closed
    }
    expect(bench.accepted).toEqual([])
    expect(bench.listener.counts).toMatchObject({ withoutTls: 2 })
    for (const protocol of ['tcp', 'websocket', 'wss'] as const) {
      const link = await bench.connect({ protocol })
      await roundTrip(await link.open())
    }
  })

  it('with `trustedCaFile` clients must show a certificate of its authority', async () => {
    const stranger = await makeCertificate(['client'])
    await writeFile(file('stranger.pem'), stranger.cert)
    await writeFile(file('stranger-key.pem'), stranger.key)
    await using bench = await TunnelBench.start({ tls: { trustedCaFile: file('cert.pem') } })
    const good = { certFile: file('cert.pem'), keyFile: file('key.pem') }
    const wrong = { certFile: file('stranger.pem'), keyFile: file('stranger-key.pem') }
    for (const protocol of ['tcp', 'websocket', 'wss'] as const) {
      const link = await bench.connect({ protocol, tls: good })
      await roundTrip(await link.open())
      for (const tls of [{}, wrong, { enable: false, ...good }]) {
        if (protocol === 'wss' && 'enable' in tls) continue
        const link = bench.connect({ protocol, tls, tcpMux: false })
        await expect(link.then((each) => each.open()).then((stream) => roundTrip(stream))).rejects.toThrow()
      }
    }
    expect(bench.accepted).toHaveLength(3)
    await soon(() => bench.listener.counts.unauthenticated).toBe(0)
  })

  it('names the file of authorities that cannot be read', async () => {
    await expect(TunnelBench.start({ tls: { trustedCaFile: file('none.pem') } })).rejects.toMatchObject({
      code: 'TUNNEL_BAD_OPTION',
      message: expect.stringContaining('transport.tls.trustedCaFile') as string,
    })
  })

  it('follows its certificate files', async () => {
    const clock = new ManualClock()
    const [certFile, keyFile] = [file('changing.pem'), file('changing-key.pem')]
    const write = async ({ cert, key }: TestCertificate): Promise<void> => {
      await writeFile(certFile, cert)
      await writeFile(keyFile, key)
    }
    await write(certificate)
    await using bench = await TunnelBench.start({ clock, tls: { certFile, keyFile } })
    const before = await bench.connect({ tls: { trustedCaFile: file('cert.pem') } })
    await roundTrip(await before.open())

    const next = await makeCertificate(['localhost'])
    await writeFile(file('next.pem'), next.cert)
    await write(next)
    await soon(async () => {
      clock.advance(5000)
      const link = await bench.connect({ tls: { trustedCaFile: file('next.pem') } }).catch(() => undefined)
      return link !== undefined
    }).toBe(true)
    await expect(bench.connect({ tls: { trustedCaFile: file('cert.pem') } })).rejects.toThrow()
    await roundTrip(await before.open())
  })

  it('garbage after the handshake ends the connection', async () => {
    await using bench = await TunnelBench.start()
    let carrier: Socket | undefined
    const { dialTcp } = await import('../../../mechanisms/net/index.ts')
    const link = await bench.connect({
      dial: (options) => {
        carrier = dialTcp(options)
        return carrier
      },
    })
    await roundTrip(await link.open())
    const closed = new Promise<void>((resolve) => bench.accepted[0]?.session?.onClose(() => resolve()))
    carrier?.write(Buffer.alloc(100, 0x17))
    await closed
    await soon(() => bench.listener.counts.connections).toBe(0)
  })

  it('a peer that leaves within the handshake is counted', async () => {
    await using bench = await TunnelBench.start()
    const socket = await bench.dial()
    const closed = readToClose(socket)
    socket.end(Buffer.from('16030102000100010003030303030303', 'hex'))
    await closed
    await soon(() => bench.listener.counts).toMatchObject({ unintelligible: 1, connections: 0 })
  })
})
