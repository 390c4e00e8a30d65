import { describe, expect, it } from 'vitest'
import { longTermKey, userhash } from '../../../protocols/stun/index.ts'
import { claimOf, foundBy, hiddenClaimOf, isProvedBy } from './credentials.testkit.ts'
import { type StaticUser, StaticUsers } from './static-users.ts'

const alice: StaticUser = { username: 'alice', password: 'wonderland' }

describe('static users', () => {
  it('are found by name and proved by password, with both hashes', () => {
    const users = new StaticUsers([alice, { username: 'bob', password: 'builder' }])
    const claim = claimOf('alice')
    const [found, ...more] = foundBy(users, claim)
    expect(more).toEqual([])
    expect(found).toMatchObject({ username: 'alice', userId: 'alice' })
    if (found === undefined) return
    expect(isProvedBy(found, claim, 'wonderland')).toBe(true)
    expect(isProvedBy(found, claim, 'wonderland', 'sha256')).toBe(true)
    expect(isProvedBy(found, claim, 'builder')).toBe(false)
  })

  it.each(['carol', 'Alice', 'alice ', '', '__proto__', 'constructor'])(
    'of whom none is called "%s" give no credential',
    (name) => {
      expect(foundBy(new StaticUsers([alice]), claimOf(name))).toEqual([])
    },
  )

  it('prove themselves in each realm by another key', () => {
    const users = new StaticUsers([alice])
    for (const realm of ['one', 'two', 'one']) {
      const [found] = foundBy(users, claimOf('alice', { realm }))
      expect(found?.key('md5')).toEqual(longTermKey('alice', realm, 'wonderland'))
    }
  })

  it('get their key made once', () => {
    const users = new StaticUsers([alice])
    const [first] = foundBy(users, claimOf('alice'))
    const [second] = foundBy(users, claimOf('alice'))
    expect(second?.key('md5')).toBe(first?.key('md5'))
    expect(second?.key('sha256')).toBe(first?.key('sha256'))
  })

  it.each(['md5', 'sha256'] as const)('may be known by a hashed key only, %s', (algorithm) => {
    const key = longTermKey('alice', 'example.org', 'wonderland', algorithm)
    const users = new StaticUsers([{ username: 'alice', key: key.toString('hex').toUpperCase() }])
    const [found] = foundBy(users, claimOf('alice'))
    expect(found?.key(algorithm)).toEqual(key)
    expect(found?.key(algorithm === 'md5' ? 'sha256' : 'md5')).toBeUndefined()
  })

  it('are found behind a userhash of their realm', () => {
    const users = new StaticUsers([alice, { username: 'マトリックス', password: 'TheMatrIX' }])
    // RFC 8489 Appendix B.1
    const hash = Buffer.from('4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704', 'hex')
    expect(foundBy(users, hiddenClaimOf(hash))).toMatchObject([{ username: 'マトリックス' }])
    expect(foundBy(users, hiddenClaimOf(userhash('alice', 'example.org')))).toHaveLength(1)
    expect(foundBy(users, hiddenClaimOf(userhash('alice', 'elsewhere')))).toEqual([])
    expect(foundBy(users, hiddenClaimOf(new Uint8Array(32)))).toEqual([])
    expect(foundBy(users, { realm: 'r', clientAddress: '192.0.2.1', listener: 'udp' })).toEqual([])
  })

  it('are prepared like the names and passwords of clients', () => {
    const users = new StaticUsers([{ username: 'cafe\u0301', password: 'a\u00A0b' }])
    const claim = claimOf('caf\u00E9', { realm: 'u\u0308' })
    const [found] = foundBy(users, claim)
    expect(found?.key('md5')).toEqual(longTermKey('caf\u00E9', '\u00FC', 'a b'))
    expect(foundBy(users, claimOf('caf\u00E9', { realm: '\u0000' }))).toEqual([])
  })

  it('are replaced, those behind a hash and in known realms too', () => {
    const users = new StaticUsers([alice])
    const hidden = hiddenClaimOf(userhash('alice', 'example.org'))
    expect(foundBy(users, hidden)).toHaveLength(1)
    users.replace([{ username: 'bob', password: 'builder' }])
    expect(foundBy(users, hidden)).toEqual([])
    expect(foundBy(users, claimOf('alice'))).toEqual([])
    expect(foundBy(users, claimOf('bob'))).toHaveLength(1)
    users.replace([{ username: 'alice', password: 'other' }])
    const [found] = foundBy(users, claimOf('alice'))
    expect(found && isProvedBy(found, claimOf('alice'), 'other')).toBe(true)
  })

  it('may have bounds of their own', () => {
    const users = new StaticUsers([alice, { username: 'bob', password: 'b', maxAllocations: 3 }])
    expect(['alice', 'bob', 'carol'].map((name) => users.maxAllocations(name))).toEqual([
      undefined,
      3,
      undefined,
    ])
  })

  it.each<[string, StaticUser[]]>([
    ['an empty name', [{ username: '', password: 'secret1' }]],
    ['a control in a name', [{ username: 'a\nb', password: 'secret1' }]],
    ['a control in a password', [{ username: 'a', password: 'secret1\n' }]],
    ['an empty password', [{ username: 'a', password: '' }]],
    ['neither password nor key', [{ username: 'a' }]],
    ['both', [{ username: 'a', password: 'secret1', key: '0'.repeat(32) }]],
    ['a short key', [{ username: 'a', key: 'secret1' }]],
    ['a name that comes twice', [alice, { username: 'alice', password: 'secret1' }]],
    ['a bound below 0', [{ username: 'a', password: 'secret1', maxAllocations: -1 }]],
    ['a bound that is not whole', [{ username: 'a', password: 'secret1', maxAllocations: 1.5 }]],
  ])('with %s are refused, and the others stay', (_, bad) => {
    const users = new StaticUsers([alice])
    let thrown: unknown
    try {
      users.replace(bad)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'TURN_CREDENTIAL_BAD_OPTION' })
    expect(String(thrown)).not.toContain('secret1')
    expect(foundBy(users, claimOf('alice'))).toHaveLength(1)
  })
})
