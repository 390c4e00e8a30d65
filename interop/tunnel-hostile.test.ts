import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeMessage, helloFrame, V2_MAGIC } from '../src/protocols/frp/index.ts'
import { until } from './harness/until.ts'
import { FrpProgram, hasRealFrp, type Make, startFrps } from './tunnel/frp-program.ts'
import { startClient } from './tunnel/in-process.ts'
import { LocalServices } from './tunnel/local-services.ts'
import { LongEcho } from './tunnel/long-echo.ts'
import { frpcText, frpsText, Pair } from './tunnel/pair.ts'
import { askHttp, echoTcp } from './tunnel/probes.ts'
import { heldBytes, residentBytes, tellingMemory } from './tunnel/process-state.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'
import { RawClient } from './tunnel/raw-client.ts'
import { listenLocally, portOf } from './tunnel/server-port.ts'

const token = 'a token of the tests'
/** What the attacks of one kind may make the server hold, in bytes. */
const mostGrowth = 100_000_000

let services: LocalServices

beforeAll(async () => {
  services = await LocalServices.start()
})

afterAll(async () => {
  await services[Symbol.asyncDispose]()
})

/**
 * Resolves when it is under way; what it then does goes on until it is aborted, and `over` when it has stopped. From other
 * addresses than those of honest clients.
 */
type Attack = (port: number, signal: AbortSignal) => Promise<{ readonly over: Promise<void> }>

const attacks: Record<string, Attack> = {
  'random bytes': (port, signal) => manyTimes(port, signal, () => [randomBytes(4096)]),
  'half logins': (port, signal) =>
    manyTimes(port, signal, () => {
      const login = encodeMessage('v1', 'Login', { version: '0.70.1', hostname: 'half' })
      const hello = Buffer.concat([V2_MAGIC, helloFrame('client', Buffer.from('{"bootstrap":{}}'))])
      const stream = Buffer.from('000100010000000100000000', 'hex')
      return [
        login.subarray(0, 30),
        hello.subarray(0, 20),
        Buffer.concat([stream, yamuxData(login.subarray(0, 30))]),
      ]
    }),
  'oversized messages': (port, signal) =>
    manyTimes(port, signal, () => [
      v1Message('o', 0x7fff_ffff, Buffer.alloc(20_000, 'a')),
      v1Message('o', 10_241, Buffer.alloc(10_241, ' ')),
      Buffer.concat([V2_MAGIC, Buffer.from('0001000040000000', 'hex'), Buffer.alloc(20_000)]),
      yamuxFrame(0, 1, 1, 0x7fff_ffff, Buffer.alloc(20_000)),
    ]),
  'unknown types': (port, signal) =>
    manyTimes(port, signal, () => [
      v1Message('Z', 2, Buffer.from('{}')),
      v1Message('v', 2, Buffer.from('{}')),
      Buffer.concat([V2_MAGIC, Buffer.from('001000000000000403e77b7d', 'hex')]),
      yamuxFrame(9, 0, 0, 0, Buffer.alloc(0)),
    ]),
  'wrong lengths': (port, signal) =>
    manyTimes(port, signal, () => [
      v1Message('o', -1, Buffer.from('{}')),
      v1Message('o', 1, Buffer.from('{"version":"0.70.1"}')),
      v1Message('o', 10_000, Buffer.from('{}')),
      Buffer.concat([V2_MAGIC, Buffer.from('0010000000000001ff', 'hex')]),
      Buffer.concat([
        Buffer.from('000100010000000100000000', 'hex'),
        yamuxFrame(0, 1, 0, 300_000, Buffer.alloc(300_000)),
      ]),
    ]),
  '3,000 silent connections': async (port, signal) => {
    const sockets = await Promise.all(
      Array.from({ length: 3_000 }, async (_, index) => {
        const socket = connect({ port, host: '127.0.0.1', localAddress: `127.3.0.${1 + (index % 30)}` })
        await settled(socket)
        return socket
      }),
    )
    const over = once(signal, 'abort').then(() => {
      for (const socket of sockets) socket.destroy()
    })
    return { over }
  },
  'a flood of NewProxy': (port, signal) =>
    asLoop(signal, async () => {
      using client = await RawClient.connect(port, '127.4.0.1')
      await client.login(token)
      for (let index = 0; index < 20_000 && !client.isClosed && !signal.aborted; index++) {
        const metas = { much: 'x'.repeat(5000) }
        const isTaken = client.send('NewProxy', {
          proxy_name: `p${index}`,
          proxy_type: 'stcp',
          sk: 'k',
          metas,
        })
        if (!isTaken)
          await until('read', () => client.socket.writableLength === 0 || client.isClosed, { everyMs: 1 })
      }
    }),
  'a flood of work connections': (port, signal) =>
    asLoop(signal, async () => {
      using client = await RawClient.connect(port, '127.5.0.1')
      await client.login(token)
      const { run_id } = await client.answer('LoginResp')
      for (let index = 0; index < 200 && !signal.aborted; index++) {
        const work = await RawClient.connect(port, '127.5.0.2')
        work.send('NewWorkConn', { run_id })
        work.send('NewWorkConn', { run_id })
      }
    }),
}

