import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runProgram } from './harness/program.ts'
import { type EchoPeer, openUdpEcho } from './turn/echo-peer.ts'
import { startTurnServer, type TurnCredentials, type TurnServerUnderTest } from './turn/turn-server.ts'
import { runUclient, type UclientOptions, type UclientReport } from './turn/uclient.ts'

/** One run of `turnutils_uclient`; what its flags do is said in `turn/uclient.ts`. */
interface Mode extends UclientOptions {
  readonly title: string
  /** How many sessions send; each sends ten packets of 100 bytes. */
  readonly sessions: number
  /** Whom they send to. @defaultValue each other */
  readonly peer?: '127.0.0.1' | '::1'
  /** @defaultValue static */
  readonly credentials?: TurnCredentials
}

const v4 = { peer: '127.0.0.1' } as const
const v6 = { peer: '::1' } as const

const modes: readonly Mode[] = [
  { title: 'channels to a peer, with an RTCP pair by reservation', sessions: 2, ...v4 },
  { title: 'indications to a peer', sessions: 2, ...v4, flags: ['-s'] },
  { title: 'channels from relay to relay', sessions: 4, flags: ['-y'] },
  { title: 'indications from relay to relay', sessions: 4, flags: ['-y', '-s'] },
  { title: 'padded channels', sessions: 2, ...v4, flags: ['-D'] },
  { title: 'DONT-FRAGMENT in channels', sessions: 2, ...v4, flags: ['-g'] },
  { title: 'DONT-FRAGMENT in indications', sessions: 2, ...v4, flags: ['-g', '-s'] },
  { title: 'many more channels and permissions', sessions: 2, ...v4, flags: ['-G'] },
  { title: 'many more permissions', sessions: 2, ...v4, flags: ['-G', '-s'] },
  { title: 'twenty clients at once', sessions: 40, ...v4, flags: ['-m', '40'] },
  { title: 'mobility', sessions: 2, ...v4, flags: ['-M'] },
  { title: 'mobility with indications', sessions: 2, ...v4, flags: ['-M', '-s'] },
  { title: 'an IPv4 and an IPv6 relay at once', sessions: 1, ...v4, flags: ['-Z'] },
  { title: 'an IPv4 and an IPv6 relay, to IPv6', sessions: 1, ...v6, flags: ['-Z', '-x'] },
  { title: 'IPv4 client, IPv6 relay and peer', sessions: 2, ...v6, flags: ['-x'] },
  { title: 'IPv4 clients, from IPv6 relay to IPv6 relay', sessions: 4, flags: ['-x', '-y'] },
  { title: 'IPv6 client, relay and peer', sessions: 2, ...v6, ipv6: true, flags: ['-x'] },
  { title: 'IPv6 client, IPv4 relay and peer', sessions: 2, ...v4, ipv6: true, flags: ['-X'] },
  { title: 'a time-limited user', sessions: 2, ...v4, credentials: 'secret' },
  { title: 'OAuth in channels', sessions: 2, ...v4, credentials: 'oauth' },
  { title: 'OAuth in indications', sessions: 2, ...v4, credentials: 'oauth', flags: ['-s'] },
  { title: 'mobility', sessions: 2, ...v4, transport: 'tcp', flags: ['-M'] },
  ...(['tcp', 'tls'] as const).flatMap((transport): Mode[] => [
    { title: 'channels to a peer', sessions: 2, ...v4, transport },
    { title: 'indications to a peer', sessions: 2, ...v4, transport, flags: ['-s'] },
    { title: 'channels from relay to relay', sessions: 4, transport, flags: ['-y'] },
    { title: 'TCP allocations', sessions: 2, transport, flags: ['-T'] },
    { title: 'IPv6 TCP allocations', sessions: 2, transport, flags: ['-T', '-x'] },
    { title: 'an IPv4 and an IPv6 relay at once', sessions: 1, ...v4, transport, flags: ['-Z'] },
    { title: 'IPv6 relay and peer', sessions: 2, ...v6, transport, flags: ['-x'] },
    { title: 'a time-limited user', sessions: 2, ...v4, transport, credentials: 'secret' },
    { title: 'OAuth', sessions: 2, ...v4, transport, credentials: 'oauth' },
  ]),
]

