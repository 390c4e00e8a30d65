import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readClusterSlots, readRedirection, SLOTS, slotOf } from './cluster-slots.ts'

const asked = { host: '192.0.2.9', port: 7009 }

describe('the slot of a key', () => {
  // As CLUSTER KEYSLOT of redis-server gives them.
  it.each([
    ['', 0],
    ['123456789', 12_739],
    ['foo', 12_182],
    ['{foo}bar', 12_182],
    ['bar{foo}', 12_182],
    ['foo{}', 5542],
    ['foo{{bar}}zap', 4015],
    ['foo{bar}{zap}', 5061],
    ['bar', 5061],
    ['ключ', 10_303],
  ])('%j is in %i', (key, slot) => {
    expect(slotOf(key)).toBe(slot)
  })
})

describe('the table of slots', () => {
  it('has masters, replicas, and addresses that a server left out', () => {
    const map = readClusterSlots(
      [
        [0, 1, ['192.0.2.1', 7001, 'id', []], ['192.0.2.2', 7002, 'id']],
        [2, SLOTS - 1, [null, 7003, 'id']],
      ],
      asked,
    )
    expect(map.slots.slice(0, 3)).toEqual(['192.0.2.1:7001', '192.0.2.1:7001', '192.0.2.9:7003'])
    expect(map.slots[SLOTS - 1]).toBe('192.0.2.9:7003')
    expect([...map.masters.keys()]).toEqual(['192.0.2.1:7001', '192.0.2.9:7003'])
    expect([...map.servers.keys()]).toContain('192.0.2.2:7002')
  })

  it('leaves slots of nobody open, and passes over what is no range', () => {
    const map = readClusterSlots(
      [[0, 1], [5, 99_999, ['a', 1]], 'x', [7, 7, ['a b', 1]], [8, 8, ['a', '1']]],
      asked,
    )
    expect(map.slots.every((slot) => slot === undefined)).toBe(true)
    expect(map.slots).toHaveLength(SLOTS)
  })

  it('takes any answer', () => {
    fc.assert(
      fc.property(fc.anything(), fc.array(fc.array(fc.anything())), (answer, ranges) => {
        readClusterSlots(answer, asked)
        readClusterSlots(ranges, asked)
      }),
      { numRuns: 50 },
    )
  })
})

describe('a redirection', () => {
  it.each([
    ['MOVED 3999 192.0.2.1:6381', { kind: 'MOVED', slot: 3999, address: { host: '192.0.2.1', port: 6381 } }],
    ['ASK 1 host.example:6381', { kind: 'ASK', slot: 1, address: { host: 'host.example', port: 6381 } }],
    ['MOVED 1 ::1:6381', { kind: 'MOVED', slot: 1, address: { host: '::1', port: 6381 } }],
    ['MOVED 1 :6381', { kind: 'MOVED', slot: 1, address: { host: '192.0.2.9', port: 6381 } }],
  ])('%s', (words, expected) => {
    expect(readRedirection(words, asked)).toEqual(expected)
  })

  it.each([
    'MOVED 16384 a:1',
    'MOVED __proto__ a:1',
    'MOVED 1 a:0',
    'MOVED 1 a',
    'ERR x',
    '',
    'MOVED 1 a b:1',
  ])('%j is none', (words) => {
    expect(readRedirection(words, asked)).toBeUndefined()
  })
})
