import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../foundation/clock.ts'
import type { WebServerConfig } from '../../../mechanisms/frp-config/index.ts'
import { makeCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import { createLogger, type Logger, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { askWeb, basicAuth } from './web-client.testkit.ts'
import { WebError } from './web-error.ts'
import { type WebRoute, WebServer } from './web-server.ts'

const opened: WebServer[] = []
afterEach(async () => {
  for (const server of opened.splice(0)) await server.close()
})

const routes: readonly WebRoute[] = [
  { method: 'GET', path: '/healthz', isOpen: true, handle: () => ({}) },
  { method: 'GET', path: '/read', handle: () => ({ json: { ok: true } }) },
  { method: 'GET', path: '/act', changesState: true, handle: () => ({ text: 'done' }) },
  {
    method: 'POST',
    path: '/things/:name',
    handle: async ({ params, query, readBody }) => ({
      json: [params['name'], query.get('q'), (await readBody()).toString()],
    }),
  },
  {
    method: 'GET',
    path: '/broken',
    handle: () => {
      throw new Error('inner 10.0.0.1')
    },
  },
  {
    method: 'GET',
    path: '/v2',
    errorJson: (code, msg) => ({ code, msg, data: null }),
    handle: () => Promise.reject(new WebError(404, 'no such thing')),
  },
]

describe('the web server', () => {
  it('answers JSON and texts, and takes bodies', async () => {
    const { address } = await open()
    const read = await askWeb(address, '/read')
    expect([read.status, read.text]).toEqual([200, '{"ok":true}\n'])
    expect(read.headers['content-type']).toBe('application/json')
    const posted = await askWeb(address, '/things/a%2Fb?q=%C3%A9', { method: 'POST', body: 'hi' })
    expect(posted.json).toEqual(['a/b', 'é', 'hi'])
    expect((await askWeb(address, '/healthz')).headers['content-length']).toBe('0')
    expect(await askWeb(address, '/read', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
    expect((await askWeb(address, '/act', { method: 'HEAD' })).status).toBe(405)
  })

  it('says what is not there, and by which method not', async () => {
    const { address } = await open()
    const nothing = await askWeb(address, '/nothing')
    expect([nothing.status, nothing.text]).toEqual([404, '404 page not found\n'])
    expect((await askWeb(address, '/read', { method: 'POST' })).status).toBe(405)
    expect((await askWeb(address, '/%zz')).status).toBe(404)
  })

  it('errors are JSON, of the version of the API; what fails inside is not told', async () => {
    const { address } = await open()
    expect(await askWeb(address, '/v2')).toMatchObject({
      status: 404,
      json: { code: 404, msg: 'no such thing', data: null },
    })
    expect(await askWeb(address, '/broken')).toMatchObject({
      status: 500,
      json: { Code: 500, Msg: 'internal error' },
    })
  })

  it('asks for name and password, but not on open paths', async () => {
    const { address } = await open({ user: 'admin', password: 'p:w' })
    expect((await askWeb(address, '/healthz')).status).toBe(200)
    expect((await askWeb(address, '/read', { headers: basicAuth('admin', 'p:w') })).status).toBe(200)
    for (const headers of [
      {},
      basicAuth('admin', 'p:x'),
      basicAuth('Admin', 'p:w'),
      basicAuth('', ''),
      { Authorization: 'Bearer admin:p:w' },
      { Authorization: 'Basic' },
    ]) {
      const { status, text, headers: answered } = await askWeb(address, '/read', { headers })
      expect([status, text]).toEqual([401, 'Unauthorized\n'])
      expect(answered['www-authenticate']).toBe('Basic realm="Restricted"')
    }
    expect((await askWeb(address, '/nothing')).status).toBe(401)
  })

  it.each([
    ['another site', { 'Sec-Fetch-Site': 'cross-site' }, 403],
    ['another host of the same domain', { 'Sec-Fetch-Site': 'same-site' }, 403],
    ['another origin', { Origin: 'http://evil.example' }, 403],
    ['an origin that is hidden', { Origin: 'null' }, 403],
    ['its own', { 'Sec-Fetch-Site': 'same-origin', Origin: 'https://public.example' }, 200],
    ['its own, told by the origin', { Host: 'here:1', Origin: 'http://here:1' }, 200],
    ['the address bar', { 'Sec-Fetch-Site': 'none' }, 200],
    ['no browser', {}, 200],
  ])('what a page of %s asks to be changed: %s %i', async (_, headers, status) => {
    const { address } = await open({ user: 'admin', password: 'pw' })
    const sent = { ...basicAuth('admin', 'pw'), ...headers }
    expect((await askWeb(address, '/act', { headers: sent })).status).toBe(status)
    expect((await askWeb(address, '/things/x', { method: 'POST', headers: sent })).status).toBe(status)
    expect((await askWeb(address, '/read', { headers: sent })).status).toBe(200)
  })

  it.each([
    ['evil.example', 403],
    ['EVIL.example:7500', 403],
    ['localhost:7500', 200],
    ['box', 200],
    ['127.0.0.1:7500', 200],
    ['[::1]:7500', 200],
  ])('without a password a request for %s over loopback gets %i', async (Host, status) => {
    const { address } = await open()
    expect((await askWeb(address, '/read', { headers: { Host } })).status).toBe(status)
    const guarded = await open({ user: 'a', password: 'b' })
    const headers = { Host, ...basicAuth('a', 'b') }
    expect((await askWeb(guarded.address, '/read', { headers })).status).toBe(200)
  })

  it('a body that is too long, or breaks off, is refused', async () => {
    const { address } = await open()
    const long = { method: 'POST', body: 'x'.repeat(1_048_577) }
    expect(await askWeb(address, '/things/x', long)).toMatchObject({ status: 413 })
    const chunked = { ...long, headers: { 'Transfer-Encoding': 'chunked' } }
    // The answer may come before all has been sent, which then fails.
    const answer = await askWeb(address, '/things/x', chunked).catch(() => undefined)
    expect(answer?.status ?? 413).toBe(413)
    const socket = connect(address?.port ?? 0, '127.0.0.1')
    socket.end('POST /things/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf')
    await new Promise((resolve) => socket.on('close', resolve).resume())
    expect((await askWeb(address, '/read')).status).toBe(200)
  })

  it('speaks TLS where files are named', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'web-'))
    try {
      const { cert, key } = await makeCertificate()
      const tls = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
      writeFileSync(tls.certFile, cert)
      writeFileSync(tls.keyFile, key)
      const { address } = await open({ tls })
      expect((await askWeb(address, '/read', { ca: cert })).json).toEqual({ ok: true })
      await expect(open({ tls: { ...tls, keyFile: join(folder, 'no.pem') } })).rejects.toMatchObject({
        code: 'NET_BAD_CERTIFICATE',
      })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('warns where it asks for no password and others can reach it', async () => {
    const lines: string[] = []
    const log = createLogger({ level: 'warn', stream: { write: (line) => lines.push(line) } })
    await open({ addr: '127.0.0.1' }, log)
    await open({ addr: '0.0.0.0', user: 'a', password: 'b' }, log)
    expect(lines).toEqual([])
    await open({ addr: '0.0.0.0' }, log)
    expect(lines.join()).toContain('web server asks for no password')
  })

  it('says when its port is taken, and may be closed twice', async () => {
    const first = await open()
    await expect(open({ port: first.address?.port ?? 0 })).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    await first.close()
    await first.close()
    expect(first.address).toBeUndefined()
  })
})

async function open(config: Partial<WebServerConfig> = {}, log: Logger = silentLogger()): Promise<WebServer> {
  const server = new WebServer({
    config: { addr: '127.0.0.1', port: 0, user: '', password: '', tls: undefined, ...config },
    routes,
    log,
    clock: systemClock,
  })
  opened.push(server)
  await server.start()
  return server
}
