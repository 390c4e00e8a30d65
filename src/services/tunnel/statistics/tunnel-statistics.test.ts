import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { createLogger } from '../../../mechanisms/telemetry/index.ts'
import type { ClientView, ProxyView } from './contract.ts'
import { TunnelStatistics, type TunnelStatisticsOptions } from './tunnel-statistics.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** 2026-03-27 22:00 in Berlin; in the night of the 29th the clocks are put forward. */
const START_MS = Date.UTC(2026, 2, 27, 21)

let timeZone: string | undefined
beforeAll(() => {
  timeZone = process.env['TZ']
  process.env['TZ'] = 'Europe/Berlin'
})
afterAll(() => {
  if (timeZone === undefined) delete process.env['TZ']
  else process.env['TZ'] = timeZone
})

let folder = ''
let clock = new ManualClock()
let warnings: string[] = []
const opened: TunnelStatistics[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'statistics-'))
  clock = new ManualClock(START_MS)
  warnings = []
})
afterEach(async () => {
  for (const statistics of opened.splice(0)) await statistics.close()
  rmSync(folder, { recursive: true })
})

describe('traffic', () => {
  it('of an open connection counts while it flows, in its proxy and in all', async () => {
    const statistics = await open()
    const counter = { bytesIn: 0, bytesOut: 0 }
    const close = statistics.proxyOnline(proxy('a')).open(counter)
    counter.bytesIn = 10
    counter.bytesOut = 20
    expect(statistics.proxy('a')).toMatchObject({ todayIn: 10, todayOut: 20, totalIn: 10, connections: 1 })
    counter.bytesIn = 15
    expect(statistics.server()).toMatchObject({ todayIn: 15, todayOut: 20, connections: 1 })
    counter.bytesOut = 21
    close()
    close()
    expect(statistics.proxy('a')).toMatchObject({ todayIn: 15, todayOut: 21, connections: 0 })
    expect(statistics.server()).toMatchObject({ todayIn: 15, todayOut: 21, connections: 0 })
  })

  it('of datagrams counts by their payload', async () => {
    const statistics = await open()
    const traffic = statistics.proxyOnline(proxy('a', { type: 'udp' }))
    traffic.addIn(3)
    traffic.addIn(4)
    traffic.addOut(5)
    expect(statistics.traffic('a')).toEqual({ in: [7, 0, 0, 0, 0, 0, 0], out: [5, 0, 0, 0, 0, 0, 0] })
  })

  it('belongs to the local day on which it passed, also over a night with 23 hours', async () => {
    // So that no minute ends at midnight.
    clock.advance(30_000)
    const statistics = await open()
    const counter = { bytesIn: 0, bytesOut: 0 }
    statistics.proxyOnline(proxy('a')).open(counter)
    clock.advance(2 * HOUR_MS - 40_000)
    counter.bytesIn = 1
    clock.advance(10_000)
    // The 28th, 0:00.
    counter.bytesIn += 10
    clock.advance(DAY_MS)
    // The 29th, 0:00; it ends 23 hours later.
    counter.bytesIn += 100
    clock.advance(23 * HOUR_MS)
    counter.bytesIn += 1000
    expect(statistics.traffic('a')?.in).toEqual([1000, 100, 10, 1, 0, 0, 0])
    clock.advance(5 * DAY_MS)
    expect(statistics.traffic('a')?.in).toEqual([0, 0, 0, 0, 0, 1000, 100])
    clock.advance(30 * DAY_MS)
    expect(statistics.traffic('a')?.in).toEqual([0, 0, 0, 0, 0, 0, 0])
    expect(statistics.proxy('a')).toMatchObject({ todayIn: 0, totalIn: 1111 })
  })

  it('of a proxy that is gone still counts, in all', async () => {
    const statistics = await open()
    const counter = { bytesIn: 0, bytesOut: 0 }
    const close = statistics.proxyOnline(proxy('a')).open(counter)
    statistics.proxyOffline('a')
    statistics.forgetOfflineProxies()
    counter.bytesIn = 5
    close()
    expect(statistics.server()).toMatchObject({ todayIn: 5, connections: 0 })
    expect(statistics.traffic('a')).toBeUndefined()
  })
})

