import { describe, expect, test } from 'vitest'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { WorkPool } from './work-pool.ts'

function makePool(size: number) {
  const clock = new ManualClock()
  let requests = 0
  const pool = new WorkPool({ size, waitMs: () => 10_000, clock, request: () => requests++ })
  const taken: (ByteStream | string | undefined)[] = []
  const take = (): (() => void) => pool.take((work, error) => taken.push(work ?? error?.message))
  return { clock, pool, taken, take, requests: () => requests }
}

describe('the pool of work connections', () => {
  test('asks for as many as it keeps, and one for each that is taken', () => {
    const { pool, take, taken, requests } = makePool(2)
    pool.fill()
    expect(requests()).toBe(2)
    const [first] = memoryStreamPair()
    const [second] = memoryStreamPair()
    pool.offer(first)
    pool.offer(second)
    take()
    expect(taken).toEqual([first])
    expect(requests()).toBe(3)
  })

  test('asks once for each who waits, not twice', () => {
    const { pool, take, taken, requests } = makePool(0)
    take()
    take()
    expect(requests()).toBe(2)
    const [work] = memoryStreamPair()
    pool.offer(work)
    expect(taken).toEqual([work])
    expect(requests()).toBe(2)
    expect(pool.waiting).toBe(1)
  })

  test('asks again for a connection that did not come', () => {
    const { pool, clock, take, requests } = makePool(0)
    take()
    clock.advance(4999)
    expect(requests()).toBe(1)
    clock.advance(2)
    expect(requests()).toBe(2)
    expect(pool.waiting).toBe(1)
  })

  test('lets nobody wait longer than it is told', () => {
    const { clock, take, taken, pool } = makePool(0)
    take()
    clock.advance(5000)
    take()
    clock.advance(4999)
    expect(taken).toEqual([])
    clock.advance(1)
    expect(taken).toEqual(['timeout trying to get work connection'])
    clock.advance(5000)
    expect(taken).toHaveLength(2)
    expect(clock.pending).toBe(0)
    expect(pool.waiting).toBe(0)
  })

  test('who has stopped waiting is given nothing', () => {
    const { pool, take, taken } = makePool(0)
    take()()
    const [work] = memoryStreamPair()
    pool.offer(work)
    expect(taken).toEqual([])
    expect(pool.idle).toBe(1)
  })

  test('an idle connection that breaks is replaced', async () => {
    const { pool, take, taken, requests } = makePool(1)
    pool.fill()
    const [work, far] = memoryStreamPair()
    pool.offer(work)
    far.destroy()
    await expect.poll(() => pool.idle).toBe(0)
    expect(requests()).toBe(2)
    take()
    expect(taken).toEqual([])
  })

  test('an idle connection on which the client speaks is cut', async () => {
    const { pool } = makePool(1)
    const [work, far] = memoryStreamPair()
    pool.offer(work)
    far.write(Buffer.from('hello'))
    await expect.poll(() => pool.idle).toBe(0)
  })

  test('is full ten above its size, and closes what comes then', () => {
    const { pool } = makePool(1)
    for (let count = 0; count < 11; count++) pool.offer(memoryStreamPair()[0])
    expect(pool.isFull).toBe(true)
    pool.offer(memoryStreamPair()[0])
    expect(pool.idle).toBe(11)
  })

  test('when it closes, those who wait are told and later ones are refused', () => {
    const { pool, clock, take, taken } = makePool(0)
    take()
    pool.close()
    take()
    expect(taken).toEqual(['control is already closed', 'control is already closed'])
    expect(clock.pending).toBe(0)
  })

  test('so many may wait, not more', () => {
    const { take, taken } = makePool(0)
    for (let count = 0; count < 1025; count++) take()
    expect(taken).toEqual(['1024 connections wait for a work connection'])
  })
})
