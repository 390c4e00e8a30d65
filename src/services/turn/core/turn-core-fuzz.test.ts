import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  StunAttribute,
  type StunClass,
  StunMethod,
  StunWriter,
  type TransportAddress,
} from '../../../protocols/stun/index.ts'
import {
  encodeAddressFamily,
  encodeEvenPort,
  encodeRequestedTransport,
} from '../../../protocols/turn/index.ts'
import type { PeerPolicy } from '../peers/contract.ts'
import { StreamClient, type TestClient, transaction, udpTransport, settle } from './test-client.testkit.ts'
import { relay4, relay6, TurnKit } from './turn-kit.testkit.ts'

/** So many are tried, or as many as there is time for. */
function runs(most: number, timeMs: number): { numRuns: number; plugins: fc.Plugin<unknown>[] } {
  return { numRuns: most, plugins: [fc.interruptAfterTimeLimit(timeMs)] }
}

const methods = [
  StunMethod.binding,
  StunMethod.allocate,
  StunMethod.refresh,
  StunMethod.createPermission,
  StunMethod.channelBind,
  StunMethod.connect,
  StunMethod.connectionBind,
  StunMethod.send,
  0x0ff,
]

const types = [
  ...Object.values(StunAttribute).filter(
    (type) =>
      type !== StunAttribute.messageIntegrity &&
      type !== StunAttribute.messageIntegritySha256 &&
      type !== StunAttribute.fingerprint,
  ),
  0x7001,
  0xc057,
]

/** Values that attributes often have. */
const values = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom(
    encodeRequestedTransport(17),
    encodeRequestedTransport(6),
    encodeEvenPort(true),
    encodeAddressFamily(1),
    encodeAddressFamily(2),
    Uint8Array.of(0x40, 0, 0, 0),
    Uint8Array.of(0, 1, 0x21, 0x13, 0xe1, 0x12, 0xa6, 0x43),
    Uint8Array.of(0, 0, 2, 0x58),
    new Uint8Array(0),
  ),
)
const attributes = fc.array(fc.tuple(fc.constantFrom(...types), values), { maxLength: 6 })

async function busyKit(): Promise<{ kit: TurnKit; clients: readonly TestClient[] }> {
  const kit = await TurnKit.open({
    features: ['dont-fragment', 'icmp-errors'],
    security: 'anonymity',
    limits: { strangerRepliesPerSecond: 0, totalStrangerRepliesPerSecond: 0, newPeersPerSecond: 0 },
  })
  const clients = [kit.client(), kit.streamClient(), kit.client({ port: 7 })]
  for (const client of clients.slice(0, 2)) {
    await client.allocate()
    await client.bind(0x4000, { address: '192.0.2.200', port: 9 })
  }
  return { kit, clients }
}

