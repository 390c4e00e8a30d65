import { describe, expect, it } from 'vitest'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ManualClock } from '../../../foundation/clock.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { HttpVhost, type HttpVhostOptions } from './http-vhost.ts'
import { get, noRules, ok, pickerOf, RawUser, routeTo, Service, until } from './vhost.testkit.ts'

const loopback = { host: '127.0.0.1', port: 0 }

async function startVhost(options: Partial<HttpVhostOptions> = {}): Promise<HttpVhost> {
  const vhost = new HttpVhost({ listen: loopback, logger: silentLogger(), ...options })
  await vhost.start()
  return vhost
}

/** Answers every request that has ended its head. */
const answering = (answer: string) =>
  Service.start((socket, heard) => {
    if (heard.endsWith('\r\n\r\n')) socket.write(answer)
  })

const basic = (credentials: string): string => `Basic ${Buffer.from(credentials).toString('base64')}`

describe('HttpVhost tells the backend', () => {
  it('the request as it came, and who asks', async () => {
    await using service = await answering(ok('hi'))
    await using vhost = await startVhost()
    vhost.add(routeTo('a.example.com', pickerOf(service)), noRules)
    using user = await RawUser.say(
      vhost.port,
      get(
        '/x%20y?q=1&&b',
        'A.example.com:80',
        'X-forwarded-FOR: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n' +
          'X-Forwarded-Host: evil\r\nForwarded: for=1\r\nX-Real-IP: 3.3.3.3\r\nConnection: X-A, keep-alive\r\n' +
          'X-A: 1\r\nTE: trailers, gzip\r\nKeep-Alive: 3\r\nProxy-Authorization: Basic eDp5\r\n' +
          'Cookie: a=1\r\nCookie: b=2\r\nUser-Agent: p\xe9\r\n',
      ),
    )

    expect(await user.hears('hi')).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(service.heard[0]?.split('\r\n')).toEqual([
      'GET /x%20y?q=1&&b HTTP/1.1',
      'Host: A.example.com:80',
      'X-Real-IP: 3.3.3.3',
      'Cookie: a=1',
      'Cookie: b=2',
      'User-Agent: p\xe9',
      'TE: trailers',
      'X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1',
      'X-Forwarded-Host: A.example.com:80',
      'X-Forwarded-Proto: http',
      'Connection: keep-alive',
      '',
      '',
    ])
    expect(service.addresses).toEqual([{ remoteAddress: '127.0.0.1', remotePort: user.socket.localPort }])
  })

  it('what the rules say', async () => {
    await using service = await answering(
      ok('hi', 'foo: old\r\nFoo: older\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n'),
    )
    await using vhost = await startVhost()
    vhost.add(routeTo('a.example.com', pickerOf(service)), {
      ...noRules,
      hostHeaderRewrite: 'inner.local',
      requestHeaders: {
        'x-from': 'fr\u00fch',
        Host: 'no',
        'X-Forwarded-For': '9.9.9.9',
        'Content-Length': '7',
      },
      responseHeaders: { foo: 'bar' },
    })
    using user = await RawUser.say(vhost.port, get('/', 'a.example.com', 'X-From: me\r\n'))

    const heard = await user.hears('\r\n\r\nhi')
    expect(heard).toContain('\r\nfoo: bar\r\n')
    expect(heard).not.toMatch(/old|x-hop/i)
    const request = service.heard[0] ?? ''
    expect(request).toContain('Host: inner.local\r\n')
    expect(request).toContain('X-Forwarded-For: 9.9.9.9\r\n')
    expect(request).toContain('X-Forwarded-Host: a.example.com\r\n')
    expect(request).toContain(`x-from: ${Buffer.from('fr\u00fch').toString('latin1')}\r\n`)
    expect(request).not.toMatch(/from: me|content-length|: no\r/i)
  })

  it('the absolute form of a request to a proxy, whose host counts', async () => {
    await using service = await answering(ok('hi'))
    await using vhost = await startVhost()
    vhost.add(routeTo('a.example.com', pickerOf(service)), { ...noRules, hostHeaderRewrite: 'inner.local' })
    using user = await RawUser.say(vhost.port, get('http://me@a.example.com:81?q', 'other.example.com'))

    await user.hears('hi')
    expect(service.heard[0]).toMatch(/^GET http:\/\/inner\.local\/\?q HTTP\/1\.1\r\nHost: inner\.local\r\n/)
    expect(service.heard[0]).toContain('X-Forwarded-Host: a.example.com:81\r\n')
  })

  it('that an empty POST is empty', async () => {
    await using service = await answering(ok('hi'))
    await using vhost = await startVhost()
    vhost.add(routeTo('*', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, 'POST / HTTP/1.0\r\n\r\n')

    expect(await user.ends()).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*hi$/)
    expect(service.heard[0]).toContain('Content-Length: 0\r\n')
  })

  it('refuses rules that cannot be headers', () => {
    const vhost = new HttpVhost({ logger: silentLogger() })
    const route = routeTo('a', pickerOf())
    const code = expect.objectContaining({ code: 'TUNNEL_BAD_PROXY' })
    expect(() => vhost.add(route, { ...noRules, requestHeaders: { 'a b': 'c' } })).toThrow(code)
    expect(() => vhost.add(route, { ...noRules, responseHeaders: { a: 'b\r\nc: d' } })).toThrow(code)
    expect(() => vhost.add(route, { ...noRules, hostHeaderRewrite: 'a\nb' })).toThrow(code)
    expect(vhost.counts.routes).toBe(0)
  })
})

