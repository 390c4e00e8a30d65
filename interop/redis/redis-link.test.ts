import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { makeCertificate } from '../../src/mechanisms/net/certificate.testkit.ts'
import { createRedis, type RedisLink, type RedisOptions } from '../../src/mechanisms/redis/index.ts'
import { createLogger } from '../../src/mechanisms/telemetry/index.ts'
import { temporaryFolder } from '../harness/temporary-folder.ts'
import { until } from '../harness/until.ts'
import { startCluster } from './cluster.ts'
import { startRedis } from './redis-process.ts'
import { startSentinels } from './sentinels.ts'

const ECHO = { name: 'echo', lua: "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])" }

describe('one server', () => {
  test('password, database and prefix, and everything that others need of it', async () => {
    await using server = await startRedis({ password: 'p/w:1' })
    const { redis, lines } = await linkTo({ url: `${server.url}/3`, prefix: 'live' })
    await using _ = redis
    expect(redis.isUp).toBe(true)

    await redis.command('SET', redis.key('a'), 'x')
    const client = await server.connect()
    await client.command('SELECT', 3)
    expect(await client.command('GET', 'live:a')).toBe('x')
    await redis.command('HSET', redis.key('h'), 'f', 1, 'g', Buffer.from('2'))
    expect(await redis.command('HGETALL', redis.key('h'))).toEqual(['f', '1', 'g', '2'])
    expect(await redis.scan(redis.key('*'), 10)).toHaveLength(2)
    expect(await redis.scan(redis.key('*'), 1)).toHaveLength(1)

    expect(await redis.run(ECHO, [redis.key('s')], [1])).toBe('1')
    await client.command('SCRIPT', 'FLUSH')
    expect(await redis.run(ECHO, [redis.key('s')], [2])).toBe('2')
    client[Symbol.dispose]()

    await expect(redis.command('LPUSH', redis.key('a'), 'my-secret')).rejects.toMatchObject({
      code: 'REDIS_REFUSED',
      reply: 'WRONGTYPE',
    })
    await expect(redis.command('NOSUCH', 'my-secret')).rejects.not.toThrow('my-secret')
    expect(lines.join()).not.toContain('p/w:1')
  })

  test('an ACL user, and TLS by an authority of its own', async () => {
    await using server = await startRedis({ user: 'sluice', password: 'pw', tls: true })
    const { redis } = await linkTo({ url: server.url, tls: { ca: server.caFile } })
    await using _ = redis
    expect(await redis.command('ACL', 'WHOAMI')).toBe('sluice')

    const stranger = await linkTo({ url: server.url })
    await using __ = stranger.redis
    expect(stranger.redis.isUp).toBe(false)
    expect(stranger.lines.join()).toContain('self-signed certificate')
    const trusting = await linkTo({ url: server.url, tls: { insecure: true } })
    await using ___ = trusting.redis
    expect(trusting.redis.isUp).toBe(true)
  })

  test('a server that wants a certificate of ours', async () => {
    const certificate = await makeCertificate()
    await using server = await startRedis({ tls: certificate })
    await server.command('CONFIG', 'SET', 'tls-auth-clients', 'yes')
    using folder = temporaryFolder()
    const files = { certFile: join(folder.path, 'cert.pem'), keyFile: join(folder.path, 'key.pem') }
    writeFileSync(files.certFile, certificate.cert)
    writeFileSync(files.keyFile, certificate.key)
    const { redis } = await linkTo({ url: server.url, tls: { ca: server.caFile, ...files } })
    await using _ = redis
    expect(redis.isUp).toBe(true)
    const stranger = await linkTo({ url: server.url, tls: { ca: server.caFile } })
    await using __ = stranger.redis
    expect(stranger.redis.isUp).toBe(false)
  })

  test('a wrong password is an error in the log, and cured by the server', async () => {
    await using server = await startRedis({ password: 'right' })
    const { redis, lines } = await linkTo({ url: server.url.replace('right', 'wrong') })
    await using _ = redis
    expect(redis.isUp).toBe(false)
    expect(lines.join()).toMatch(/"level":"error".*WRONGPASS/)
    await server.command('ACL', 'SETUSER', 'default', '>wrong')
    await until('a login', () => redis.isUp)
    expect(lines.join()).not.toMatch(/>wrong|:wrong@/)
  })

  test('who may not hear channels does without, and says so once', async () => {
    await using server = await startRedis()
    await server.command('ACL', 'SETUSER', 'mute', 'on', '>pw', '~*', 'resetchannels', '+@all')
    const url = server.url.replace('redis://', 'redis://mute:pw@')
    const { redis, lines } = await linkTo({ url })
    await using _ = redis
    redis.subscribe('channel', () => undefined)
    await until('a warning', () => lines.join().includes('NOPERM'))
    await redis.command('SET', 'a', '1')
    expect(redis.isUp).toBe(true)
  })

  test('a server that was killed and is there again', async () => {
    await using server = await startRedis({ isPersistent: true })
    const { redis, lines, changes } = await linkTo({ url: server.url })
    await using _ = redis
    const heard: string[] = []
    redis.subscribe('channel', (message) => heard.push(message))
    await untilHeard(redis, heard)
    await redis.run(ECHO, ['k'], ['v'])

    await server.kill()
    await until('its loss', () => !redis.isUp)
    // Without waiting for a deadline, which would be REDIS_SLOW.
    await expect(redis.command('GET', 'k')).rejects.toMatchObject({ code: 'REDIS_AWAY' })

    await server.restart()
    await until('its return', () => redis.isUp)
    expect(await redis.run(ECHO, ['k'], ['w'])).toBe('w')
    heard.length = 0
    await untilHeard(redis, heard)
    expect(changes).toEqual([true, false, true])
    const told = lines.filter((line) => /Redis (?:is away|answers)/.test(line))
    expect(told.map((line) => JSON.parse(line).level)).toEqual(['info', 'warn', 'info'])
  })

  test('a server that stands still is away until it goes on', async () => {
    await using server = await startRedis()
    const { redis } = await linkTo({ url: server.url, timeoutSeconds: 0.2, connectMs: 500, maxRetryMs: 500 })
    await using _ = redis
    await server.pause()
    await expect(redis.command('GET', 'k')).rejects.toMatchObject({ code: 'REDIS_SLOW' })
    await until('its loss', () => !redis.isUp)
    server.resume()
    await until('an answer', async () => (await redis.command('PING')) === 'PONG' && redis.isUp)
  })

  test('a replica takes no writes, so it is not up until it is a master', async () => {
    await using master = await startRedis()
    await using server = await startRedis({ args: ['--replicaof', '127.0.0.1', `${master.port}`] })
    const { redis, lines } = await linkTo({ url: server.url })
    await using _ = redis
    expect(redis.isUp).toBe(false)
    expect(lines.join()).toMatch(/replica|MASTERDOWN/)
    await server.command('REPLICAOF', 'NO', 'ONE')
    await until('a master', () => redis.isUp)
    await redis.command('SET', 'k', 'v')

    // Its clients stay connected when it becomes a replica; the first write shows it.
    await server.command('REPLICAOF', '127.0.0.1', master.port)
    await until('its loss', async () => {
      await redis.run(ECHO, ['k'], ['v']).catch(() => undefined)
      return !redis.isUp
    })
  })
})