describe.each(Object.entries(attacks))('during %s', (_name, attack) => {
  test('an honest client logs in and is served within 2 s, and those who are there notice nothing', async () => {
    const [bindPort = 0, remotePort = 0, newPort = 0] = await freePorts(3)
    const proxy = (name: string, port: number): object => ({
      name,
      type: 'tcp',
      localPort: services.echo,
      remotePort: port,
    })
    await using pair = await Pair.start({ bindPort, env: tellingMemory, proxies: [proxy('tcp', remotePort)] })
    using echo = await LongEcho.start(remotePort)
    const before = await heldBytes(pair.frps.program)
    const stop = new AbortController()
    const { over } = await attack(bindPort, stop.signal)
    try {
      await echo.goesOn(10)
      for (let time = 0; time < 2; time++) {
        const sinceMs = performance.now()
        await using _client = await startClient(
          JSON.parse(frpcText({ bindPort, proxies: [proxy('new', newPort)] })) as object,
          randomBytes,
        )
        await until(
          'served',
          async () => {
            await echoTcp(newPort, 1000)
            return true
          },
          { everyMs: 20 },
        )
        expect(performance.now() - sinceMs).toBeLessThan(2_000)
      }
      await echo.goesOn(10)
      expect((await heldBytes(pair.frps.program)) - before).toBeLessThan(mostGrowth)
    } finally {
      stop.abort()
      await over
    }
    expect(pair.frps.program.isRunning).toBe(true)
  }, 60_000)
})

describe.each([true, false])('with mux %s', (mux) => {
  test('who does not read what is sent fast costs a bounded memory, and delays nobody', async () => {
    const source = createServer((socket) => {
      socket.on('error', () => undefined)
      const block = Buffer.alloc(262_144)
      const fill = (): void => {
        while (socket.write(block));
      }
      socket.on('drain', fill)
      fill()
    })
    await listenLocally(source)
    const users: Socket[] = []
    try {
      const [bindPort = 0, fast = 0, echo = 0] = await freePorts(3)
      await using pair = await Pair.start({
        bindPort,
        mux,
        proxies: [
          { name: 'fast', type: 'tcp', localPort: portOf(source), remotePort: fast },
          { name: 'echo', type: 'tcp', localPort: services.echo, remotePort: echo },
        ],
      })
      const pids = [pair.frps.program.pid, pair.frpc.program.pid]
      await echoTcp(echo, 1000)
      const before = pids.map(residentBytes)
      for (let index = 0; index < 32; index++) {
        const user = connect(fast, '127.0.0.1')
        users.push(user)
        // It reads a first byte, and no more.
        await once(user, 'readable', { signal: AbortSignal.timeout(10_000) })
      }
      for (let time = 0; time < 5; time++) {
        const sinceMs = performance.now()
        await echoTcp(echo, 1000)
        expect(performance.now() - sinceMs).toBeLessThan(2_000)
      }
      for (const [index, pid] of pids.entries()) {
        expect(residentBytes(pid) - (before[index] ?? 0)).toBeLessThan(mostGrowth)
      }
    } finally {
      for (const user of users) user.destroy()
      source.close()
    }
  }, 60_000)
})

const clients: Make[] = ['sluice', 'frp']

