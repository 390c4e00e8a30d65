import { readdirSync, readlinkSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLogger, silentLogger } from '../../../../mechanisms/telemetry/index.ts'
import { FakeBalancer, FakeOrigin, Gateway, get, RawClient, until } from '../http.testkit.ts'
import { mediaTypeOf } from './media-types.ts'
import { StaticPages } from './static-pages.ts'

let base: string
let gateway: Gateway
let pages: StaticPages

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
  await mkdir(join(root, 'player'))
  await writeFile(join(root, 'player', 'index.html'), '<p>Player')
  await writeFile(join(root, 'assets', 'jingle.mp3'), 'ID3 jingle')
  await writeFile(join(root, 'top.mp3'), 'ID3 top')
  await writeFile(join(root, 'large.bin'), Buffer.alloc(30_000_000, 'x'))
  await writeFile(join(root, 'a b.png'), 'png')
  await writeFile(join(root, 'assets', 'index-B3xQ9_aZ.js'), '0123456789')
  await symlink(join(base, 'secret.txt'), join(root, 'link.txt'))
  await symlink(join(root, 'index.html'), join(root, 'inside.html'))
  pages = new StaticPages({ directory: root, logger: silentLogger() })
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

  it('gives a HEAD with a range the headers of the whole file', async () => {
    const page = await ask('/assets/index-B3xQ9_aZ.js', 'Range: bytes=2-4\r\n', 'HEAD')
    expect(page.head).toContain('200 OK')
    expect(headerOf(page, 'Content-Length')).toBe('10')
  })

  it('answers only to those who want this version', async () => {
    const page = await ask('/')
    const etag = headerOf(page, 'ETag')
    const modified = headerOf(page, 'Last-Modified')
    for (const matching of [`If-Match: "a", ${etag}`, 'If-Match: *', `If-Unmodified-Since: ${modified}`]) {
      expect((await ask('/', `${matching}\r\n`)).head).toContain('200 OK')
    }
    for (const other of [
      'If-Match: "a"',
      `If-Match: W/${etag}`,
      'If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT',
    ]) {
      expect((await ask('/', `${other}\r\n`)).head).toContain('412 Precondition Failed')
    }
  })

  it('serves the index.html of a directory, and leads there', async () => {
    expect((await ask('/player/')).body).toBe('<p>Player')
    const page = await ask('/player?x=y')
    expect(page.head).toContain('301 Moved Permanently')
    expect(headerOf(page, 'Location')).toBe('./player/?x=y')
    // A path that begins with two slashes would name a host.
    expect(headerOf(await ask('//player'), 'Location')).toBe('./player/')
  })

  it.each([
    ['m3u8', 'application/vnd.apple.mpegurl'],
    ['mpd', 'application/dash+xml'],
    ['ts', 'video/mp2t'],
    ['m4s', 'video/iso.segment'],
    ['mp4', 'video/mp4'],
    ['FLV', 'video/x-flv'],
    ['mp3', 'audio/mpeg'],
    ['aac', 'audio/aac'],
    ['vtt', 'text/vtt; charset=utf-8'],
    ['unknown', 'application/octet-stream'],
  ])('says what a .%s is', (extension, type) => {
    expect(mediaTypeOf(`/some.dir/file.${extension}`)).toBe(type)
  })

  it('lets a reader go who takes nothing, and closes the file', async () => {
    const stalled = await Gateway.start(new FakeBalancer([]), {}, { handlers: [pages], socketIdleMs: 2000 })
    await using _ = stalled
    const reader = await RawClient.send(stalled.port, get('/large.bin'))
    await until(() => reader.text.length > 0)
    reader.socket.pause()
    await until(() => openFiles().includes('large.bin'))
    await until(() => stalled.edge.connectionCount === 0)
    await until(() => !openFiles().includes('large.bin'))
    reader.socket.destroy()
  })
})

describe('StaticPages without its directory (reference 9.6 no. 46)', () => {
  it('warns and serves nothing, until the directory is there', async () => {
    const directory = join(base, 'later')
    const lines: string[] = []
    const logger = createLogger({ stream: { write: (line) => void lines.push(line) } })
    const late = new StaticPages({ directory, logger })
    await late.start()
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { msg: 'no such directory of pages', directory },
    ])
    await using other = await Gateway.start(new FakeBalancer([]), {}, { handlers: [late] })
    const before = await (await RawClient.send(other.port, get('/', 'Connection: close\r\n'))).closed()
    expect(before.head).toContain('404 Not Found')

    await mkdir(directory)
    await writeFile(join(directory, 'index.html'), 'late')
    const after = await (await RawClient.send(other.port, get('/', 'Connection: close\r\n'))).closed()
    expect(after.body).toBe('late')
    await late.start()
    expect(lines).toHaveLength(1)
  })
})

describe('Files where streams could be', () => {
  const LIVE = 'HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 4\r\n\r\nlive'
  const GONE = 'HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone'

  async function played(path: string, balancer: FakeBalancer, options = {}): Promise<RawClient> {
    await using both = await Gateway.start(balancer, { pages, ...options })
    const client = await RawClient.send(both.port, get(path, 'Connection: close\r\n'))
    return await client.closed()
  }

  it('come after a stream of the name', async () => {
    await using origin = await FakeOrigin.start((socket) => void socket.end(LIVE))
    expect((await played('/assets/jingle.mp3', new FakeBalancer([origin.port]))).body).toBe('live')
  })

  it('are sent when the origin has no such stream', async () => {
    await using origin = await FakeOrigin.start((socket) => void socket.end(GONE))
    const balancer = new FakeBalancer([origin.port])
    const client = await played('/assets/jingle.mp3', balancer)
    expect(client.body).toBe('ID3 jingle')
    expect(headerOf(client, 'Content-Type')).toBe('audio/mpeg')
    expect(balancer).toMatchObject({ released: ['o0'], kept: [] })
    expect((await played('/assets/other.mp3', balancer)).body).toContain('HTTP_NOT_FOUND')
  })

  it('are sent when no origin answers, in time or at all', async () => {
    expect((await played('/assets/jingle.mp3', new FakeBalancer([]))).body).toBe('ID3 jingle')
    await using silent = await FakeOrigin.start(() => {})
    const client = await played('/assets/jingle.mp3', new FakeBalancer([silent.port]), { headTimeoutMs: 50 })
    expect(client.body).toBe('ID3 jingle')
  })

  it('are sent when the path cannot be a stream', async () => {
    expect((await played('/top.mp3', new FakeBalancer([]))).body).toBe('ID3 top')
    expect((await played('/none.mp3', new FakeBalancer([]))).head).toContain('400 Bad Request')
  })

  it('are not sent to who may not play', async () => {
    const access = {
      admit: () => Promise.reject(Object.assign(new Error('no'), { code: 'ACCESS_DENIED' })),
    }
    const client = await played('/assets/jingle.mp3', new FakeBalancer([]), { access })
    expect(client.text).not.toContain('jingle')
  })
})

/** Names of the files that this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [basename(readlinkSync(`/proc/self/fd/${fd}`))]
    } catch {
      return []
    }
  })
}
