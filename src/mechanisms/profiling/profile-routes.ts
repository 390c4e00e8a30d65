import type { ApiReply, ApiRequest, ApiRoute } from '../http-api/index.ts'
import { profilingError } from './errors.ts'
import type { Profiler } from './profiler.ts'

/** Longest profile, in seconds. */
const MAX_SECONDS = 300

/**
 * The paths of Go's `net/http/pprof`, so that `go tool pprof http://host/debug/pprof/profile` and its kin work on this
 * process. What Go has and JavaScript has not (`block`, `mutex`) is an empty profile.
 */
export function profileRoutes(profiler: Profiler): readonly ApiRoute[] {
  const route = (
    name: string,
    handle: (request: ApiRequest) => Promise<ApiReply> | ApiReply,
    isLong = false,
  ): ApiRoute => ({
    method: 'GET',
    path: `/debug/pprof/${name}`,
    handle,
    ...(isLong && { replyWithinMs: (MAX_SECONDS + 60) * 1000 }),
  })
  return [
    route('', () => ({ text: index })),
    route(
      'profile',
      async (request) => pprof('profile', await profiler.cpu(seconds(request, 30), request.signal)),
      true,
    ),
    route('heap', async () => pprof('heap', await profiler.heap())),
    route(
      'allocs',
      async (request) => pprof('allocs', await profiler.allocations(seconds(request, 30), request.signal)),
      true,
    ),
    route('goroutine', (request) => counted(profiler, request, 'goroutine', profiler.tasks())),
    route('threadcreate', async (request) =>
      counted(profiler, request, 'threadcreate', await profiler.threads()),
    ),
    route('block', (request) => counted(profiler, request, 'contentions', new Map())),
    route('mutex', (request) => counted(profiler, request, 'contentions', new Map())),
    route(
      'trace',
      async (request) => ({
        text: await profiler.trace(seconds(request, 1), request.signal),
        contentType: 'application/json',
      }),
      true,
    ),
    // Not the arguments, among which a token may be.
    route('cmdline', () => ({ text: process.argv.slice(0, 2).join('\0') })),
    // Names are in the profiles; nobody has addresses to look up.
    route('symbol', () => ({ text: 'num_symbols: 0\n' })),
  ]
}

const index = `/debug/pprof/

profile       CPU time of the next ?seconds=30
heap          what lives in the heap
allocs        what is allocated in the next ?seconds=30
goroutine     what the event loop waits for, by kind (?debug=1: as text)
threadcreate  threads by name (?debug=1: as text)
trace         events of V8 and Node in the next ?seconds=1, for Perfetto
block, mutex  empty: there are no locks
cmdline       the program, without its arguments
`

function pprof(name: string, body: Buffer): ApiReply {
  return { body, contentType: 'application/octet-stream', fileName: `${name}.pb.gz` }
}

function counted(
  profiler: Profiler,
  { query }: ApiRequest,
  type: string,
  counts: ReadonlyMap<string, number>,
): ApiReply {
  if ((query.get('debug') ?? '0') === '0') return pprof(type, profiler.counted(type, counts))
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const lines = [...counts].map(([name, count]) => `${count} ${name}\n`)
  return { text: `${type} profile: total ${total}\n${lines.join('')}` }
}

function seconds({ query }: ApiRequest, otherwise: number): number {
  const text = query.get('seconds')
  if (text === null) return otherwise
  const value = Number(text)
  if (text.trim() !== '' && value > 0 && value <= MAX_SECONDS) return value
  throw profilingError('PROFILING_BAD_QUERY', `seconds must be more than 0 and at most ${MAX_SECONDS}`, 400)
}
