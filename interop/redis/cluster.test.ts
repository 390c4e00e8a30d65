import { Cluster } from 'ioredis'
import { expect, test } from 'vitest'
import { type RedisCluster, startCluster } from './cluster.ts'

test('three masters share the keys; one whose replica takes over loses none', async () => {
  await using cluster = await startCluster({ replicas: 1, password: 'pw' })
  expect(cluster.nodes).toHaveLength(6)
  const client = clientOf(cluster)
  try {
    const keys = Array.from({ length: 50 }, (_, index) => `k${index}`)
    await Promise.all(keys.map((key) => client.set(key, key)))
    const owners = await Promise.all(keys.map((key) => cluster.masterOf(key)))
    expect(new Set(owners).size).toBe(3)
    const next = await cluster.killMaster('k0')
    expect(next).toBe(await cluster.masterOf('k0'))
    expect(next).not.toBe(owners[0])
    expect(await Promise.all(keys.map((key) => client.get(key)))).toEqual(keys)
    await owners[0]?.restart()
    await cluster.untilWhole(3)
  } finally {
    client.disconnect()
  }
})

test('a slot that moves takes its keys along; over TLS', async () => {
  await using cluster = await startCluster({ password: 'pw', tls: true })
  const client = clientOf(cluster)
  try {
    await client.set('k', 'v')
    const source = await cluster.masterOf('k')
    const target = cluster.servers.find((server) => server !== source)
    if (target === undefined) throw new Error('one node only')
    await cluster.moveSlot('k', target)
    expect(await target.command('GET', 'k')).toBe('v')
    await expect(source.command('GET', 'k')).rejects.toThrow('MOVED')
    expect(await client.get('k')).toBe('v')
  } finally {
    client.disconnect()
  }
})

test('a killed master without replicas leaves its slots to nobody', async () => {
  await using cluster = await startCluster()
  const killed = await cluster.masterOf('k')
  expect(await cluster.killMaster('k')).toBe(undefined)
  expect(killed.isRunning).toBe(false)
  const other = cluster.servers.find((server) => server !== killed)
  await expect.poll(() => other?.command('CLUSTER', 'INFO')).toContain('cluster_state:fail')
  await killed.restart()
  await cluster.untilWhole()
})

function clientOf(cluster: RedisCluster): Cluster {
  const [node] = cluster.servers
  const ca = node?.address.ca
  const tls = ca === undefined ? {} : { tls: { ca: [ca] } }
  const client = new Cluster([{ host: '127.0.0.1', port: node?.port ?? 0 }], {
    redisOptions: { password: 'pw', ...tls },
  })
  client.on('error', () => {})
  return client
}
