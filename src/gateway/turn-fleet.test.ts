import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../foundation/clock.ts'
import { defaultConfig, type TurnConfig } from '../mechanisms/config/index.ts'
import { NodeDatapath } from '../mechanisms/datapath/index.ts'
import { type Fleet, type FleetMember, gatewayId, type GatewayId } from '../mechanisms/fleet/index.ts'
import { FakeConnection, FakeCounts } from '../mechanisms/quota/fake-counts.testkit.ts'
import { createRegistry, silentLogger } from '../mechanisms/telemetry/index.ts'
import { StunMethod } from '../protocols/stun/index.ts'
import { bringing, mobile, SocketClient, ticketOf } from '../services/turn/socket-client.testkit.ts'
import { TestTurnClient } from '../services/turn/turn-client.testkit.ts'
import { turnFleetOf, turnSecretOf } from './turn-fleet.ts'
import { TurnRole } from './turn-role.ts'

const alice = { username: 'alice', password: 'wonderland' }

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Gateways and what each has announced as `turnPeer`. */
class FakeFleets {
  readonly announced = new Map<GatewayId, () => readonly string[]>()
  readonly #listeners = new Set<(id: GatewayId) => void>()

  of(id: GatewayId): Fleet {
    return {
      id,
      members: () => [...this.announced].map(([of, turnPeer]) => member(of, turnPeer())),
      gone: (ids) => Promise.resolve(new Set(ids.filter((one) => !this.announced.has(one)))),
      send: () => undefined,
      on: () => () => undefined,
      onGone: (listener) => {
        this.#listeners.add(listener)
        return () => void this.#listeners.delete(listener)
      },
      onReturn: () => () => undefined,
    }
  }

