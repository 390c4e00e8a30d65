import { describe, expect, it } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import { FakeRedis } from './fake-redis.testkit.ts'
import { startLink, until } from './redis-link.testkit.ts'

describe('channels', () => {
  it('are heard on a connection of their own, from the first on and after a reconnect', async () => {
    await using fake = await FakeRedis.start()
    // Deadlines are far away, as the clock is moved while connections are made.
    const patience = { timeoutSeconds: 60, connectMs: 60_000 }
    await using link = await startLink({ url: `redis://${fake.place}`, ...patience })
    expect(fake.connections).toBe(1)
    const heard: string[] = []
    const stop = link.redis.subscribe('a', (message) => heard.push(`1 ${message}`))
    link.redis.subscribe('a', (message) => heard.push(`2 ${message}`))
    await until(() => fake.count('SUBSCRIBE') === 1)
    expect(fake.connections).toBe(2)
    fake.publish('a', 'x')
    await until(() => heard.length === 2)

    link.redis.subscribe('b', () => {
      throw new Error('of a listener')
    })
    await until(() => fake.count('SUBSCRIBE') === 2)
    fake.drop()
    await until(() => !link.redis.isUp)
    await eventually(() => {
      link.clock.advance(100)
      expect(fake.count('SUBSCRIBE')).toBe(4)
    })
    await eventually(() => {
      fake.publish('b', 'thrown')
      expect(link.lines.join()).toContain('was not understood')
    })
    stop()
    heard.length = 0
    fake.publish('a', 'y')
    await until(() => heard.includes('2 y'))
    expect(heard).not.toContain('1 y')
  })

  it('are no longer asked for when nobody hears them', async () => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({ url: `redis://${fake.place}` })
    const stops = [link.redis.subscribe('a', () => undefined), link.redis.subscribe('a', () => undefined)]
    await until(() => fake.count('SUBSCRIBE') === 1)
    stops[0]?.()
    stops[0]?.()
    stops[1]?.()
    await until(() => fake.count('UNSUBSCRIBE') === 1)
  })

  it.each([
    ['nothing in place of an answer', '*-1\r\n'],
    ['an answer without words', '*0\r\n'],
    ['an answer of half the words', '*1\r\n$9\r\nsubscribe\r\n'],
    ['no Redis', 'HTTP/1.1 400\r\n'],
    ['an answer to nothing', '+OK\r\n'],
  ])('of a server that says %s are heard again on another connection', async (_, text) => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({
      url: `redis://${fake.place}`,
      timeoutSeconds: 60,
      connectMs: 60_000,
    })
    const heard: string[] = []
    link.redis.subscribe('a', (message) => heard.push(message))
    await until(() => fake.count('SUBSCRIBE') === 1)
    fake.publish('a', 'x')
    await until(() => heard.length === 1)
    fake.write(text)
    fake.write(text)
    await eventually(() => {
      link.clock.advance(100)
      expect(fake.count('SUBSCRIBE')).toBeGreaterThan(1)
    })
    await eventually(() => {
      fake.publish('a', 'y')
      expect(heard).toContain('y')
    })
    await eventually(() => {
      link.clock.advance(100)
      expect(link.redis.isUp).toBe(true)
    })
  })

  it('that cannot be heard for want of a connection are a warning', async () => {
    let isFull = false
    await using fake = await FakeRedis.start(([name]) =>
      name === 'PING' && isFull ? new Error('ERR max number of clients reached') : undefined,
    )
    await using link = await startLink({ url: `redis://${fake.place}` })
    isFull = true
    link.redis.subscribe('a', () => undefined)
    await until(() => fake.count('PING') === 2 && (link.clock.dueInMs ?? 0) <= 100)
    link.clock.advance(100)
    await until(() =>
      link.lines.some((line) => /"level":"warn".*max number of clients.*not heard/.test(line)),
    )
    expect(link.redis.isUp).toBe(true)
  })

  it('that may not be heard are a warning, and everything else goes on', async () => {
    await using fake = await FakeRedis.start(([name]) =>
      name === 'SUBSCRIBE' ? new Error('NOPERM this user has no permissions to access a channel') : undefined,
    )
    await using link = await startLink({ url: `redis://${fake.place}` })
    link.redis.subscribe('a', () => undefined)
    await until(() => link.lines.some((line) => /"level":"warn".*NOPERM.*not heard/.test(line)))
    await link.redis.command('SET', 'k', 'v')
    await link.redis.publish('a', 'x')
  })
})
