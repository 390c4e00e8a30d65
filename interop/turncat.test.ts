import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificate, type TestCertificate } from '../src/mechanisms/net/certificate.testkit.ts'
import {
  admitAll,
  type CredentialSource,
  denyAll,
  type PeerPolicy,
  StaticUsers,
  TimeLimited,
  TurnServer,
} from '../src/services/turn/index.ts'
import { Program } from './harness/program.ts'
import { repository } from './harness/repository.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { type EchoPeer, openTcpEcho, openUdpEcho } from './turn/echo-peer.ts'

const main = join(repository, 'dist/cli/main.js')
const folder = temporaryFolder()
const caFile = join(folder.path, 'ca.pem')
const bulk = randomBytes(20_000_000)
let certificate: TestCertificate
let udpPeer: EchoPeer
let tcpPeer: EchoPeer

beforeAll(async () => {
  if (!existsSync(main)) throw new Error(`${main} is missing; \`node tools/prepare.mjs\` builds it`)
  // No address is in it, so that a client has to ask for the name.
  certificate = await makeCertificate(['turn.test'], [])
  writeFileSync(caFile, certificate.cert)
  udpPeer = await openUdpEcho()
  tcpPeer = await openTcpEcho()
})

afterAll(async () => {
  await udpPeer[Symbol.asyncDispose]()
  await tcpPeer[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

type Way = 'udp' | 'tcp' | 'tls' | 'dtls'

interface Settings {
  readonly credentials?: CredentialSource
  readonly peers?: PeerPolicy
  /** @defaultValue 0, no limit */
  readonly maxPerUser?: number
}

async function startServer(settings: Settings = {}): Promise<TurnServer> {
  const { credentials, peers = admitAll, maxPerUser = 0 } = settings
  const listen = { host: '127.0.0.1', port: 0 }
  const common = { listen, relays: [{ address: '127.0.0.1' }], peers }
  const server = new TurnServer({
    listeners: [
      { ...common, name: 'udp', transport: 'udp' },
      { ...common, name: 'tcp', transport: 'tcp' },
      { ...common, name: 'tls', transport: 'tls', certificate },
      { ...common, name: 'dtls', transport: 'dtls', certificate },
    ],
    credentials: credentials ?? new StaticUsers([{ username: 'user', password: 'pass' }]),
    limits: { maxPerUser },
  })
  await server.start()
  return server
}

function uriOf(server: TurnServer, way: Way, user = 'user:pass@'): string {
  return `turn://${user}127.0.0.1:${server.ports.get(way)}?transport=${way}`
}

function urlOf(peer: EchoPeer): string {
  return `${peer === udpPeer ? 'udp' : 'tcp'}://127.0.0.1:${peer.port}`
}

/** `sluice turncat - ...`. Its input stays open until `end`. */
class Cat {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #ended: Promise<{ code: number | null; out: Buffer; err: string }>

  constructor(server: string, peer: string, flags: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(process.execPath, [main, 'turncat', ...flags, '-', server, peer], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.child.stdin.on('error', () => undefined)
    this.#ended = this.#end()
  }

  write(input: string): void {
    this.child.stdin.write(input)
  }

  /** Ends the input with these bytes. */
  end(input: string | Uint8Array): this {
    this.child.stdin.end(input)
    return this
  }

  /** Its exit code, and all that it wrote. */
  async ended(deadlineMs = 15_000): Promise<{ code: number | null; out: Buffer; err: string }> {
    const late = setTimeout(() => this.child.kill('SIGKILL'), deadlineMs)
    try {
      return await this.#ended
    } finally {
      clearTimeout(late)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null) this.child.kill('SIGKILL')
    await this.#ended
  }

  async #end(): Promise<{ code: number | null; out: Buffer; err: string }> {
    const { child } = this
    const outputs = Promise.all([buffer(child.stdout).catch(() => Buffer.alloc(0)), text(child.stderr)])
    const [code] = (await once(child, 'close')) as [number | null]
    const [out, err] = await outputs
    return { code, out, err }
  }
}

/** Sends some words and gives what became of them. The peer may be silent for half a second. */
async function say(
  words: string,
  server: string,
  peer: string,
  flags: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number | null; out: string; err: string }> {
  await using cat = new Cat(server, peer, ['--wait', '0.5', ...flags], env)
  const { code, out, err } = await cat.end(words).ended()
  return { code, out: String(out), err }
}

/** How it ends when it could not do its work. */
function failure(line: string) {
  return { code: 1, out: '', err: `sluice: ${line}\n` }
}

function echoed(words: string) {
  return { code: 0, out: words, err: '' }
}

// Each has a server of its own, and they wait more than they compute.
describe.concurrent('from standard input to standard output', () => {
  test.each([
    ['udp', []],
    ['tcp', []],
    ['tls', ['--insecure']],
    ['dtls', ['--insecure']],
  ] as const)('an echo over %s', async (way, flags) => {
    await using server = await startServer()
    expect(await say('hello', uriOf(server, way), urlOf(udpPeer), flags)).toEqual(echoed('hello'))
    expect(server.allocationCount).toBe(0)
  })

  test('TLS verifies the name that --sni asks for, by the authorities of NODE_EXTRA_CA_CERTS', async () => {
    await using server = await startServer()
    const uri = uriOf(server, 'tls')
    const trusting = { NODE_EXTRA_CA_CERTS: caFile }
    const [good, otherName, stranger] = await Promise.all([
      say('hello', uri, urlOf(udpPeer), ['--sni', 'turn.test'], trusting),
      say('hello', uri, urlOf(udpPeer), ['--sni', 'other.test'], trusting),
      say('hello', uri, urlOf(udpPeer), ['--sni', 'turn.test']),
    ])
    expect(good).toEqual(echoed('hello'))
    const where = `TURNCAT_SERVER_UNREACHABLE: tls to 127.0.0.1:${server.ports.get('tls')} failed`
    expect(otherName).toMatchObject({ code: 1, err: expect.stringContaining(where) })
    expect(otherName.err).toContain('other.test')
    expect(stranger).toEqual(failure(`${where}: self-signed certificate`))
    expect(server.allocationCount).toBe(0)
  })

  test('a secret in the URI or in the environment makes time-limited credentials', async () => {
    await using server = await startServer({ credentials: new TimeLimited({ secrets: ['north'] }) })
    const environment = { SLUICE_TURN_SECRET: 'north' }
    const ends = await Promise.all([
      say('one', uriOf(server, 'udp', 'north@'), urlOf(udpPeer)),
      say('two', uriOf(server, 'tcp', ''), urlOf(udpPeer), [], environment),
    ])
    expect(ends).toEqual([echoed('one'), echoed('two')])
    expect(server.allocationCount).toBe(0)
  })

  test('SIGHUP ends it well', async () => {
    await using server = await startServer()
    await using cat = new Cat(uriOf(server, 'udp'), urlOf(udpPeer))
    cat.write('hello')
    await once(cat.child.stdout, 'data')
    expect(server.allocationCount).toBe(1)
    cat.child.kill('SIGHUP')
    expect((await cat.ended()).code).toBe(0)
    expect(server.allocationCount).toBe(0)
  })

  test('it ends when nobody reads its output any longer', async () => {
    await using server = await startServer()
    await using cat = new Cat(uriOf(server, 'tcp'), urlOf(udpPeer))
    cat.write('hello')
    await once(cat.child.stdout, 'data')
    cat.child.stdout.destroy()
    cat.write('hello again')
    expect(await cat.ended()).toMatchObject({ code: 0, err: '' })
    expect(server.allocationCount).toBe(0)
  })

  test('a server that closes ends it with code 1', async () => {
    const server = await startServer()
    await using cat = new Cat(uriOf(server, 'tcp'), urlOf(udpPeer))
    cat.write('hello')
    await once(cat.child.stdout, 'data')
    await server.close()
    expect(await cat.ended()).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^sluice: TURNCAT_SERVER_LOST: the connection to the server broke: .+\n$/),
    })
  })
})

