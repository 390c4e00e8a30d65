import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Clock, ManualClock, systemClock } from '../foundation/clock.ts'
import { configJsonSchema, defaultConfig, type TurnConfig } from '../mechanisms/config/index.ts'
import { NodeDatapath } from '../mechanisms/datapath/index.ts'
import { makeCertificate } from '../mechanisms/net/certificate.testkit.ts'
import { createRegistry, silentLogger } from '../mechanisms/telemetry/index.ts'
import { ResolvedNames } from '../services/turn/index.ts'
import { TestTurnClient, type TestTurnClientOptions } from '../services/turn/turn-client.testkit.ts'
import { checkTurn, makeTurnParts } from './turn-parts.ts'
import { TurnRole } from './turn-role.ts'

const alice = { username: 'alice', password: 'wonderland' }
const bob = { username: 'bob', password: 'builder' }
const defaults = defaultConfig().turn
type Listener = TurnConfig['listeners'][number]

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-turn-role-'))
})
afterAll(() => rm(folder, { recursive: true }))

function listener(name: string, changes: Partial<Listener> = {}): Listener {
  const usual = { relayTransports: ['udp', 'tcp'], proxyProtocolFrom: [], sharedWithHttp: false } as const
  return { name, transport: 'udp', listen: '127.0.0.1:0', ...usual, strictChannels: false, ...changes }
}

type Changes = Partial<Omit<TurnConfig, 'credentials' | 'limits'>> & {
  readonly credentials?: Partial<TurnConfig['credentials']>
  readonly limits?: Partial<TurnConfig['limits']>
}

/** The defaults on loopback, with one listener by UDP and one user. */
function config({ credentials, limits, ...changes }: Changes = {}): TurnConfig {
  return {
    ...defaults,
    listeners: [listener('udp')],
    relays: [{ address: '127.0.0.1', ports: { from: 49_152, to: 65_535 } }],
    ...changes,
    credentials: { ...defaults.credentials, users: [alice], ...credentials },
    limits: { ...defaults.limits, ...limits },
  }
}

function role(section: TurnConfig, clock: Clock = systemClock): { role: TurnRole; datapath: NodeDatapath } {
  const datapath = new NodeDatapath({ clock })
  const options = {
    datapath,
    logger: silentLogger(),
    registry: createRegistry('1.2.3'),
    clock,
    onHttp: (socket: { end(text: string): unknown }) => void socket.end('HTTP'),
    ownPorts: () => [],
  }
  return { role: new TurnRole(section, options), datapath }
}

async function start(section: TurnConfig, clock?: Clock): Promise<TurnRole> {
  const { role: made, datapath } = role(section, clock)
  await datapath.start()
  closers.push(() => datapath.close())
  await made.start()
  closers.push(() => made.close())
  return made
}

async function open(
  of: TurnRole,
  options: Partial<TestTurnClientOptions> & { readonly listener?: string } = {},
): Promise<TestTurnClient> {
  const { listener: name = options.transport ?? 'udp', ...rest } = options
  const client = await TestTurnClient.open({ ...alice, port: of.ports?.get(name) ?? 0, ...rest })
  closers.push(() => client[Symbol.asyncDispose]())
  return client
}

/** What a route of the admin API answers. */
async function get(of: TurnRole, path: string, query = ''): Promise<unknown> {
  const route = of.routes.find((one) => one.method === 'GET' && one.path === path)
  const reply = await route?.handle({
    method: 'GET',
    remoteAddress: '127.0.0.1',
    params: {},
    query: new URLSearchParams(query),
    readBody: () => Promise.resolve(Buffer.alloc(0)),
    signal: new AbortController().signal,
  })
  return reply !== undefined && 'json' in reply ? reply.json : undefined
}

async function credential(
  of: TurnRole,
  query = '',
): Promise<{ username: string; password: string; ttl: number }> {
  const answer = await get(of, '/api/v1/turn/credentials', query)
  return answer as { username: string; password: string; ttl: number }
}

async function certificateFiles(name: string): Promise<{ certFile: string; keyFile: string }> {
  const { cert, key } = await makeCertificate([`${name}.test`])
  const files = { certFile: join(folder, `${name}.pem`), keyFile: join(folder, `${name}.key`) }
  await writeFile(files.certFile, cert)
  await writeFile(files.keyFile, key)
  return files
}

