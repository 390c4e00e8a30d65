/**
 * Runs one scenario with the native engine as a process of its own, whose end is what a test looks at. Its argument is the
 * scenario's name. Says what it has to say on standard output.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { ALL_THREADS, type Datapath, DROP_REASONS, type Endpoint } from '../contract.ts'
import { until } from '../udp-peer.testkit.ts'
import { type Addon, type EngineHandle, loadAddon } from './addon.ts'
import { NativeDatapath, type NativeEngineOptions } from './native-datapath.ts'
import { Outbox } from './outbox.ts'

const loaded = loadAddon()
if (!('addon' in loaded)) throw new Error(loaded.reason)
const { addon } = loaded
const handles: EngineHandle[] = []
/** Notes the names of engines, for what no engine lets others do. */
const noting: Addon = {
  ...addon,
  open(options, ring) {
    const handle = addon.open(options, ring)
    handles.push(handle)
    return handle
  },
}

async function start(options: NativeEngineOptions = {}): Promise<Datapath> {
  const engine = new NativeDatapath(noting, options)
  await engine.start()
  return engine
}

/** Two endpoints that send to each other for ever, and hand over some of it. */
async function perpetuum(engine: Datapath): Promise<Endpoint> {
  let arrivals = 0
  const options = { addresses: ['127.0.0.1'], port: 0, threads: ALL_THREADS }
  const [one, two] = [
    await engine.openEndpoint(options, () => {}),
    await engine.openEndpoint(options, () => {
      arrivals++
    }),
  ]
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    engine.addFlow({
      kind: 'forward',
      from: { endpoint: from.id, remote: { address: '127.0.0.1', port: to.port } },
      to: { endpoint: from.id, remote: { address: '127.0.0.1', port: to.port } },
      copyStunRequests: true,
    })
  }
  for (let count = 0; count < 50; count++) {
    engine.send(one.id, { address: '127.0.0.1', port: two.port }, Buffer.alloc(100, Buffer.from([0, 1])))
  }
  await until(() => engine.totals().forwarded.packets > 10_000 && arrivals > 100, 'the traffic')
  return one
}

function crash(): void {
  addon.crash(handles[0] ?? 0)
}

const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  async unclosed() {
    const engine = await start({ threads: 2 })
    await perpetuum(engine)
  },

  async 'unclosed and idle'() {
    const engine = await start({ threads: 'auto' })
    await engine.openEndpoint({ addresses: ['0.0.0.0'], port: 0 }, () => {})
  },

  async 'exit under traffic'() {
    await perpetuum(await start({ threads: 2 }))
    process.exit(7)
  },

  async 'exit in a receiver'() {
    const engine = await start()
    const edge = await engine.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => process.exit(7))
    engine.send(edge.id, { address: '127.0.0.1', port: edge.port }, Buffer.from('x'))
    await until(() => false, 'the end')
  },

  async 'close under traffic'() {
    const engine = await start({ threads: 2 })
    await perpetuum(engine)
    await engine.close()
    console.log('closed')
  },

  async panic() {
    await perpetuum(await start())
    crash()
    await until(() => false, 'the end')
  },

  async 'panic while arrivals wait'() {
    const engine = await start()
    const edge = await engine.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {})
    const handle = handles[0] ?? 0
    const outbox = new Outbox((datagrams, length) => addon.send(handle, datagrams, length))
    outbox.add(edge.id, { address: '127.0.0.1', port: edge.port }, Buffer.from('x'), {})
    // JavaScript does not turn, so that what was handed over still waits when the thread dies.
    outbox.flush()
    const totals = new Float64Array(200)
    const receivedAt = 4 + DROP_REASONS.length + 7
    while (totals[receivedAt] === 0) addon.readTotals(handle, totals)
    crash()
    while (addon.failure(handles[0] ?? 0) === undefined);
    await until(() => false, 'the end')
  },

  async 'panic with onDeath'() {
    const deaths: unknown[] = []
    const engine = await start({ threads: 2, onDeath: (error) => deaths.push(error) })
    const endpoint = await perpetuum(engine)
    crash()
    await until(() => deaths.length > 0, 'the death')
    // All that can be asked of it can still be asked.
    engine.send(endpoint.id, { address: '127.0.0.1', port: 9 }, Buffer.from('x'))
    await engine.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {})
    engine.closeEndpoint(endpoint.id)
    await engine.close()
    console.log(`${deaths.length} ${(deaths[0] as { code: string }).code} ${engine.totals().endpoints}`)
  },

  async 'no descriptors left'() {
    const engine = await start({ threads: 3 })
    const options = { addresses: ['127.0.0.1'], port: 0, threads: ALL_THREADS }
    const opened: Endpoint[] = []
    let failure: { code?: string } = {}
    while (failure.code === undefined) {
      try {
        opened.push(await engine.openEndpoint(options, () => {}))
      } catch (error) {
        failure = error as { code?: string }
      }
    }
    console.log(`${failure.code} after some: ${opened.length > 5}`)
    const last = opened.at(-1) as Endpoint
    engine.closeEndpoint(last.id)
    // The very same fits again, so nothing of the one that failed has stayed.
    const again = await engine.openEndpoint({ ...options, port: last.port }, () => {})
    engine.send(again.id, { address: '127.0.0.1', port: last.port }, Buffer.from('x'))
    await until(() => engine.totals().delivered.packets === 1, 'the datagram')
    console.log(`${engine.totals().endpoints === opened.length}`)
    await engine.close()
  },

  async workers() {
    const engine = await start()
    await perpetuum(engine)
    const inWorker = async (scenario: string): Promise<Worker> => {
      // `--import tsx` does nothing in worker threads.
      const [api, own] = [import.meta.resolve('tsx/esm/api'), import.meta.url].map((url) =>
        JSON.stringify(url),
      )
      const code = `import(${api}).then(({ register }) => { register(); return import(${own}) })`
      const worker = new Worker(code, { eval: true, argv: [scenario] })
      await once(worker, 'message')
      return worker
    }
    for (let round = 0; round < 3; round++) {
      const workers = await Promise.all([inWorker('in a worker'), inWorker('in a worker')])
      await Promise.all(workers.map(async (worker) => await worker.terminate()))
    }
    const dying = await inWorker('panic in a worker')
    const [death] = (await once(dying, 'error')) as [{ code: string }]
    const leaving = await inWorker('leaving a worker')
    await once(leaving, 'exit')
    // Those of the others have ended, this one has not.
    const before = engine.totals().forwarded.packets
    await until(() => engine.totals().forwarded.packets > before + 1000, 'the traffic')
    console.log(death.code)
    await engine.close()
  },

  async 'in a worker'() {
    await perpetuum(await start({ threads: 2 }))
    await say('running')
    await until(() => false, 'the end', 60_000)
  },

  async 'panic in a worker'() {
    await perpetuum(await start())
    await say('running')
    crash()
    await until(() => false, 'the end', 60_000)
  },

  async 'leaving a worker'() {
    await perpetuum(await start())
    await say('running')
  },
}

async function say(text: string): Promise<void> {
  const { parentPort } = await import('node:worker_threads')
  parentPort?.postMessage(text)
}

await scenarios[process.argv[2] ?? '']?.()
