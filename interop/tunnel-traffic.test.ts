import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from './harness/until.ts'
import { sendBulk } from './tunnel/bulk.ts'
import { hasRealFrp, type Make } from './tunnel/frp-program.ts'
import { LocalServices } from './tunnel/local-services.ts'
import { Pair } from './tunnel/pair.ts'
import { connectThrough, digestTcp, echoTcp } from './tunnel/probes.ts'
import { heldBytes, openDescriptors, tellingMemory } from './tunnel/process-state.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'
import { closeAll, listenLocally, portOf } from './tunnel/server-port.ts'

let services: LocalServices

beforeAll(async () => {
  services = await LocalServices.start()
})

afterAll(async () => {
  await services[Symbol.asyncDispose]()
})

describe.each([
  { mux: true, tls: true },
  { mux: false, tls: false },
])('short connections, mux $mux', (way) => {
  test('10,000 of them leave no error in a log, no descriptor and no memory', async () => {
    const [bindPort = 0, remotePort = 0] = await freePorts(2)
    await using pair = await Pair.start({
      bindPort,
      ...way,
      env: tellingMemory,
      proxies: [{ name: 'tcp', type: 'tcp', localPort: services.echo, remotePort }],
    })
    const programs = [pair.frps.program, pair.frpc.program]
    // The first ones compile code and fill pools.
    await churn(remotePort, 2_000)
    const descriptors = programs.map(({ pid }) => openDescriptors(pid))
    const held = await Promise.all(programs.map(heldBytes))

    await churn(remotePort, 10_000)

    for (const [index, program] of programs.entries()) {
      await until(
        'descriptors are given back',
        () => openDescriptors(program.pid) <= (descriptors[index] ?? 0) + 5,
      )
      // A connection that stayed would hold a kilobyte at least, 10 MB together.
      expect((await heldBytes(program)) - (held[index] ?? 0)).toBeLessThan(3_000_000)
    }
    for (const { output } of [pair.frps, pair.frpc]) expect(output).not.toMatch(/ \[[EW]\] /)
  }, 120_000)
})

/** So many connections, some at a time, each with a question and an answer. */
async function churn(port: number, count: number): Promise<void> {
  const lanes = 40
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (let index = 0; index < count / lanes; index++) await echoTcp(port, 1000)
    }),
  )
}

const ways = [true, false].flatMap((mux) => [true, false].map((tls) => ({ mux, tls })))

describe.each(ways)('the ends of a connection, mux $mux, tls $tls', (way) => {
  test('each direction ends by itself, and a reset is a reset, through every type of stream', async () => {
    await using listening = await OddServices.start()
    const [bindPort = 0, tcp = 0, connectPort = 0, stcp = 0, greet = 0, silent = 0, resets = 0] =
      await freePorts(7)
    await using _pair = await Pair.start({
      bindPort,
      ...way,
      serverMore: { tcpmuxHTTPConnectPort: connectPort },
      proxies: [
        { name: 'tcp', type: 'tcp', localPort: services.digest, remotePort: tcp },
        {
          name: 'mux',
          type: 'tcpmux',
          localPort: services.digest,
          customDomains: ['mux.test'],
          multiplexer: 'httpconnect',
        },
        { name: 'stcp', type: 'stcp', localPort: services.digest, secretKey: 'between us' },
        { name: 'greet', type: 'tcp', localPort: listening.greeter, remotePort: greet },
        { name: 'silent', type: 'tcp', localPort: listening.silent, remotePort: silent },
        { name: 'resets', type: 'tcp', localPort: listening.resetter, remotePort: resets },
      ],
      visitors: [{ name: 'v', type: 'stcp', serverName: 'stcp', secretKey: 'between us', bindPort: stcp }],
    })

    // The user ends first, and the service answers what it read up to there.
    const throughConnect = await connectThrough(connectPort, 'mux.test:80')
    for (const sending of [
      digestTcp(tcp, 2_000_000),
      digestTcp(stcp, 2_000_000),
      digestTcp(0, 2_000_000, throughConnect),
    ]) {
      const { answer, right } = await sending
      expect(answer).toBe(right)
    }

    // The service ends first, and goes on to read.
    const user = connect({ port: greet, host: '127.0.0.1', allowHalfOpen: true })
    expect(await wordFrom(user)).toBe('welcome')
    await sendBulk(user, 4)
    await until('the service has read it all', () => listening.greeterBytes === 4 * 1024 * 1024)

    // The user resets.
    const resetting = connect(silent, '127.0.0.1')
    await once(resetting, 'connect')
    resetting.write('x')
    const service = await until('the service is connected', () => listening.silentSockets.at(-1))
    const reset = once(service, 'error')
    resetting.resetAndDestroy()
    expect(await reset).toMatchObject([{ code: 'ECONNRESET' }])

    // The service resets.
    const victim = connect(resets, '127.0.0.1')
    victim.write('x')
    expect(await once(victim, 'error')).toMatchObject([{ code: 'ECONNRESET' }])
  }, 60_000)
})

