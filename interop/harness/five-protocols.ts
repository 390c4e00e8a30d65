import type { SessionInfo } from '../../src/foundation/session-info.ts'
import type { Gateway } from './gateway.ts'
import { iceOffer } from './ice-client.ts'
import { Program } from './program.ts'
import { type Tap, tapRtmp, tapSrt } from './taps.ts'
import { until } from './until.ts'

/** A session as the admin API shows it. */
export type ShownSession = Omit<SessionInfo, 'sinceMs'> & { readonly since: string }

/** What somebody comes with. */
export interface Attempt {
  /** `app/stream`. */
  readonly path: string
  /** Behind the `?` of a URL, or as keys of an SRT stream id. */
  readonly query?: string
  /** Where a protocol has headers; elsewhere it is `token` of the query. */
  readonly bearer?: string | undefined
}

/** What came of it, and a session if it was let in. */
export interface Outcome extends AsyncDisposable {
  /** `allowed`, or what was said: a status of HTTP, the code of RTMP, the reason of SRT. */
  readonly verdict: string
  /** Resolves when the far end has ended it. */
  ended(): Promise<unknown>
  /** What the program has written, or the body of a refusal. */
  readonly output: string
}

/** One way into the gateway, by a real client of it. */
export interface Way {
  readonly name: string
  readonly protocol: SessionInfo['protocol']
  readonly role: SessionInfo['role']
  begin(gateway: Gateway, attempt: Attempt): Promise<Outcome>
}

const quiet = ['-hide_banner', '-nostdin', '-loglevel', 'error']

/** All of them. `samples` are files to publish, in FLV and in MPEG-TS. */
export function waysOf(samples: { readonly flv: string; readonly ts: string }): readonly Way[] {
  return [
    webrtcWay('WHIP', 'publish', (path) => `/${path}/whip`),
    webrtcWay('WHEP', 'play', (path) => `/${path}/whep`),
    jsonWay('JSON publish', 'publish'),
    jsonWay('JSON play', 'play'),
    rtmpWay('RTMP publish', 'publish', (url) => [
      ...['-re', '-stream_loop', '-1', '-i', samples.flv, '-c', 'copy', '-f', 'flv', url],
    ]),
    rtmpWay('RTMP play', 'play', (url) => ['-i', url, '-c', 'copy', '-f', 'null', '-']),
    httpWay('HTTP-FLV', 'http', 'flv'),
    httpWay('HLS', 'hls', 'm3u8'),
    srtWay('SRT publish', 'publish', (url, streamId) => [
      'ffmpeg',
      ...quiet,
      ...['-re', '-stream_loop', '-1', '-i', samples.ts, '-c', 'copy', '-f', 'mpegts'],
      ...['-srt_streamid', streamId, `${url}?mode=caller&pkt_size=1316`],
    ]),
    srtWay('SRT play', 'play', (url, streamId) => [
      // It writes to its standard output, which is a shell's to redirect.
      ...['sh', '-c', 'exec srt-live-transmit -v -a:no "$0" file://con > /dev/null'],
      `${url}?mode=caller&streamid=${streamId}`,
    ]),
  ]
}

/** Sessions of a gateway. */
export async function sessionsOf(gateway: Gateway): Promise<readonly ShownSession[]> {
  const response = await fetch(`http://127.0.0.1:${gateway.ports.admin}/api/v1/sessions`)
  return ((await response.json()) as { readonly sessions: readonly ShownSession[] }).sessions
}

/** Signals by fetch; nothing connects, so no media flows. */
function webrtcWay(name: string, role: Way['role'], pathOf: (path: string) => string): Way {
  const protocol = 'webrtc'
  return {
    ...{ name, protocol, role },
    begin: async (gateway, attempt) => {
      const response = await fetch(gateway.url + pathOf(attempt.path) + queryOf(attempt), {
        method: 'POST',
        headers: { 'content-type': 'application/sdp', ...bearerOf(attempt) },
        body: iceOffer('some', role === 'publish' ? 'sendonly' : 'recvonly'),
      })
      const output = await response.text()
      const location = response.headers.get('location')
      const isIn = response.status === 201 && location !== null
      return {
        verdict: isIn ? 'allowed' : String(response.status),
        output: isIn ? '' : output,
        ended: () => gone(gateway, { protocol, role }, attempt),
        [Symbol.asyncDispose]: async () => {
          if (isIn) await fetch(new URL(location, response.url), { method: 'DELETE' })
        },
      }
    },
  }
}

/** The older signalling of SRS, which answers 200 and has its code in the body. */
function jsonWay(name: string, role: Way['role']): Way {
  const protocol = 'webrtc'
  return {
    ...{ name, protocol, role },
    begin: async (gateway, attempt) => {
      const response = await fetch(`${gateway.url}/rtc/v1/${role}/`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...bearerOf(attempt) },
        body: JSON.stringify({
          streamurl: `webrtc://127.0.0.1:${gateway.ports.http}/${attempt.path}${queryOf(attempt)}`,
          sdp: iceOffer('some', role === 'publish' ? 'sendonly' : 'recvonly'),
        }),
      })
      const output = await response.text()
      const { code } = JSON.parse(output) as { readonly code: number }
      return {
        verdict: code === 0 ? 'allowed' : String(code),
        output: code === 0 ? '' : output,
        ended: () => gone(gateway, { protocol, role }, attempt),
        [Symbol.asyncDispose]: async () => {
          if (code === 0) await kick(gateway, { protocol, role }, attempt)
        },
      }
    },
  }
}