describe('TurnCore', () => {
  it('never throws on any bytes', async () => {
    const { clients } = await busyKit()
    const first = fc.constantFrom(0x00, 0x01, 0x40, 0x41, 0x7f, 0x80, 0x16)
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      fc.tuple(first, fc.uint8Array({ maxLength: 80 })).map(([head, tail]) => Buffer.from([head, ...tail])),
      // A header that holds, before attributes that need not.
      fc
        .tuple(
          fc.constantFrom(...methods),
          fc.constantFrom<StunClass>(0, 1, 2, 3),
          fc.uint8Array({ maxLength: 80 }),
        )
        .map(([method, messageClass, tail]) => {
          const padded = Buffer.concat([tail, Buffer.alloc(-tail.length & 3)])
          const head = new StunWriter(method, messageClass, transaction()).finish()
          head.writeUInt16BE(padded.length, 2)
          return Buffer.concat([head, padded])
        }),
    )
    fc.assert(
      fc.property(bytes, fc.integer({ min: 0, max: 2 }), (message, which) => {
        clients[which]?.put(message)
      }),
      runs(3000, 4000),
    )
    await settle()
  })

  it('never throws on requests that were changed on the way', async () => {
    const { clients } = await busyKit()
    const changes = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(
        fc.constantFrom(...methods),
        changes,
        fc.integer({ min: 0, max: 2 }),
        fc.integer({ min: -30, max: 30 }),
        (method, flips, which, cut) => {
          const client = clients[which]
          if (client === undefined) return
          const request = client.signed(method, udpTransport, { hasFingerprint: true })
          for (const [at, value] of flips) request.writeUInt8(value, at % request.length)
          client.put(
            cut >= 0
              ? Buffer.concat([request, Buffer.alloc(cut)])
              : request.subarray(0, Math.max(0, request.length + cut)),
          )
        },
      ),
      runs(2000, 4000),
    )
    await settle()
  })

  it('never throws on what those who are known may say, and says nothing wrong about it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...methods), attributes, fc.integer({ min: 0, max: 2 })), {
          maxLength: 12,
        }),
        async (requests) => {
          const { kit, clients } = await busyKit()
          for (const [method, wanted, which] of requests) {
            const client = clients[which]
            if (client === undefined) continue
            if (client.nonce.length === 0) await client.challenge()
            const answer = await client.ask(
              client.signed(method, (writer) => {
                for (const [type, value] of wanted) writer.attribute(type, value)
              }),
            )
            if (answer === undefined) continue
            expect(answer.message.method).toBe(method)
            if (answer.code !== undefined) expect(codes).toContain(answer.code)
          }
          kit.expectNothingLeft()
        },
      ),
      runs(150, 4000),
    )
  })
})

const codes = [300, 400, 401, 403, 405, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 500, 508]

/** What clients, peers, operators and time do to a server. */
interface World {
  readonly kit: TurnKit
  readonly clients: readonly TestClient[]
  readonly tickets: Map<TestClient, Uint8Array>
  readonly tokens: Uint8Array[]
  readonly rules: { isStrict: boolean }
}

interface Step {
  [fc.toStringMethod](): string
  act(world: World): Promise<unknown> | void
}

const peers: readonly TransportAddress[] = [
  { address: '192.0.2.200', port: 9 },
  { address: '192.0.2.200', port: 10 },
  { address: '192.0.2.201', port: 9 },
  { address: '2001:db8:9::1', port: 9 },
  { address: '::ffff:192.0.2.200', port: 9 },
  { address: '198.51.100.1', port: 3478 },
  { address: '192.0.2.202', port: 0 },
]

function stepOf(name: string, act: Step['act']): Step {
  return { act, [fc.toStringMethod]: () => name }
}

/** The peers, and the relayed addresses of the clients, by either of their names. */
function peerOf({ kit }: World, which: number): TransportAddress {
  const relays = [...kit.state.allocations.all()].flatMap(({ relays: of }) =>
    of.flatMap(({ bound, relayed }) => [bound, relayed]),
  )
  const all = [...peers, ...relays]
  return all[which % all.length] ?? { address: '192.0.2.200', port: 9 }
}

const client = fc.nat(4)
const peer = fc.nat(30)
const lifetime = fc.constantFrom(0, 1, 600, 3600)

function withClient(
  name: string,
  which: number,
  act: (client: TestClient, world: World) => Promise<unknown> | void,
): Step {
  return stepOf(`${name} ${which}`, (world) => {
    const found = world.clients[which]
    if (found === undefined || (found instanceof StreamClient && found.isClosed)) return undefined
    return act(found, world)
  })
}