describe('Sentinel', () => {
  test('a failover is found, and channels are heard again', async () => {
    await using set = await startSentinels({ password: 'pw', sentinelPassword: 'spw' })
    const { redis } = await linkTo({
      sentinels: set.sentinels,
      sentinelName: set.name,
      sentinelPassword: 'spw',
      password: 'pw',
    })
    await using _ = redis
    expect(redis.isUp).toBe(true)
    const heard: string[] = []
    redis.subscribe('channel', (message) => heard.push(message))
    await untilHeard(redis, heard)
    await redis.run(ECHO, ['k'], ['v'])

    await set.failOver()
    await until('the new master', () => redis.isUp, { deadlineMs: 20_000 })
    expect(await redis.command('GET', 'k')).toBe('v')
    expect(await redis.run(ECHO, ['k'], ['w'])).toBe('w')
    heard.length = 0
    await untilHeard(redis, heard)
  })

  test('a master that stands still is left for the one that takes its place', async () => {
    await using set = await startSentinels()
    const { redis, changes } = await linkTo({
      sentinels: set.sentinels,
      sentinelName: set.name,
      timeoutSeconds: 0.3,
      connectMs: 1000,
    })
    await using _ = redis
    const old = await set.master()
    await old.pause()
    await until('the new master', () => changes.length >= 3 && redis.isUp, { deadlineMs: 20_000 })
    await until('a write', async () => (await redis.command('SET', 'k', 'new')) === 'OK')
    old.resume()
    expect(await (await set.master()).command('GET', 'k')).toBe('new')
    expect(redis.isUp).toBe(true)
  })

  test('by URL; a name that no Sentinel knows is an error in the log', async () => {
    await using set = await startSentinels({ replicas: 0, sentinels: 1 })
    const hosts = set.sentinels.join(',')
    const { redis } = await linkTo({ url: `redis+sentinel://${hosts}/${set.name}/2` })
    await using _ = redis
    expect(redis.isUp).toBe(true)
    const lost = await linkTo({ url: `redis+sentinel://${hosts}/other` })
    await using __ = lost.redis
    expect(lost.lines.join()).toMatch(/"level":"error".*knows no master of the name other/)
  })
})

