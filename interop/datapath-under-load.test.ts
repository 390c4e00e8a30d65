import { monitorEventLoopDelay } from 'node:perf_hooks'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  COUNTER_STRIDE,
  createDatapath,
  type Datapath,
  type Endpoint,
  type FlowId,
} from '../src/mechanisms/datapath/index.ts'
import { Program } from './harness/program.ts'
import { repository } from './harness/repository.ts'
import { until } from './harness/until.ts'

const clients = 20

/** Established flows through the native engine, from clients to an origin that live in another process. */
describe('engine-native under load', () => {
  let engine: Datapath
  let edge: Endpoint
  let flows: readonly FlowId[]
  let traffic: Traffic

  beforeEach(async () => {
    engine = createDatapath({ engine: 'native' })
    await engine.start()
    edge = await engine.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {})
    const inner = await engine.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {})
    traffic = new Traffic()
    const ends = await traffic.ask<{ clients: number[]; origin: number }>({ open: clients })
    const to = { endpoint: inner.id, remote: { address: '127.0.0.1', port: ends.origin } }
    flows = ends.clients.map((port) =>
      engine.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: { address: '127.0.0.1', port } },
        to,
        copyStunRequests: true,
      }),
    )
  })

  afterEach(async () => {
    await traffic.close()
    await engine.close()
  })

  it('loses none of 20,000 datagrams per second of the known while strangers send 200,000', async () => {
    const junk = new Traffic()
    try {
      await junk.ask({ open: 16 })
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      const [flood, known] = await Promise.all([
        junk.ask<{ sent: number; seconds: number }>({ send: 600_000, rate: 200_000, to: edge.port }),
        traffic.ask<{ sent: number; seconds: number }>({ send: 50_000, rate: 20_000, to: edge.port }),
      ])
      delay.disable()
      const arrived = await arrivedOf(known.sent)
      const { delivered, dropped } = engine.totals()
      const perSecond = ({ sent, seconds }: { sent: number; seconds: number }) => Math.round(sent / seconds)
      console.log(
        `strangers ${perSecond(flood)}/s, known ${perSecond(known)}/s, ` +
          `event-loop delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, most ${(delay.max / 1e6).toFixed(1)} ms`,
      )
      expect(arrived).toBe(known.sent)
      expect(counted()).toEqual({ packets: known.sent, drops: 0 })
      // Strangers were handed over within their budget, dropped by the engine, or had no room in the kernel.
      expect(delivered.packets).toBeGreaterThan(0)
      expect(dropped.stranger).toBeGreaterThan(0)
      expect(delivered.packets + dropped.stranger).toBeLessThanOrEqual(flood.sent)
      expect(dropped).toMatchObject({ known: 0, queue: 0, error: 0 })
    } finally {
      await junk.close()
    }
  })

  it('loses nothing while JavaScript is blocked for five seconds', async () => {
    const sending = traffic.ask<{ sent: number }>({ send: 60_000, rate: 10_000, to: edge.port })
    await until('the first datagrams', () => counted().packets > 0, { everyMs: 5 })
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000)
    const { sent } = await sending
    expect(await arrivedOf(sent)).toBe(sent)
    expect(counted()).toEqual({ packets: sent, drops: 0 })
  })

  /** What the origin has got, when that is all or no more comes. */
  function arrivedOf(sent: number): Promise<number> {
    let last = -1
    return until('the last datagrams', async () => {
      const { arrived } = await traffic.ask<{ arrived: number }>({ arrived: true })
      const isAll = arrived === sent || arrived === last
      last = arrived
      return isAll ? arrived : undefined
    })
  }

  function counted(): { readonly packets: number; readonly drops: number } {
    const numbers = new Float64Array(flows.length * COUNTER_STRIDE)
    engine.readCounters(flows, numbers)
    const sum = (offset: number) =>
      numbers.reduce((all, number, index) => (index % COUNTER_STRIDE === offset ? all + number : all), 0)
    return { packets: sum(0), drops: sum(2) }
  }
})

/** The process of `traffic-process.ts`; commands are answered in order. */
class Traffic {
  readonly #program = new Program('node', ['--import', 'tsx', 'interop/harness/traffic-process.ts'], {
    cwd: repository,
  })
  #asked = 0

  async ask<T>(command: object): Promise<T> {
    const number = ++this.#asked
    this.#program.write(`${JSON.stringify(command)}\n`)
    let seen = 0
    return this.#program.line((line) => {
      // What is no answer is a warning of Node's.
      if (!line.startsWith('{') || ++seen < number) return undefined
      return JSON.parse(line) as T
    }, 60_000)
  }

  async close(): Promise<void> {
    this.#program.kill('SIGKILL')
    await this.#program.ended
  }
}