describe('proxies', () => {
  it('keep their history when they return', async () => {
    const statistics = await open()
    statistics.proxyOnline(proxy('a')).addIn(7)
    clock.advance(1000)
    statistics.proxyOffline('a')
    expect(statistics.proxy('a')).toMatchObject({ current: undefined, closedAtMs: START_MS + 1000 })
    const again = proxy('a', { startedAtMs: START_MS + 2000, clientId: 'other', runId: 'r2' })
    statistics.proxyOnline(again).addIn(1)
    expect(statistics.proxy('a')).toMatchObject({
      current: again,
      todayIn: 8,
      clientId: 'other',
      startedAtMs: START_MS + 2000,
      closedAtMs: START_MS + 1000,
    })
  })

  it('of another type with the same name begin anew', async () => {
    const statistics = await open()
    statistics.proxyOnline(proxy('a')).addIn(7)
    statistics.proxyOffline('a')
    statistics.proxyOnline(proxy('a', { type: 'http' }))
    expect(statistics.proxy('a')).toMatchObject({ type: 'http', todayIn: 0, closedAtMs: undefined })
    expect(statistics.proxies('tcp')).toEqual([])
    expect(statistics.server()).toMatchObject({ proxiesByType: { tcp: 0, http: 1 }, todayIn: 7 })
  })

  it('go by the run id where the client has no other', async () => {
    const statistics = await open()
    statistics.proxyOnline(proxy('a', { clientId: '', runId: 'r1' }))
    expect(statistics.proxy('a')?.clientId).toBe('r1')
  })

  it('are forgotten after seven days offline, or when somebody asks for it', async () => {
    const statistics = await open()
    for (const name of ['a', 'b', 'c']) statistics.proxyOnline(proxy(name))
    statistics.proxyOffline('a')
    clock.advance(6 * DAY_MS)
    statistics.proxyOffline('b')
    clock.advance(DAY_MS + MINUTE_MS)
    expect(statistics.proxies().map(({ name }) => name)).toEqual(['b', 'c'])
    expect(statistics.forgetOfflineProxies()).toEqual({ cleared: 1, total: 2 })
    expect(statistics.proxies().map(({ name }) => name)).toEqual(['c'])
  })

  it('that are offline are few, and none with a very long name', async () => {
    const statistics = await open({ maxOffline: 2 })
    for (const name of ['a', 'b', 'c', 'x'.repeat(600)]) {
      statistics.proxyOnline(proxy(name))
      statistics.proxyOffline(name)
    }
    expect(statistics.proxies().map(({ name }) => name)).toEqual(['b', 'c'])
    expect(statistics.server().proxiesByType).toEqual({ tcp: 0 })
  })

  it('that another client takes over count once', async () => {
    const statistics = await open()
    statistics.proxyOnline(proxy('a'))
    clock.advance(1000)
    statistics.proxyOnline(proxy('a', { runId: 'r2' }))
    expect(statistics.server().proxiesByType).toEqual({ tcp: 1 })
    expect(statistics.proxy('a')?.closedAtMs).toBe(START_MS + 1000)
    statistics.proxyOffline('a')
    statistics.proxyOffline('a')
    statistics.proxyOffline('never')
    expect(statistics.server().proxiesByType).toEqual({ tcp: 0 })
  })
})

describe('clients', () => {
  it('with a client id are known by it, and remembered', async () => {
    const statistics = await open()
    statistics.clientOnline(client({ user: 'ann', clientId: 'desk', runId: 'r1' }))
    expect(statistics.client('ann.desk')).toMatchObject({ runId: 'r1', firstConnectedAtMs: START_MS })
    clock.advance(1000)
    statistics.clientOffline('r1')
    expect(statistics.client('ann.desk')).toMatchObject({ runId: '', disconnectedAtMs: START_MS + 1000 })
    statistics.clientOnline(
      client({ user: 'ann', clientId: 'desk', runId: 'r2', connectedAtMs: START_MS + 2000 }),
    )
    expect(statistics.clients()).toMatchObject([
      {
        runId: 'r2',
        firstConnectedAtMs: START_MS,
        lastConnectedAtMs: START_MS + 2000,
        disconnectedAtMs: undefined,
      },
    ])
    expect(statistics.server().clients).toBe(1)
  })

  it('without one are known by the run id, and forgotten', async () => {
    const statistics = await open()
    statistics.clientOnline(client({ user: 'ann', runId: 'r1' }))
    statistics.clientOnline(client({ user: '', runId: 'r2' }))
    expect(statistics.clients().map(({ key }) => key)).toEqual(['ann.r1', 'r2'])
    statistics.clientOffline('r1')
    statistics.clientOffline('r1')
    expect(statistics.clients().map(({ key }) => key)).toEqual(['r2'])
  })

  it('that replace one another leave one', async () => {
    const statistics = await open()
    statistics.clientOnline(client({ clientId: 'desk', runId: 'r1' }))
    statistics.clientOnline(client({ clientId: 'desk', runId: 'r2' }))
    statistics.clientOffline('r1')
    expect(statistics.client('desk')).toMatchObject({ runId: 'r2' })
    expect(statistics.server().clients).toBe(1)
    statistics.clientOnline(client({ clientId: 'lap', runId: 'r2' }))
    expect(statistics.client('desk')).toMatchObject({ runId: '' })
    expect(statistics.server().clients).toBe(1)
  })

  it('that are offline are few, and none with very long texts', async () => {
    const statistics = await open({ maxOffline: 2 })
    for (const clientId of ['a', 'b', 'c']) {
      statistics.clientOnline(client({ clientId, runId: clientId }))
      statistics.clientOffline(clientId)
    }
    statistics.clientOnline(client({ clientId: 'd', runId: 'd', hostname: 'x'.repeat(600) }))
    statistics.clientOffline('d')
    expect(statistics.clients().map(({ key }) => key)).toEqual(['b', 'c'])
  })
})

