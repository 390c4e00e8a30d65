import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import * as werift from 'werift'
import { ManualClock } from '../../../foundation/clock.ts'
import type { Remote } from '../../../mechanisms/datapath/index.ts'
import { makeCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import { type Logger, silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { FakeDatapath, type FakeEndpoint, type SentDatagram } from '../core/fake-datapath.testkit.ts'
import type { Client } from '../core/client.ts'
import type { ListenerState } from '../core/listener-state.ts'
import { defaultLimits, type TurnLimits } from '../options.ts'
import { admitAll } from '../peers/fixed-policies.ts'
import { helloDatagram, type TestHello } from './dtls-hello.testkit.ts'
import { HandshakeType, readHandshakeMessages, writeHandshakeMessage } from './dtls-handshake-message.ts'
import { DtlsListener } from './dtls-listener.ts'
import { ContentType, readRecords, recordHeaderBytes, writeRecord } from './dtls-record.ts'

let open: Listening | undefined

afterEach(async () => {
  await open?.listener.close()
  expect(open?.clock.pending ?? 0).toBe(0)
  open = undefined
})

describe('a stranger', () => {
  test('gets a cookie for a hello, and nothing is kept', async () => {
    const listening = await listen()
    listening.receive(stranger, helloDatagram())
    expect(listening.sent).toHaveLength(1)
    expect(listening.sent[0]?.bytes).toHaveLength(40)
    expect(kept(listening)).toEqual(nothing)
  })

  test('who sends anything at all leaves nothing behind', async () => {
    const listening = await listen()
    const damaged = fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
      const datagram = helloDatagram({ cookie: new Uint8Array(12) })
      datagram[at % datagram.length] = byte
      return datagram
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged), (bytes) => {
        listening.receive(stranger, bytes)
        expect(kept(listening)).toEqual(nothing)
      }),
    )
  })

  test('gets no answer to records that begin no handshake', async () => {
    const listening = await listen()
    for (const type of [20, 21, 23, 24]) {
      for (const epoch of [0, 1]) {
        listening.receive(stranger, writeRecord({ type, epoch, sequence: 1, body: new Uint8Array(40) }))
      }
    }
    expect(listening.sent).toHaveLength(0)
    expect(kept(listening)).toEqual(nothing)
  })

  test('gets one answer to a datagram full of hellos', async () => {
    const listening = await listen()
    listening.receive(stranger, Buffer.concat(Array.from({ length: 10 }, () => helloDatagram())))
    expect(listening.sent).toHaveLength(1)
  })

  test('gets no more cookies than the limit says', async () => {
    const listening = await listen({ limits: { strangerRepliesPerSecond: 5 } })
    for (let port = 1000; port < 1100; port++) listening.receive({ ...stranger, port }, helloDatagram())
    expect(listening.sent).toHaveLength(10)
  })

  test('with the cookie of another is asked anew', async () => {
    const listening = await listen()
    const cookie = listening.cookieFor(stranger)
    listening.receive({ ...stranger, port: 2 }, helloDatagram({ cookie }))
    expect(listening.sent.at(-1)?.bytes).toHaveLength(40)
    expect(kept(listening)).toEqual(nothing)
  })

  test('of an older version is told so, and nothing is kept', async () => {
    const listening = await listen()
    listening.begin(stranger, { version: 0xfeff })
    expect(alertOf(listening.sent.at(-1))).toEqual([2, 70])
    expect(kept(listening)).toEqual(nothing)
  })
})