/** An Allocate of one of many kinds. */
function allocating(which: number, kind: number): Step {
  return withClient(`allocate ${kind}`, which, async (one, { tickets, tokens }) => {
    const answer = await one.request(StunMethod.allocate, (writer) => {
      writer.attribute(StunAttribute.requestedTransport, encodeRequestedTransport(kind === 6 ? 6 : 17))
      if (kind === 1) writer.attribute(StunAttribute.evenPort, encodeEvenPort(true))
      if (kind === 2) writer.attribute(StunAttribute.mobilityTicket, new Uint8Array(0))
      if (kind === 3) writer.attribute(StunAttribute.additionalAddressFamily, encodeAddressFamily(2))
      if (kind === 4) writer.attribute(StunAttribute.requestedAddressFamily, encodeAddressFamily(2))
      const token = tokens.at(-1)
      if (kind === 5 && token !== undefined) writer.attribute(StunAttribute.reservationToken, token)
    })
    const ticket = answer.message.attribute(StunAttribute.mobilityTicket)
    if (ticket !== undefined) tickets.set(one, Uint8Array.from(ticket))
    const token = answer.message.attribute(StunAttribute.reservationToken)
    if (token !== undefined) tokens.push(Uint8Array.from(token))
  })
}

/** Most have an allocation to begin with. */
const prelude: readonly Step[] = [allocating(0, 0), allocating(1, 2), allocating(2, 3), allocating(3, 1)]

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(client, fc.nat(6)).map(([which, kind]) => allocating(which, kind)),
  // Not waited for: others come while its relay is opened.
  client.map((which) =>
    withClient('allocate and go on', which, async (one) => {
      if (one.nonce.length === 0) await one.challenge()
      one.put(one.signed(StunMethod.allocate, udpTransport))
    }),
  ),
  fc
    .tuple(client, lifetime)
    .map(([which, seconds]) => withClient(`refresh ${seconds}`, which, (one) => one.refresh(seconds))),
  fc
    .tuple(client, fc.constantFrom(1, 2))
    .map(([which, number]) =>
      withClient(`drop family ${number}`, which, (one) =>
        one.refresh(0, (writer) =>
          writer.attribute(StunAttribute.requestedAddressFamily, encodeAddressFamily(number === 1 ? 1 : 2)),
        ),
      ),
    ),
  fc.tuple(client, client).map(([which, from]) =>
    withClient(`move from ${from}`, which, async (one, { clients, tickets }) => {
      const before = clients[from]
      const ticket = before === undefined ? undefined : tickets.get(before)
      if (ticket === undefined) return
      const answer = await one.refresh(600, (writer) =>
        writer.attribute(StunAttribute.mobilityTicket, ticket),
      )
      const next = answer.message.attribute(StunAttribute.mobilityTicket)
      if (next !== undefined) tickets.set(one, Uint8Array.from(next))
    }),
  ),
  fc
    .tuple(client, peer, peer)
    .map(([which, ...of]) =>
      withClient(`permit ${of.join(' ')}`, which, (one, world) =>
        one.permit(...of.map((index) => peerOf(world, index))),
      ),
    ),
  fc
    .tuple(client, peer, fc.nat(3))
    .map(([which, of, number]) =>
      withClient(`bind ${number} ${of}`, which, (one, world) => one.bind(0x4000 + number, peerOf(world, of))),
    ),
  fc
    .tuple(client, peer)
    .map(([which, of]) =>
      withClient(`send ${of}`, which, (one, world) => one.sendTo(peerOf(world, of), 'data')),
    ),
  fc
    .tuple(client, fc.nat(3))
    .map(([which, number]) =>
      withClient(`channel ${number}`, which, (one) => one.sendChannel(0x4000 + number, 'data')),
    ),
  fc
    .tuple(client, fc.nat(2))
    .map(([which, kind]) =>
      withClient(`other ${kind}`, which, (one) =>
        kind === 0
          ? one.request(StunMethod.connect, (writer) =>
              writer.xorAddress(StunAttribute.xorPeerAddress, { address: '192.0.2.200', port: 9 }),
            )
          : one.request(StunMethod.connectionBind, (writer) => writer.u32(StunAttribute.connectionId, kind)),
      ),
    ),
  fc.tuple(peer, fc.nat(4)).map(([of, to]) =>
    stepOf(`peer ${of} to ${to}`, (world) => {
      const from = peerOf(world, of)
      const [target] = [...world.kit.state.allocations.all()].at(to)?.relays ?? []
      if (target?.endpoint === undefined || from.port === 0) return
      world.kit.datapath.receive(target.endpoint, from, Buffer.from('data'))
      world.kit.datapath.receiveIcmp(target.endpoint, from, { type: 3, code: 4, mtu: 1400 })
    }),
  ),
  fc
    .constantFrom(1000, 31_000, 299_000, 301_000, 601_000)
    .map((ms) => stepOf(`advance ${ms}`, ({ kit }) => kit.clock.advance(ms))),
  client.map((which) =>
    withClient('disconnect', which, (one) => {
      if (one instanceof StreamClient) one.disconnect()
    }),
  ),
  fc.nat(4).map((which) =>
    stepOf(`kill ${which}`, ({ kit }) => {
      const allocation = [...kit.state.allocations.all()].at(which)
      if (allocation !== undefined) kit.core.end(allocation, 'killed')
    }),
  ),
  fc.boolean().map((isStrict) =>
    stepOf(`rules ${isStrict}`, ({ kit, rules }) => {
      rules.isStrict = isStrict
      kit.core.recheckPeers()
    }),
  ),
  fc.boolean().map((isHeld) =>
    stepOf(`hold ${isHeld}`, ({ kit }) => {
      release(kit)
      if (isHeld) held.set(kit, kit.datapath.holdOpening())
    }),
  ),
  fc.boolean().map((fails) =>
    stepOf(`fail ${fails}`, ({ kit }) => {
      release(kit)
      if (fails) {
        kit.datapath.onOpen = () => {
          throw Object.assign(new Error('none'), { code: 'DATAPATH_SYSTEM' })
        }
      }
    }),
  ),
)

