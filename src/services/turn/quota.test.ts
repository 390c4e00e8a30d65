import { describe, expect, it } from 'vitest'
import { MemoryQuota, quotaOf, type QuotaRequest } from './quota.ts'

function request(userId: string): QuotaRequest {
  return { userId, realm: 'example.org', listener: 'udp', clientAddress: '192.0.2.1' }
}

describe('MemoryQuota', () => {
  it('lets each user have so many', () => {
    const quota = new MemoryQuota(2)
    expect([quota.take(request('a')), quota.take(request('a')), quota.take(request('a'))]).toEqual([
      true,
      true,
      false,
    ])
    expect(quota.take(request('b'))).toBe(true)
    quota.give(request('a'))
    expect([quota.taken('a'), quota.take(request('a')), quota.take(request('a'))]).toEqual([1, true, false])
  })

  it('has no limit with 0', () => {
    const quota = new MemoryQuota(0)
    for (let i = 0; i < 1000; i++) expect(quota.take(request('a'))).toBe(true)
    expect(quota.taken('a')).toBe(1000)
  })

  it('asks for the limit of each user each time', () => {
    let most = 1
    const quota = new MemoryQuota((userId) => (userId === 'a' ? most : 0))
    quota.take(request('a'))
    expect(quota.take(request('a'))).toBe(false)
    most = 2
    expect(quota.take(request('a'))).toBe(true)
  })

  it('does not count below nothing', () => {
    const quota = new MemoryQuota(1)
    quota.give(request('a'))
    expect([quota.take(request('a')), quota.take(request('a'))]).toEqual([true, false])
  })
})

describe('quotaOf', () => {
  it('asks a function each time, and gives it nothing back', async () => {
    const asked: unknown[] = []
    const quota = quotaOf(async (question) => {
      asked.push(question)
      return question.userId === 'a'
    })
    expect(await quota.take(request('a'))).toBe(true)
    quota.give(request('a'))
    expect(await quota.take(request('b'))).toBe(false)
    expect(asked).toEqual([request('a'), request('b')])
  })

  it('leaves a quota as it is', () => {
    const quota = new MemoryQuota(1)
    expect(quotaOf(quota)).toBe(quota)
  })
})