describe('a handshake', () => {
  test('of which nothing suits ends with an alert', async () => {
    const listening = await listen()
    listening.begin(stranger, { suites: [0x1301] })
    await until(() => listening.listener.handshakes === 0)
    expect(alertOf(listening.sent.at(-1))).toEqual([2, 40])
  })

  test('that does not go on is cut in time', async () => {
    const listening = await listen()
    listening.begin(stranger)
    expect(listening.listener.handshakes).toBe(1)
    listening.clock.advance(15_000)
    expect(kept(listening)).toEqual(nothing)
  })

  test('with a key that is none ends', async () => {
    const listening = await listen()
    listening.begin(stranger)
    const key = Buffer.concat([Buffer.from('10000042000200000000004241', 'hex'), new Uint8Array(65)])
    const record = { type: ContentType.handshake, epoch: 0, sequence: 2, body: key }
    listening.receive(stranger, writeRecord(record))
    await until(() => listening.listener.handshakes === 0)
    expect(alertOf(listening.sent.at(-1))).toEqual([2, 40])
  })

  test('ends when the Finished of the client does not fit it', async () => {
    const listening = await listen()
    const client = dtlsClient(listening, stranger)
    client.cipher.verifyData = () => Buffer.alloc(12)
    client.connect().catch(() => undefined)
    await until(() => alertOf(listening.sent.at(-1))[1] === 51)
    expect(kept(listening)).toEqual(nothing)
  })

  test('goes on with the hello that was repeated, and with no other', async () => {
    const listening = await listen()
    const cookie = listening.cookieFor(stranger)
    listening.receive(stranger, helloDatagram({ cookie }))
    const flight = listening.sent.slice(1).map(({ bytes }) => bytes)
    listening.receive(stranger, helloDatagram({ cookie }))
    expect(listening.sent.slice(1 + flight.length).map(({ bytes }) => bytes)).toEqual(flight)
    expect(flight.length).toBeGreaterThan(3)
  })

  test('with any hello or any key ends well', async () => {
    const listening = await listen({ limits: { strangerRepliesPerSecond: 0 } })
    const extensions = fc.array(
      fc.tuple(fc.constantFrom(10, 11, 13, 14, 23, 43, 0xff01), fc.uint8Array({ maxLength: 20 })),
    )
    const key = fc.uint8Array({ maxLength: 70 })
    await fc.assert(
      fc.asyncProperty(extensions, fc.boolean(), key, async (given, isUsual, body) => {
        listening.begin(stranger, isUsual ? {} : { extensions: given })
        const message = writeHandshakeMessage(HandshakeType.clientKeyExchange, 2, body)
        const record = { type: ContentType.handshake, epoch: 0, sequence: 2, body: message }
        listening.receive(stranger, writeRecord(record))
        listening.receive(stranger, writeRecord({ ...record, epoch: 1, body: new Uint8Array(48) }))
        listening.clock.advance(15_000)
        await new Promise(setImmediate)
        expect(kept(listening)).toEqual(nothing)
      }),
    )
  })

  test('of one address goes on with 31 others at most', async () => {
    const listening = await listen()
    for (let port = 1000; port < 1040; port++) listening.begin({ ...stranger, port })
    expect(listening.listener.handshakes).toBe(32)
  })

  test('is cut when it is the oldest of 256 and there is another', async () => {
    const listening = await listen({ limits: { strangerRepliesPerSecond: 0 } })
    for (let host = 0; host < 257; host++) {
      listening.begin({ address: `198.51.${host >> 4}.${host & 15}`, port: 1 })
    }
    expect(listening.listener.handshakes).toBe(256)
  })

  test('is passed over when there are as many connections as there may be', async () => {
    const listening = await listen({ limits: { maxConnectionsPerAddress: 1 } })
    await connect(listening, { ...stranger, port: 1 })
    listening.begin({ ...stranger, port: 2 })
    expect(kept(listening)).toEqual({ handshakes: 0, clients: 1, flows: 1 })
  })

  test('goes on with the first key that the client has sent', async () => {
    const listening = await listen()
    const client = dtlsClient(listening, stranger)
    const other = writeHandshakeMessage(HandshakeType.clientKeyExchange, 2, Buffer.alloc(66, 65))
    client.afterEach = () => {
      const [record] = readRecords(client.lastSent)
      if (record?.type !== ContentType.handshake) return
      const [message] = readHandshakeMessages(record.body) ?? []
      if (message?.type === HandshakeType.clientKeyExchange)
        listening.receive(stranger, writeRecord({ ...record, sequence: 9, body: other }))
    }
    client.connect().catch(() => undefined)
    await until(() => listening.listener.clients === 1)
  })

  test('survives any records in between', async () => {
    const listening = await listen()
    const client = dtlsClient(listening, stranger)
    const connected = client.onConnect.asPromise()
    let count = 0
    client.afterEach = () => {
      for (const type of [20, 21, 22, 23, 99]) {
        for (const epoch of [0, 1, 2]) {
          const body = new Uint8Array(30).fill(++count)
          listening.receive(stranger, writeRecord({ type, epoch, sequence: count, body }))
        }
      }
    }
    client.connect().catch(() => undefined)
    await connected
    await until(() => listening.listener.clients === 1)
  })
})

