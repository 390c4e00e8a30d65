import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { freePort } from '../../../foundation/free-port.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import type { HealthCheckConfig } from '../../../mechanisms/frp-config/index.ts'
import { createLogger } from '../../../mechanisms/telemetry/index.ts'
import { HealthCheck } from './health-check.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

describe('a health check', () => {
  it('calls a service healthy at its first success, and once', async () => {
    const port = await listen(createServer((socket) => socket.end()))
    const { events, clock } = watch(port, { type: 'tcp' })
    await eventually(() => expect(events).toEqual(['healthy']))
    await eventually(() => expect(clock.dueInMs).toBe(10_000))
    clock.advance(10_000)
    await eventually(() => expect(clock.dueInMs).toBe(10_000))
    expect(events).toEqual(['healthy'])
  })

  it('a service that never was healthy is not called ill', async () => {
    const port = await freePort()
    const { events, lines, clock } = watch(port, { type: 'tcp' })
    await eventually(() => expect(lines).toHaveLength(1))
    expect(lines[0]).toMatchObject({
      level: 'warn',
      proxy: 'web',
      reason: expect.stringContaining('ECONNREFUSED'),
    })
    await eventually(() => expect(clock.pending).toBe(1))
    expect(events).toEqual([])
  })

  it('a success forgets the failures before it; only maxFailed on end make a service ill', async () => {
    const answers = [200, 500, 500, 200, 500, 500, 200, 500, 500, 500, 500, 200]
    let asked = 0
    const port = await listen(
      createHttpServer((_, response) => response.writeHead(answers[asked++] ?? 200).end('x')),
    )
    const { events, clock, lines } = watch(port, { type: 'http', maxFailed: 3 })
    for (let i = 1; i <= answers.length; i++) {
      // Due so late only after the check: while it runs, its own deadline comes first.
      await eventually(() => expect([asked, clock.dueInMs]).toEqual([i, 10_000]))
      if (i === 9) expect(events).toEqual(['healthy'])
      if (i === 10) expect(events).toEqual(['healthy', 'ill'])
      if (i < answers.length) clock.advance(10_000)
    }
    expect(events).toEqual(['healthy', 'ill', 'healthy'])
    const changes = lines.filter(({ level }) => level === 'info').map(({ msg, proxy }) => [msg, proxy])
    expect(changes).toEqual([
      ['health check success', 'web'],
      ['health check failed', 'web'],
      ['health check success', 'web'],
    ])
  })

  it('http asks for the path with its headers, and the Host among them', async () => {
    const seen: IncomingMessage[] = []
    const port = await listenHttp((request, response) => {
      seen.push(request)
      response.end()
    })
    const httpHeaders = [
      { name: 'Host', value: 'inner.example' },
      { name: 'X-Probe', value: 'first' },
      { name: 'x-probe', value: 'last' },
    ]
    const { events } = watch(port, { type: 'http', path: 'health?full=1', httpHeaders })
    await eventually(() => expect(events).toEqual(['healthy']))
    expect(seen[0]?.url).toBe('/health?full=1')
    expect(seen[0]?.headers).toMatchObject({ host: 'inner.example', 'x-probe': 'last' })
  })

  it('http follows redirects, a bounded number of them', async () => {
    const port = await listenHttp(({ url }, response) => {
      if (url === '/there') response.end('ok')
      else response.writeHead(302, { Location: url === '/once' ? '/there' : '/round' }).end()
    })
    const good = watch(port, { type: 'http', path: '/once' })
    await eventually(() => expect(good.events).toEqual(['healthy']))
    const round = watch(port, { type: 'http', path: '/round' })
    await eventually(() => expect(round.lines[0]).toMatchObject({ level: 'warn' }))
    expect(round.events).toEqual([])
  })

  it('a service that does not answer in time has failed', async () => {
    const asked = vi.fn()
    const port = await listenHttp((_, response) => {
      asked()
      response.write('begun')
    })
    const { lines, clock } = watch(port, { type: 'http' })
    await eventually(() => expect(asked).toHaveBeenCalled())
    clock.advance(2999)
    expect(lines).toEqual([])
    clock.advance(1)
    await eventually(() => expect(lines[0]).toMatchObject({ reason: 'no answer within 3 s' }))
    await eventually(() => expect(clock.pending).toBe(1))
  })

  it('stopped, it tells nobody anything and leaves no timer', async () => {
    const asked = vi.fn()
    const port = await listenHttp((request) => {
      asked()
      request.socket.on('close', asked)
    })
    const { events, lines, clock, check } = watch(port, { type: 'http' })
    await eventually(() => expect(asked).toHaveBeenCalledTimes(1))
    check.stop()
    await eventually(() => expect(asked).toHaveBeenCalledTimes(2))
    await eventually(() => expect(clock.pending).toBe(0))
    expect([events, lines]).toEqual([[], []])
    check.stop()
  })

  it('may be stopped by whoever it tells', async () => {
    const port = await listenHttp((_, response) => response.end())
    const clock = new ManualClock()
    const onHealthy = vi.fn(() => check.stop())
    const check = new HealthCheck({ ...optionsOf(port, { type: 'http' }), clock, onHealthy })
    check.start()
    await eventually(() => expect(onHealthy).toHaveBeenCalled())
    expect(clock.pending).toBe(0)
  })
})

interface Line {
  readonly level: string
  readonly msg: string
  readonly proxy?: string
  readonly reason?: string
}

function watch(
  port: number,
  config: Partial<HealthCheckConfig>,
): {
  readonly check: HealthCheck
  readonly events: readonly string[]
  readonly lines: readonly Line[]
  readonly clock: ManualClock
} {
  const clock = new ManualClock()
  const events: string[] = []
  const lines: Line[] = []
  const check = new HealthCheck({
    ...optionsOf(port, config),
    log: createLogger({ stream: { write: (line) => lines.push(JSON.parse(line) as Line) } }),
    clock,
    onHealthy: () => events.push('healthy'),
    onUnhealthy: () => events.push('ill'),
  })
  closers.push(() => check.stop())
  check.start()
  return { check, events, lines, clock }
}

function optionsOf(
  port: number,
  config: Partial<HealthCheckConfig>,
): ConstructorParameters<typeof HealthCheck>[0] {
  return {
    config: {
      type: 'tcp',
      timeoutSeconds: 3,
      maxFailed: 1,
      intervalSeconds: 10,
      path: '/',
      httpHeaders: [],
      ...config,
    },
    host: '127.0.0.1',
    port,
    proxyName: 'web',
    log: createLogger({ stream: { write: () => {} } }),
    clock: new ManualClock(),
    onHealthy: () => {},
    onUnhealthy: () => {},
  }
}

function listenHttp(listener: RequestListener): Promise<number> {
  const server = createHttpServer(listener)
  closers.push(() => server.closeAllConnections())
  return listen(server)
}

function listen(server: Server): Promise<number> {
  closers.push(() => server.close())
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
}