describe('HttpVhost answers', () => {
  it('404 where no route is, with a page of our own or the operator\u2019s as it is now', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vhost-'))
    try {
      const page = join(folder, '404.html')
      await using vhost = await startVhost({ custom404Page: page })
      using user = await RawUser.say(vhost.port, get('/', 'none.example.com'))
      expect(await user.hears('</html>')).toMatch(
        /^HTTP\/1\.1 404 Not Found\r\n[^]*<title>Not Found<\/title>/,
      )
      await writeFile(page, 'mine')
      user.say(get('/', 'none.example.com'))
      await user.hears('\r\n\r\nmine')
      await writeFile(page, 'mine, changed')
      user.say(get('/', 'none.example.com'))
      await user.hears('mine, changed')
      user.say('HEAD / HTTP/1.1\r\nHost: none\r\nConnection: close\r\n\r\n')
      expect(await user.ends()).toMatch(/Content-Length: 13\r\n[^]*\r\n\r\n$/)
      expect(vhost.counts).toMatchObject({ notFound: 4, answers: { '4xx': 4 } })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('401 and 407 unless the password is right', async () => {
    await using service = await answering(ok('hi'))
    await using vhost = await startVhost()
    vhost.add(routeTo('a.example.com', pickerOf(service)), { ...noRules, user: 'u', password: 'p:w' })
    using user = await RawUser.say(vhost.port, get('/', 'a.example.com'))
    expect(await user.hears(/\n$/)).toMatch(
      /^HTTP\/1\.1 401 Unauthorized\r\n[^]*WWW-Authenticate: Basic realm="Restricted"\r\n/,
    )
    user.say(get('/', 'a.example.com', `Authorization: ${basic('u:p')}\r\n`))
    await user.hears(/401 [^]*401 /)
    user.say(get('http://a.example.com/', 'a.example.com', `Authorization: ${basic('u:p:w')}\r\n`))
    expect(await user.hears('407 ')).toContain('Proxy-Authenticate: Basic realm="Restricted"\r\n')
    expect(vhost.counts.unauthorized).toBe(3)
    user.say(get('/', 'a.example.com', `Authorization: ${basic('u:p:w')}\r\n`))
    await user.hears('\r\n\r\nhi')
    user.say(get('http://a.example.com/', 'a.example.com', `Proxy-Authorization: ${basic('u:p:w')}\r\n`))
    await user.hears(/hi[^]*hi/)
    expect(service.heard[0]).not.toContain('Proxy-Auth')
  })

  it('by the route of the user', async () => {
    await using bob = await answering(ok('for bob'))
    await using all = await answering(ok('for all'))
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(bob), { httpUser: 'bob' }), noRules)
    vhost.add(routeTo('a', pickerOf(all)), noRules)
    using user = await RawUser.say(vhost.port, get('/', 'a', `Authorization: ${basic('bob:')}\r\n`))
    await user.hears('for bob')
    user.say(get('/', 'a', `Authorization: ${basic('eve:')}\r\n`))
    await user.hears('for all')
  })

  it.each([
    ['closes at once', (end: (text: string) => void) => end('')],
    ['says what is no HTTP', (end: (text: string) => void) => end('BLAH')],
    ['breaks off in its head', (end: (text: string) => void) => end('HTTP/1.1 200 OK\r\nA: ')],
    [
      'switches protocols unasked',
      (end: (text: string) => void) => end('HTTP/1.1 101 X\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n'),
    ],
  ])('502 for a backend that %s', async (_, act) => {
    await using service = await Service.start((socket) => act((text) => socket.end(text)))
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/', 'a'))
    expect(await user.hears('Bad Gateway\n')).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/)
    expect(vhost.counts).toMatchObject({ badGateway: 1, answers: { '5xx': 1 } })
  })

  it('502 when no connection can be had, and 503 when no member is there', async () => {
    await using service = await answering(ok('hi'))
    service.isDown = true
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    vhost.add(routeTo('b', pickerOf()), noRules)
    using user = await RawUser.say(vhost.port, get('/', 'a'))
    await user.hears('HTTP/1.1 502 ')
    user.say(get('/', 'b'))
    await user.hears('HTTP/1.1 503 ')
    expect(vhost.counts).toMatchObject({ badGateway: 1, unavailable: 1, notFound: 0 })
  })

  it('from the next member when one cannot be connected, with the body', async () => {
    await using down = await answering('')
    down.isDown = true
    await using service = await Service.start((socket, heard) => {
      if (heard.endsWith('body')) socket.write(ok('got it'))
    })
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(down, service)), noRules)
    using user = await RawUser.say(vhost.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody')
    await user.hears('got it')
  })

  it('504 when the backend takes too long, and lets go of it', async () => {
    await using service = await answering('')
    const clock = new ManualClock()
    await using vhost = await startVhost({ clock, responseHeaderTimeoutMs: 5000 })
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/', 'a'))
    await until(() => service.heard[0]?.endsWith('\r\n\r\n') === true)
    clock.advance(4999)
    expect(user.heard).toBe('')
    clock.advance(1)
    await user.hears('HTTP/1.1 504 Gateway Timeout')
    await until(() => service.sockets[0]?.readableEnded === true)
    expect(vhost.counts.gatewayTimeout).toBe(1)
  })

  it.each([
    ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', '400'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', '400'],
    [
      'a length beside a coding',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      '400',
    ],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody',
      '400',
    ],
    [
      'another coding',
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
      '501',
    ],
    ['a folded header', 'GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n', '400'],
    ['a blank before the colon', 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nbody', '400'],
    ['a target that is none', 'GET a HTTP/1.1\r\nHost: a\r\n\r\n', '400'],
    ['no HTTP', '\x00\x01\x02\x03\x04', '400'],
    ['a head too large', `GET / HTTP/1.1\r\nHost: a\r\nA: ${'b'.repeat(70_000)}\r\n\r\n`, '431'],
  ])('refuses %s', async (_, text, status) => {
    await using service = await answering(ok('hi'))
    await using vhost = await startVhost()
    vhost.add(routeTo('*', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, text)
    expect(await user.ends()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(service.heard.join('')).toBe('')
  })

  it('408 when a head takes too long, and nothing to who says nothing', async () => {
    await using vhost = await startVhost({ headerTimeoutMs: 50 })
    using silent = await RawUser.say(vhost.port, '')
    using slow = await RawUser.say(vhost.port, 'GET / HTTP/1.1\r\n')
    expect(await silent.ends()).toBe('')
    expect(await slow.ends()).toMatch(/^HTTP\/1\.1 408 /)
  })
})