describe('a client', () => {
  test('is heard and answered, and has a flow of its own', async () => {
    const listening = await listen()
    const client = await connect(listening, stranger)
    expect(kept(listening)).toEqual({ handshakes: 0, clients: 1, flows: 1 })
    expect([...listening.datapath.flows.values()][0]?.flow).toMatchObject({
      kind: 'deliver',
      from: { endpoint: listening.endpoint.id, remote: stranger, local: 0 },
    })
    await client.send(Buffer.from('ping'))
    expect(listening.received.map(({ text }) => text)).toEqual(['ping'])
    const answers: string[] = []
    client.onData.subscribe((bytes) => answers.push(bytes.toString()))
    for (let i = 0; i < 10; i++) expect(listening.received[0]?.client.send(Buffer.from(`${i}`))).toBe(true)
    expect(answers.join('')).toBe('0123456789')
    // No nonce may come twice, that of the Finished neither.
    const sequences = listening.sent
      .flatMap(({ bytes }) => readRecords(bytes))
      .flatMap(({ epoch, sequence }) => (epoch === 1 ? [sequence] : []))
    expect(sequences).toHaveLength(11)
    expect(new Set(sequences).size).toBe(11)
  })

  test('by a local address of its own is answered from there', async () => {
    const listening = await listen({ isWildcard: true })
    const client = await connect(listening, stranger, 1)
    await client.send(Buffer.from('ping'))
    listening.received[0]?.client.send(Buffer.from('pong'))
    expect(listening.sent.map(({ from }) => from.address)).toEqual(listening.sent.map(() => '198.51.100.2'))
  })

  test('is called by where it is, over DTLS', async () => {
    const listening = await listen()
    const client = await connect(listening, stranger)
    await client.send(Buffer.from('ping'))
    expect(listening.received[0]?.client).toMatchObject({ transport: 'dtls', isStream: false, ...stranger })
  })

  test('whose record is repeated is heard once', async () => {
    const listening = await listen()
    const client = await connect(listening, stranger)
    await client.send(Buffer.from('ping'))
    const record = client.lastSent
    listening.receive(stranger, record)
    listening.receive(stranger, record)
    expect(listening.received).toHaveLength(1)
  })

  test('is not disturbed by what others send in its name', async () => {
    const listening = await listen()
    const client = await connect(listening, stranger)
    fc.assert(
      fc.property(
        fc.constantFrom(20, 21, 22, 23),
        fc.constantFrom(0, 1),
        fc.uint8Array({ maxLength: 80 }),
        (type, epoch, body) => listening.receive(stranger, writeRecord({ type, epoch, sequence: 50, body })),
      ),
    )
    listening.receive(stranger, helloDatagram())
    await client.send(Buffer.from('still here'))
    expect(listening.received.map(({ text }) => text)).toEqual(['still here'])
  })

  test('that begins anew from its port replaces the one before only when it is done', async () => {
    const listening = await listen()
    const before = await connect(listening, stranger)
    listening.begin(stranger)
    await before.send(Buffer.from('one'))
    expect(listening.received.map(({ text }) => text)).toEqual(['one'])
    const after = await connect(listening, stranger)
    await after.send(Buffer.from('two'))
    expect(listening.received.map(({ text }) => text)).toEqual(['one', 'two'])
    expect(listening.received[0]?.client.isGone?.()).toBe(true)
    expect(listening.disconnected).toEqual([listening.received[0]?.client])
    expect(kept(listening)).toEqual({ handshakes: 0, clients: 1, flows: 1 })
  })

  test('without an allocation goes after the idle time, and is told', async () => {
    const listening = await listen({ limits: { idleSeconds: 30 } })
    const client = await connect(listening, stranger)
    const closed = client.onClose.asPromise()
    listening.clock.advance(30_000)
    await closed
    expect(kept(listening)).toEqual(nothing)
  })

  test('with an allocation stays until it has none', async () => {
    const listening = await listen({ limits: { idleSeconds: 30 } })
    await connect(listening, stranger)
    listening.hasAllocation = true
    listening.clock.advance(120_000)
    expect(listening.listener.clients).toBe(1)
    listening.hasAllocation = false
    listening.clock.advance(30_000)
    expect(kept(listening)).toEqual(nothing)
  })

  test('that is disconnected is told, and can send and be sent to no more', async () => {
    const listening = await listen()
    const client = await connect(listening, stranger)
    await client.send(Buffer.from('ping'))
    const closed = client.onClose.asPromise()
    const known = listening.received[0]?.client
    known?.disconnect?.()
    known?.disconnect?.()
    await closed
    await client.send(Buffer.from('ping'))
    expect(known?.send(Buffer.from('pong'))).toBe(false)
    expect(listening.received).toHaveLength(1)
    expect(listening.disconnected).toEqual([known])
    expect(kept(listening)).toEqual(nothing)
  })

  test('is told when the listener closes', async () => {
    const listening = await listen()
    const client = await connect(listening, stranger)
    const closed = client.onClose.asPromise()
    await listening.listener.close()
    await closed
    expect(kept(listening)).toEqual(nothing)
  })
})