/** Keeps the events that are posted to it. */
async function eventService(): Promise<{ url: string; events: string[]; tokens: Set<string | undefined> }> {
  const events: string[] = []
  const tokens = new Set<string | undefined>()
  const server = createHttpServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as {
        events: { event: string; reason?: string }[]
      }
      for (const { event, reason } of body.events)
        events.push(reason === undefined ? event : `${event} ${reason}`)
      tokens.add(request.headers.authorization)
      response.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => new Promise((resolve) => server.close(resolve)))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, events, tokens }
}

async function takenPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => new Promise((resolve) => server.close(resolve)))
  return (server.address() as AddressInfo).port
}

describe('TurnRole', () => {
  it('is nothing without listeners', async () => {
    const off = await start(config({ listeners: [] }))
    expect(off.ports).toBeUndefined()
    expect(await get(off, '/api/v1/turn/allocations')).toEqual({ allocations: [] })
  })

  it('reads every key that the schema has', async () => {
    const { read, recorded } = recording(await fullConfig())
    const on = await start(recorded)
    await credential(on)
    expect(on.peerAddresses).toEqual(['127.0.0.1:3478'])
    const known = leavesOf((configJsonSchema() as { properties: { turn: Schema } }).properties.turn, 'turn')
    expect(known.length).toBeGreaterThan(60)
    expect(known.filter((key) => !read.has(key))).toEqual([])
  })

  it('passes every option of a listener on', async () => {
    const { parts } = await partsOf(await fullConfig())
    const [tls, udp] = parts.settings.listeners
    expect(tls).toMatchObject({
      name: 'tls',
      transport: 'tls',
      listen: { host: '127.0.0.1', port: 0 },
      relays: [{ address: '127.0.0.1', advertised: '203.0.113.1', ports: { from: 50_000, to: 50_100 } }],
      relayTransports: ['udp'],
      strictChannels: true,
      proxyProtocolFrom: ['192.0.2.0/24'],
    })
    expect(tls?.onHttp).toBeTypeOf('function')
    expect(tls?.certificate?.cert).toContain('BEGIN CERTIFICATE')
    expect(tls?.peers.admits('10.1.2.3', 4000, 'udp')).toBe(true)
    expect(tls?.peers.admits('10.1.2.3', 4000, 'tcp')).toBe(false)
    expect(tls?.peers.admits('8.8.8.8', 53, 'udp')).toBe(false)
    expect(udp?.peers.admits('8.8.8.8', 53, 'udp')).toBe(true)
    expect(udp?.peers.admits('8.8.4.4', 53, 'udp')).toBe(false)
    expect(udp?.relays).toEqual([{ address: '127.0.0.1', ports: { from: 49_152, to: 65_535 } }])
    expect(udp).not.toHaveProperty('onHttp')
    expect(udp).not.toHaveProperty('proxyProtocolFrom')
    expect(parts.settings).toMatchObject({ mobility: false, security: 'sha256', realm: 'sluice.test' })
    expect(parts.settings.redirect({ address: '198.51.100.1', userId: 'alice' })).toEqual({
      address: '192.0.2.7',
      port: 3479,
      domain: 'other.example.com',
    })
    // It has no address of the client's family.
    expect(parts.settings.redirect({ address: '2001:db8::1', userId: 'alice' })).toBeUndefined()
    expect(parts.settings.limits).toMatchObject({ maxPerUser: 5, maxAllocations: 50 })
    expect(parts.settings.credentials.thirdPartyServer).toBe('auth.test')
    expect(parts.maxAllocations('alice')).toBe(3)
  })

  it('prepares the realm as clients do before they make keys with it', async () => {
    const { parts } = await partsOf(config({ realm: 'north\u00A0south' }))
    expect(parts.settings.realm).toBe('north south')
    const on = await start(config({ realm: 'north\u00A0south' }))
    await (await open(on)).allocate()
  })

  it('hands credentials out that its server takes', async () => {
    const secrets = ['north', 'south']
    const uris = ['turn:127.0.0.1:3478?transport=udp']
    const on = await start(config({ uris, credentials: { secrets, separator: '|', ttlSeconds: 1_000_000 } }))
    const issued = await credential(on, 'username=carol')
    expect(issued).toMatchObject({ ttl: 1_000_000, uris, username: expect.stringMatching(/^\d+\|carol$/) })
    await (await open(on, issued)).allocate()
    expect(await get(on, '/api/v1/turn/allocations', 'user=carol')).toMatchObject({
      allocations: [{ userId: 'carol', listener: 'udp' }],
    })
  })

  it('lets a user have as many allocations as is said of this one, else of all', async () => {
    const users = [{ ...alice, maxAllocations: 1 }, bob]
    const on = await start(config({ credentials: { users }, limits: { maxPerUser: 2 } }))
    await (await open(on)).allocate()
    await expect((await open(on)).allocate()).rejects.toMatchObject({ code: 486 })
    for (const _ of [1, 2]) await (await open(on, bob)).allocate()
    await expect((await open(on, bob)).allocate()).rejects.toMatchObject({ code: 486 })
    await on.reload(
      config({ credentials: { users: [{ ...alice, maxAllocations: 2 }, bob] }, limits: { maxPerUser: 3 } }),
    )
    await (await open(on)).allocate()
    await expect((await open(on)).allocate()).rejects.toMatchObject({ code: 486 })
    await (await open(on, bob)).allocate()
    await expect((await open(on, bob)).allocate()).rejects.toMatchObject({ code: 486 })
  })

  it('tells a service of allocations, of the last ones before it is closed', async () => {
    const { url, events, tokens } = await eventService()
    const on = await start(config({ events: { url, token: 't0ken' } }))
    const client = await open(on)
    await client.allocate()
    await client.refresh()
    await client.release()
    await (await open(on)).allocate()
    await on.close()
    expect(events).toEqual([
      'allocation-created',
      'allocation-refreshed',
      'allocation-deleted released',
      'allocation-created',
      'allocation-deleted closed',
    ])
    expect([...tokens]).toEqual(['Bearer t0ken'])
  })

  it('shows a certificate that was replaced on the disk', async () => {
    const clock = new ManualClock(Date.now())
    const files = await certificateFiles('first')
    const on = await start(config({ listeners: [listener('tls', { transport: 'tls', ...files })] }), clock)
    const nameShown = async () => (await open(on, { transport: 'tls' })).certificate?.subject.CN
    expect(await nameShown()).toBe('first.test')
    const { cert, key } = await makeCertificate(['second.test'])
    await writeFile(files.certFile, cert)
    await writeFile(files.keyFile, key)
    while ((await nameShown()) !== 'second.test') clock.advance(5000)
  })

  it('starts again after a start that failed, and after it was closed', async () => {
    const port = await takenPort()
    const taken = config({ listeners: [listener('tcp', { transport: 'tcp', listen: `127.0.0.1:${port}` })] })
    const { role: made, datapath } = role(taken)
    await datapath.start()
    closers.push(() => datapath.close())
    await expect(made.start()).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    await expect(made.reload(taken)).rejects.toMatchObject({ code: 'NET_PORT_TAKEN' })
    await made.reload(config())
    await (await open(made)).allocate()
    await made.close()
    expect(made.ports).toBeUndefined()
    await made.start()
    closers.push(() => made.close())
    await (await open(made)).allocate()
  })
})