/** All that is said up to the peer's end; this side goes on. */
async function wordFrom(socket: Socket): Promise<string> {
  let word = ''
  socket.on('data', (bytes) => {
    word += bytes.toString()
  })
  await once(socket, 'end')
  return word
}

const pairs: { server: Make; client: Make }[] = [
  { server: 'sluice', client: 'sluice' },
  { server: 'sluice', client: 'frp' },
  { server: 'frp', client: 'sluice' },
]

describe.each(pairs)('limits of bandwidth, frps of $server, frpc of $client', ({ server, client }) => {
  const isReal = server === 'frp' || client === 'frp'

  test.skipIf(isReal && !hasRealFrp)(
    '50 KB there and back take their time, and whoever hangs up leaves nothing behind',
    async () => {
      await using listening = await OddServices.start()
      // frp's own server leaks at its side of the limit (reference §29); with it only the client's side is of interest.
      const modes = server === 'frp' ? (['client'] as const) : (['client', 'server'] as const)
      const [bindPort = 0, ...ports] = await freePorts(1 + 2 * modes.length)
      const limited = modes.map((bandwidthLimitMode, index) => ({
        transport: { bandwidthLimit: '10KB', bandwidthLimitMode },
        echoPort: ports[2 * index] ?? 0,
        silentPort: ports[2 * index + 1] ?? 0,
        name: bandwidthLimitMode,
      }))
      await using _pair = await Pair.start({
        server,
        client,
        bindPort,
        proxies: limited.flatMap(({ name, transport, echoPort, silentPort }) => [
          { name: `echo-${name}`, type: 'tcp', localPort: services.echo, remotePort: echoPort, transport },
          {
            name: `silent-${name}`,
            type: 'tcp',
            localPort: listening.silent,
            remotePort: silentPort,
            transport,
          },
        ]),
      })

      await Promise.all(
        limited.map(async ({ echoPort }) => {
          const sinceMs = performance.now()
          await echoTcp(echoPort, 50 * 1024)
          expect(performance.now() - sinceMs).toBeGreaterThan(8_000)
        }),
      )
      for (const { silentPort } of limited) {
        const user = connect(silentPort, '127.0.0.1')
        const known = listening.silentSockets.length
        user.write('x')
        const service = await until('the service is connected', () => listening.silentSockets[known])
        const ended = once(service, 'close', { signal: AbortSignal.timeout(3_000) })
        user.destroy()
        await ended
      }
    },
    60_000,
  )
})

/** Services that end connections in other ways than an echo does. */
class OddServices implements AsyncDisposable {
  greeterBytes = 0
  readonly silentSockets: Socket[] = []
  readonly #servers: readonly Server[]

  static async start(): Promise<OddServices> {
    const services = new OddServices()
    for (const server of services.#servers) await listenLocally(server)
    return services
  }

  private constructor() {
    const greeter = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', ignore)
      socket.on('data', (bytes) => {
        this.greeterBytes += bytes.length
      })
      socket.end('welcome')
    })
    const silent = createServer((socket) => {
      socket.on('error', ignore)
      socket.resume()
      this.silentSockets.push(socket)
    })
    const resetter = createServer((socket) => {
      socket.on('error', ignore)
      socket.once('data', () => socket.resetAndDestroy())
    })
    this.#servers = [greeter, silent, resetter]
  }

  /** Says a word, ends its side and reads on. */
  get greeter(): number {
    return portOf(this.#servers[0])
  }

  /** Reads, and says nothing; ends when the peer does. */
  get silent(): number {
    return portOf(this.#servers[1])
  }

  /** Resets at the first byte. */
  get resetter(): number {
    return portOf(this.#servers[2])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.silentSockets) socket.destroy()
    await closeAll(this.#servers)
  }
}

function ignore(): void {}
