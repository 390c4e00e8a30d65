import { describe, expect, it } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import { slotOf } from './cluster-slots.ts'
import { type FakeAnswer, FakeRedis } from './fake-redis.testkit.ts'
import { makeLink, startLink, until } from './redis-link.testkit.ts'

describe('a Cluster', () => {
  it('has a connection to each master, and commands go to that of their slot', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    await using link = await startLink({ cluster: [left.place] })
    expect(link.redis.isUp).toBe(true)
    await link.redis.command('SET', LOW, 'v')
    await link.redis.command('SET', HIGH, 'v')
    await link.redis.run({ name: 's', lua: '' }, [HIGH], [])
    expect(left.commands).toContainEqual(['SET', LOW, 'v'])
    expect(right.commands).toContainEqual(['SET', HIGH, 'v'])
    expect(right.count('EVALSHA')).toBe(1)
    expect(left.count('EVALSHA')).toBe(0)
    expect((await link.redis.scan('*', 10)).toSorted()).toEqual(['left', 'right'])
    expect(link.lines).toEqual([expect.stringContaining('Redis answers')])
  })

  it('whose servers swallow what is sent does not hold up the start for each of them', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    await using other = await FakeRedis.start()
    for (const fake of [left, right, other]) fake.isSilent = true
    const seeds = [left, right, other].map(({ place }) => place)
    await using link = makeLink({ cluster: seeds, connectMs: 1000 })
    const started = link.redis.start()
    await until(() => link.clock.dueInMs !== undefined)
    link.clock.advance(2000)
    await started
    expect(link.redis.isUp).toBe(false)
    for (const fake of [left, right]) fake.isSilent = false
    await eventually(() => {
      link.clock.advance(20)
      expect(link.redis.isUp).toBe(true)
    })
  })

  it('follows MOVED, and asks for the table anew', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    await using link = await startLink({ cluster: [left.place] })
    cluster.special = ([name], fake) =>
      name === 'SET' && fake === left ? new Error(`MOVED ${slotOf(LOW)} ${right.place}`) : undefined
    expect(await link.redis.command('SET', LOW, 'v')).toBe('OK')
    // It is remembered before the table is there.
    expect(await link.redis.command('SET', LOW, 'w')).toBe('OK')
    expect(left.count('SET')).toBe(1)
    const asked = left.count('CLUSTER') + right.count('CLUSTER')
    link.clock.advance(500)
    await until(() => left.count('CLUSTER') + right.count('CLUSTER') > asked)
    expect(link.changes).toEqual([true])
  })

  it('asks where a slot goes by ASK, once', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    await using link = await startLink({ cluster: [left.place] })
    cluster.special = ([name], fake) =>
      name === 'SET' && fake === left ? new Error(`ASK ${slotOf(LOW)} ${right.place}`) : undefined
    await link.redis.command('SET', LOW, 'v')
    await link.redis.command('SET', LOW, 'w')
    const asked = right.commands.filter(([name]) => name === 'ASKING' || name === 'SET').map(([name]) => name)
    expect(asked).toEqual(['ASKING', 'SET', 'ASKING', 'SET'])
    expect(left.count('SET')).toBe(2)
  })

  it('that sends in circles is an error', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    await using link = await startLink({ cluster: [left.place] })
    cluster.special = ([name], fake) =>
      name === 'SET'
        ? new Error(`MOVED ${slotOf(LOW)} ${fake === left ? right.place : left.place}`)
        : undefined
    await expect(link.redis.command('SET', LOW, 'v')).rejects.toMatchObject({ reply: 'MOVED' })
    expect(left.count('SET') + right.count('SET')).toBe(6)
  })

  it('is up when each master says that all is well, and down by one that does not', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    let isWell = false
    cluster.special = ([name, what], fake) => {
      if (isWell || fake !== right) return undefined
      if (name === 'CLUSTER' && what === 'INFO') return 'cluster_state:fail\r\n'
      return name === 'SET' ? new Error('CLUSTERDOWN The cluster is down') : undefined
    }
    await using link = await startLink({ cluster: [left.place] })
    expect(link.redis.isUp).toBe(false)
    isWell = true
    link.clock.advance(500)
    await until(() => link.redis.isUp)

    isWell = false
    await expect(link.redis.command('SET', HIGH, 'v')).rejects.toMatchObject({
      code: 'REDIS_AWAY',
      reply: 'CLUSTERDOWN',
    })
    expect(link.redis.isUp).toBe(false)
    expect(await link.redis.command('SET', LOW, 'v')).toBe('OK')
  })

  it('is down while a master is away, and whole again with the next table', async () => {
    await using cluster = await fakeCluster()
    await using heir = await FakeRedis.start((words, fake) => cluster.answer(words, fake))
    const { left, right } = cluster
    await using link = await startLink({ cluster: [left.place, right.place] })
    await right.stop()
    await until(() => !link.redis.isUp)
    await expect(link.redis.command('SET', HIGH, 'v')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    await link.redis.command('SET', LOW, 'v')
    cluster.owners = [left, heir]
    await eventually(() => {
      const { dueInMs = 0 } = link.clock
      if (dueInMs <= 750) link.clock.advance(dueInMs)
      expect(link.redis.isUp).toBe(true)
    })
    await link.redis.command('SET', HIGH, 'v')
    expect(heir.count('SET')).toBe(1)
  })

  it('is down while a slot has no server', async () => {
    await using cluster = await fakeCluster()
    let isWhole = false
    cluster.special = ([name, what], fake) =>
      name === 'CLUSTER' && what === 'SLOTS' && !isWhole
        ? [[0, HALF - 1, ['127.0.0.1', fake.port, 'id']]]
        : undefined
    await using link = await startLink({ cluster: [cluster.left.place] })
    expect(link.redis.isUp).toBe(false)
    expect(link.lines.join()).toContain('some slots of the Cluster have no server')
    isWhole = true
    link.clock.advance(500)
    await until(() => link.redis.isUp)
  })

  it('asks for the table as soon as a master is lost', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    await using link = await startLink({ cluster: [left.place] })
    // Later than the pause after the question of the start.
    link.clock.advance(500)
    const asked = left.count('CLUSTER')
    await right.stop()
    await until(() => !link.redis.isUp)
    link.clock.advance(1)
    await until(() => left.count('CLUSTER') > asked)
  })

  it('is away when no node answers, and found by any other of them', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    await using gone = await FakeRedis.start()
    await gone.stop()
    await using link = await startLink({ cluster: [left.place, right.place] })
    expect(link.redis.isUp).toBe(true)
    const { port } = right
    await left.stop()
    await right.stop()
    await until(() => !link.redis.isUp)
    await right.listen(port)
    cluster.owners = [right, right]
    await eventually(() => {
      const { dueInMs = 0 } = link.clock
      if (dueInMs <= 750) link.clock.advance(dueInMs)
      expect(link.redis.isUp).toBe(true)
    })
    expect(link.lines.filter((line) => line.includes('is away'))).toHaveLength(1)
  })

  it('that gives a table without servers is asked elsewhere', async () => {
    await using cluster = await fakeCluster()
    const { left, right } = cluster
    cluster.special = ([name, what], fake) =>
      name === 'CLUSTER' && what === 'SLOTS' && fake === left ? [] : undefined
    let draw = 0
    await using link = await startLink({ cluster: [left.place, right.place], random: () => draw++ })
    expect(link.redis.isUp).toBe(true)
  })

  it('keeps a command whose keys are on their way for a moment', async () => {
    await using cluster = await fakeCluster()
    let isMoving = true
    cluster.special = ([name]) =>
      name === 'EVALSHA' && isMoving ? new Error('TRYAGAIN Multiple keys request') : undefined
    await using link = await startLink({ cluster: [cluster.left.place] })
    const done = link.redis.run({ name: 's', lua: '' }, [LOW], [])
    await until(() => cluster.left.count('EVALSHA') === 1)
    // The pause comes before the next question of the connections.
    await until(() => link.clock.dueInMs === 50)
    isMoving = false
    link.clock.advance(50)
    expect(await done).toBe('script')
  })

  it('ends with no timer left', async () => {
    await using cluster = await fakeCluster()
    const link = await startLink({ cluster: [cluster.left.place] })
    await link.redis.close()
    expect(link.clock.pending).toBe(0)
  })
})

