import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { HttpVhost } from './http-vhost.ts'
import { get, noRules, ok, pickerOf, RawUser, routeTo, Service, until } from './vhost.testkit.ts'

const WEBSOCKET = 'Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n'
const SWITCHED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n'

let vhost: HttpVhost

beforeEach(async () => {
  vhost = new HttpVhost({ listen: { host: '127.0.0.1', port: 0 }, logger: silentLogger() })
  await vhost.start()
})
afterEach(() => vhost.close())

describe('HttpVhost switches to WebSocket', () => {
  it('with what both sides say early, and half-closes', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.endsWith('\r\n\r\n')) socket.write(`${SWITCHED}hello`)
    })
    vhost.add(routeTo('a', pickerOf(service)), { ...noRules, responseHeaders: { 'X-By': 'us' } })
    using user = await RawUser.say(vhost.port, `${get('/ws', 'a', WEBSOCKET)}early`)

    const heard = await user.hears('\r\n\r\nhello')
    expect(heard).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
    expect(heard).toContain(
      'Sec-WebSocket-Accept: y\r\nX-By: us\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n',
    )
    expect(heard).not.toMatch(/content-length|transfer-encoding/i)
    expect(service.heard[0]).toContain('\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n')
    const [socket] = service.sockets
    user.socket.end('bye')
    await until(() => socket?.readableEnded === true)
    expect(service.heard[0]).toMatch(/earlybye$/)
    socket?.end('bye you')
    expect(await user.ends()).toMatch(/hellobye you$/)
    await until(() => vhost.counts.connections === 0)
    expect(vhost.counts.answers['1xx']).toBe(1)
  })

  it('and carries much', async () => {
    const size = 20_000_000
    await using service = await Service.start((socket, heard) => {
      if (!heard.endsWith('\r\n\r\n')) return
      socket.removeAllListeners('data')
      socket.write(SWITCHED)
      socket.pipe(socket)
    })
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/ws', 'a', WEBSOCKET))
    await user.hears('\r\n\r\n')
    let heard = 0
    user.socket.removeAllListeners('data').on('data', (bytes) => (heard += bytes.length))
    user.socket.end(Buffer.alloc(size, 'x'))
    await user.ends()
    expect(heard).toBe(size)
  })

  it('and resets one side when the other breaks', async () => {
    await using service = await Service.start((socket) => socket.write(SWITCHED))
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/ws', 'a', WEBSOCKET))
    await user.hears('\r\n\r\n')
    service.sockets[0]?.resetAndDestroy()
    await until(() => user.isClosed)
  })

  it('or passes the refusal on', async () => {
    await using service = await Service.start((socket) => {
      socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
    })
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, get('/ws', 'a', WEBSOCKET))
    expect(await user.ends()).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n[^]*\r\n\r\nno$/)
    using nowhere = await RawUser.say(vhost.port, get('/ws', 'none', WEBSOCKET))
    expect(await nowhere.ends()).toMatch(/^HTTP\/1\.1 404 /)
  })

  it('but takes no heed of an offer of h2c, nor of one with a body', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.endsWith('body')) socket.write(ok('hi'))
    })
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    const headers =
      'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 4\r\n'
    using user = await RawUser.say(vhost.port, `POST /one HTTP/1.1\r\nHost: a\r\n${headers}\r\nbo`)
    user.say('dy')
    await user.hears('hi')
    user.say(`POST /two HTTP/1.1\r\nHost: a\r\n${headers}\r\nbody`)
    await user.hears(/hi[^]*hi/)
    expect(service.sockets).toHaveLength(1)
    expect(service.heard[0]).not.toMatch(/upgrade|http2/i)
  })
})

describe('HttpVhost leads CONNECT', () => {
  const connect = (host: string, headers = ''): string =>
    `CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n${headers}\r\n`

  it('to the backend, as it came, and what follows raw', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.endsWith('behind')) socket.write('HTTP/1.1 200 OK\r\n\r\nhello')
    })
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    using user = await RawUser.say(vhost.port, `${connect('a', 'X-A: 1\r\n')}behind`)
    await user.hears('HTTP/1.1 200 OK\r\n\r\nhello')
    expect(service.heard[0]).toBe('CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nX-A: 1\r\n\r\nbehind')
    user.socket.end()
    await until(() => service.sockets[0]?.readableEnded === true)
    service.sockets[0]?.end('bye')
    expect(await user.ends()).toMatch(/hellobye$/)
  })

  it.each([
    ['404', 'none', ''],
    ['407', 'locked', ''],
    ['502', 'down', ''],
    ['503', 'empty', ''],
  ])('or answers %s', async (status, host) => {
    await using service = await Service.start(() => undefined)
    service.isDown = true
    vhost.add(routeTo('down', pickerOf(service)), noRules)
    vhost.add(routeTo('empty', pickerOf()), noRules)
    vhost.add(routeTo('locked', pickerOf(service)), { ...noRules, user: 'u', password: 'p' })
    using user = await RawUser.say(vhost.port, connect(host))
    expect(await user.ends()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  })
})