describe('TurnRole.reload', () => {
  it('takes users and secrets over, and leaves allocations alone', async () => {
    const on = await start(config({ credentials: { secrets: ['north'] } }))
    const north = await credential(on, 'username=carol')
    const [client, timed] = [await open(on), await open(on, north)]
    await client.allocate()
    await timed.allocate()
    const both = { secrets: ['south', 'north'], users: [bob] }
    expect(await on.reload(config({ credentials: both }))).toEqual([])
    const south = await credential(on, 'username=carol')
    for (const one of [north, south, bob]) await (await open(on, one)).allocate()
    await expect((await open(on)).allocate()).rejects.toMatchObject({ code: 401 })
    await on.reload(config({ credentials: { secrets: ['south'], users: [] } }))
    await (await open(on, south)).allocate()
    for (const one of [north, bob]) {
      await expect((await open(on, one)).allocate()).rejects.toMatchObject({ code: 401 })
    }
    await client.refresh()
    await timed.refresh()
  })

  it('opens and closes listeners, the first and the last too', async () => {
    const on = await start(config({ listeners: [] }))
    await on.reload(config({ listeners: [listener('udp'), listener('tcp', { transport: 'tcp' })] }))
    await (await open(on)).allocate()
    const client = await open(on, { transport: 'tcp' })
    await client.allocate()
    await on.reload(config({ listeners: [] }))
    await client.ended
    expect(on.ports?.size).toBe(0)
    await on.reload(config())
    await (await open(on)).allocate()
  })

  it('says that another key of nonces wants a restart, until it is the old one again', async () => {
    const on = await start(config({ secret: 'one' }))
    expect(await on.reload(config({ secret: 'two' }))).toEqual(['turn.secret'])
    expect(await on.reload(config({ secret: 'two', realm: 'r' }))).toEqual(['turn.secret'])
    expect(await on.reload(config({ secret: 'one' }))).toEqual([])
  })

  it('tells another service from then on, and the old one what it was to know', async () => {
    const [first, second] = [await eventService(), await eventService()]
    const on = await start(config({ events: { url: first.url } }))
    const client = await open(on)
    await client.allocate()
    await on.reload(config({ events: { url: second.url } }))
    await client.refresh()
    await on.reload(config({ events: { url: second.url }, realm: 'other' }))
    await on.reload(config())
    await client.release()
    expect(first.events).toEqual(['allocation-created'])
    expect(second.events).toEqual(['allocation-refreshed'])
  })

  it('changes nothing when anything of it is bad', async () => {
    const files = await certificateFiles('good')
    const listeners = [listener('udp'), listener('tls', { transport: 'tls', ...files })]
    const good = config({ listeners, credentials: { secrets: ['north'] } })
    const on = await start(good)
    const ports = on.ports
    const client = await open(on)
    await client.allocate()
    const port = await takenPort()
    const changes = { users: [bob], secrets: ['south'] }
    const taken = listener('taken', { transport: 'tcp', listen: `127.0.0.1:${port}` })
    const bad: readonly [TurnConfig, string][] = [
      [
        config({ peers: { ...defaults.peers, allow: ['10.0.0.0/33'] }, credentials: changes }),
        'turn.peers.allow[0]',
      ],
      [config({ listeners: [...listeners, taken], credentials: changes }), `127.0.0.1:${port}`],
      [config({ listeners, credentials: { ...changes, users: [bob, bob] } }), 'turn.credentials.users'],
      [
        config({
          listeners: [listener('tls', { transport: 'tls', certFile: '/nowhere', keyFile: '/nowhere' })],
        }),
        '/nowhere',
      ],
    ]
    for (const [section, message] of bad) await expect(on.reload(section)).rejects.toThrow(message)
    expect(on.ports).toEqual(ports)
    await client.refresh()
    for (const options of [{}, { transport: 'tls' } as const, await credential(on)]) {
      await (await open(on, options)).allocate()
    }
  })

  it('takes one after the other, in their order', async () => {
    const on = await start(config())
    const names = ['a', 'b', 'c']
    const reloads = names.map((name) => on.reload(config({ listeners: [listener(name)] })))
    await Promise.all(reloads)
    expect([...(on.ports?.keys() ?? [])]).toEqual(['c'])
  })

  it('does nothing on the way down', async () => {
    const on = await start(config())
    const client = await open(on)
    await client.allocate()
    const closed = on.close({ graceMs: 60_000 })
    expect(await on.reload(config({ listeners: [listener('other')] }))).toEqual([])
    expect([...(on.ports?.keys() ?? [])]).toEqual(['udp'])
    await client.release()
    await closed
    await on.reload(config())
    expect(on.ports).toBeUndefined()
  })
})

