import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually } from '../../src/foundation/eventually.testkit.ts'
import { type RedisProcess, startRedis } from './redis-process.ts'
import { RespClient } from './resp-client.ts'
import { ToxicLink } from './toxic-link.ts'

let redis: RedisProcess

beforeAll(async () => {
  redis = await startRedis()
})

afterAll(async () => {
  await redis.stop()
})

test('it passes on what comes, whole and in order, also late', async () => {
  await using link = await ToxicLink.start({ toPort: redis.port })
  using client = await RespClient.open({ port: link.port })
  const values = Array.from({ length: 300 }, (_, index) => `${index}`.repeat(5_000))
  const exchange = async (): Promise<void> => {
    const sets = values.map((value, index) => client.command('SET', `k${index}`, value))
    const gets = values.map((_, index) => client.command('GET', `k${index}`))
    expect(await Promise.all([...sets, ...gets])).toEqual([...values.map(() => 'OK'), ...values])
  }
  await exchange()
  link.latencyMs = 50
  const startMs = performance.now()
  await exchange()
  // A timer may be a millisecond early.
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(98)
  link.latencyMs = 0
  await exchange()
  expect([link.connections, link.accepted]).toEqual([1, 1])
})

test('while it stalls nothing is answered; then all is', async () => {
  await using link = await ToxicLink.start({ toPort: redis.port })
  using client = await RespClient.open({ port: link.port })
  await client.command('SET', 'k', '0')
  link.stall()
  using late = await RespClient.open({ port: link.port })
  const answers: unknown[] = []
  const asked = [client, late].map(async (one) => answers.push(await one.command('INCR', 'k')))
  // Had it been passed on, it would have come before this.
  for (let round = 0; round < 5; round++) expect(await redis.command('GET', 'k')).toBe('0')
  expect(answers).toEqual([])
  link.flow()
  await Promise.all(asked)
  expect(new Set(answers)).toEqual(new Set([1, 2]))
})

test('while it holds replies back, commands are done', async () => {
  await using link = await ToxicLink.start({ toPort: redis.port })
  using client = await RespClient.open({ port: link.port })
  link.stall('replies')
  await redis.command('DEL', 'done')
  const answer = client.command('SET', 'done', 'v')
  await eventually(async () => expect(await redis.command('GET', 'done')).toBe('v'))
  link.flow()
  expect(await answer).toBe('OK')
})

test('it cuts connections, and refuses them until it takes them again', async () => {
  await using link = await ToxicLink.start({ toPort: redis.port })
  const open = async (): Promise<RespClient> => {
    const client = await RespClient.open({ port: link.port })
    expect(await client.command('PING')).toBe('PONG')
    return client
  }
  using first = await open()
  const unanswered = first.command('BLPOP', 'nothing', 0)
  link.cut()
  await expect(unanswered).rejects.toThrow('ECONNRESET')
  using second = await open()
  await link.refuse()
  await expect(second.command('PING')).rejects.toThrow()
  await expect(open()).rejects.toThrow('ECONNREFUSED')
  expect(link.connections).toBe(0)
  await link.accept()
  using third = await open()
  expect(await third.command('PING')).toBe('PONG')
  expect(link.accepted).toBe(3)
})

test('what was said before an end arrives before it', async () => {
  await using link = await ToxicLink.start({ toPort: redis.port })
  using client = await RespClient.open({ port: link.port })
  link.latencyMs = 20
  const value = 'v'.repeat(3_000_000)
  const answers = [client.command('SET', 'k', value), client.command('GET', 'k'), client.command('QUIT')]
  expect(await Promise.all(answers)).toEqual(['OK', value, 'OK'])
  await eventually(() => expect(link.connections).toBe(0))
})

test('where Redis ends a connection, or is away, so is that of the client', async () => {
  await using other = await startRedis()
  await using link = await ToxicLink.start({ toPort: other.port })
  using client = await RespClient.open({ port: link.port })
  expect(await client.command('PING')).toBe('PONG')
  await other.kill()
  await expect(client.command('PING')).rejects.toThrow()
  using late = await RespClient.open({ port: link.port })
  await expect(late.command('PING')).rejects.toThrow()
  await eventually(() => expect(link.connections).toBe(0))
})