describe.concurrent('what the server refuses', () => {
  test('a forbidden peer is told, and the only allocation of the user is free again', async () => {
    await using server = await startServer({ peers: denyAll, maxPerUser: 1 })
    for (const way of ['udp', 'tcp'] as const) {
      expect(await say('hello', uriOf(server, way), urlOf(udpPeer))).toEqual(
        failure('TURNCAT_SERVER_REFUSED: bind failed: error 403 Forbidden'),
      )
      expect(server.allocationCount).toBe(0)
    }
  })

  test('a wrong password, a forbidden TCP peer, one where nobody listens', async () => {
    await using server = await startServer()
    await using strict = await startServer({ peers: denyAll })
    const [password, forbidden, nobody] = await Promise.all([
      say('hello', uriOf(server, 'udp', 'user:wrong@'), urlOf(udpPeer)),
      say('hello', uriOf(strict, 'tcp'), urlOf(tcpPeer)),
      say('hello', uriOf(server, 'tcp'), `tcp://127.0.0.1:${await freePort()}`),
    ])
    const hint = 'user or password is wrong, or has expired'
    expect(password).toEqual(failure(`TURNCAT_SERVER_REFUSED: allocate failed: error 401; ${hint}`))
    expect(forbidden).toEqual(failure('TURNCAT_SERVER_REFUSED: connect failed: error 403 Forbidden'))
    expect(nobody).toEqual(
      failure('TURNCAT_SERVER_REFUSED: connect failed: error 447 Connection Timeout or Failure'),
    )
    expect([server.allocationCount, strict.allocationCount]).toEqual([0, 0])
  })

  test('a second allocation of one user; SIGINT gives the first one back', async () => {
    await using server = await startServer({ maxPerUser: 1 })
    await using cat = new Cat(uriOf(server, 'tcp'), urlOf(udpPeer))
    cat.write('hello')
    await once(cat.child.stdout, 'data')
    expect(await say('hello', uriOf(server, 'udp'), urlOf(udpPeer))).toEqual(
      failure('TURNCAT_SERVER_REFUSED: allocate failed: error 486 Allocation Quota Reached'),
    )
    cat.child.kill('SIGINT')
    expect((await cat.ended()).code).toBe(0)
    expect(server.allocationCount).toBe(0)
  })

  test('a server that is not there, and DTLS that nobody can verify', async () => {
    const port = await freePort()
    const uri = (way: Way) => `turn://user:pass@127.0.0.1:${port}?transport=${way}`
    const [udp, dtls] = await Promise.all([
      say('hello', uri('udp'), urlOf(udpPeer)),
      say('hello', uri('dtls'), urlOf(udpPeer)),
    ])
    expect(udp).toMatchObject({ code: 1, err: expect.stringContaining('TURNCAT_SERVER_UNREACHABLE: udp to') })
    expect(dtls).toMatchObject({ code: 1, err: expect.stringContaining('TURNCAT_DTLS_UNVERIFIED') })
  })
})

