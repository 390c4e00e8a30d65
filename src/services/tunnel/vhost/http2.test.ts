import { createServer as createHttp1Server } from 'node:http'
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
} from 'node:http2'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { HttpVhost } from './http-vhost.ts'
import { noRules, ok, pickerOf, routeTo, Service, until } from './vhost.testkit.ts'

let clock: ManualClock
let vhost: HttpVhost
let user: ClientHttp2Session

beforeEach(async () => {
  clock = new ManualClock()
  vhost = new HttpVhost({ listen: { host: '127.0.0.1', port: 0 }, logger: silentLogger(), clock })
  await vhost.start()
  user = connect(`http://127.0.0.1:${vhost.port}`)
  user.on('error', () => undefined)
})
afterEach(async () => {
  user.destroy()
  await vhost.close()
})

interface Heard {
  readonly interim: number[]
  status: number | undefined
  headers: IncomingHttpHeaders
  body: string
  trailers: IncomingHttpHeaders
  code: number | undefined
}

/** Asks, and resolves with the whole answer. */
function ask(headers: Record<string, string>, body?: string): Promise<Heard> {
  const stream = user.request(
    { ':authority': 'a:80', ':path': '/', ...headers },
    { endStream: body === undefined },
  )
  const heard: Heard = {
    interim: [],
    status: undefined,
    headers: {},
    body: '',
    trailers: {},
    code: undefined,
  }
  stream.on('headers', (early: IncomingHttpHeaders) => heard.interim.push(Number(early[':status'])))
  stream.on('response', (all) => {
    heard.status = all[':status']
    heard.headers = all
  })
  stream.on('trailers', (all: IncomingHttpHeaders) => (heard.trailers = all))
  stream.on('data', (bytes: Buffer) => (heard.body += bytes.toString()))
  stream.on('error', () => undefined)
  if (body !== undefined) stream.end(body)
  return new Promise((resolve) => {
    stream.on('close', () => {
      heard.code = stream.rstCode
      resolve(heard)
    })
  })
}

/** Speaks HTTP/1.1 only, and closes on anything else. */
const http1 = (onRequest: Parameters<typeof createHttp1Server>[1]) =>
  Service.of(createHttp1Server(onRequest as object))

