import { describe, expect, it } from 'vitest'
import { type FakeAnswer, FakeRedis, type FakeReply } from './fake-redis.testkit.ts'
import { startLink, until } from './redis-link.testkit.ts'

describe('Sentinels', () => {
  it('are asked until one names a server that says itself that it is the master', async () => {
    await using old = await FakeRedis.start(([name]) => (name === 'ROLE' ? ['slave', 'h', 1] : undefined))
    await using master = await FakeRedis.start()
    await using stale = await FakeRedis.start(naming(old))
    await using right = await FakeRedis.start(naming(master))
    await using away = await FakeRedis.start()
    await away.stop()
    let draw = 0
    await using link = await startLink({
      sentinels: [stale.place, right.place],
      sentinelName: 'main',
      sentinelUser: 'watcher',
      sentinelPassword: 'spw',
      password: 'pw',
      database: 2,
      // In this order.
      random: () => draw++,
    })
    expect(link.redis.isUp).toBe(true)
    expect(stale.commands).toContainEqual(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main'])
    expect(right.commands[0]).toEqual(['AUTH', 'watcher', 'spw'])
    expect(master.commands.slice(0, 2)).toEqual([
      ['AUTH', 'pw'],
      ['SELECT', '2'],
    ])
  })

  it('are asked anew when the master is gone', async () => {
    await using first = await FakeRedis.start()
    await using second = await FakeRedis.start()
    let master = first
    await using sentinel = await FakeRedis.start((words, fake) => naming(master)(words, fake))
    await using link = await startLink({ sentinels: [sentinel.place] })
    expect(first.connections).toBe(1)
    master = second
    await first.stop()
    await until(() => !link.redis.isUp)
    link.clock.advance(100)
    await until(() => link.redis.isUp)
    await link.redis.command('SET', 'k', 'v')
    expect(second.count('SET')).toBe(1)
  })

  it.each<[string, FakeReply, RegExp]>([
    ['knows no such name', null, /"level":"error".*knows no master of the name mymaster/],
    ['says something else', ['a b', 'x'], /"level":"warn".*named no address/],
    ['refuses', new Error('NOAUTH Authentication required.'), /"level":"error".*NOAUTH/],
  ])('one that %s is a line in the log', async (_, answer, line) => {
    await using sentinel = await FakeRedis.start(([name]) => (name === 'SENTINEL' ? answer : undefined))
    await using link = await startLink({ sentinels: [sentinel.place] })
    expect(link.redis.isUp).toBe(false)
    expect(link.lines.join()).toMatch(line)
  })
})

function naming(master: FakeRedis): FakeAnswer {
  return ([name]) => (name === 'SENTINEL' ? ['127.0.0.1', String(master.port)] : undefined)
}