/** A key of the lower half of the slots, and one of the upper. */
const LOW = 'bar'
const HIGH = 'foo'
const HALF = 8192

interface FakeCluster extends AsyncDisposable {
  readonly left: FakeRedis
  readonly right: FakeRedis
  /** Who has the lower and the upper half. */
  owners: readonly [FakeRedis, FakeRedis]
  /** Asked before all else. */
  special: FakeAnswer
  readonly answer: FakeAnswer
}

async function fakeCluster(): Promise<FakeCluster> {
  const [left, right] = [await FakeRedis.start(), await FakeRedis.start()]
  const cluster: FakeCluster = {
    left,
    right,
    owners: [left, right],
    special: () => undefined,
    answer([name = '', what], fake) {
      const special = cluster.special([name, what ?? ''], fake)
      if (special !== undefined) return special
      if (name === 'ASKING') return 'OK'
      if (name === 'EVALSHA') return 'script'
      if (name === 'SCAN') return ['0', [fake === left ? 'left' : 'right']]
      if (name !== 'CLUSTER') return undefined
      if (what === 'INFO') return 'cluster_enabled:1\r\ncluster_state:ok\r\n'
      const [low, high] = cluster.owners
      return [
        [0, HALF - 1, ['127.0.0.1', low.port, 'id']],
        [HALF, 2 * HALF - 1, ['127.0.0.1', high.port, 'id']],
      ]
    },
    async [Symbol.asyncDispose]() {
      await left.stop()
      await right.stop()
    },
  }
  left.answer = cluster.answer
  right.answer = cluster.answer
  return cluster
}