describe('checkTurn', () => {
  it('finds nothing wrong with what can be served, and opens nothing', async () => {
    const port = await takenPort()
    await checkTurn(
      config({ listeners: [listener('tcp', { transport: 'tcp', listen: `127.0.0.1:${port}` })] }),
    )
    await checkTurn(await fullConfig())
    await checkTurn(config({ listeners: [] }))
  })

  it.for<[string, Changes, string]>([
    [
      'a rule',
      { peers: { ...defaults.peers, allow: ['10.0.0.0/8', '10.0.0.0/8:x'] } },
      'turn.peers.allow[1] "10.0.0.0/8:x"',
    ],
    [
      'a denied name',
      { peers: { ...defaults.peers, deny: ['example.com'] } },
      'turn.peers.deny[0] "example.com"',
    ],
    [
      'rules without effect',
      { peers: { byDefault: 'none', allow: [], deny: ['10.0.0.0/8'] } },
      'turn.peers.deny has no effect',
    ],
    [
      "a listener's rule",
      { listeners: [listener('a'), listener('b', { peers: { ...defaults.peers, allow: ['::/129'] } })] },
      'turn.listeners[1].peers.allow[0] "::/129"',
    ],
    [
      'a certificate',
      {
        listeners: [
          listener('a', { transport: 'tls', certFile: '/nowhere/a.pem', keyFile: '/nowhere/a.key' }),
        ],
      },
      'turn.listeners[0].certFile: /nowhere/a.pem with /nowhere/a.key',
    ],
    [
      'a key of a user',
      { credentials: { users: [{ username: 'u', key: 'abc' }] } },
      'turn.credentials.users: user u has a key that is not of 32 or 64 hexadecimal digits',
    ],
    ['users', { credentials: { users: [alice, alice] } }, 'turn.credentials.users: user alice comes twice'],
    [
      'a separator',
      { credentials: { secrets: ['s'], separator: '1' } },
      'turn.credentials: the separator is "1", not one character',
    ],
    [
      'a key of OAuth',
      { credentials: { oauth: { serverName: 's', keys: [{ kid: 'k', key: 'AAAA' }] } } },
      'turn.credentials.oauth: key "k" has 3 bytes, not 16',
    ],
    [
      'a realm',
      { realm: 'a\u0000b' },
      'turn.realm is empty or holds a character that RFC 8265 does not allow',
    ],
  ])('says what is wrong with %s, by its key', async ([, changes, message]) => {
    await expect(checkTurn(config(changes))).rejects.toThrow(expect.objectContaining({ side: 'self' }))
    await expect(checkTurn(config(changes))).rejects.toThrow(message)
  })
})