function rtmpWay(name: string, role: Way['role'], argsOf: (url: string) => readonly string[]): Way {
  return {
    ...{ name, protocol: 'rtmp', role },
    begin: async (gateway, attempt) => {
      const known = await idsOf(gateway)
      const tap = await tapRtmp(gateway.ports.rtmp)
      const { query = '', bearer, path } = attempt
      const whole = queryOf({ path, query: join(query, bearer === undefined ? '' : `token=${bearer}`) })
      const program = new Program('ffmpeg', [
        ...quiet,
        ...argsOf(`rtmp://127.0.0.1:${tap.port}/${path}${whole}`),
      ])
      return await outcomeOf(gateway, { protocol: 'rtmp', role }, attempt, known, program, tap)
    },
  }
}

function httpWay(name: string, protocol: 'http' | 'hls', extension: string): Way {
  const role = 'play'
  return {
    ...{ name, protocol, role },
    begin: async (gateway, attempt) => {
      const abort = new AbortController()
      const response = await fetch(`${gateway.url}/${attempt.path}.${extension}${queryOf(attempt)}`, {
        headers: bearerOf(attempt),
        signal: abort.signal,
      })
      const isIn = response.status === 200
      const output = isIn ? '' : await response.text()
      const isLive = isIn && protocol === 'http'
      const read = isLive ? readToEnd(response) : undefined
      return {
        verdict: isIn ? 'allowed' : String(response.status),
        output,
        ended: () => read ?? gone(gateway, { protocol, role }, attempt),
        [Symbol.asyncDispose]: async () => {
          abort.abort()
          if (!isIn || isLive) return
          // A session of HLS is over when nobody asks for long, or an operator says so.
          await kick(gateway, { protocol, role }, attempt)
        },
      }
    },
  }
}

function srtWay(
  name: string,
  role: Way['role'],
  commandOf: (url: string, streamId: string) => readonly string[],
): Way {
  return {
    ...{ name, protocol: 'srt', role },
    begin: async (gateway, attempt) => {
      const known = await idsOf(gateway)
      const tap = await tapSrt(gateway.ports.srt)
      const { query = '', bearer, path } = attempt
      const keys = join(query, bearer === undefined ? '' : `token=${bearer}`).replaceAll('&', ',')
      const mode = role === 'publish' ? 'publish' : 'request'
      const streamId = `#!::${[`r=${path}`, `m=${mode}`, keys].filter((part) => part !== '').join()}`
      const [command = '', ...args] = commandOf(`srt://127.0.0.1:${tap.port}`, streamId)
      const program = new Program(command, args)
      return await outcomeOf(gateway, { protocol: 'srt', role }, attempt, known, program, tap)
    },
  }
}

async function idsOf(gateway: Gateway): Promise<ReadonlySet<string>> {
  return new Set((await sessionsOf(gateway)).map(({ id }) => id))
}

/** Of a program that goes on while it is let in, and ends with a word of the protocol when it is not. */
async function outcomeOf(
  gateway: Gateway,
  kind: Pick<Way, 'protocol' | 'role'>,
  attempt: Attempt,
  known: ReadonlySet<string>,
  program: Program,
  tap: Tap,
): Promise<Outcome> {
  const dispose = async (): Promise<void> => {
    await program.stop()
    await tap[Symbol.asyncDispose]()
  }
  try {
    const verdict = await until(
      `an answer to ${kind.protocol} ${kind.role} of ${attempt.path}`,
      async () => {
        const sessions = await sessionsFor(gateway, kind, attempt)
        if (sessions.some(({ id }) => !known.has(id))) return 'allowed'
        // srt-live-transmit shows a rejection, and at times waits on all the same.
        if (kind.protocol === 'srt' && tap.said !== '') return tap.said
        return program.isRunning ? undefined : tap.said || `nothing: ${program.output}`
      },
      { deadlineMs: 30_000 },
    )
    return {
      verdict,
      get output() {
        return program.output
      },
      ended: () => program.ended,
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await dispose()
    throw new Error(`${String(error)}\n${program.output}`, { cause: error })
  }
}

/** Sessions for what was attempted. */
async function sessionsFor(
  gateway: Gateway,
  { protocol, role }: Pick<Way, 'protocol' | 'role'>,
  { path }: Attempt,
): Promise<readonly ShownSession[]> {
  const sessions = await sessionsOf(gateway)
  return sessions.filter(
    (session) =>
      session.protocol === protocol && session.role === role && session.streamKey.endsWith(`/${path}`),
  )
}

async function kick(gateway: Gateway, kind: Pick<Way, 'protocol' | 'role'>, attempt: Attempt): Promise<void> {
  for (const { id } of await sessionsFor(gateway, kind, attempt)) {
    await fetch(`http://127.0.0.1:${gateway.ports.admin}/api/v1/sessions/${id}`, { method: 'DELETE' })
  }
}

async function gone(gateway: Gateway, kind: Pick<Way, 'protocol' | 'role'>, attempt: Attempt): Promise<void> {
  await until(
    'the session to be gone',
    async () => (await sessionsFor(gateway, kind, attempt)).length === 0,
    { deadlineMs: 60_000 },
  )
}

async function readToEnd(response: Response): Promise<void> {
  const reader = response.body?.getReader()
  try {
    for (;;) {
      const read = await reader?.read()
      if (read?.done !== false) return
    }
  } catch {
    // Cut, by either side.
  }
}

function bearerOf({ bearer }: Attempt): Record<string, string> {
  return bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
}

function queryOf({ query = '' }: Pick<Attempt, 'path' | 'query'>): string {
  return query === '' ? '' : `?${query}`
}

function join(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('&')
}
