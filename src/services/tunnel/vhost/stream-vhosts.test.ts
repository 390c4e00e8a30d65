import { createServer } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { HttpsVhost } from './https-vhost.ts'
import { TcpmuxVhost, type TcpmuxVhostOptions } from './tcpmux-vhost.ts'
import { pickerOf, RawUser, routeTo, Service, until } from './vhost.testkit.ts'

const listen = { host: '127.0.0.1', port: 0 }
const logger = silentLogger()

/** The reason for which a TLS handshake with a name fails at a backend without certificates, or before it. */
function handshake(port: number | undefined, servername?: string): Promise<string> {
  return new Promise((resolve) => {
    const options = { port: port ?? 0, host: '127.0.0.1', ...(servername !== undefined && { servername }) }
    connectTls(options).on('error', (error) => resolve(error.message))
  })
}

async function startHttps(clock?: ManualClock): Promise<HttpsVhost> {
  const vhost = new HttpsVhost({ listen, logger, ...(clock !== undefined && { clock }) })
  await vhost.start()
  return vhost
}

describe('HttpsVhost', () => {
  it('leads a connection by its name, its bytes untouched', async () => {
    await using named = await Service.of(
      createTlsServer().on('tlsClientError', () => undefined),
      'named',
    )
    await using other = await Service.start((socket) => socket.end('no TLS'))
    await using vhost = await startHttps()
    vhost.add(routeTo('*.example.com', pickerOf(named)), undefined)
    expect(await handshake(vhost.port, 'a.example.com')).toMatch(/handshake failure/)
    expect(await handshake(vhost.port, 'b.example.org')).toMatch(/unrecognized name/)
    expect(await handshake(vhost.port)).toMatch(/unrecognized name/)
    vhost.add(routeTo('*', pickerOf(other)), undefined)
    expect(await handshake(vhost.port)).toMatch(/wrong version number|packet length/)
    expect(named.addresses).toHaveLength(1)
    expect(named.addresses[0]).toMatchObject({ remoteAddress: '127.0.0.1', localPort: vhost.port })
    expect(vhost.counts).toMatchObject({ routed: 2, notFound: 2, routes: 2 })
  })

  it('cuts what is no TLS, and what says nothing for 30 s', async () => {
    const clock = new ManualClock()
    await using vhost = await startHttps(clock)
    using talker = await RawUser.say(vhost.port, 'GET / HTTP/1.1\r\n\r\n')
    await talker.ends()
    using silent = await RawUser.say(vhost.port, '\x16\x03\x01')
    await until(() => vhost.counts.connections === 1 && clock.pending === 1)
    clock.advance(29_999)
    expect(silent.isClosed).toBe(false)
    clock.advance(1)
    await silent.ends()
    expect(vhost.counts).toMatchObject({ malformed: 1, overdue: 1 })
  })

  it('cuts a connection when its group has no member', async () => {
    await using vhost = await startHttps()
    vhost.add(routeTo('a', pickerOf()), undefined)
    expect(await handshake(vhost.port, 'a')).toMatch(/socket disconnected|ECONNRESET/)
    expect(vhost.counts.noBackend).toBe(1)
  })

  it('takes connections that another port has accepted', async () => {
    await using vhost = new HttpsVhost({ logger })
    const server = createServer({ allowHalfOpen: true }, (socket) => vhost.adopt(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    try {
      expect(await handshake(port, 'a')).toMatch(/socket disconnected|ECONNRESET/)
      await vhost.start()
      expect(vhost.port).toBeUndefined()
      expect(await handshake(port, 'a')).toMatch(/unrecognized name/)
    } finally {
      server.close()
    }
  })
})

const echo = () => Service.start((socket, heard) => socket.write(`<${heard}>`))
const basic = (credentials: string): string =>
  `Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}\r\n`
const connect = (host: string, headers = ''): string =>
  `CONNECT ${host}:80 HTTP/1.1\r\nHost: other\r\n${headers}\r\n`

async function startTcpmux(options: Partial<TcpmuxVhostOptions> = {}): Promise<TcpmuxVhost> {
  const vhost = new TcpmuxVhost({ listen, logger, ...options })
  await vhost.start()
  return vhost
}

describe('TcpmuxVhost', () => {
  const open = { user: '', password: '' }

  it('leads a connection by its authority, and loses nothing behind the request', async () => {
    await using service = await echo()
    await using vhost = await startTcpmux()
    vhost.add(routeTo('a.example.com', pickerOf(service)), open)
    using user = await RawUser.say(vhost.port, `${connect('A.example.com')}right behind`)
    expect(await user.hears('>')).toBe('HTTP/1.1 200 OK\r\n\r\n<right behind>')
    user.socket.end()
    await until(() => service.sockets[0]?.readableEnded === true)
    service.sockets[0]?.end('bye')
    expect(await user.ends()).toMatch(/>bye$/)
    expect(service.addresses[0]).toMatchObject({ remoteAddress: '127.0.0.1', localPort: vhost.port })
  })

  it('reads a request that comes byte by byte, also with bare line feeds', async () => {
    await using service = await echo()
    await using vhost = await startTcpmux()
    vhost.add(routeTo('a', pickerOf(service)), open)
    using user = await RawUser.say(vhost.port, '')
    user.socket.setNoDelay()
    for (const byte of 'CONNECT a HTTP/1.0\nA: b\n\n') user.say(byte)
    user.say('x')
    await user.hears('<x>')
  })

  it('gives the request itself to the backend when it passes through', async () => {
    await using service = await echo()
    await using vhost = await startTcpmux({ passthrough: true })
    vhost.add(routeTo('a', pickerOf(service)), open)
    using user = await RawUser.say(vhost.port, `${connect('a')}behind`)
    expect(await user.hears('>')).toBe(`<${connect('a')}behind>`)
  })

  it('asks for the password before it says 200', async () => {
    await using service = await echo()
    await using vhost = await startTcpmux()
    vhost.add(routeTo('a', pickerOf(service)), { user: 'u', password: 'p' })
    for (const headers of ['', basic('u:wrong'), basic('v:p'), 'Authorization: Basic dTpw\r\n']) {
      using user = await RawUser.say(vhost.port, connect('a', headers))
      const heard = await user.ends()
      expect(heard).toMatch(/^HTTP\/1\.1 407 [^]*\r\nProxy-Authenticate: Basic realm="Restricted"\r\n/)
      expect(heard).not.toContain('200')
    }
    using user = await RawUser.say(vhost.port, `${connect('a', basic('u:p'))}x`)
    await user.hears('<x>')
    expect(vhost.counts).toMatchObject({ unauthorized: 4, routed: 1 })
  })

  it('leads by the user', async () => {
    await using bob = await echo()
    await using vhost = await startTcpmux()
    vhost.add(routeTo('a', pickerOf(bob), { httpUser: 'bob' }), open)
    using stranger = await RawUser.say(vhost.port, connect('a'))
    expect(await stranger.ends()).toMatch(/^HTTP\/1\.1 404 Not Found\r\n[^]*<title>Not Found<\/title>/)
    using user = await RawUser.say(vhost.port, `${connect('a', basic('bob:'))}x`)
    await user.hears('<x>')
  })

  it.each([
    ['another method', 'GET / HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 405 [^]*Allow: CONNECT\r\n/],
    ['what is no HTTP', '\x16\x03\x01\x00', /^HTTP\/1\.1 400 /],
    ['a header that is none', 'CONNECT a HTTP/1.1\r\nno header\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['no member', connect('empty'), /^HTTP\/1\.1 503 /],
  ])('refuses %s', async (_, text, answer) => {
    await using vhost = await startTcpmux()
    vhost.add(routeTo('empty', pickerOf()), open)
    using user = await RawUser.say(vhost.port, text)
    expect(await user.ends()).toMatch(answer)
  })

  it('cuts a head that is too long', async () => {
    await using vhost = await startTcpmux()
    using user = await RawUser.say(vhost.port, `CONNECT a HTTP/1.1\r\nA: ${'b'.repeat(20_000)}`)
    expect(await user.ends()).toBe('')
    expect(vhost.counts.malformed).toBe(1)
  })

  it('closes connections that backends serve behind its grace', async () => {
    await using service = await echo()
    const vhost = await startTcpmux()
    vhost.add(routeTo('a', pickerOf(service)), open)
    using user = await RawUser.say(vhost.port, `${connect('a')}x`)
    await user.hears('<x>')
    await vhost.close({ graceMs: 1 })
    await user.ends()
    await until(() => service.sockets[0]?.readableEnded === true || service.sockets[0]?.destroyed === true)
    expect(vhost.counts.connections).toBe(0)
  })
})