describe('HttpVhost keeps connections to backends', () => {
  it('for the user they were made for, and for nobody else', async () => {
    await using service = await answering(ok('hi'))
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using one = await RawUser.say(vhost.port, get('/1', 'a'))
    await one.hears('hi')
    using two = await RawUser.say(vhost.port, get('/2', 'a'))
    await two.hears('hi')
    one.say(get('/3', 'a'))
    await one.hears(/hi[^]*hi/)
    expect(service.heard.map((heard) => heard.match(/\/\d(?= )/g))).toEqual([['/1', '/3'], ['/2']])
    expect(service.addresses.map(({ remotePort }) => remotePort)).toEqual([
      one.socket.localPort,
      two.socket.localPort,
    ])
    one.socket.destroy()
    await until(() => service.sockets[0]?.readableEnded === true)
    expect(service.sockets[1]?.readableEnded).toBe(false)
  })

  it('as long as the user\u2019s last, but not longer than a minute', async () => {
    await using service = await answering(ok('hi'))
    const clock = new ManualClock()
    await using vhost = await startVhost({ clock })
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/1', 'a'))
    await user.hears('hi')
    await until(() => clock.dueInMs === 60_000)
    clock.advance(60_000)
    await until(() => service.sockets[0]?.readableEnded === true)
    user.say(get('/2', 'a'))
    await user.hears(/hi[^]*hi/)
    expect(service.sockets).toHaveLength(2)
  })

  it('and asks anew when one has ended in the meantime', async () => {
    await using service = await Service.start((socket, heard) => {
      // What comes second on a connection finds it ended.
      if (/one[^]*two/.test(heard)) socket.resetAndDestroy()
      else socket.write(ok('hi'))
    })
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/one', 'a'))
    await user.hears('hi')
    user.say(get('/two', 'a'))
    await user.hears(/hi[^]*hi/)
    expect(service.sockets).toHaveLength(2)
    expect(vhost.counts.badGateway).toBe(0)
  })

  it('but not a request with a body, of which it is not known whether it arrived', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.includes('POST')) socket.resetAndDestroy()
      else socket.write(ok('hi'))
    })
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/one', 'a'))
    await user.hears('hi')
    user.say('POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody')
    await user.hears('HTTP/1.1 502 ')
    expect(service.sockets).toHaveLength(1)
  })

  it('and drops one that says more than it was asked for', async () => {
    await using service = await Service.start((socket, heard) => {
      socket.write(ok(heard.includes('/one') ? 'first' : 'second'))
    })
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/one', 'a'))
    await user.hears('first')
    service.sockets[0]?.write(ok('stray'))
    await until(() => service.sockets[0]?.readableEnded === true)
    user.say(get('/two', 'a'))
    expect(await user.hears('second')).not.toContain('stray')
  })
})

