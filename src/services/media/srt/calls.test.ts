import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SluiceError } from '../../../foundation/errors.ts'
import { until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import { createLogger, Registry } from '../../../mechanisms/telemetry/index.ts'
import {
  decodeHandshake,
  encodeHandshake,
  type Handshake,
  inductionOf,
  RejectReason,
  rejectReasonOf,
  streamIdOf,
} from '../../../protocols/srt/index.ts'
import { bytesOf, captured } from '../../../protocols/srt/srt.testkit.ts'
import type { AccessRequest } from '../access/index.ts'
import type { SrtServiceOptions } from './options.ts'
import { SrtService } from './service.ts'
import { data, FakeOrigin, TestCaller, TestGateway, textOf } from './srt.testkit.ts'

async function stage(options: Partial<SrtServiceOptions> = {}): Promise<{
  gateway: TestGateway
  origin: FakeOrigin
  caller: TestCaller
}> {
  const gateway = await TestGateway.start('node', options)
  const origin = await FakeOrigin.start()
  await gateway.add(origin)
  return { gateway, origin, caller: await TestCaller.open(gateway) }
}

/** What the `index`th caller of an origin sent as its stream id. */
function streamIdAt(origin: FakeOrigin, index = 0): string {
  const id = streamIdOf(origin.conclusions[index]?.handshake as Handshake)
  return typeof id === 'string' ? id : id.text
}

function handedOver(gateway: TestGateway, count: number): Promise<void> {
  return until(
    () => gateway.datapath.totals().delivered.packets >= count,
    `${count} datagrams to be looked at`,
  )
}

describe('strangers', () => {
  test('with a conclusion but no induction before are dropped: nothing is begun for them', async () => {
    const { gateway, origin, caller } = await stage()
    await caller.send(encodeHandshake({ ...caller.conclusion(), cookie: 0x418d5e4e }))
    await caller.send(encodeHandshake({ ...caller.conclusion(), cookie: 0 }))
    await handedOver(gateway, 2)
    expect(await gateway.metric('sluice_srt_dropped_total{reason="bad-cookie"}')).toBe(2)
    expect([origin.inductions, gateway.datapath.totals().endpoints]).toEqual([0, 1])
    // Nor is there an answer that could be turned on others.
    expect(caller.udp.received).toEqual([])
  })

  test('with the cookie of another address, port or socket are dropped', async () => {
    const { gateway, origin, caller } = await stage()
    const conclusion = caller.conclusion()
    const cookie = await caller.cookie(conclusion)
    const others = [await TestCaller.open(gateway), await TestCaller.open(gateway, '127.0.0.2')]
    for (const other of others) await other.send(encodeHandshake({ ...conclusion, cookie }))
    await caller.send(encodeHandshake({ ...conclusion, cookie, socketId: 0x78 }))
    await handedOver(gateway, 4)
    expect(await gateway.metric('sluice_srt_dropped_total{reason="bad-cookie"}')).toBe(3)
    expect(origin.inductions).toBe(0)
  })

  test('with an old cookie are dropped', async () => {
    const { gateway, caller } = await stage()
    const conclusion = caller.conclusion()
    const cookie = await caller.cookie(conclusion)
    gateway.clock.advance(61_000)
    await caller.send(encodeHandshake({ ...conclusion, cookie }))
    await handedOver(gateway, 2)
    expect(await gateway.metric('sluice_srt_dropped_total{reason="bad-cookie"}')).toBe(1)
  })

  test('by the thousand, with inductions, leave nothing behind', async () => {
    const { gateway, caller } = await stage()
    for (let socketId = 1; socketId <= 1000; socketId++) {
      await caller.send(encodeHandshake(inductionOf(caller.conclusion({ socketId }))))
    }
    await until(() => caller.udp.received.length === 1000, 'every induction to be answered')
    for (const { bytes } of caller.udp.received.splice(0)) expect(bytes).toHaveLength(64)
    const { flows, endpoints } = gateway.datapath.totals()
    expect({ flows, endpoints, timers: gateway.clock.pending }).toEqual({ flows: 0, endpoints: 1, timers: 1 })
    expect(await caller.refusal()).toBeUndefined()
  })

  test.each([
    ['malformed', ''],
    ['malformed', '80'],
    ['malformed', '8000000000000000000000000000'],
    ['malformed', captured.induction.slice(0, -2)],
    // The datagrams that stop the SRS proxy: a conclusion with two or three bytes of extension.
    ['malformed', `${captured.conclusion.slice(0, 128)}0005`],
    ['malformed', `${captured.conclusion.slice(0, 128)}000500`],
    ['malformed', captured.induction.replace('1692cfba', '00000000')],
    ['not-caller', captured.induction.replace('0000000116', '0000000016')],
    ['unknown-session', '80050000000000000000000000001000'],
    ['unknown-session', `${'00'.repeat(12)}00001000ff`],
  ])('whose datagram is %s are dropped and counted: %s', async (reason, hex) => {
    const { gateway, origin, caller } = await stage()
    await caller.send(bytesOf(hex))
    await handedOver(gateway, 1)
    expect(await gateway.metric(`sluice_srt_dropped_total{reason="${reason}"}`)).toBe(1)
    expect([origin.inductions, caller.udp.received.length, gateway.datapath.totals().flows]).toEqual([
      0, 0, 0,
    ])
  })

  test('with any bytes harm nobody', async () => {
    const { gateway, origin, caller } = await stage()
    const answer = await caller.call()
    const conclusion = bytesOf(captured.conclusion)
    const cookie = await caller.cookie(caller.conclusion({ socketId: 0x1692cfba }))
    conclusion.writeUInt32BE(cookie, 44)
    const bent = fc
      .tuple(fc.nat(conclusion.length - 1), fc.nat(255), fc.nat(conclusion.length))
      .map(([at, byte, length]) => {
        const copy = Buffer.from(conclusion)
        copy[at] = byte
        return copy.subarray(0, length)
      })
    const packets = fc.sample(fc.oneof(bent, fc.uint8Array({ maxLength: 200 })), 400)
    for (const packet of packets) await caller.send(packet)
    // What came before it has been looked at.
    const other = await TestCaller.open(gateway)
    expect(await other.refusal({ socketId: 0x99 })).toBeUndefined()
    await caller.send(data(answer.socketId, 'still here'))
    await until(
      () => origin.received.some(({ bytes }) => textOf(bytes) === 'still here'),
      'the session to go on',
    )
  })
})

describe('a caller', () => {
  test('that repeats its conclusion is answered from its session; the origin is asked once', async () => {
    const { gateway, origin, caller } = await stage()
    const conclusion = await caller.conclude()
    const answer = await caller.handshake()
    for (let times = 0; times < 3; times++) {
      await caller.send(encodeHandshake(conclusion))
      expect(await caller.handshake()).toEqual(answer)
    }
    expect([origin.inductions, origin.conclusions.length]).toEqual([1, 1])
    expect(gateway.datapath.totals().endpoints).toBe(2)
  })

  test('that repeats it while its dialogue goes on has one dialogue', async () => {
    const { gateway, origin, caller } = await stage()
    origin.manner = 'silent'
    const conclusion = await caller.conclude()
    await until(() => origin.inductions === 1, 'the origin to be called')
    for (let times = 0; times < 3; times++) await caller.send(encodeHandshake(conclusion))
    await handedOver(gateway, 5)
    expect(await gateway.metric('sluice_srt_dialogues')).toBe(1)
    origin.manner = 'accept'
    // What was lost on the way to the origin is sent again.
    gateway.clock.advance(250)
    expect((await caller.handshake()).socketId).toBe(0x1000)
    expect([origin.inductions, origin.conclusions.length]).toEqual([2, 1])
  })

  test('gets through though each packet towards the origin is lost once', async () => {
    const { gateway, origin, caller } = await stage()
    const delivered = (): number => gateway.datapath.totals().delivered.packets
    origin.manner = 'silent'
    await caller.conclude()
    await until(() => origin.inductions === 1, 'the induction that is lost')
    origin.manner = 'silent-after-induction'
    const before = delivered()
    gateway.clock.advance(250)
    await until(() => delivered() === before + 1, 'the answer to the second one')
    await until(() => origin.lost === 2, 'the conclusion that is lost')
    origin.manner = 'accept'
    gateway.clock.advance(250)
    expect((await caller.handshake()).socketId).toBe(0x1000)
    expect(origin.conclusions).toHaveLength(1)
  })

  test('that was refused and repeats its conclusion gets the same answer; nobody is asked again', async () => {
    let asked = 0
    const { gateway, caller } = await stage({
      access: {
        admit: () => Promise.reject(new SluiceError(`NO_${++asked}`, 'no', { ...clientSide, status: 401 })),
      },
    })
    const conclusion = await caller.conclude()
    const refused = await caller.handshake()
    expect(rejectReasonOf(refused)).toBe(1401)
    await caller.send(encodeHandshake(conclusion))
    expect(await caller.handshake()).toEqual(refused)
    expect(asked).toBe(1)
    // Another call of the same socket is another question.
    await caller.refusal({ initialSequence: 43 })
    expect(asked).toBe(2)
    gateway.clock.advance(3000)
    await caller.send(encodeHandshake(conclusion))
    await caller.handshake()
    expect(asked).toBe(3)
  })

  test('of handshake version 4 is refused', async () => {
    const { caller, origin } = await stage()
    expect(await caller.refusal({ version: 4 })).toBe(RejectReason.version)
    expect(origin.inductions).toBe(0)
  })

  test('finds a silent origin while others call: none waits for it, and another origin is tried in time', async () => {
    const { gateway, origin, caller } = await stage({ originTimeoutMs: 700 })
    origin.manner = 'silent'
    await caller.conclude()
    await until(() => origin.inductions === 1, 'the first caller to wait')
    const second = await FakeOrigin.start()
    await gateway.add(second)
    await gateway.store.drain(
      (await gateway.store.list()).find(({ srt }) => srt[0] === origin.port)?.id ?? ('' as never),
      true,
    )
    const other = await TestCaller.open(gateway)
    expect((await other.call({ streamId: '#!::r=live/t,m=publish' })).socketId).toBe(0x1000)
    expect(caller.udp.received).toEqual([])
    gateway.clock.advance(700)
    expect((await caller.handshake()).socketId).toBe(0x1001)
    expect(second.conclusions).toHaveLength(2)
    expect(await gateway.metric('sluice_srt_origin_failures_total{code="SRT_ORIGIN_TIMEOUT"}')).toBe(1)
    const states = (await gateway.store.list()).map(({ state }) => state)
    expect(states).toContain('suspect')
  })

  test.each([
    ['is silent after the induction', 'silent-after-induction'],
    ['is full', RejectReason.backlog],
    ['is overloaded', RejectReason.overload],
    ['is down', RejectReason.down],
  ] as const)('is taken to another origin when one %s', async (_how, manner) => {
    const { gateway, origin, caller } = await stage()
    origin.manner = manner
    const second = await FakeOrigin.start()
    await gateway.add(second)
    await caller.conclude()
    if (manner === 'silent-after-induction') {
      await until(() => origin.inductions === 1, 'the origin to be asked')
      gateway.clock.advance(1000)
    }
    expect((await caller.handshake()).socketId).toBe(0x1000)
    expect(second.conclusions).toHaveLength(1)
  })

  test('is taken to another origin when nothing is at the address of one', async () => {
    const { gateway, origin, caller } = await stage()
    await origin.close()
    const second = await FakeOrigin.start()
    await gateway.add(second)
    expect((await caller.call()).socketId).toBe(0x1000)
    expect(await gateway.metric('sluice_srt_origin_failures_total{code="SRT_ORIGIN_UNREACHABLE"}')).toBe(1)
  })

  test('is told that the gateway found no origin that works', async () => {
    const { origin, caller } = await stage()
    await origin.close()
    expect(await caller.refusal()).toBe(RejectReason.gateway)
  })

  test('is told that there is no origin at all', async () => {
    const gateway = await TestGateway.start('node')
    const caller = await TestCaller.open(gateway)
    expect(await caller.refusal()).toBe(RejectReason.down)
  })

  test.each([RejectReason.badSecret, RejectReason.unsecure, 1401, 1403, 1404, 1409, 2017])(
    'is told the reason %d of its origin, and no other one is asked',
    async (reason) => {
      const { gateway, origin, caller } = await stage()
      origin.manner = reason
      const second = await FakeOrigin.start()
      await gateway.add(second)
      expect(await caller.refusal()).toBe(reason)
      expect(second.inductions).toBe(0)
      const states = (await gateway.store.list()).map(({ state }) => state)
      expect([states, gateway.datapath.totals().endpoints]).toEqual([['healthy', 'healthy'], 1])
    },
  )

  test("is told an origin's reason when no other one is better", async () => {
    const { origin, caller } = await stage()
    origin.manner = RejectReason.overload
    expect(await caller.refusal()).toBe(RejectReason.overload)
  })

  test('waits no longer than a call may take, though origins are many and silent', async () => {
    const { gateway, origin, caller } = await stage({ dialogueTimeoutMs: 2500, originTimeoutMs: 5000 })
    origin.manner = 'silent'
    await caller.conclude()
    await until(() => origin.inductions === 1, 'the origin to be called')
    gateway.clock.advance(2500)
    expect(rejectReasonOf(await caller.handshake())).toBe(RejectReason.timeout)
    await until(() => gateway.datapath.totals().endpoints === 1, 'the socket towards the origin to be closed')
  })

  test('is refused when the gateway closes meanwhile, which waits for nobody', async () => {
    const { gateway, origin, caller } = await stage()
    origin.manner = 'silent'
    await caller.conclude()
    await until(() => origin.inductions === 1, 'the origin to be called')
    await gateway.service.close()
    expect(rejectReasonOf(await caller.handshake())).toBe(RejectReason.down)
    expect([gateway.clock.pending, gateway.datapath.totals().endpoints]).toEqual([0, 0])
    await gateway.service.start()
    const again = await TestCaller.open(gateway)
    origin.manner = 'accept'
    expect(await again.refusal()).toBeUndefined()
  })

  test('with encryption is taken to the origin with its keys as they are', async () => {
    const { origin, caller } = await stage()
    const conclusion = caller.conclusion()
    const key = { type: 3, content: randomBytes(72) }
    const secret = {
      ...conclusion,
      encryption: 2,
      extensionField: 7,
      extensions: [...conclusion.extensions, key],
    }
    await caller.send(encodeHandshake({ ...secret, cookie: await caller.cookie(conclusion) }))
    const answer = await caller.handshake()
    expect(origin.conclusions[0]?.handshake).toEqual({ ...secret, cookie: 0x0badf00d })
    expect(answer.extensions.at(-1)).toEqual({ type: 3, content: key.content })
  })
})

const clientSide = { side: 'client', retryable: false } as const

describe('bounds', () => {
  test.each([
    ['in all', { maxDialogues: 5 }],
    ['of one source', { maxDialoguesPerSource: 5 }],
  ])('hold for calls under way %s; a thousand half-open ones harm nobody', async (what, bounds) => {
    const { gateway, origin, caller } = await stage(bounds)
    await caller.call()
    origin.manner = 'silent'
    const flood = await TestCaller.open(gateway, '127.0.0.2')
    for (let socketId = 1; socketId <= 1000; socketId++) {
      const conclusion = flood.conclusion({ socketId, streamId: '#!::r=live/flood,m=publish' })
      await flood.send(encodeHandshake(inductionOf(conclusion)))
      const { cookie } = await flood.handshake()
      await flood.send(encodeHandshake({ ...conclusion, cookie }))
      if (socketId > 5) expect(rejectReasonOf(await flood.handshake())).toBe(RejectReason.overload)
    }
    expect(await gateway.metric('sluice_srt_dialogues')).toBe(5)
    const { endpoints } = gateway.datapath.totals()
    expect(endpoints).toBeLessThanOrEqual(7)
    await until(() => origin.inductions >= 5, 'the flood to be at the origin')
    origin.manner = 'accept'
    const other = await TestCaller.open(gateway)
    const expected = what === 'in all' ? RejectReason.overload : undefined
    expect(await other.refusal({ socketId: 0x88 })).toBe(expected)
  })

  test.each([
    ['in all', { maxSessions: 2 }],
    ['of one source', { maxSessionsPerSource: 2 }],
  ])('hold for sessions %s', async (what, bounds) => {
    const { gateway, caller } = await stage(bounds)
    expect(await caller.refusal({ socketId: 1 })).toBeUndefined()
    expect(await caller.refusal({ socketId: 2 })).toBeUndefined()
    expect(await caller.refusal({ socketId: 3 })).toBe(RejectReason.overload)
    const other = await TestCaller.open(gateway, '127.0.0.2')
    const expected = what === 'in all' ? RejectReason.overload : undefined
    expect(await other.refusal({ socketId: 4 })).toBe(expected)
    const [session] = gateway.service.listSessions()
    gateway.service.kickSession(session?.id ?? '')
    await until(() => caller.udp.received.length > 0, 'the end of one')
    await caller.next()
    expect(await caller.refusal({ socketId: 5 })).toBeUndefined()
  })

  test('of the log: one line a minute for each source', async () => {
    const lines: string[] = []
    const logger = createLogger({ stream: { write: (line) => lines.push(line) } })
    const { gateway, caller } = await stage({ logger })
    const refusals = (): number => lines.filter((line) => line.includes('SRT caller refused')).length
    const other = await TestCaller.open(gateway, '127.0.0.2')
    for (let socketId = 1; socketId <= 20; socketId++) await caller.refusal({ socketId, streamId: '' })
    expect(refusals()).toBe(1)
    await other.refusal({ streamId: '' })
    expect(refusals()).toBe(2)
    gateway.clock.advance(60_000)
    await caller.refusal({ socketId: 99, streamId: '' })
    expect(refusals()).toBe(3)
  })

  test.each([{ maxSessions: 0 }, { idleMs: 1.5 }, { defaultStreamId: '#!::m=publish' }])(
    'of options: %o is refused',
    async (bad) => {
      const { gateway } = await stage()
      const options = {
        listen: [],
        datapath: gateway.datapath,
        balancer: gateway.store,
        registry: gateway.registry,
      }
      const logger = createLogger({ level: 'silent' })
      expect(() => new SrtService({ ...options, logger, streamKeyOf: () => '' as never, ...bad })).toThrow(
        expect.objectContaining({ code: 'SRT_BAD_OPTION' }),
      )
    },
  )
})

describe('stream ids', () => {
  test.each([
    ['#!::r=live/s,m=publish', 'publish', 'live/s', '#!::r=live/s,m=publish'],
    ['#!::r=live/s,m=request', 'play', 'live/s', '#!::r=live/s,m=request'],
    ['#!::r=live/s', 'play', 'live/s', '#!::r=live/s'],
    [
      '#!::h=cdn.example.com,r=live/s?token=x,m=publish',
      'publish',
      'live/s',
      '#!::h=cdn.example.com,r=live/s?token=x,m=publish',
    ],
    ['live/s', 'publish', 'live/s', '#!::r=live/s,m=publish'],
    ['live/s?k=1', 'publish', 'live/s', '#!::r=live/s?k=1,m=publish'],
    ['s', 'publish', 'live/s', '#!::r=live/s,m=publish'],
    ['read:live/s', 'play', 'live/s', '#!::r=live/s,m=request'],
    ['publish:live/s:me:pw', 'publish', 'live/s', '#!::r=live/s,m=publish,u=me,s=pw'],
  ])('%s: %s of %s, told an SRS origin as %s', async (streamId, role, path, told) => {
    const { gateway, origin, caller } = await stage()
    expect(await caller.refusal({ streamId })).toBeUndefined()
    expect(gateway.service.listSessions()).toMatchObject([{ role, streamKey: `__defaultVhost__/${path}` }])
    expect(streamIdAt(origin)).toBe(told)
  })

  test('that are empty stand for the default one, which the origin is told', async () => {
    const { gateway, origin, caller } = await stage({ defaultStreamId: '#!::r=live/main,m=publish' })
    expect(await caller.refusal({ streamId: '' })).toBeUndefined()
    expect(gateway.service.listSessions()).toMatchObject([
      { role: 'publish', streamKey: '__defaultVhost__/live/main' },
    ])
    expect(streamIdAt(origin)).toBe('#!::r=live/main,m=publish')
  })

  test.each([
    '',
    '#!::m=publish',
    '#!::r=live/s,m=both',
    'publish:',
    '#!::r=live/s,r=live/t',
    '#!::r=..,m=publish',
  ])('"%s" is refused as a bad request', async (streamId) => {
    const { origin, caller } = await stage()
    expect(await caller.refusal({ streamId })).toBe(RejectReason.badRequest)
    expect(origin.inductions).toBe(0)
  })

  test('plain ones play when so configured, and need their app', async () => {
    const { gateway, caller } = await stage({ plainRole: 'play', plainApp: '' })
    expect(await caller.refusal({ streamId: 'live/s' })).toBeUndefined()
    expect(gateway.service.listSessions()).toMatchObject([{ role: 'play' }])
    expect(await caller.refusal({ streamId: 's', socketId: 2 })).toBe(RejectReason.badRequest)
  })

  test.each([
    ['publish:{app}/{stream}', '#!::r=live/s?k=1,m=request', 'read:live/s:k=1'],
    ['#!::r={app}/{stream},m=publish', 'read:live/s', '#!::r=live/s,m=request'],
    ['{stream}', 'publish:live/s:k=1', 's?k=1'],
  ])('of an origin with the URL template %s: %s is %s', async (template, streamId, told) => {
    const { origin, caller, gateway } = await stage()
    await gateway.store.drain((await gateway.store.list())[0]?.id ?? ('' as never), true)
    const other = await FakeOrigin.start()
    const urls = { srt: `srt://127.0.0.1:${other.port}?streamid=${template}` }
    await gateway.store.announce({ ...other.announcement, srt: [], kind: 'custom', urls })
    expect(await caller.refusal({ streamId })).toBeUndefined()
    expect([streamIdAt(other), origin.inductions]).toEqual([told, 0])
  })
})

describe('listeners', () => {
  test('are several, of both families; the answer comes from where the call went', async () => {
    const listen = [
      { host: '127.0.0.1', port: 0 },
      { host: '::1', port: 0 },
    ]
    const { gateway, origin } = await stage({ listen })
    const [, v6] = gateway.service.addresses
    const caller = await TestCaller.open(gateway, '::1', v6)
    const conclusion = await caller.conclude()
    const { bytes, from } = await caller.udp.next()
    expect(from).toEqual({ address: '::1', port: v6?.port })
    const answer = decodeHandshake(bytes) as Handshake
    expect(answer).toMatchObject({ cookie: conclusion.cookie, socketId: 0x1000 })
    expect(Buffer.from(answer.peerIp).toString('hex')).toBe('01000000'.padStart(32, '0'))
    await caller.send(data(answer.socketId, 'by IPv6'))
    const arrived = await origin.next()
    expect(textOf(arrived.bytes)).toBe('by IPv6')
    origin.send(data(0x77, 'back'), arrived.from)
    expect(textOf(await caller.next())).toBe('back')
    expect(gateway.service.listSessions()).toMatchObject([{ address: '::1' }])
  })

  test('are all closed when one cannot be bound', async () => {
    const { gateway } = await stage()
    const { datapath, store: balancer, address } = gateway
    const logger = createLogger({ level: 'silent' })
    const listen = [
      { host: '127.0.0.1', port: 0 },
      { host: address.address, port: address.port },
    ]
    const second = new SrtService({
      ...{ listen, datapath, balancer, logger, registry: new Registry() },
      streamKeyOf: () => '' as never,
    })
    await expect(second.start()).rejects.toMatchObject({ code: 'DATAPATH_PORT_TAKEN' })
    expect([second.addresses, datapath.totals().endpoints]).toEqual([[], 1])
  })
})

describe('origins that are known by name', () => {
  test('are looked up once for many callers, and again later', async () => {
    const asked: string[] = []
    const resolveHost = (name: string): Promise<string> => Promise.resolve((asked.push(name), '127.0.0.1'))
    const gateway = await TestGateway.start('node', { resolveHost })
    const origin = await FakeOrigin.start()
    await gateway.store.announce({ ...origin.announcement, ip: 'origin.example' })
    const caller = await TestCaller.open(gateway)
    for (const socketId of [1, 2, 3]) expect(await caller.refusal({ socketId })).toBeUndefined()
    expect(asked).toEqual(['origin.example'])
    gateway.clock.advance(30_000)
    await until(() => gateway.service.listSessions().length === 0, 'idle sessions to end')
    const again = await TestCaller.open(gateway)
    expect(await again.refusal({ socketId: 4 })).toBeUndefined()
    expect(asked).toHaveLength(2)
  })

  test('and are not resolved, or not in time, are passed over', async () => {
    const answers = [() => Promise.reject(new Error('unknown')), () => new Promise<string>(() => {})]
    const resolveHost = (): Promise<string> =>
      answers.shift()?.() ?? Promise.reject(new Error('asked too often'))
    const { gateway, origin, caller } = await stage({ resolveHost })
    await origin.close()
    for (const ip of ['one.example', 'two.example']) {
      await gateway.store.announce({ ...origin.announcement, ip, server: ip })
    }
    await caller.conclude()
    await until(() => answers.length === 0, 'both names to be looked up')
    gateway.clock.advance(1000)
    expect(rejectReasonOf(await caller.handshake())).toBe(RejectReason.gateway)
  })
})

describe('access', () => {
  test('is asked once, with all that the stream id says, and told the end once', async () => {
    const requests: AccessRequest[] = []
    let ends = 0
    const { gateway, caller } = await stage({
      access: {
        admit: async (request) => {
          requests.push(request)
          return { limits: [], signal: new AbortController().signal, end: () => ends++ }
        },
      },
    })
    await caller.call({ streamId: '#!::h=cdn.example.com,r=live/s?a=1,m=publish,u=me,token=t 1' })
    expect(requests).toMatchObject([
      {
        protocol: 'srt',
        role: 'publish',
        key: '__defaultVhost__/live/s',
        address: '127.0.0.1',
        query: 'a=1&u=me&token=t%201',
        bearer: 't 1',
        tcUrl: 'srt://cdn.example.com/live',
      },
    ])
    const [session] = gateway.service.listSessions()
    expect(requests[0]?.sessionId).toBe(session?.id)
    expect(ends).toBe(0)
    gateway.service.kickSession(session?.id ?? '')
    gateway.service.kickSession(session?.id ?? '')
    expect(ends).toBe(1)
  })

  test.each([
    [400, 1400],
    [401, 1401],
    [403, 1403],
    [429, 1402],
    [503, 1503],
  ])('that refuses with %d is reason %d for the caller; no origin is asked', async (status, reason) => {
    const { origin, caller } = await stage({
      access: { admit: () => Promise.reject(new SluiceError('ACCESS_NO', 'no', { ...clientSide, status })) },
    })
    expect(await caller.refusal()).toBe(reason)
    expect(origin.inductions).toBe(0)
  })

  test('is told the end of what did not become a session', async () => {
    let ends = 0
    const admit = async () => ({ limits: [], signal: new AbortController().signal, end: () => void ends++ })
    const { origin, caller } = await stage({ access: { admit } })
    origin.manner = RejectReason.badSecret
    await caller.refusal()
    expect(ends).toBe(1)
  })

  test('ends a session whose permission is taken away', async () => {
    const permission = new AbortController()
    let ends = 0
    const admit = async () => ({ limits: [], signal: permission.signal, end: () => void ends++ })
    const { gateway, caller } = await stage({ access: { admit } })
    await caller.call()
    permission.abort(new SluiceError('ACCESS_EXPIRED', 'over', { ...clientSide, status: 401 }))
    expect((await caller.next()).readUInt32BE(0)).toBe(0x8005_0000)
    expect([gateway.service.listSessions(), ends]).toEqual([[], 1])
    expect(await gateway.metric('sluice_srt_sessions_ended_total{reason="denied"}')).toBe(1)
  })

  test('that is withdrawn before the origin has answered refuses', async () => {
    const permission = new AbortController()
    const admit = async () => ({ limits: [], signal: permission.signal, end: () => {} })
    const { gateway, origin, caller } = await stage({ access: { admit } })
    origin.manner = 'silent'
    await caller.conclude()
    await until(() => origin.inductions === 1, 'the origin to be called')
    permission.abort(new SluiceError('ACCESS_EXPIRED', 'over', { ...clientSide, status: 401 }))
    expect(rejectReasonOf(await caller.handshake())).toBe(RejectReason.unauthorized)
    expect(gateway.datapath.totals().endpoints).toBe(1)
  })
})
