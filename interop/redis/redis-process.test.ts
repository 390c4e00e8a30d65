import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { startRedis } from './redis-process.ts'
import { RespClient } from './resp-client.ts'

test('a Redis answers by redis-cli and by a connection, and is gone when its scope ends', async () => {
  let port: number
  {
    await using redis = await startRedis()
    port = redis.port
    expect(await redis.cli('SET', 'a key', 'one\ntwo')).toBe('OK')
    expect(await redis.command('GET', 'a key')).toBe('one\ntwo')
    expect(await redis.command('MGET', 'a key', 'none')).toEqual(['one\ntwo', null])
    expect(await redis.command('CONFIG', 'GET', 'save')).toEqual(['save', ''])
    await expect(redis.command('NONSENSE')).rejects.toThrow('unknown command')
    using client = await redis.connect()
    const values = Array.from({ length: 2_000 }, (_, index) => 'ü'.repeat(index))
    await Promise.all(values.map((value, index) => client.command('SET', index, value)))
    expect(await Promise.all(values.map((_, index) => client.command('GET', index)))).toEqual(values)
  }
  await expect(RespClient.open({ port })).rejects.toThrow('ECONNREFUSED')
})

test('its URL opens it with a password, as a user, and over TLS', async () => {
  for (const options of [
    { password: 'p w' },
    { user: 'worker', password: 'p: w' },
    { user: 'worker', password: 'pw', tls: true },
    { tls: true },
  ]) {
    await using redis = await startRedis(options)
    const tls = options.tls === true ? { tls: { ca: [redis.ca] } } : {}
    const client = new Redis(redis.url, { ...tls, retryStrategy: () => null })
    expect(await client.set('k', 'v')).toBe('OK')
    expect(await redis.cli('GET', 'k')).toBe('v')
    client.disconnect()
    if (options.password === undefined) continue
    using stranger = await RespClient.open({ port: redis.port, ca: redis.address.ca })
    await expect(stranger.command('GET', 'k')).rejects.toThrow('NOAUTH')
  }
})

test('one that is paused answers when it goes on; one that is restarted has lost its data', async () => {
  await using redis = await startRedis()
  await redis.command('SET', 'k', 'v')
  using client = await redis.connect()
  await redis.pause()
  const answers: unknown[] = []
  const answer = client.command('GET', 'k').then((reply) => answers.push(reply))
  await RespClient.open({ port: redis.port }).then((other) => other.close())
  expect(answers).toEqual([])
  redis.resume()
  await answer
  expect(answers).toEqual(['v'])
  const { pid } = redis
  await redis.kill()
  await expect(client.command('GET', 'k')).rejects.toThrow()
  await redis.restart()
  expect(redis.pid).not.toBe(pid)
  expect(await redis.command('GET', 'k')).toBe(null)
})

test('one that is persistent has its data after a kill', async () => {
  await using redis = await startRedis({ isPersistent: true })
  await redis.command('SET', 'k', 'v')
  await redis.kill()
  await redis.restart()
  expect(await redis.command('GET', 'k')).toBe('v')
})

test('one that does not start says why', async () => {
  await expect(startRedis({ args: ['--nonsense', '1'] })).rejects.toThrow('Bad directive')
})