describe('the file', () => {
  const file = (): string => join(folder, 'deep', 'statistics.json')

  it('keeps days, proxies and clients over a restart', async () => {
    const before = await open({ file: file() })
    before.clientOnline(client({ user: 'ann', clientId: 'desk', runId: 'r1' }))
    before.proxyOnline(proxy('a')).addIn(7)
    before.proxyOffline('a')
    before.proxyOnline(proxy('a'))
    before.proxyOnline(proxy('b')).addOut(9)
    before.proxyOffline('b')
    clock.advance(DAY_MS)
    await before.close()

    const after = await open({ file: file() })
    expect(after.traffic('a')?.in).toEqual([0, 7, 0, 0, 0, 0, 0])
    expect(after.traffic('b')?.out).toEqual([0, 9, 0, 0, 0, 0, 0])
    expect(after.proxy('a')).toMatchObject({ current: undefined, closedAtMs: START_MS + DAY_MS })
    expect(after.proxy('b')).toMatchObject({ closedAtMs: START_MS, user: 'ann', totalOut: 0 })
    expect(after.client('ann.desk')).toMatchObject({ runId: '', disconnectedAtMs: START_MS + DAY_MS })
    after.proxyOnline(proxy('a')).addIn(1)
    expect(after.traffic('a')?.in).toEqual([1, 7, 0, 0, 0, 0, 0])
    expect(after.server()).toMatchObject({ todayIn: 1, clients: 0, proxiesByType: { tcp: 1 } })
    expect(warnings).toEqual([])
  })

  it('is written every minute, and as a whole', async () => {
    const statistics = await open({ file: file() })
    statistics.proxyOnline(proxy('a')).addIn(7)
    clock.advance(MINUTE_MS)
    await eventually(() => expect(readFileSync(file(), 'utf8')).toContain('"in":[7,'))
    await eventually(() => expect(readdirSync(join(folder, 'deep'))).toEqual(['statistics.json']))
  })

  it.each([
    ['no JSON', '{"version":1'],
    ['something else', '{"bindPort":7000}'],
    ['of another version', '{"version":2}'],
    ['with counts that are none', JSON.stringify({ ...empty(), totals: { in: [-1], out: [] } })],
    ['with texts that are none', JSON.stringify({ ...empty(), clients: [{ key: 1 }] })],
  ])('that is %s is put aside with a warning', async (_, text) => {
    const path = join(folder, 'statistics.json')
    writeFileSync(path, text)
    const statistics = await open({ file: path })
    statistics.proxyOnline(proxy('a')).addIn(7)
    await statistics.close()
    expect(warnings).toEqual(['statistics cannot be read, counting begins anew'])
    expect(readFileSync(`${path}.bad`, 'utf8')).toBe(text)
    expect(readFileSync(path, 'utf8')).toContain('"in":[7,')
  })

  it('that cannot be written is said once', async () => {
    const path = join(folder, 'in the way', 'statistics.json')
    writeFileSync(join(folder, 'in the way'), '')
    const statistics = await open({ file: path })
    await eventually(() => expect(clock.pending).toBe(1))
    clock.advance(MINUTE_MS)
    await eventually(() => expect(warnings).toHaveLength(2))
    await statistics.close()
    expect(warnings).toEqual([
      'statistics cannot be read, counting begins anew',
      'statistics cannot be saved',
    ])
  })

  it('is not there where none is named, and a closed book leaves no timer', async () => {
    const statistics = await open()
    clock.advance(10 * MINUTE_MS)
    await statistics.close()
    await statistics.close()
    expect(clock.pending).toBe(0)
    expect(readdirSync(folder)).toEqual([])
  })
})

async function open(options: Partial<TunnelStatisticsOptions> = {}): Promise<TunnelStatistics> {
  const log = createLogger({
    stream: { write: (line) => warnings.push((JSON.parse(line) as { readonly msg: string }).msg) },
  })
  const statistics = new TunnelStatistics({ file: '', log, clock, ...options })
  opened.push(statistics)
  await statistics.start()
  return statistics
}

function empty(): Record<string, unknown> {
  return { version: 1, savedAtMs: 0, day: 0, totals: { in: [], out: [] }, proxies: [], clients: [] }
}

function client(view: Partial<ClientView>): ClientView {
  return {
    runId: 'r1',
    user: '',
    clientId: '',
    version: '0.70.1',
    hostname: 'host',
    os: 'linux',
    arch: 'amd64',
    metas: {},
    wireVersion: 'v1',
    address: '192.0.2.1',
    connectedAtMs: START_MS,
    ...view,
  }
}

function proxy(name: string, view: Partial<ProxyView> = {}): ProxyView {
  return {
    name,
    type: 'tcp',
    user: 'ann',
    clientId: 'desk',
    runId: 'r1',
    // Not looked at by the books.
    request: {} as ProxyView['request'],
    remoteAddr: ':6000',
    startedAtMs: START_MS,
    ...view,
  }
}