async function partsOf(section: TurnConfig) {
  const parts = await makeTurnParts(section, {
    clock: systemClock,
    logger: silentLogger(),
    names: new ResolvedNames(),
    onHttp: () => {},
    onCertificate: () => {},
  })
  closers.push(() => parts.close())
  return { parts }
}

/** A section in which every key is there. */
async function fullConfig(): Promise<TurnConfig> {
  const files = await certificateFiles('full')
  const tls = listener('tls', {
    transport: 'tls',
    ...files,
    relays: [{ address: '127.0.0.1', advertised: '203.0.113.1', ports: { from: 50_000, to: 50_100 } }],
    peers: { byDefault: 'none', allow: [{ to: '10.0.0.0/8', protocol: 'udp' }], deny: [] },
    relayTransports: ['udp'],
    proxyProtocolFrom: ['192.0.2.0/24'],
    sharedWithHttp: true,
    strictChannels: true,
  })
  return config({
    listeners: [tls, listener('udp')],
    realm: 'sluice.test',
    peerAddress: '127.0.0.1:3478',
    peers: { byDefault: 'public', allow: [], deny: ['8.8.4.4'] },
    credentials: {
      users: [
        { ...alice, maxAllocations: 3 },
        { username: 'bob', key: '0123456789abcdef0123456789abcdef' },
      ],
      secrets: ['north'],
      oauth: { serverName: 'auth.test', keys: [{ kid: 'k', key: Buffer.alloc(16).toString('base64') }] },
      webhook: { url: 'http://127.0.0.1:9/', token: 'w', timeoutSeconds: 1, rememberSeconds: 1 },
    },
    uris: ['turn:127.0.0.1'],
    alternateServers: [{ address: '192.0.2.7', port: 3479, domain: 'other.example.com' }],
    mobility: false,
    security: 'sha256',
    secret: 'secret',
    events: { url: 'http://127.0.0.1:9/', token: 'e' },
    limits: { maxPerUser: 5, maxAllocations: 50 },
  })
}

/** The same section, and which of its keys were read, as `turn.listeners[].name`. */
function recording(section: TurnConfig): { readonly read: Set<string>; readonly recorded: TurnConfig } {
  const read = new Set<string>()
  const wrap = (value: unknown, path: string): unknown => {
    if (typeof value !== 'object' || value === null) return value
    return new Proxy(value, {
      get: (target, key) => {
        const inner: unknown = Reflect.get(target, key)
        if (typeof key !== 'string') return inner
        const isItem = Array.isArray(target)
        if (isItem && !/^\d+$/.test(key)) return inner
        const at = isItem ? `${path}[]` : `${path}.${key}`
        read.add(at)
        return wrap(inner, at)
      },
    })
  }
  return { read, recorded: wrap(section, 'turn') as TurnConfig }
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
}

/** The keys of a schema that hold values, or lists of values. */
function leavesOf({ properties, items }: Schema, path: string): readonly string[] {
  if (properties !== undefined) {
    return Object.entries(properties).flatMap(([key, inner]) => leavesOf(inner, `${path}.${key}`))
  }
  return items?.properties === undefined ? [path] : leavesOf(items, `${path}[]`)
}
