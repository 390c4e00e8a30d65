import { constants, type Stats } from 'node:fs'
import { type FileHandle, open, realpath, stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join, resolve, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { errorCode } from '../../../../foundation/errors.ts'
import type { Logger } from '../../../../mechanisms/telemetry/index.ts'
import { type HttpHandler, replyError } from '../handler.ts'
import { mediaTypeOf } from './media-types.ts'
import { parseRequestTarget } from '../request-target.ts'

export interface StaticPagesOptions {
  /** The directory whose files are served; nothing outside of it is, also not by symbolic links. */
  readonly directory: string
  readonly logger: Logger
}

/** A name in which the build of the console put the hash of the content: `assets/index-B3xQ9_aZ.js`. */
const HASHED_NAME = /[/\\]assets[/\\][^/\\]*-[\w-]{8}\.\w+$/

interface Range {
  readonly start: number
  /** The last byte, which belongs to it. */
  readonly end: number
}

/**
 * Serves the files of a directory. Directories are not listed; one is its `index.html`. A directory that is not there has no
 * files, until it is.
 */
export class StaticPages implements HttpHandler {
  readonly #directory: string
  readonly #log: Logger

  constructor(options: StaticPagesOptions) {
    this.#directory = resolve(options.directory)
    this.#log = options.logger.child({ component: 'pages' })
  }

  /** Says in the log when there is no such directory: pages are no reason not to start. */
  async start(): Promise<void> {
    const isThere = await stat(this.#directory).then(
      (found) => found.isDirectory(),
      () => false,
    )
    if (!isThere) this.#log.warn({ directory: this.#directory }, 'no such directory of pages')
  }

  /** Takes every path; it belongs at the end of the list. */
  matches(): boolean {
    return true
  }

  /** Whether a path names a file that would be sent. */
  async has(pathname: string): Promise<boolean> {
    const path = await this.#locate(pathname)
    if (path === undefined) return false
    return stat(path).then(
      (found) => found.isFile(),
      () => false,
    )
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return replyError(response, 405, 'HTTP_METHOD_NOT_ALLOWED', { Allow: 'GET, HEAD' })
    }
    const { pathname = '', query = '' } = parseRequestTarget(request) ?? {}
    const path = await this.#locate(pathname)
    const file = path === undefined ? undefined : await openFile(path)
    if (path === undefined || file === undefined) return replyError(response, 404, 'HTTP_NOT_FOUND')
    try {
      const stats = await file.stat()
      if (stats.isDirectory() && (await this.has(`${pathname}/`))) redirectInto(pathname, query, response)
      else if (stats.isFile()) await sendFile(path, file, stats, request, response)
      else replyError(response, 404, 'HTTP_NOT_FOUND')
    } finally {
      await file.close()
    }
  }

  /** The real path of the file that a URL path names, if it lies inside the directory. */
  async #locate(pathname: string): Promise<string | undefined> {
    let decoded: string
    try {
      decoded = decodeURIComponent(pathname)
    } catch {
      return undefined
    }
    if (!decoded.startsWith('/') || /[\0\\]/.test(decoded)) return undefined
    // Names that begin with a dot are not pages: `..`, `.git`, `.env`.
    if (decoded.split('/').some((segment) => segment.startsWith('.'))) return undefined
    const name = decoded.endsWith('/') ? `${decoded}index.html` : decoded
    try {
      const root = await realpath(this.#directory)
      const path = await realpath(join(root, name))
      return path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`) ? path : undefined
    } catch (error) {
      if (NOT_THERE.has(errorCode(error))) return undefined
      throw error
    }
  }
}

const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG', 'EISDIR'])

async function openFile(path: string): Promise<FileHandle | undefined> {
  try {
    // Not blocking, so that a pipe that lies there cannot hold us.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (NOT_THERE.has(errorCode(error))) return undefined
    throw error
  }
}

/** Where a page's own links start from. Named by its last segment: a path that begins with two slashes would name a host. */
function redirectInto(pathname: string, query: string, response: ServerResponse): void {
  const name = pathname.slice(pathname.lastIndexOf('/') + 1)
  response.writeHead(301, { Location: `./${name}/${query === '' ? '' : `?${query}`}`, 'Content-Length': 0 })
  response.end()
}

async function sendFile(
  path: string,
  file: FileHandle,
  { size, mtimeMs }: Stats,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const modified = new Date(Math.floor(mtimeMs / 1000) * 1000)
  const etag = `"${size.toString(36)}-${Math.floor(mtimeMs).toString(36)}"`
  const headers: Record<string, string | number> = {
    'Content-Type': mediaTypeOf(path),
    'Cache-Control': HASHED_NAME.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache',
    'X-Content-Type-Options': 'nosniff',
    'Accept-Ranges': 'bytes',
    'Last-Modified': modified.toUTCString(),
    ETag: etag,
  }
  if (isOtherVersion(request, etag, modified)) {
    return replyError(response, 412, 'HTTP_PRECONDITION_FAILED')
  }
  if (isNotModified(request, etag, modified)) {
    response.writeHead(304, headers).end()
    return
  }
  const range = requestedRange(request, etag, modified, size)
  if (range === 'outside') {
    return replyError(response, 416, 'HTTP_RANGE_NOT_SATISFIABLE', {
      'Content-Range': `bytes */${size}`,
    })
  }
  const { start, end } = range ?? { start: 0, end: size - 1 }
  headers['Content-Length'] = end - start + 1
  if (range !== undefined) headers['Content-Range'] = `bytes ${start}-${end}/${size}`
  response.writeHead(range === undefined ? 200 : 206, headers)
  if (request.method === 'HEAD' || size === 0) {
    response.end()
    return
  }
  try {
    await pipeline(file.createReadStream({ start, end, autoClose: false }), response)
  } catch (error) {
    // The reader left; nobody waits for the rest.
    if (errorCode(error) !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  }
}

/** RFC 9110 §13.2.2: If-Match goes before If-Unmodified-Since. */
function isOtherVersion({ headers }: IncomingMessage, etag: string, modified: Date): boolean {
  const match = headers['if-match']
  // Compared strongly, so that a weak tag matches nothing.
  if (match !== undefined) return !match.split(',').some((tag) => tag.trim() === '*' || tag.trim() === etag)
  const since = Date.parse(headers['if-unmodified-since'] ?? '')
  return !Number.isNaN(since) && modified.getTime() > since
}

/** RFC 9110 §13.2.2: If-None-Match goes before If-Modified-Since. */
function isNotModified({ headers }: IncomingMessage, etag: string, modified: Date): boolean {
  const noneMatch = headers['if-none-match']
  if (noneMatch !== undefined) {
    return noneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag)
  }
  const since = Date.parse(headers['if-modified-since'] ?? '')
  return !Number.isNaN(since) && modified.getTime() <= since
}

/** One range of bytes; several, and what is not a range, give the whole file (RFC 9110 §14.2). */
function requestedRange(
  { headers, method }: IncomingMessage,
  etag: string,
  modified: Date,
  size: number,
): Range | 'outside' | undefined {
  if (method !== 'GET') return undefined
  const ifRange = headers['if-range']?.toString()
  if (ifRange !== undefined && ifRange !== etag && ifRange !== modified.toUTCString()) return undefined
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(headers.range ?? '')
  if (!match) return undefined
  const [, first = '', last = ''] = match
  if (first === '' && last === '') return undefined
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (first !== '' && last !== '' && Number(last) < start) return undefined
  return start >= size || (first === '' && Number(last) === 0) ? 'outside' : { start, end }
}