describe.concurrent('local ends', () => {
  test('each source of a UDP port has an allocation of its own', async () => {
    await using server = await startServer()
    await using local = await openLocal('udp://127.0.0.1:0', uriOf(server, 'udp'), urlOf(udpPeer))
    const sockets = [createSocket('udp4'), createSocket('udp4')]
    const answers = sockets.map(async (socket, index) => {
      const answered = once(socket, 'message')
      socket.send(`number ${index}`, Number(local.address), '127.0.0.1')
      return String((await answered)[0])
    })
    expect(await Promise.all(answers)).toEqual(['number 0', 'number 1'])
    expect(server.allocationCount).toBe(2)
    for (const socket of sockets) socket.close()
    expect(await local.stop()).toBe(0)
    expect(server.allocationCount).toBe(0)
  })

  test('a TCP port to a datagram peer', async () => {
    await using server = await startServer()
    const flags = ['--wait', '0.2']
    await using local = await openLocal('tcp://127.0.0.1:0', uriOf(server, 'tcp'), urlOf(udpPeer), flags)
    const socket = connect(Number(local.address), '127.0.0.1')
    socket.write('hello')
    expect(String((await once(socket, 'data'))[0])).toBe('hello')
    expect(server.allocationCount).toBe(1)
    socket.destroy()
    await until('the allocation is given back', () => server.allocationCount === 0, { everyMs: 5 })
    expect(await local.stop()).toBe(0)
  })

  test('a Unix socket to a stream peer', async () => {
    await using server = await startServer()
    const path = join(folder.path, 'cat.sock')
    await using local = await openLocal(`unix://${path}`, uriOf(server, 'tcp'), urlOf(tcpPeer))
    const socket = connect(path)
    socket.write('hello')
    expect(String((await once(socket, 'data'))[0])).toBe('hello')
    expect(server.allocationCount).toBe(1)
    expect(await local.stop()).toBe(0)
    expect(server.allocationCount).toBe(0)
    socket.destroy()
  })

  test('a connection that is refused is logged and closed; the next one is tried anew', async () => {
    await using server = await startServer({ peers: denyAll, maxPerUser: 1 })
    await using local = await openLocal('tcp://127.0.0.1:0', uriOf(server, 'udp'), urlOf(udpPeer))
    for (let count = 1; count <= 2; count++) {
      const socket = connect(Number(local.address), '127.0.0.1')
      socket.write('hello')
      expect(await text(socket)).toBe('')
      expect(server.allocationCount).toBe(0)
      socket.destroy()
    }
    expect(local.program.output.match(/bind failed: error 403/g)).toHaveLength(2)
    expect(await local.stop()).toBe(0)
  })
})