describe('HttpVhost closes', () => {
  it('behind the request under way, and at once without one', async () => {
    await using service = await answering('')
    await using vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using busy = await RawUser.say(vhost.port, get('/', 'a'))
    using idle = await RawUser.say(vhost.port, get('/', 'none'))
    await idle.hears('404')
    await until(() => service.heard[0]?.endsWith('\r\n\r\n') === true)
    const closed = vhost.close({ graceMs: 60_000 })
    await idle.ends()
    service.sockets[0]?.write(ok('bye'))
    expect(await busy.ends()).toMatch(/bye$/)
    await closed
    expect(vhost.port).toBeUndefined()
    await vhost.start()
    using again = await RawUser.say(vhost.port, get('/', 'none'))
    await again.hears('404')
  })

  it('and cuts what takes longer than its grace', async () => {
    await using service = await answering('')
    const vhost = await startVhost()
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using busy = await RawUser.say(vhost.port, get('/', 'a'))
    await until(() => service.heard[0]?.endsWith('\r\n\r\n') === true)
    await vhost.close({ graceMs: 1 })
    expect(await busy.ends()).toBe('')
    await until(() => service.sockets[0]?.readableEnded === true)
    expect(vhost.counts.connections).toBe(0)
  })

  it('connections above its bound at once', async () => {
    await using vhost = await startVhost({ maxConnections: 1 })
    using one = await RawUser.say(vhost.port, '')
    await until(() => vhost.counts.connections === 1)
    using two = await RawUser.say(vhost.port, get('/', 'none'))
    expect(await two.ends()).toBe('')
    expect(vhost.counts.refused).toBe(1)
    one.say(get('/', 'none'))
    await one.hears('404')
  })
})
