import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FakeBalancer, Gateway, RawClient } from './http.testkit.ts'
import { StaticPages } from './static-pages.ts'

let base: string
let gateway: Gateway

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'sluice-pages-'))
  const root = join(base, 'root')
  await mkdir(join(root, 'assets'), { recursive: true })
  await mkdir(join(base, 'root-next-door'))
  await writeFile(join(base, 'secret.txt'), 'secret')
  await writeFile(join(base, 'root-next-door', 'secret.txt'), 'secret')
  await writeFile(join(root, 'index.html'), '<p>Hello')
  await writeFile(join(root, 'notes-20261121.html'), 'notes')
  await writeFile(join(root, 'empty.json'), '')
  await writeFile(join(root, '.env'), 'secret')
  await writeFile(join(root, 'a b.png'), 'png')
  await writeFile(join(root, 'assets', 'index-B3xQ9_aZ.js'), '0123456789')
  await symlink(join(base, 'secret.txt'), join(root, 'link.txt'))
  await symlink(join(root, 'index.html'), join(root, 'inside.html'))
  const pages = new StaticPages({ directory: root })
  gateway = await Gateway.start(new FakeBalancer([]), {}, { handlers: [pages] })
})

afterAll(async () => {
  await gateway.edge.close()
  await rm(base, { recursive: true })
})

async function ask(path: string, headers = '', method = 'GET'): Promise<RawClient> {
  const client = await RawClient.send(
    gateway.port,
    `${method} ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${headers}\r\n`,
  )
  return client.closed()
}

const headerOf = (client: RawClient, name: string): string =>
  new RegExp(`^${name}: (.*)\r?$`, 'im').exec(client.head)?.[1]?.trim() ?? ''

describe('StaticPages', () => {
  it('serves index.html at /', async () => {
    const page = await ask('/?x=y')
    expect(page.head).toContain('200 OK')
    expect(headerOf(page, 'Content-Type')).toBe('text/html; charset=utf-8')
    expect(headerOf(page, 'Cache-Control')).toBe('no-cache')
    expect(page.body).toBe('<p>Hello')
  })

  it.each([
    ['/assets/index-B3xQ9_aZ.js', 'text/javascript; charset=utf-8', '0123456789'],
    ['/a%20b.png', 'image/png', 'png'],
    ['/empty.json', 'application/json; charset=utf-8', ''],
    ['/inside.html', 'text/html; charset=utf-8', '<p>Hello'],
  ])('serves %s', async (path, type, body) => {
    const page = await ask(path)
    expect(page.head).toContain('200 OK')
    expect(headerOf(page, 'Content-Type')).toBe(type)
    expect(page.body).toBe(body)
  })

  it('lets caches keep only what has a hash in its name', async () => {
    expect(headerOf(await ask('/assets/index-B3xQ9_aZ.js'), 'Cache-Control')).toContain('immutable')
    expect(headerOf(await ask('/notes-20261121.html'), 'Cache-Control')).toBe('no-cache')
  })

  it.each([
    '/nothing',
    '/assets',
    '/assets/',
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/assets/..%2f..%2f..%2fsecret.txt',
    '/%252e%252e/secret.txt',
    '/..\\secret.txt',
    '/../root-next-door/secret.txt',
    '//etc/passwd',
    '/link.txt',
    '/.env',
    '/index.html%00.js',
    '/index.html/',
    '/%zz',
    `/${'x'.repeat(5000)}`,
  ])('answers %s with 404', async (path) => {
    const page = await ask(path)
    expect(page.head).toContain('404 Not Found')
    expect(page.text).not.toContain('secret')
  })

  it('answers HEAD with the headers alone', async () => {
    const page = await ask('/', '', 'HEAD')
    expect(headerOf(page, 'Content-Length')).toBe('8')
    expect(page.body).toBe('')
  })

  it('refuses other methods', async () => {
    const page = await ask('/', 'Content-Length: 0\r\n', 'POST')
    expect(page.head).toContain('405 Method Not Allowed')
    expect(headerOf(page, 'Allow')).toBe('GET, HEAD')
  })

  it('says that nothing changed', async () => {
    const page = await ask('/')
    const etag = headerOf(page, 'ETag')
    const modified = headerOf(page, 'Last-Modified')
    expect((await ask('/', `If-None-Match: "a", W/${etag}\r\n`)).head).toContain('304 Not Modified')
    expect((await ask('/', `If-Modified-Since: ${modified}\r\n`)).head).toContain('304 Not Modified')
    expect((await ask('/', `If-None-Match: "a"\r\nIf-Modified-Since: ${modified}\r\n`)).head).toContain(
      '200 OK',
    )
    expect((await ask('/', 'If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n')).head).toContain('200 OK')
  })

  it.each([
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-2', 206, '89', 'bytes 8-9/10'],
    ['bytes=-20', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=5-99', 206, '56789', 'bytes 5-9/10'],
    ['bytes=4-2', 200, '0123456789', ''],
    ['bytes=0-1,3-4', 200, '0123456789', ''],
    ['lines=0-1', 200, '0123456789', ''],
    ['bytes=-', 200, '0123456789', ''],
  ])('answers %s with %i', async (range, status, body, contentRange) => {
    const page = await ask('/assets/index-B3xQ9_aZ.js', `Range: ${range}\r\n`)
    expect(page.head).toContain(`HTTP/1.1 ${status} `)
    expect(page.body).toBe(body)
    expect(headerOf(page, 'Content-Range')).toBe(contentRange)
  })

  it.each(['bytes=10-', 'bytes=99-100', 'bytes=-0'])('refuses %s', async (range) => {
    const page = await ask('/assets/index-B3xQ9_aZ.js', `Range: ${range}\r\n`)
    expect(page.head).toContain('416 Range Not Satisfiable')
    expect(headerOf(page, 'Content-Range')).toBe('bytes */10')
  })

  it('gives a range of an older version the whole file', async () => {
    const path = '/assets/index-B3xQ9_aZ.js'
    const etag = headerOf(await ask(path), 'ETag')
    expect((await ask(path, `Range: bytes=0-1\r\nIf-Range: ${etag}\r\n`)).body).toBe('01')
    expect((await ask(path, 'Range: bytes=0-1\r\nIf-Range: "other"\r\n')).body).toBe('0123456789')
  })
})
