import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { startSentinels } from './sentinels.ts'

test('a killed master is followed by its replica, which has the data, and becomes one itself', async () => {
  await using set = await startSentinels({ password: 'pw', sentinelPassword: 'other' })
  expect(set.sentinels).toHaveLength(3)
  const client = new Redis({
    sentinels: set.sentinels.map((text) => ({ host: '127.0.0.1', port: Number(text.split(':')[1]) })),
    name: set.name,
    password: 'pw',
    sentinelPassword: 'other',
  })
  client.on('error', () => {})
  try {
    const first = await set.master()
    await client.set('k', 'v')
    expect(await first.command('GET', 'k')).toBe('v')
    const second = await set.failOver()
    expect(second).not.toBe(first)
    expect(await client.get('k')).toBe('v')
    await client.set('k', 'w')
    expect(await second.command('GET', 'k')).toBe('w')
    await first.restart()
    await set.untilWhole()
    expect(await set.master()).toBe(second)
    expect(await set.failOver()).toBe(first)
    expect(await first.command('GET', 'k')).toBe('w')
  } finally {
    client.disconnect()
  }
})
