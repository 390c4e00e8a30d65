import { connect } from 'node:net'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../telemetry/index.ts'
import { HttpApi, type HttpApiOptions } from './http-api.ts'
import { ask, sendRaw } from './raw-http.testkit.ts'

const opened: HttpApi[] = []
afterEach(async () => {
  for (const api of opened.splice(0)) await api.close()
})

async function open(options: Partial<HttpApiOptions> = {}): Promise<HttpApi> {
  const api = new HttpApi({
    listen: { host: '127.0.0.1', port: 0 },
    log: silentLogger(),
    serverHeader: 'Test',
    routes: [
      { method: 'GET', path: '/open', isOpen: true, handle: () => ({ json: { ok: true } }) },
      { method: 'GET', path: '/text', handle: () => ({ status: 201, text: 'hé', contentType: 'text/x' }) },
      {
        method: ['POST', 'PUT'],
        path: '/echo',
        handle: async ({ readBody }) => ({ text: (await readBody()).toString() }),
      },
      { method: 'GET', path: '/query', handle: ({ query }) => ({ json: [...query] }) },
      { method: 'DELETE', path: '/things/:id', handle: ({ params }) => ({ json: params }) },
      {
        method: 'GET',
        path: '/broken',
        handle: () => {
          throw new Error('inner 10.0.0.1')
        },
      },
    ],
    ...options,
  })
  opened.push(api)
  await api.start()
  return api
}