describe('another certificate', () => {
  test('is shown to who comes after', async () => {
    const listening = await listen()
    const before = await connect(listening, { ...stranger, port: 1 })
    const other = await makeCertificate(['other.example.org'])
    listening.listener.setCertificate(other)
    const after = await connect(listening, { ...stranger, port: 2 })
    expect(before.remoteCertificate?.includes('other.example.org')).toBe(false)
    expect(after.remoteCertificate?.includes('other.example.org')).toBe(true)
  })

  test('with those of authorities is warned of, since they are not shown', async () => {
    const listening = await listen()
    const warn = vi.spyOn(listening.log, 'warn')
    const [own, authority] = [await makeCertificate(), await makeCertificate(['authority'])]
    listening.listener.setCertificate(own)
    expect(warn).not.toHaveBeenCalled()
    listening.listener.setCertificate({ cert: `${own.cert}\n${authority.cert}`, key: own.key })
    expect(warn).toHaveBeenCalledOnce()
  })

  test('that cannot be used leaves the one before', async () => {
    const listening = await listen()
    expect(() => listening.listener.setCertificate({ cert: 'x', key: 'y' })).toThrow('cannot be read')
    await connect(listening, stranger)
  })
})

const stranger = { address: '192.0.2.7', port: 4000 }
const nothing = { handshakes: 0, clients: 0, flows: 0 }

interface Listening {
  readonly listener: DtlsListener
  readonly datapath: FakeDatapath
  readonly clock: ManualClock
  readonly log: Logger
  readonly endpoint: FakeEndpoint
  readonly sent: readonly SentDatagram[]
  readonly received: { readonly text: string; readonly client: Client }[]
  readonly disconnected: Client[]
  hasAllocation: boolean
  receive(from: Remote, bytes: Uint8Array, local?: number): void
  cookieFor(from: Remote, hello?: TestHello): Uint8Array
  /** Sends a hello, and sends it again with the cookie. */
  begin(from: Remote, hello?: TestHello): void
}

