import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificate, type TestCertificate } from '../src/mechanisms/net/certificate.testkit.ts'
import { makeCertificateOf } from '../src/services/turn/listeners/dtls-certificate.testkit.ts'
import { admitAll, StaticUsers, TurnServer } from '../src/services/turn/index.ts'
import { Program } from './harness/program.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { type EchoPeer, openUdpEcho } from './turn/echo-peer.ts'
import { runUclient, type UclientReport } from './turn/uclient.ts'

/** One run of `turnutils_uclient`; what its flags do is said in `turn/uclient.ts`. */
interface Mode {
  readonly title: string
  /** How many sessions send; each sends ten packets. */
  readonly sessions: number
  readonly flags: () => readonly string[]
}

const folder = temporaryFolder()
const caFile = join(folder.path, 'ca.pem')
let certificate: TestCertificate
let server: TurnServer
let peer: EchoPeer

beforeAll(async () => {
  certificate = await makeCertificate()
  writeFileSync(caFile, certificate.cert)
  peer = await openUdpEcho()
  server = await start(certificate)
})

afterAll(async () => {
  await server.close()
  await peer[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

describe('turnutils_uclient over DTLS loses nothing', () => {
  const toPeer = () => ['-e', '127.0.0.1', '-r', String(peer.port)]
  const modes: readonly Mode[] = [
    { title: 'channels to a peer', sessions: 2, flags: () => toPeer() },
    { title: 'indications to a peer', sessions: 2, flags: () => [...toPeer(), '-s'] },
    { title: 'channels from relay to relay', sessions: 4, flags: () => ['-y'] },
    { title: 'indications from relay to relay', sessions: 4, flags: () => ['-y', '-s'] },
    { title: 'twenty clients at once', sessions: 40, flags: () => [...toPeer(), '-m', '40'] },
  ]

  let runs: ReadonlyMap<string, Promise<UclientReport | Error>>

  // They wait for seconds and compute for none, so they run all at once; each is looked at by its own test.
  beforeAll(() => {
    runs = new Map(
      modes.map(({ title, flags }) => [title, uclient(server, flags()).catch((error: Error) => error)]),
    )
  })

  test.for(modes)('$title', { timeout: 30_000 }, async ({ title, sessions }) => {
    const packets = sessions * 10
    expect(await runs.get(title)).toMatchObject({ sent: packets, received: packets, lost: 0, errors: [] })
  })

  test('with an RSA certificate', { timeout: 30_000 }, async () => {
    await using other = await start(await makeCertificateOf('rsa'))
    expect(await uclient(other, ['-y'])).toMatchObject({ sent: 40, received: 40, lost: 0 })
  })

  test('through engine-node', { timeout: 30_000 }, async () => {
    await using other = await start(certificate, 'node')
    expect(await uclient(other, ['-y'])).toMatchObject({ sent: 40, received: 40, lost: 0 })
  })
})

describe('openssl s_client', () => {
  test('verifies the certificate and agrees on an extended master secret', async () => {
    const output = await connect(portOf(server), ['-CAfile', caFile])
    expect(output).toContain('Verify return code: 0 (ok)')
    expect(output).toContain('Cipher is ECDHE-ECDSA-AES128-GCM-SHA256')
    expect(output).toContain('Extended master secret: yes')
  })

  test('may use P-256 as well as X25519', async () => {
    expect(await connect(portOf(server), ['-groups', 'P-256'])).toContain('Cipher is ECDHE-ECDSA')
  })

  // It would name the session when it comes again, and take our answer for a resumption.
  test('is given no name of a session', async () => {
    expect(await connect(portOf(server))).toMatch(/Session-ID: *$/m)
  })

  test.for([
    { what: 'DTLS 1.0', args: ['-dtls1', '-cipher', 'ALL:@SECLEVEL=0'], alert: 70 },
    { what: 'other cipher suites', args: ['-cipher', 'ECDHE-ECDSA-CHACHA20-POLY1305'], alert: 40 },
    { what: 'other groups', args: ['-groups', 'P-384'], alert: 40 },
  ])('with $what only is refused by an alert', async ({ args, alert }) => {
    await using client = openssl(portOf(server), args)
    await client.ended
    expect(client.output).toContain(`SSL alert number ${alert}`)
  })

  // What a handshake sends, in its order; none is lost first, to see.
  const losses = [
    ['neither', 0] as const,
    ...[1, 2, 3].map((nth) => ['up', nth] as const),
    ...[1, 2, 3, 4, 5, 6, 7].map((nth) => ['down', nth] as const),
  ]

  test('completes its handshake whichever datagram of it is lost', { timeout: 30_000 }, async () => {
    const outputs = await Promise.all(
      losses.map(async ([way, nth]) => {
        await using network = await openLossy(portOf(server), way, nth)
        return await connect(network.port)
      }),
    )
    for (const output of outputs) expect(output).toContain('Cipher is ECDHE-ECDSA-AES128-GCM-SHA256')
  })
})

async function start(shown: TestCertificate, engine: 'auto' | 'node' = 'auto'): Promise<TurnServer> {
  const turn = new TurnServer({
    listeners: [
      {
        name: 'dtls',
        transport: 'dtls',
        listen: { host: '127.0.0.1', port: 0 },
        relays: [{ address: '127.0.0.1' }],
        peers: admitAll,
        certificate: shown,
      },
    ],
    credentials: new StaticUsers([{ username: 'user', password: 'pass' }]),
    limits: { maxPerUser: 0, newPeersPerSecond: 0 },
    engine,
  })
  await turn.start()
  return turn
}

function portOf(turn: TurnServer): number {
  return turn.ports.get('dtls') ?? 0
}

async function uclient(turn: TurnServer, flags: readonly string[]): Promise<UclientReport> {
  const port = portOf(turn)
  return await runUclient(
    {
      credentials: 'static',
      ...{ username: 'user', password: 'pass', secret: '', realm: '', certificateFile: '', keyFile: '' },
      ports: { udp: port, tcp: 0, tls: 0 },
      udp6Port: 0,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
    { flags: ['-S', ...flags] },
  )
}

function openssl(port: number, args: readonly string[] = []): Program {
  const version = args.includes('-dtls1') ? [] : ['-dtls1_2']
  return new Program('openssl', ['s_client', ...version, '-connect', `127.0.0.1:${port}`, ...args])
}

/** Connects, and closes once it has. @returns what was said */
async function connect(port: number, args: readonly string[] = []): Promise<string> {
  await using client = openssl(port, args)
  await client.line((line) => line.includes('Extended master secret:') || undefined)
  client.write('Q\n')
  await client.ended
  return client.output
}

/** A network before the server that loses one datagram of one way. */
async function openLossy(
  serverPort: number,
  way: 'neither' | 'up' | 'down',
  nth: number,
): Promise<AsyncDisposable & { readonly port: number }> {
  const [front, back] = [await bind(), await bind()]
  const counts = { up: 0, down: 0 }
  let clientPort: number | undefined
  front.on('message', (bytes, { port }) => {
    clientPort = port
    if (!(++counts.up === nth && way === 'up')) back.send(bytes, serverPort, '127.0.0.1')
  })
  back.on('message', (bytes) => {
    if (!(++counts.down === nth && way === 'down')) front.send(bytes, clientPort, '127.0.0.1')
  })
  return {
    port: front.address().port,
    [Symbol.asyncDispose]: async () => {
      await until('a datagram was lost', () => way === 'neither' || counts[way] >= nth)
      await Promise.all(
        [front, back].map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
      )
    },
  }
}

async function bind(): Promise<Socket> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}