describe('a control API', () => {
  it('tells of what failed once, however often, and by the path without what was put into it', async () => {
    const lines: object[] = []
    const log = silentLogger()
    log.error = (fields: object) => void lines.push(fields)
    const fails = {
      method: 'GET',
      path: '/fails/:token',
      handle: () => {
        throw new Error('away')
      },
    } as const
    const { address } = await open({ log, routes: [fails] })
    for (let count = 0; count < 3; count++)
      expect((await ask(address, 'GET', '/fails/secret')).status).toBe(500)
    expect(lines).toEqual([{ code: 'UNKNOWN', reason: 'away', path: '/fails/:token' }])
  })

  it('one address cannot take all connections', async () => {
    const { address } = await open({ maxConnectionsPerAddress: 2 })
    const at = { port: address?.port ?? 0, host: '127.0.0.1' }
    const held = [0, 1].map(() => connect({ ...at, localAddress: '127.0.0.7' }))
    await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
    const third = connect({ ...at, localAddress: '127.0.0.7' })
    third.on('error', () => {})
    await new Promise((resolve) => third.once('close', resolve))
    expect((await ask(address, 'GET', '/open')).status).toBe(200)
    for (const socket of held) socket.destroy()
  })

  it('answers JSON and texts, with length and server', async () => {
    const { address } = await open()
    const { head, json, status } = await ask(address, 'GET', '/open?x=1')
    expect(status).toBe(200)
    expect(json).toEqual({ ok: true })
    expect(head).toContain('Content-Type: application/json\r\nContent-Length: 11\r\n')
    expect(head).toContain('Server: Test')
    const text = await ask(address, 'GET', '/text')
    expect([text.status, text.body]).toEqual([201, 'hé'])
    expect((await ask(address, 'HEAD', '/text')).body).toBe('')
  })

  it('parts of the path are decoded, slashes and long ones too', async () => {
    const { address } = await open()
    expect((await ask(address, 'DELETE', '/things/a%2Fb%20%C3%A9')).json).toEqual({ id: 'a/b é' })
    const long = 'x'.repeat(4000)
    expect((await ask(address, 'DELETE', `/things/${long}`)).json).toEqual({ id: long })
  })

  it.each([
    ['/query', []],
    ['/query?', []],
    [
      '/query?a=1&b=%C3%A9+x&a=%zz?',
      [
        ['a', '1'],
        ['b', 'é x'],
        ['a', '%zz?'],
      ],
    ],
  ])('the query of %s is decoded', async (path, pairs) => {
    const { address } = await open()
    expect((await ask(address, 'GET', path)).json).toEqual(pairs)
  })

  it.each([
    ['GET', '/nothing'],
    ['PATCH', '/open'],
    ['GET', '/%zz'],
    ['GET', '/things/%c3'],
    ['OPTIONS', '*'],
    ['GET', 'http://elsewhere/'],
    ['GET', '/../../etc/passwd'],
  ])('%s %s is a 404 with a code', async (method, path) => {
    const { address } = await open({ errorFields: (status) => ({ status }) })
    const { status, json } = await ask(address, method, path)
    expect(status).toBe(404)
    expect(json).toEqual({ status: 404, error: { code: 'API_NOT_FOUND', message: expect.any(String) } })
  })

  it('what fails inside is a 500 that tells nothing', async () => {
    const { address } = await open()
    const { status, body } = await ask(address, 'GET', '/broken')
    expect(status).toBe(500)
    expect(body).toContain('API_INTERNAL')
    expect(body).not.toContain('10.0.0.1')
  })

  it('a token opens all but open routes', async () => {
    const { address } = await open({ token: 's3cret' })
    expect((await ask(address, 'GET', '/open')).status).toBe(200)
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'Basic s3cret', 's3cret', 'Bearer s3cret x']) {
      const { status, head, body } = await ask(address, 'GET', '/text', {
        headers: { Authorization: authorization },
      })
      expect(status).toBe(401)
      expect(head).toContain('WWW-Authenticate: Bearer')
      expect(body).not.toContain('s3cret')
    }
    expect(
      (await ask(address, 'GET', '/text', { headers: { Authorization: 'bearer  s3cret' } })).status,
    ).toBe(201)
  })

  it('an allow list turns other addresses away, from open routes too', async () => {
    const allowed = await open({ allow: ['10.0.0.0/8', '127.0.0.1'] })
    expect((await ask(allowed.address, 'GET', '/open')).status).toBe(200)
    const denied = await open({ allow: ['10.0.0.0/8'] })
    expect((await ask(denied.address, 'GET', '/open')).json).toMatchObject({
      error: { code: 'API_FORBIDDEN' },
    })
  })

  it('a page of another site is turned away, one of its own is not', async () => {
    const { address } = await open()
    const from = (headers: Record<string, string>): Promise<number> =>
      ask(address, 'GET', '/open', { headers }).then(({ status }) => status)
    expect(await from({ Origin: 'http://evil.example' })).toBe(403)
    expect(await from({ Origin: 'null' })).toBe(403)
    expect(await from({ 'Sec-Fetch-Site': 'cross-site' })).toBe(403)
    expect(await from({ Origin: 'http://localhost', 'Sec-Fetch-Site': 'same-origin' })).toBe(200)
  })

  it('a page that makes its own domain point here is turned away, unless a token is asked for', async () => {
    const statusOf = async (options: Partial<HttpApiOptions>, headers: Record<string, string>) =>
      (await ask((await open(options)).address, 'GET', '/text', { headers })).status
    const domain = { Host: 'evil.example:9190' }
    expect(await statusOf({}, domain)).toBe(403)
    expect(await statusOf({}, { ...domain, Origin: 'http://evil.example:9190' })).toBe(403)
    expect(await statusOf({ token: 't' }, { ...domain, Authorization: 'Bearer t' })).toBe(201)
    for (const Host of [
      '127.0.0.1:9190',
      '[::1]:9190',
      '[::ffff:127.0.0.1]',
      'localhost',
      'a.localhost',
      'gateway',
      '',
    ]) {
      expect(await statusOf({}, { Host })).toBe(201)
    }
    const { address } = await open()
    expect((await ask(address, 'GET', '/open', { headers: domain })).status).toBe(200)
  })

  it('a body up to the bound is read, a longer one is refused, told or not', async () => {
    const { address } = await open({ maxBodyBytes: 1000 })
    expect((await ask(address, 'PUT', '/echo', { body: 'x'.repeat(1000) })).body).toBe('x'.repeat(1000))
    const told = await ask(address, 'POST', '/echo', { body: 'x'.repeat(1001) })
    expect([told.status, told.json]).toMatchObject([413, { error: { code: 'API_BODY_TOO_LARGE' } }])
    const chunked = await sendRaw(
      address,
      `POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${`64\r\n${'x'.repeat(100)}\r\n`.repeat(11)}`,
    )
    expect(chunked.status).toBe(413)
    expect(chunked.head).toContain('Connection: close')
  })

  it('a client that is slow with its head or its body is cut', async () => {
    const { address } = await open({ headTimeoutMs: 100, requestTimeoutMs: 200 })
    expect((await sendRaw(address, 'GET /open HTTP/1.1\r\nHost')).status).toBe(408)
    const slow = await sendRaw(address, 'POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab')
    expect([408, 400]).toContain(slow.status)
  })

  it('rubbish and too many headers are refused without harm', async () => {
    const { address } = await open()
    const rubbish = await sendRaw(address, '\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n')
    expect([rubbish.status, rubbish.json]).toMatchObject([400, { error: { code: 'API_BAD_REQUEST' } }])
    expect((await sendRaw(address, `GET / HTTP/1.1\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`)).status).toBe(431)
    expect((await ask(address, 'GET', '/open')).status).toBe(200)
  })

  it('any bytes on the port do no harm', async () => {
    const { address } = await open({ headTimeoutMs: 100, requestTimeoutMs: 200 })
    const start = fc.constantFrom(
      '',
      'GET /open HTTP/1.1\r\n',
      'POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n',
    )
    const bytes = fc.tuple(start, fc.uint8Array({ minLength: 1, maxLength: 300 }))
    await Promise.allSettled(
      fc
        .sample(bytes, 60)
        .map(([head, rest]) => sendRaw(address, Buffer.concat([Buffer.from(head), rest]), { end: true })),
    )
    expect((await ask(address, 'GET', '/open')).status).toBe(200)
  })

  it('a port that is taken is one clear error', async () => {
    const { address } = await open()
    const port = address?.port ?? 0
    await expect(open({ listen: { host: '127.0.0.1', port } })).rejects.toMatchObject({
      code: 'NET_PORT_TAKEN',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    })
  })

  it('starts and closes twice, and close does not wait for idle connections', async () => {
    const api = await open()
    await api.start()
    const { address } = api
    const idle = connect(address?.port ?? 0, '127.0.0.1')
    await new Promise((resolve) => idle.once('connect', resolve))
    const gone = new Promise((resolve) => idle.once('close', resolve))
    idle.on('error', () => {})
    await api.close()
    await api.close()
    await gone
    expect(api.address).toBeUndefined()
  })
})