describe('Cluster', () => {
  test('keys of every slot, slots that move, and a master that is killed', async () => {
    await using cluster = await startCluster({ replicas: 1, password: 'pw' })
    const { redis, changes } = await linkTo({ cluster: cluster.nodes.slice(0, 2), password: 'pw' })
    await using _ = redis
    expect(redis.isUp).toBe(true)
    const heard: string[] = []
    redis.subscribe('channel', (message) => heard.push(message))
    await untilHeard(redis, heard)

    const keys = Array.from({ length: 300 }, (_, index) => `key${index}`)
    await Promise.all(keys.map((key) => redis.command('SET', key, key)))
    expect(await Promise.all(keys.map((key) => redis.run(ECHO, [key], [key])))).toEqual(keys)
    expect((await redis.scan('key*', 1000)).toSorted()).toEqual(keys.toSorted())

    const source = await cluster.masterOf('key0')
    const target = await cluster.masterOf('key1')
    expect(target).not.toBe(source)
    await cluster.moveSlot('key0', target)
    expect(await redis.command('GET', 'key0')).toBe('key0')
    expect(redis.isUp).toBe(true)

    await cluster.killMaster('key0')
    await until('the new master', () => changes.length >= 3 && redis.isUp, { deadlineMs: 20_000 })
    expect(await Promise.all(keys.map((key) => redis.command('GET', key)))).toEqual(keys)
    expect(await Promise.all(keys.map((key) => redis.run(ECHO, [key], [key])))).toEqual(keys)
    heard.length = 0
    await untilHeard(redis, heard)
    expect(changes).toEqual([true, false, true])
  })

  test('a master that stands still is left for its replica', async () => {
    await using cluster = await startCluster({ replicas: 1 })
    const { redis, changes, lines } = await linkTo({
      cluster: cluster.nodes,
      timeoutSeconds: 0.3,
      connectMs: 1000,
    })
    await using _ = redis
    const old = await cluster.masterOf('k')
    await old.pause()
    await until('the new master', () => changes.length >= 3 && redis.isUp, { deadlineMs: 20_000 })
    await until('a write', async () => (await redis.command('SET', 'k', 'new')) === 'OK')
    old.resume()
    await cluster.untilWhole(3)
    expect(await redis.command('GET', 'k')).toBe('new')
    expect(lines.filter((line) => line.includes('is away'))).toHaveLength(1)
  })

  test('over TLS; keys that are on their way are asked for where they go', async () => {
    await using cluster = await startCluster({ password: 'pw', tls: true })
    const ca = cluster.servers[0]?.caFile
    const { redis } = await linkTo({ url: `rediss+cluster://:pw@${cluster.nodes.join(',')}`, tls: { ca } })
    await using _ = redis
    await redis.command('SET', '{s}1', 'here')
    const source = await cluster.masterOf('{s}')
    const target = cluster.servers.find((server) => server !== source)
    if (target === undefined) throw new Error('one server only')
    const [from, to] = [await source.command('CLUSTER', 'MYID'), await target.command('CLUSTER', 'MYID')]
    const slot = Number(await source.command('CLUSTER', 'KEYSLOT', '{s}'))
    await target.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(from))
    await source.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(to))
    expect(await redis.command('GET', '{s}1')).toBe('here')
    expect(await redis.command('SET', '{s}2', 'there')).toBe('OK')
    expect(await redis.command('GET', '{s}2')).toBe('there')
    expect(await source.command('CLUSTER', 'COUNTKEYSINSLOT', slot)).toBe(1)
    expect(await redis.run(ECHO, ['{s}3'], ['3'])).toBe('3')
  })

  test('a master that is killed, without a replica, is waited for', async () => {
    await using cluster = await startCluster()
    const { redis, lines } = await linkTo({ cluster: cluster.nodes })
    await using _ = redis
    const killed = await cluster.masterOf('k')
    await cluster.killMaster('k')
    await until('its loss', () => !redis.isUp)
    await expect(redis.command('GET', 'k')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    await killed.restart()
    await until('its return', () => redis.isUp, { deadlineMs: 20_000 })
    expect(await redis.command('GET', 'k')).toBe(null)
    expect(lines.filter((line) => line.includes('is away'))).toHaveLength(1)
  })
})

interface TestLink {
  readonly redis: RedisLink
  readonly lines: readonly string[]
  readonly changes: readonly boolean[]
}

async function linkTo(options: Partial<RedisOptions>): Promise<TestLink> {
  const lines: string[] = []
  const changes: boolean[] = []
  const logger = createLogger({ stream: { write: (line) => void lines.push(line) } })
  const redis = createRedis({ logger, ...options })
  redis.onChange((isUp) => void changes.push(isUp))
  await redis.start()
  return { redis, lines, changes }
}

/** Publishes until that is heard: a subscription may still be on its way. */
async function untilHeard(redis: RedisLink, heard: readonly string[]): Promise<void> {
  await until('a message', async () => {
    await redis.publish('channel', 'hello').catch(() => undefined)
    return heard.includes('hello')
  })
}