const held = new WeakMap<TurnKit, () => void>()

function release(kit: TurnKit): void {
  held.get(kit)?.()
  kit.datapath.onOpen = () => undefined
}

async function newWorld(): Promise<World> {
  const rules = { isStrict: false }
  const policy: PeerPolicy = {
    admitsAddress: (address) => !rules.isStrict || address === '192.0.2.201',
    admits: (address, port) => port > 0 && (!rules.isStrict || address === '192.0.2.201'),
    onChange: () => () => undefined,
  }
  const kit = await TurnKit.open({
    features: ['icmp-errors'],
    listener: { peers: policy },
    relays: [
      { ...relay4, advertised: '203.0.113.9', from: 50_000, to: 50_007 },
      { ...relay6, from: 50_000, to: 50_003 },
    ],
    limits: {
      maxPermissions: 4,
      maxChannels: 3,
      packetsPerSecond: 20,
      userBytesPerSecond: 65_536,
      totalBytesPerSecond: 65_536,
      strangerRepliesPerSecond: 0,
      totalStrangerRepliesPerSecond: 0,
    },
  })
  return {
    kit,
    rules,
    tickets: new Map(),
    tokens: [],
    clients: [
      kit.client({ port: 1 }),
      kit.client({ port: 2 }),
      kit.client({ port: 3, user: 'bob' }),
      kit.streamClient({ port: 4 }),
      kit.streamClient({ port: 5 }),
    ],
  }
}

describe('whatever clients, peers, operators and time do', () => {
  it('nothing throws, and when all is over nothing is left', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 60, size: 'max' }), async (story) => {
        const world = await newWorld()
        const { kit } = world
        for (const step of prelude) await step.act(world)
        for (const step of story) {
          // While endpoints are held back some requests are not answered.
          await Promise.resolve(step.act(world)).catch((error: unknown) => {
            if (!(error instanceof TypeError && error.message.startsWith('no '))) throw error
          })
          const { allocations = 0, allocating = 0, quota } = kit.held()
          expect(quota).toBeGreaterThanOrEqual(allocations)
          expect(quota).toBeLessThanOrEqual(allocations + allocating)
        }
        release(kit)
        await settle()
        kit.expectNothingLeft()
      }),
      runs(400, 10_000),
    )
  })
})
