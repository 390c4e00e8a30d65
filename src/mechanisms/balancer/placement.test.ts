import { describe, expect, it } from 'vitest'
import { announcement } from './conformance.testkit.ts'
import { Placement } from './placement.ts'
import { streamKeyOf } from './stream-key.ts'

const live = streamKeyOf('', 'live', 's')
const nested = streamKeyOf('', 'live/a', 's')

describe('rules of apps', () => {
  it('the rule of the app itself comes before the one of all, and apps are whole', () => {
    const apps = [
      { app: '*', origins: ['server-a'] },
      { app: 'live', origins: ['server-b'] },
    ]
    const placement = new Placement({ apps }, Math.random)
    const allowed = (key: typeof live): readonly string[] =>
      ['a', 'b'].filter((name) => placement.allows(key, announcement(name)))
    expect(allowed(live)).toEqual(['b'])
    expect(allowed(nested)).toEqual(['a'])
  })

  it('who is named as an origin of the app is no backup there, whatever it says', () => {
    const placement = new Placement({ apps: [{ app: 'live', origins: ['server-a'] }] }, Math.random)
    const own = announcement('a', { isBackup: true })
    expect([placement.isBackup(live, own), placement.isBackup(nested, own)]).toEqual([false, true])
  })

  it('two rules for an app, and a rule that lets nobody carry it, are refused', () => {
    expect(() => new Placement({ apps: [{ app: 'a' }, { app: 'a' }] }, Math.random)).toThrow(/two rules/)
    expect(() => new Placement({ apps: [{ app: 'a', origins: [] }] }, Math.random)).toThrow(/no origin may/)
    expect(
      () => new Placement({ apps: [{ app: 'a', origins: [], backups: ['x'] }] }, Math.random),
    ).not.toThrow()
  })
})
