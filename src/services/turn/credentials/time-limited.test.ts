import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { userhash } from '../../../protocols/stun/index.ts'
import { claimOf, foundBy, hiddenClaimOf, isProvedBy } from './credentials.testkit.ts'
import { issueCredential } from './issue-credential.ts'
import {
  parseTimeLimitedUsername,
  TimeLimited,
  type TimeLimitedOptions,
  timeLimitedPassword,
} from './time-limited.ts'

const nowMs = 1_700_000_000_000

function open(options: Partial<TimeLimitedOptions> = {}) {
  const clock = new ManualClock(nowMs)
  return { clock, source: new TimeLimited({ secrets: ['north'], clock, ...options }) }
}

describe('a time-limited password', () => {
  it('is what coturn and openssl make of it', () => {
    // printf %s 1700000000:alice | openssl dgst -sha1 -hmac north -binary | base64
    expect(timeLimitedPassword('north', '1700000000:alice')).toBe('Cd/49soE35ICqcJF/bCTn8Z4OyE=')
  })
})

describe('time-limited credentials', () => {
  it('are found until they end, and proved by the password that was handed out', () => {
    const { clock, source } = open()
    const { username, password } = issueCredential({
      secret: 'north',
      ttlSeconds: 60,
      userId: 'alice',
      uris: [],
      wallMs: clock.wallMs(),
    })
    const claim = claimOf(username)
    const [found] = foundBy(source, claim)
    expect(found).toMatchObject({ username, userId: 'alice', expiresAtMs: nowMs + 60_000, isStrict: false })
    expect(found && isProvedBy(found, claim, password)).toBe(true)
    expect(found && isProvedBy(found, claim, password, 'sha256')).toBe(true)
    expect(found && isProvedBy(found, claim, 'north')).toBe(false)
    clock.advance(60_000)
    expect(foundBy(source, claim)).toHaveLength(1)
    clock.advance(1)
    expect(foundBy(source, claim)).toEqual([])
  })

  it('are tried with every secret, the newest first, while secrets are rotated', () => {
    const { source } = open({ secrets: ['new', 'old'] })
    const claim = claimOf('1700000060:alice')
    const proves = (secret: string) =>
      foundBy(source, claim).map((it) =>
        isProvedBy(it, claim, timeLimitedPassword(secret, claim.username ?? '')),
      )
    expect(proves('new')).toEqual([true, false])
    expect(proves('old')).toEqual([false, true])
    expect(source.secret).toBe('new')
    source.replace(['newer', 'new'])
    expect(proves('old')).toEqual([false, false])
    expect(proves('new')).toEqual([false, true])
    expect(source.secret).toBe('newer')
    source.replace([])
    expect(foundBy(source, claim)).toEqual([])
    expect(source.secret).toBeUndefined()
  })

  it('can be strict', () => {
    const { source } = open({ isStrict: true })
    expect(foundBy(source, claimOf('1700000060'))).toMatchObject([{ isStrict: true }])
  })

  it('take another separator, and only that', () => {
    const { source } = open({ separator: '#' })
    expect(foundBy(source, claimOf('1700000060#alice'))).toMatchObject([{ userId: 'alice' }])
    expect(foundBy(source, claimOf('1700000060:alice'))).toEqual([])
  })

  it('are not found behind a userhash, nor without a name', () => {
    const { source } = open()
    expect(foundBy(source, hiddenClaimOf(userhash('1700000060:alice', 'example.org')))).toEqual([])
  })

  it.each([
    ['no number', 'alice'],
    ['nothing', ''],
    ['the separator', ':'],
    ['a number that ended', '1699999999:alice'],
    ['a number below 0', '-1700000060:alice'],
    ['a number and letters', '1700000060x:alice'],
    ['a number in hexadecimal', '0x7fffffff:alice'],
    ['a fraction', '1700000060.5:alice'],
    ['an exponent', '17e8:alice'],
    ['a space', ' 1700000060:alice'],
    ['other digits', '\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0666\u0660:alice'],
    ['a number beyond 64 bits', '17000000600000000000:alice'],
    ['a number that is over before the time', '7:1700000060'],
  ])('are none with %s for a name', (_, name) => {
    expect(foundBy(open().source, claimOf(name))).toEqual([])
  })

  it.each([
    ['1700000060', '1700000060'],
    ['1700000060:alice', 'alice'],
    ['+1700000060:alice', 'alice'],
    ['1700000060:alice:phone', '1700000060:alice:phone'],
    ['alice:1700000060', 'alice:1700000060'],
    ['alice:1700000060:phone', 'alice:1700000060:phone'],
    ['1700000060:', '1700000060:'],
    ['1700000060:7', '7'],
  ])('count as STUNner counts them: %s is %s', (name, userId) => {
    expect(foundBy(open().source, claimOf(name))).toMatchObject([
      { username: name, userId, expiresAtMs: nowMs + 60_000 },
    ])
  })

  it('that never end end when a Date does', () => {
    expect(parseTimeLimitedUsername('9999999999999999999:alice', ':')?.expiresAtMs).toBe(8.64e15)
  })

  it('are found or not under any name, without harm', () => {
    const { source } = open()
    const part = fc.oneof(fc.string({ unit: 'binary' }), fc.integer().map(String), fc.constant('1700000060'))
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), fc.string({ unit: 'binary' }), (parts, realm) => {
        for (const { username, expiresAtMs = 0 } of foundBy(source, claimOf(parts.join(':'), { realm }))) {
          expect(username).toBe(parts.join(':'))
          expect(expiresAtMs).toBeGreaterThanOrEqual(nowMs)
        }
      }),
    )
  })

  it.each(['', '::', '1', '-', '\n'])('do not take "%s" as a separator', (separator) => {
    expect(() => open({ separator })).toThrow(expect.objectContaining({ code: 'TURN_CREDENTIAL_BAD_OPTION' }))
  })

  it.each([
    ['an empty secret', ['new', '']],
    ['nine secrets', Array.from({ length: 9 }, String)],
  ])('do not take %s, and keep those they have', (_, secrets) => {
    const { source } = open()
    expect(() => source.replace(secrets)).toThrow(
      expect.objectContaining({ code: 'TURN_CREDENTIAL_BAD_OPTION' }),
    )
    expect(source.secret).toBe('north')
  })
})
