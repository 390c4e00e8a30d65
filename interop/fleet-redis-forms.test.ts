import { expect, test } from 'vitest'
import { SharedRedisStage } from './harness/shared-redis-stage.ts'
import { RUNNING } from './harness/running-media.ts'
import { until } from './harness/until.ts'
import { startCluster } from './redis/cluster.ts'
import { startSentinels } from './redis/sentinels.ts'

const timeout = 300_000

test('nobody notices a failover by Sentinels', { timeout }, async () => {
  await using set = await startSentinels()
  const before = await set.master()
  await using stage = await SharedRedisStage.start({ sentinels: set.sentinels, sentinelName: set.name })
  await stage.expectUnnoticed({
    begin: () => before.kill(),
    end: () => until('another master', async () => (await set.master()).isRunning, { deadlineMs: 40_000 }),
  })
  expect(await set.master()).not.toBe(before)
})

test('nobody notices that a node of a Cluster is killed, and started again without its data', {
  timeout,
}, async () => {
  await using cluster = await startCluster()
  await using stage = await SharedRedisStage.start({ cluster: cluster.nodes })
  const node = await cluster.masterOf(`srs-proxy-url:__defaultVhost__/${RUNNING.live}`)
  await stage.expectUnnoticed({
    begin: () => node.kill(),
    end: async () => {
      await node.restart()
      await cluster.untilWhole()
    },
  })
})