describe.each(clients)('what a frpc of %s is told', (client) => {
  test.skipIf(client === 'frp' && !hasRealFrp)(
    'a name twice, a port that is taken and one that is forbidden are refused in the words of frp',
    async () => {
      const taken = createServer()
      const [bindPort = 0, own = 0, foreign = 0, forbidden = 0] = await freePorts(4)
      taken.listen(foreign)
      await once(taken, 'listening')
      try {
        const allowPorts = [{ single: own }, { single: foreign }]
        await using _frps = await startFrps(
          'sluice',
          frpsText({ bindPort, serverMore: { allowPorts, maxPortsPerClient: 2 } }),
        )
        const proxy = (name: string, remotePort: number, type = 'tcp'): object => ({
          name,
          type,
          localPort: services.echo,
          remotePort,
        })
        await using first = new FrpProgram(
          'frpc',
          client,
          frpcText({ bindPort, proxies: [proxy('mine', own)] }),
        )
        await first.said('start proxy success')
        const proxies = [
          proxy('mine', own, 'udp'),
          proxy('other', own),
          proxy('foreign', foreign),
          proxy('forbidden', forbidden),
          { name: 'web', type: 'http', localPort: 1, customDomains: ['web.test'] },
        ]
        await using second = new FrpProgram('frpc', client, frpcText({ bindPort, proxies }))
        for (const [name, words] of [
          ['mine', 'proxy [mine] already exists'],
          ['other', 'port already used'],
          ['foreign', 'port unavailable'],
          ['forbidden', 'port not allowed'],
          ['web', 'type [http] not supported when vhost http port is not set'],
        ] as const) {
          await second.program.line(
            (line) => (line.includes(`[${name}]`) && line.includes(words)) || undefined,
          )
        }
        const many = [1, 2, 3].map((index) => proxy(`many-${index}`, own))
        await using third = new FrpProgram('frpc', client, frpcText({ bindPort, proxies: many }))
        await third.said('port already used')
        await using wrong = new FrpProgram(
          'frpc',
          client,
          frpcText({ bindPort, clientMore: { auth: { token: 'x' } }, proxies: [] }),
        )
        await wrong.said("token in login doesn't match token from configuration")
        expect((await wrong.program.ended).code).toBe(1)
      } finally {
        taken.close()
      }
    },
    60_000,
  )
})

test('a backend that is dead is a 502, a host that nobody has a 404, and a dead service of tcp a closed connection', async () => {
  const [bindPort = 0, http = 0, dead = 0, tcp = 0] = await freePorts(4)
  await using _pair = await Pair.start({
    bindPort,
    serverMore: { vhostHTTPPort: http },
    proxies: [
      { name: 'dead', type: 'http', localPort: dead, customDomains: ['dead.test'] },
      { name: 'alive', type: 'http', localPort: services.http, customDomains: ['alive.test'] },
      { name: 'tcp', type: 'tcp', localPort: dead, remotePort: tcp },
    ],
  })
  expect((await askHttp(http, 'dead.test')).status).toBe(502)
  expect((await askHttp(http, 'nobody.test')).status).toBe(404)
  expect((await askHttp(http, 'alive.test')).status).toBe(200)
  const user = connect(tcp, '127.0.0.1')
  user.on('error', () => undefined)
  user.resume()
  await until('closed', () => user.closed)
})

async function asLoop(
  signal: AbortSignal,
  round: () => Promise<void>,
): Promise<{ readonly over: Promise<void> }> {
  const loop = async (): Promise<void> => {
    while (!signal.aborted) await round()
  }
  return { over: loop() }
}

/** Connections with each of these beginnings, again and again, some at a time. */
async function manyTimes(
  port: number,
  signal: AbortSignal,
  beginnings: () => readonly Buffer[],
): Promise<{ readonly over: Promise<void> }> {
  const lane = async (index: number): Promise<void> => {
    for (let round = 0; !signal.aborted; round++) {
      const sockets = beginnings().map((beginning) => {
        const socket = connect({ port, host: '127.0.0.1', localAddress: `127.2.0.${index + 1}` })
        socket.resume()
        socket.write(beginning)
        return socket
      })
      await Promise.all(sockets.map(settled))
      // Those whom the server does not send away stay, every other time.
      if (round % 2 === 0) for (const socket of sockets) socket.destroy()
    }
  }
  return { over: Promise.all(Array.from({ length: 20 }, (_, index) => lane(index))).then(() => undefined) }
}

/** Connected or refused; its errors are of no interest. */
function settled(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('error', () => undefined)
    socket.once('connect', resolve)
    socket.once('close', () => resolve())
  })
}

function v1Message(type: string, length: number, content: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.write(type)
  head.writeBigInt64BE(BigInt(length), 1)
  return Buffer.concat([head, content])
}

function yamuxData(content: Buffer): Buffer {
  return yamuxFrame(0, 1, 0, content.length, content)
}

function yamuxFrame(type: number, stream: number, flags: number, length: number, content: Buffer): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt8(type, 1)
  head.writeUInt16BE(flags, 2)
  head.writeUInt32BE(stream, 4)
  head.writeUInt32BE(length, 8)
  return Buffer.concat([head, content])
}
