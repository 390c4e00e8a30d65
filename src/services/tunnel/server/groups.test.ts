import { describe, expect, test } from 'vitest'
import type { Backend, BackendPicker } from './backend.ts'
import { Groups, type GroupTerms } from './groups.ts'

const terms: GroupTerms = { type: 'tcp', name: 'g', key: 'k', place: '0.0.0.0', port: 80 }

function backend(proxyName: string): Backend {
  return { proxyName, serve: () => undefined, connect: () => Promise.reject(new Error('not here')) }
}

function makeGroup() {
  const groups = new Groups()
  let picker: BackendPicker | undefined
  const log: string[] = []
  const join = (name: string, changes: Partial<GroupTerms> = {}) =>
    groups.join({ ...terms, ...changes }, backend(name), async (backends) => {
      log.push('open')
      picker = backends
      return { value: 'place', close: () => log.push('close') }
    })
  const next = (): string | undefined => picker?.next()?.proxyName
  return { join, next, log }
}

describe('groups', () => {
  test('the first member opens, the last one closes, and members take turns', async () => {
    const { join, next, log } = makeGroup()
    const a = await join('a')
    const b = await join('b')
    expect(log).toEqual(['open'])
    expect([next(), next(), next()]).toEqual(['a', 'b', 'a'])
    a.close()
    a.close()
    expect([next(), next()]).toEqual(['b', 'b'])
    b.close()
    await expect.poll(() => log).toEqual(['open', 'close'])
    expect(next()).toBeUndefined()
  })

  test('members must agree, and are told in what not', async () => {
    const { join } = makeGroup()
    await join('a')
    await expect(join('b', { key: 'other' })).rejects.toThrow('group auth failed')
    await expect(join('b', { place: '127.0.0.1' })).rejects.toThrow('group params invalid')
    await expect(join('b', { port: 81 })).rejects.toThrow('group should have same remote port')
    await expect(join('a')).rejects.toThrow('group proxy repeated')
  })

  test('a group that could not be opened does not exist', async () => {
    const groups = new Groups()
    const failing = groups.join(terms, backend('a'), () => Promise.reject(new Error('port already used')))
    const waiting = groups.join(terms, backend('b'), async () => ({ value: '', close: () => undefined }))
    await expect(failing).rejects.toThrow('port already used')
    await expect(waiting).rejects.toThrow('port already used')
    await expect(
      groups.join(terms, backend('c'), async () => ({ value: 'new', close: () => undefined })),
    ).resolves.toMatchObject({ value: 'new' })
  })
})