  leave(id: GatewayId): void {
    this.announced.delete(id)
    for (const listener of this.#listeners) listener(id)
  }
}

function member(id: GatewayId, turnPeer: readonly string[]): FleetMember {
  const load = { sessions: 0, allocations: 0, tunnelClients: 0, cpu: 0, memoryBytes: 0 }
  return { id, version: '1.2.3', startedMs: 0, isDraining: false, addresses: { turnPeer }, load }
}

describe('the TURN servers of a fleet', () => {
  const [a, b, c] = [gatewayId('a-1'), gatewayId('b-1'), gatewayId('c-1')]

  it('are known by a tag of their own, and found by what they have announced', () => {
    const fleets = new FakeFleets()
    const [one, two] = [turnFleetOf(fleets.of(a)), turnFleetOf(fleets.of(b))]
    fleets.announced.set(a, () => ['10.0.0.1:3478'])
    fleets.announced.set(b, () => ['[fd00::2]:3479', '10.0.0.2:3479'])
    expect(one.tag).toMatch(/^[0-9a-f]{8}$/)
    expect(one.tag).not.toBe(two.tag)
    expect(two.addressOf(one.tag)).toEqual({ address: '10.0.0.1', port: 3478 })
    expect(one.addressOf(two.tag)).toEqual({ address: 'fd00::2', port: 3479 })
    expect(one.addressOf(turnFleetOf(fleets.of(c)).tag)).toBeUndefined()
  })

  it.each([
    'no address',
    '3478',
    ':3478',
    '10.0.0.1',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    'turn.example.com:3478',
    '0.0.0.0:3478',
    '224.0.0.1:3478',
    '255.255.255.255:3478',
    '[::]:3478',
    '[ff02::1]:3478',
    '',
  ])('are not looked for at %j', (text) => {
    const fleets = new FakeFleets()
    fleets.announced.set(b, () => [text])
    expect(turnFleetOf(fleets.of(a)).addressOf(turnFleetOf(fleets.of(b)).tag)).toBeUndefined()
    fleets.announced.set(b, () => [text, '10.0.0.2:3478'])
    expect(turnFleetOf(fleets.of(a)).addressOf(turnFleetOf(fleets.of(b)).tag)).toEqual({
      address: '10.0.0.2',
      port: 3478,
    })
  })

  it('hear by tag who has gone', () => {
    const fleets = new FakeFleets()
    const gone: string[] = []
    const end = turnFleetOf(fleets.of(a)).onGone((tag) => gone.push(tag))
    fleets.leave(b)
    end()
    fleets.leave(c)
    expect(gone).toEqual([turnFleetOf(fleets.of(b)).tag])
  })
})

describe('the key of nonces and tickets', () => {
  it('is of turn.secret, else of fleet.secret, else none', () => {
    expect(turnSecretOf(undefined, undefined)).toBeUndefined()
    const [turn, fleet] = [turnSecretOf('one', undefined), turnSecretOf(undefined, 'one')]
    expect([turn?.length, fleet?.length]).toEqual([32, 32])
    expect(turn).not.toEqual(fleet)
    expect(turnSecretOf('one', 'two')).toEqual(turn)
    expect(turnSecretOf(undefined, 'one')).toEqual(fleet)
    expect(turnSecretOf(undefined, 'two')).not.toEqual(fleet)
  })
})

describe('TURN roles of gateways that share a Redis', () => {
  function config(changes: Partial<TurnConfig> = {}, maxPerUser = 2): TurnConfig {
    const defaults = defaultConfig().turn
    return {
      ...defaults,
      listeners: [
        {
          name: 'udp',
          transport: 'udp',
          listen: '127.0.0.1:0',
          relayTransports: ['udp'],
          proxyProtocolFrom: [],
          sharedWithHttp: false,
          strictChannels: false,
        },
      ],
      relays: [{ address: '127.0.0.1', ports: { from: 49_152, to: 65_535 } }],
      credentials: { ...defaults.credentials, users: [alice] },
      limits: { ...defaults.limits, maxPerUser },
      ...changes,
    }
  }

  async function start(
    fleets: FakeFleets,
    counts: FakeCounts,
    name: string,
    section: TurnConfig = config(),
  ): Promise<TurnRole> {
    const id = gatewayId(name)
    const redis = new FakeConnection(counts)
    const datapath = new NodeDatapath({ clock: systemClock })
    await datapath.start()
    closers.push(() => datapath.close())
    const role = new TurnRole(section, {
      datapath,
      logger: silentLogger(),
      registry: createRegistry('1.2.3'),
      clock: systemClock,
      onHttp: (socket) => void socket.destroy(),
      ownPorts: () => [],
      fleet: fleets.of(id),
      redis,
      fleetSecret: 'of the fleet',
    })
    fleets.announced.set(id, () => role.peerAddresses)
    await role.start()
    closers.push(async () => {
      await role.close()
      expect(redis.listeners).toBe(0)
    })
    return role
  }

  async function join(role: TurnRole): Promise<TestTurnClient> {
    const client = await TestTurnClient.open({ ...alice, port: role.ports?.get('udp') ?? 0 })
    closers.push(() => client[Symbol.asyncDispose]())
    return client
  }

  it('count a user once, and what one held that is gone no more', async () => {
    const [fleets, counts] = [new FakeFleets(), new FakeCounts()]
    const [one, two] = [await start(fleets, counts, 'a'), await start(fleets, counts, 'b')]
    await (await join(one)).allocate()
    const second = await join(two)
    await second.allocate()
    expect([one.allocationCount, two.allocationCount]).toEqual([1, 1])
    await expect((await join(two)).allocate()).rejects.toMatchObject({ code: 486 })
    fleets.leave(gatewayId('a'))
    await (await join(two)).allocate()
    expect(counts.sum('sluice-turn:alice')).toBe(2)
    await second.release()
    await (await join(two)).allocate()
  })

  it('count what was held before there was a limit', async () => {
    const [fleets, counts] = [new FakeFleets(), new FakeCounts()]
    const one = await start(fleets, counts, 'a', config({}, 0))
    const two = await start(fleets, counts, 'b')
    await (await join(one)).allocate()
    await (await join(one)).allocate()
    expect(counts.runs).toBe(0)
    await one.reload(config())
    await expect((await join(two)).allocate()).rejects.toMatchObject({ code: 486 })
  })

  it('let a client move from one to the other, by the key that they have in common', async () => {
    const [fleets, counts] = [new FakeFleets(), new FakeCounts()]
    const [one, two] = [await start(fleets, counts, 'a'), await start(fleets, counts, 'b')]
    const connect = async (role: TurnRole): Promise<SocketClient> => {
      const client = await SocketClient.open(role.ports?.get('udp') ?? 0)
      closers.push(() => client.close())
      return client
    }
    const before = await connect(one)
    const ticket = ticketOf(await before.request(StunMethod.allocate, mobile))
    const after = await connect(two)
    expect((await after.refresh(600, bringing(ticket))).code).toBeUndefined()
    expect([one.allocationCount, two.allocationCount]).toEqual([1, 0])
    fleets.leave(gatewayId('a'))
    expect((await after.refresh(600)).code).toBe(437)
  })

  it('say where the others reach them', async () => {
    const fleets = new FakeFleets()
    const role = await start(fleets, new FakeCounts(), 'a')
    expect(role.peerAddresses).toEqual([`127.0.0.1:${role.ports?.get('udp')}`])
    const other = turnFleetOf(fleets.of(gatewayId('b')))
    const { tag } = turnFleetOf(fleets.of(gatewayId('a')))
    expect(other.addressOf(tag)).toEqual({ address: '127.0.0.1', port: role.ports?.get('udp') })
    const [listener] = config().listeners
    if (listener === undefined) throw new TypeError('no listener')
    await role.reload(
      config({
        listeners: [
          { ...listener, listen: '0' },
          { ...listener, name: 'tcp', transport: 'tcp' },
        ],
      }),
    )
    // Of a wildcard the address of its relay.
    expect(role.peerAddresses).toEqual([`127.0.0.1:${role.ports?.get('udp')}`])
    await role.close()
    expect([role.peerAddresses, role.allocationCount]).toEqual([[], 0])
  })
})