describe.concurrent('twenty megabytes through a TCP peer (RFC 6062)', () => {
  test.each([
    ['tcp', []],
    ['tls', ['--insecure']],
  ] as const)('go there and come back whole over %s', async (way, flags) => {
    await using server = await startServer()
    await using cat = new Cat(uriOf(server, way), urlOf(tcpPeer), flags)
    const { code, out, err } = await cat.end(bulk).ended()
    expect({ code, err, bytes: out.length }).toEqual({ code: 0, err: '', bytes: bulk.length })
    expect(out.equals(bulk)).toBe(true)
    expect(server.allocationCount).toBe(0)
  })

  test.each([
    ['tcp', []],
    ['tls', ['--insecure']],
  ] as const)(
    'reach whole a slow peer that says nothing, though no answer is waited for, over %s',
    async (way, flags) => {
      await using server = await startServer()
      const taker = createServer().listen(0, '127.0.0.1')
      await once(taker, 'listening')
      const taken = once(taker, 'connection').then(([socket]) => readSlowly(socket as Socket))
      const { port } = taker.address() as { readonly port: number }
      await using cat = new Cat(uriOf(server, way), `tcp://127.0.0.1:${port}`, ['--wait', '0', ...flags])
      expect(await cat.end(bulk).ended()).toMatchObject({ code: 0, err: '' })
      const out = await taken
      taker.close()
      expect(out.length).toBe(bulk.length)
      expect(out.equals(bulk)).toBe(true)
      expect(server.allocationCount).toBe(0)
    },
  )

  test('come whole from a peer that then ends, which ends the command', async () => {
    await using server = await startServer()
    const giver = createServer((socket) => socket.end(bulk)).listen(0, '127.0.0.1')
    await once(giver, 'listening')
    const { port } = giver.address() as { readonly port: number }
    await using cat = new Cat(uriOf(server, 'tcp'), `tcp://127.0.0.1:${port}`)
    const { code, out, err } = await cat.ended()
    giver.close()
    expect({ code, err, bytes: out.length }).toEqual({ code: 0, err: '', bytes: bulk.length })
    expect(out.equals(bulk)).toBe(true)
    expect(server.allocationCount).toBe(0)
  })

  test('go there and come back whole from a local TCP port', async () => {
    await using server = await startServer()
    const flags = ['--insecure']
    await using local = await openLocal('tcp://127.0.0.1:0', uriOf(server, 'tls'), urlOf(tcpPeer), flags)
    const socket = connect({ port: Number(local.address), host: '127.0.0.1', allowHalfOpen: true })
    socket.end(bulk)
    const out = await buffer(socket)
    expect(out.length).toBe(bulk.length)
    expect(out.equals(bulk)).toBe(true)
    expect(server.allocationCount).toBe(0)
    expect(await local.stop()).toBe(0)
  })
})

/** A running command with a local end other than `-`. */
interface LocalEnd extends AsyncDisposable {
  readonly program: Program
  /** The port that it took, or the path. */
  readonly address: number | string
  /** Its exit code after SIGTERM. */
  stop(): Promise<number | null>
}

async function openLocal(
  client: string,
  server: string,
  peer: string,
  flags: readonly string[] = [],
): Promise<LocalEnd> {
  const args = [main, 'turncat', '--log', 'info', ...flags, client, server, peer]
  const program = new Program(process.execPath, args)
  const address = await program.line((line) => {
    const { msg, address } = JSON.parse(line) as { msg: string; address: string | { port: number } }
    if (msg !== 'listening') return undefined
    return typeof address === 'string' ? address : address.port
  })
  return {
    program,
    address,
    stop: async () => {
      program.kill('SIGTERM')
      return (await program.ended).code
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

/** Reads to the end, with some turns of the event loop between two reads, so that much is always on the way. */
async function readSlowly(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate)
  }
  return Buffer.concat(chunks)
}

/** A port where nobody listens, neither by TCP nor, most probably, by UDP. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { readonly port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
