import { request, type Dispatcher } from 'undici'
import { z } from 'zod'
import type { OriginKind } from '../../../mechanisms/balancer/index.ts'
import { originFailed } from './errors.ts'

/** Where a stream is, in the words of its origin. */
export interface StreamPlace {
  readonly vhost: string
  readonly app: string
  readonly stream: string
}

/** An HTTP API that lists what is published at an origin. */
export interface PublishedSource {
  /** Without a slash at its end, and without user and password. */
  readonly base: string
  /** The Authorization header that it wants. */
  readonly authorization: string | undefined
  readonly api: 'srs' | 'mediamtx'
}

/** Most streams of one origin that are looked at. */
const MAX_STREAMS = 10_000
const PAGE = 1000

/** Undefined when a server of this kind lists nothing, or the text is no URL. */
export function publishedSourceOf(kind: OriginKind, url: string): PublishedSource | undefined {
  if ((kind !== 'srs' && kind !== 'mediamtx') || !/^https?:/.test(url) || !URL.canParse(url)) return undefined
  const { origin, pathname, username, password } = new URL(url)
  const base = `${origin}${pathname.replace(/\/$/, '')}`
  return { base, authorization: basicAuthorization(username, password), api: kind }
}

function basicAuthorization(username: string, password: string): string | undefined {
  if (username === '' && password === '') return undefined
  const bytes = `${unescaped(username)}:${unescaped(password)}`
  return `Basic ${Buffer.from(bytes).toString('base64')}`
}

/** URL leaves an escape that is none as it is. */
function unescaped(text: string): string {
  return text.replace(/(?:%[\da-f]{2})+/gi, (escapes) =>
    Buffer.from(escapes.replaceAll('%', ''), 'hex').toString(),
  )
}

/** What is published there now. Rejects when it does not answer as it should. */
export async function publishedStreams(
  source: PublishedSource,
  dispatcher: Dispatcher,
  signal: AbortSignal,
): Promise<readonly StreamPlace[]> {
  const { page, read } = APIS[source.api]
  const places: StreamPlace[] = []
  for (let from = 0; from < MAX_STREAMS; from += PAGE) {
    const answer = await json(source, page(from), dispatcher, signal)
    const { count, live } = read(answer)
    places.push(...live)
    if (count < PAGE) break
  }
  return places
}

interface ListApi {
  /** Path and query of the page that begins there. */
  readonly page: (from: number) => string
  readonly read: (answer: unknown) => { readonly count: number; readonly live: readonly StreamPlace[] }
}

const DEFAULT_VHOST = '__defaultVhost__'

const srsSchema = z.object({
  streams: z.array(
    z.object({
      name: z.string(),
      app: z.string(),
      /** `vhost/app/stream`, without the vhost where that is the default one. Older ones have none. */
      url: z.string().optional(),
      publish: z.object({ active: z.boolean() }).optional(),
    }),
  ),
})

const mediamtxSchema = z.object({
  // `online` is the newer word: a path may be ready without anybody who publishes.
  items: z.array(
    z.object({ name: z.string(), online: z.boolean().optional(), ready: z.boolean().optional() }),
  ),
})

const APIS: Readonly<Record<PublishedSource['api'], ListApi>> = {
  srs: {
    // It lists 10 unless told otherwise.
    page: (from) => `/api/v1/streams?start=${from}&count=${PAGE}`,
    read: (answer) => {
      const { streams } = srsSchema.parse(answer)
      const live = streams
        .filter(({ publish }) => publish?.active === true)
        .map(({ name, app, url = '' }) => ({ vhost: url.split('/')[0] || DEFAULT_VHOST, app, stream: name }))
      return { count: streams.length, live }
    },
  },
  mediamtx: {
    page: (from) => `/v3/paths/list?itemsPerPage=${PAGE}&page=${from / PAGE}`,
    read: (answer) => {
      const { items } = mediamtxSchema.parse(answer)
      const live = items
        .filter(({ online, ready }) => online ?? ready ?? false)
        .map(({ name }) => placeOfPath(name))
      return { count: items.length, live }
    },
  },
}

function placeOfPath(path: string): StreamPlace {
  const slash = path.lastIndexOf('/')
  return { vhost: DEFAULT_VHOST, app: path.slice(0, Math.max(0, slash)), stream: path.slice(slash + 1) }
}

async function json(
  { base, authorization }: PublishedSource,
  path: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
): Promise<unknown> {
  const { statusCode, body } = await request(`${base}${path}`, {
    dispatcher,
    signal,
    ...(authorization !== undefined && { headers: { authorization } }),
  })
  if (statusCode === 200) return await body.json()
  await body.dump({ limit: 65_536, signal })
  throw originFailed('ORIGINS_LIST_REFUSED', `status ${statusCode}`)
}