async function listen({
  limits = {},
  isWildcard = false,
}: {
  readonly limits?: Partial<TurnLimits>
  readonly isWildcard?: boolean
} = {}): Promise<Listening> {
  const clock = new ManualClock()
  const log = silentLogger()
  const datapath = new FakeDatapath({ clock, interfaces: ['198.51.100.1', '198.51.100.2'] })
  const inForce: TurnLimits = { ...defaultLimits, ...limits }
  const state: ListenerState = {
    options: {
      name: 'dtls',
      transport: 'dtls',
      listen: { ...(!isWildcard && { host: '198.51.100.1' }), port: 5349 },
      relays: [],
      peers: admitAll,
      certificate: await makeCertificate(),
    },
    relays: [],
    traffic: { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0, clients: 0 },
  }
  const listener = new DtlsListener({
    state,
    datapath,
    clock,
    limits: () => inForce,
    random: (bytes) => new Uint8Array(bytes).fill(5),
    log,
    core: {
      receive: (bytes, client) =>
        void listening.received.push({ text: Buffer.from(bytes).toString(), client }),
      disconnected: (client) => void listening.disconnected.push(client),
      // What it is does not matter here.
      allocationOf: () => (listening.hasAllocation ? ({} as never) : undefined),
      isServed: () => listening.hasAllocation,
    },
  })
  await listener.start()
  const [endpoint] = datapath.endpoints.values()
  if (endpoint === undefined) throw new Error('no endpoint')
  const listening: Listening = {
    listener,
    datapath,
    clock,
    log,
    endpoint,
    sent: datapath.sent,
    received: [],
    disconnected: [],
    hasAllocation: false,
    receive: (from, bytes, local = 0) => {
      if (datapath.endpoints.has(endpoint.id)) datapath.receive(endpoint.id, from, bytes, local)
    },
    cookieFor(from, hello) {
      this.receive(from, helloDatagram(hello))
      return (datapath.sent.at(-1)?.bytes ?? Buffer.alloc(0)).subarray(28)
    },
    begin(from, hello = {}) {
      this.receive(from, helloDatagram({ ...hello, cookie: this.cookieFor(from, hello) }))
    },
  }
  open = listening
  return listening
}

function kept({ listener, datapath }: Listening): typeof nothing {
  return { handshakes: listener.handshakes, clients: listener.clients, flows: datapath.flows.size }
}

/** Werift's client, over the fake datapath. */
class TestClient extends werift.DtlsClient {
  lastSent: Buffer = Buffer.alloc(0)
  /** Called after each datagram that it has sent. */
  afterEach: () => void = () => undefined
}

function dtlsClient(listening: Listening, at: Remote, local = 0): TestClient {
  const transport: ConstructorParameters<typeof werift.DtlsClient>[0]['transport'] = {
    type: 'udp',
    address: { address: '', port: 0, family: 'IPv4' },
    closed: false,
    onData: () => undefined,
    send: (bytes) => {
      client.lastSent = Buffer.from(bytes)
      listening.receive(at, client.lastSent, local)
      client.afterEach()
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
  const client = new TestClient({ transport, extendedMasterSecret: true })
  listening.datapath.peers.set(`${at.address} ${at.port}`, ({ bytes }) => transport.onData(bytes, ['', 0]))
  return client
}

async function connect(listening: Listening, at: Remote, local = 0): Promise<TestClient> {
  const client = dtlsClient(listening, at, local)
  const connected = client.onConnect.asPromise()
  // It resolves half a second after the handshake.
  client.connect().catch(() => undefined)
  await connected
  await until(() => listening.listener.handshakes === 0)
  return client
}

function alertOf(datagram: SentDatagram | undefined): readonly number[] {
  const [record] = readRecords(datagram?.bytes ?? new Uint8Array(0))
  return record?.type === ContentType.alert ? [...(datagram?.bytes.subarray(recordHeaderBytes) ?? [])] : []
}

/** Werift's cryptography is done by other threads, and so takes any number of turns of the event loop. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000
  while (!condition() && performance.now() < deadline) await new Promise(setImmediate)
  expect(condition()).toBe(true)
}