let servers: Readonly<Record<TurnCredentials, TurnServerUnderTest>>
let peers: Readonly<Record<'127.0.0.1' | '::1', EchoPeer>>

beforeAll(async () => {
  servers = {
    static: await startTurnServer('static'),
    secret: await startTurnServer('secret'),
    oauth: await startTurnServer('oauth'),
  }
  peers = { '127.0.0.1': await openUdpEcho('127.0.0.1'), '::1': await openUdpEcho('::1') }
})

afterAll(async () => {
  for (const closing of [...Object.values(servers), ...Object.values(peers)]) {
    await closing[Symbol.asyncDispose]()
  }
})

describe('turnutils_uclient loses nothing', () => {
  let runs: ReadonlyMap<Mode, Promise<UclientReport | Error>>

  // They wait for seconds and compute for none, so they run all at once; each is looked at by its own test.
  beforeAll(() => {
    runs = new Map(modes.map((mode) => [mode, run(mode).catch((error: Error) => error)]))
  })

  const titled = modes.map((mode) => [`over ${mode.transport ?? 'udp'}: ${mode.title}`, mode] as const)

  test.for(titled)('%s', { timeout: 30_000 }, async ([, mode]) => {
    const report = await runs.get(mode)
    const packets = mode.sessions * 10
    expect(report).toMatchObject({
      ...{ sent: packets, received: packets, lost: 0 },
      ...{ sentBytes: packets * 100, receivedBytes: packets * 100 },
    })
  })

  async function run({ peer, credentials = 'static', flags = [], ...options }: Mode): Promise<UclientReport> {
    const to = peer === undefined ? [] : ['-e', peer, '-r', String(peers[peer].port)]
    // Over TLS the tool takes what is in one record for one message, and two that come at once for one.
    const pace = options.transport === 'tls' ? ['-z', '100'] : []
    return await runUclient(servers[credentials], { ...options, flags: [...to, ...pace, ...flags] })
  }
})

describe('the STUN tools of coturn', () => {
  test('turnutils_stunclient is told its own address', async () => {
    const output = await runProgram('turnutils_stunclient', [
      '-p',
      `${servers.static.ports.udp}`,
      '127.0.0.1',
    ])
    expect(output).toMatch(/UDP reflexive addr: 127\.0\.0\.1:\d+/)
  })

  test('turnutils_stunclient is told its own IPv6 address', async () => {
    const output = await runProgram('turnutils_stunclient', ['-p', `${servers.static.udp6Port}`, '::1'])
    expect(output).toMatch(/UDP reflexive addr: ::1:\d+/)
  })

  test.for(['-m', '-f'])('turnutils_natdiscovery %s finds the port that it sends from', async (flag) => {
    const output = await discoverNat(flag)
    const local = /Local addr: : 0\.0\.0\.0:(\d+)/.exec(output)?.[1]
    expect(local).toBeDefined()
    expect(output).toContain(`UDP reflexive addr: 127.0.0.1:${local}`)
  })

  test('turnutils_natdiscovery reaches itself at the address that it is told', async () => {
    expect(await discoverNat('-H')).toContain('Received a request (maybe a successful hairpinning)')
  })

  test('turnutils_natdiscovery is told apart from another address with the same port', async () => {
    const output = await discoverNat('-c', '-L', '127.0.0.1', '-A', '127.0.0.2')
    const [, first] = /UDP reflexive addr: 127\.0\.0\.1:(\d+)/.exec(output) ?? []
    expect(first).toBeDefined()
    expect(output).toContain(`UDP reflexive addr: 127.0.0.2:${first}`)
  })

  /** Which kind of NAT there is takes a server with two addresses (RFC 5780); without, it only says where it is seen. */
  async function discoverNat(...flags: readonly string[]): Promise<string> {
    return await runProgram('turnutils_natdiscovery', [
      ...flags,
      '-p',
      `${servers.static.ports.udp}`,
      '127.0.0.1',
    ])
  }
})