describe('HttpVhost in HTTP/2', () => {
  it('asks a backend that speaks HTTP/1.1 in that, and remembers it', async () => {
    let asked: { url: string | undefined; raw: string[] } | undefined
    await using service = await Service.of(
      createHttp1Server((request, response) => {
        asked = { url: request.url, raw: request.rawHeaders }
        response.writeEarlyHints({ link: '</a>; rel=preload' })
        response.writeHead(201, {
          Trailer: 'x-t',
          'Set-Cookie': ['a=1', 'b=2'],
          Connection: 'x-hop',
          'X-Hop': '1',
        })
        response.write('hi')
        response.addTrailers({ 'x-t': '1' })
        response.end()
      }),
    )
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    const heard = await ask({ ':path': '/x?y', cookie: 'a=1', te: 'trailers' })
    expect(heard).toMatchObject({ interim: [103], status: 201, body: 'hi', code: 0 })
    expect(heard.headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect(heard.headers['x-hop']).toBeUndefined()
    expect(heard.trailers).toMatchObject({ 'x-t': '1' })
    expect(asked?.url).toBe('/x?y')
    expect(asked?.raw.slice(0, 4)).toEqual(['Host', 'a:80', 'cookie', 'a=1'])
    expect(asked?.raw).toContain('X-Forwarded-For')
    await ask({})
    // One to find out, and one that is kept.
    expect(service.sockets).toHaveLength(2)
  })

  it('passes bodies on, with and without a length', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.endsWith('0\r\n\r\n')) socket.end(ok('chunked'))
      else if (heard.endsWith('\r\n\r\nbody')) socket.end(ok('with length'))
      else if (heard.startsWith('PRI')) socket.destroy()
    })
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    expect((await ask({ ':method': 'POST', 'content-length': '4' }, 'body')).body).toBe('with length')
    expect((await ask({ ':method': 'POST' }, 'body')).body).toBe('chunked')
  })

  it('asks a backend that speaks HTTP/2 in that, with trailers both ways', async () => {
    const server = createServer()
    server.on('stream', (stream, headers) => {
      let trailers: IncomingHttpHeaders = {}
      stream.on('trailers', (late) => (trailers = late))
      let body = ''
      stream.on('data', (bytes: Buffer) => (body += bytes.toString()))
      stream.on('end', () => {
        stream.additionalHeaders({ ':status': 103, link: '</a>' })
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
        stream.on('wantTrailers', () =>
          stream.sendTrailers({ 'grpc-status': '0', got: String(trailers['x-late']) }),
        )
        stream.end(
          `${headers[':method']} ${headers[':path']} ${headers[':authority']} ${String(headers['te'])} ${body}`,
        )
      })
    })
    await using service = await Service.of(server)
    vhost.add(routeTo('a', pickerOf(service)), { ...noRules, responseHeaders: { 'x-by': 'us' } })
    const stream = user.request(
      { ':authority': 'a', ':path': '/svc/call', ':method': 'POST', te: 'trailers' },
      { waitForTrailers: true },
    )
    let body = ''
    let trailers: IncomingHttpHeaders = {}
    const interim: unknown[] = []
    stream.on('headers', (early: IncomingHttpHeaders) => interim.push(early[':status']))
    stream.on('data', (bytes: Buffer) => (body += bytes.toString()))
    stream.on('trailers', (late: IncomingHttpHeaders) => (trailers = late))
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-late': 'yes' }))
    stream.end('message')
    const headers = await new Promise<IncomingHttpHeaders>((resolve) => stream.on('response', resolve))
    await new Promise((resolve) => stream.on('close', resolve))
    expect(headers).toMatchObject({ 'content-type': 'application/grpc', 'x-by': 'us' })
    expect(body).toBe('POST /svc/call a trailers message')
    expect(trailers).toMatchObject({ 'grpc-status': '0', got: 'yes' })
    expect(interim).toEqual([103])
    expect((await ask({ ':path': '/again' })).body).toBe('GET /again a:80 undefined ')
    expect(service.sockets).toHaveLength(1)
    // The connection to the backend is at rest.
    await until(() => clock.dueInMs === 60_000)
    clock.advance(60_000)
    await until(() => service.sockets[0]?.destroyed === true)
    expect((await ask({})).status).toBe(200)
  })

  it('answers 404, 502, 503, and 501 to CONNECT', async () => {
    await using service = await http1((_request, response) => response.destroy())
    const down = {
      proxyName: 'down',
      serve: () => undefined,
      connect: () => Promise.reject(new Error('down')),
    }
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    vhost.add(routeTo('b', pickerOf()), noRules)
    vhost.add(routeTo('c', pickerOf(down)), noRules)
    expect(await ask({ ':authority': 'none' })).toMatchObject({ status: 404 })
    expect(await ask({ ':authority': 'none', ':method': 'HEAD' })).toMatchObject({ status: 404, body: '' })
    expect(await ask({})).toMatchObject({ status: 502 })
    expect(await ask({ ':authority': 'b' })).toMatchObject({ status: 503 })
    expect(await ask({ ':authority': 'c' })).toMatchObject({ status: 502 })
    const tunnel = user.request({ ':method': 'CONNECT', ':authority': 'a' })
    const status = await new Promise((resolve) => tunnel.on('response', (all) => resolve(all[':status'])))
    expect(status).toBe(501)
    tunnel.close()
  })

  it('asks the next member when one cannot be connected', async () => {
    const down = {
      proxyName: 'down',
      serve: () => undefined,
      connect: () => Promise.reject(new Error('down')),
    }
    await using service = await http1((_request, response) => response.end('hi'))
    vhost.add(routeTo('a', pickerOf(down, service)), noRules)
    expect(await ask({})).toMatchObject({ status: 200, body: 'hi' })
  })

  it.each(['HTTP/1.1', 'HTTP/2'])(
    'resets a stream whose answer breaks off, from a backend in %s',
    async (version) => {
      const server = createServer()
      server.on('stream', (stream) => {
        stream.respond({ ':status': 200 })
        stream.write('part')
        stream.on('error', () => undefined)
        setImmediate(() => stream.destroy(new Error('broken')))
      })
      const older = createHttp1Server((_request, response) => {
        response.writeHead(200, { 'Content-Length': '500' })
        response.write('part', () => response.destroy())
      })
      await using service = await Service.of(version === 'HTTP/2' ? server : older)
      vhost.add(routeTo('a', pickerOf(service)), noRules)
      expect(await ask({})).toMatchObject({ status: 200, code: constants.NGHTTP2_INTERNAL_ERROR })
      expect(vhost.counts.badGateway).toBe(1)
    },
  )

  it('asks once more when a connection has ended in the meantime', async () => {
    const server = createServer()
    server.on('stream', (stream, headers) => {
      if (headers[':path'] === '/two' && service.sockets.length === 1) service.sockets[0]?.resetAndDestroy()
      else stream.respond({ ':status': 204 }, { endStream: true })
    })
    await using service = await Service.of(server)
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    expect((await ask({ ':path': '/one' })).status).toBe(204)
    expect((await ask({ ':path': '/two' })).status).toBe(204)
    expect(service.sockets).toHaveLength(2)
  })

  it('lets go of the backend when the user gives up', async () => {
    const server = createServer()
    let opened = 0
    let closed = 0
    server.on('stream', (stream) => {
      opened++
      stream.on('close', () => closed++).on('error', () => undefined)
    })
    await using service = await Service.of(server)
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    const stream = user.request({ ':authority': 'a', ':path': '/' })
    const kept = ask({ ':path': '/2' })
    await until(() => opened === 2)
    stream.close(constants.NGHTTP2_CANCEL)
    await until(() => closed === 1)
    user.destroy()
    await kept
    await until(() => service.sockets[0]?.destroyed === true)
  })

  it('ends a connection without requests', async () => {
    await ask({})
    await until(() => clock.dueInMs === 180_000)
    clock.advance(180_000)
    await until(() => user.destroyed)
    await until(() => vhost.counts.connections === 0)
  })

  it('ends behind the requests under way when it closes', async () => {
    let answer = (): void => undefined
    await using service = await http1((_request, response) => (answer = () => response.end('bye')))
    vhost.add(routeTo('a', pickerOf(service)), noRules)
    const before = answer
    const asked = ask({})
    await until(() => answer !== before)
    const closed = vhost.close({ graceMs: 60_000 })
    answer()
    expect((await asked).body).toBe('bye')
    await closed
  })
})
