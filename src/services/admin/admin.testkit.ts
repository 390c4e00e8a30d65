import { Registry } from 'prom-client'
import { ManualClock } from '../../foundation/clock.ts'
import type { SessionDirectory, SessionInfo } from '../../foundation/session-info.ts'
import { MemoryBalancerStore, type OriginId, streamKeyOf } from '../../mechanisms/balancer/index.ts'
import { ask, type RawReply } from '../../mechanisms/http-api/raw-http.testkit.ts'
import { silentLogger } from '../../mechanisms/telemetry/index.ts'
import { AdminService, type AdminServiceOptions } from './admin-service.ts'

export const KEY = streamKeyOf('', 'live', 'café 1')
export const SESSION: SessionInfo = {
  id: 'abc/1',
  protocol: 'rtmp',
  role: 'publish',
  streamKey: KEY,
  originId: 's-v-1',
  sinceMs: Date.UTC(2026, 10, 21),
  bytesIn: 12,
  bytesOut: 34,
}

/** Opens services and closes them. */
export class AdminBench {
  readonly #opened: AdminService[] = []

  /** One origin, one session, and what the options say. */
  async open(options: Partial<AdminServiceOptions> = {}): Promise<OpenAdmin> {
    const opened = await openService(options)
    this.#opened.push(opened.service)
    return opened
  }

  async close(): Promise<void> {
    for (const service of this.#opened.splice(0)) await service.close()
  }
}

/** A service that listens, what it stands on, and ways to ask it. */
export interface OpenAdmin {
  readonly service: AdminService
  readonly store: MemoryBalancerStore
  readonly clock: ManualClock
  /** Of the origin. */
  readonly id: OriginId
  readonly call: (method: string, path: string, headers?: Record<string, string>) => Promise<RawReply>
  readonly put: (path: string, body: unknown) => Promise<RawReply>
  readonly post: (path: string, body: string) => Promise<RawReply>
}

async function openService(options: Partial<AdminServiceOptions>): Promise<OpenAdmin> {
  const clock = new ManualClock(Date.UTC(2026, 10, 21))
  const store = new MemoryBalancerStore({ clock })
  const id = await store.announce({
    ip: '127.0.0.1',
    server: 's',
    service: 'v',
    pid: '1',
    rtmp: [1935],
    http: [],
    api: [],
    srt: [],
    rtc: [],
  })
  const service = new AdminService({
    balancer: store,
    sessions: [directory(), directory(SESSION)],
    readiness: [],
    registry: new Registry(),
    logger: silentLogger(),
    version: '1.2.3',
    listen: { host: '127.0.0.1', port: 0 },
    clock,
    ...options,
  })
  await service.start()
  const call: OpenAdmin['call'] = (method, path, headers = {}) =>
    ask(service.address, method, path, { headers })
  const post: OpenAdmin['post'] = (path, body) => ask(service.address, 'POST', path, { body })
  const put: OpenAdmin['put'] = (path, body) =>
    ask(service.address, 'PUT', path, { body: typeof body === 'string' ? body : JSON.stringify(body) })
  return { service, store, clock, id, call, put, post }
}

function directory(...listed: SessionInfo[]): SessionDirectory {
  const sessions = [...listed]
  return {
    get sessionCount() {
      return sessions.length
    },
    listSessions: () => sessions,
    kickSession: (id) =>
      sessions
        .splice(0, sessions.length, ...sessions.filter((it) => it.id !== id))
        .some((it) => it.id === id),
  }
}
