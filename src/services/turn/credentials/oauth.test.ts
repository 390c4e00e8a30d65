import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { type AccessToken, encodeAccessToken } from '../../../protocols/turn/index.ts'
import { claimOf, foundBy } from './credentials.testkit.ts'
import { OAuth, type OAuthKey, type OAuthOptions } from './oauth.ts'

const nowMs = 1_700_000_000_000
const serverName = 'turn.example.com'
const north: OAuthKey = { kid: 'north', key: Buffer.from('01234567890123456789012345678901') }
const union: OAuthKey = { kid: 'union', key: Buffer.from('1234567890123456') }
const nonce = Buffer.alloc(12, 5)
const macKey = Uint8Array.from(Buffer.from('ZksjpweoixXmvn67534m'))

function open(options: Partial<OAuthOptions> = {}) {
  const clock = new ManualClock(nowMs)
  return { clock, source: new OAuth({ serverName, keys: [north, union], clock, ...options }) }
}

function tokenOf({ key }: OAuthKey = north, token: Partial<AccessToken> = {}, name = serverName): Uint8Array {
  return encodeAccessToken(
    { macKey, timestampMs: nowMs, lifetimeSeconds: 600, ...token },
    { key, serverName: name },
    nonce,
  )
}

describe('OAuth', () => {
  it('names its server for challenges', () => {
    expect(open().source.thirdPartyServer).toBe(serverName)
  })

  it.each([north, union])('takes a token of each key: $kid', (key) => {
    const [found] = foundBy(open().source, claimOf(key.kid, { accessToken: tokenOf(key) }))
    expect(found).toMatchObject({ username: key.kid, expiresAtMs: nowMs + 600_000, isStrict: true })
    // RFC 7635: the MAC key is the integrity key as it is, whichever the hash.
    expect(found?.key('md5')).toEqual(macKey)
    expect(found?.key('sha256')).toEqual(macKey)
  })

  it('tries 16 bytes of a 20 byte key too, as coturn has it', () => {
    const keysOf = (bytes: number) => {
      const accessToken = tokenOf(north, { macKey: Buffer.alloc(bytes, 7) })
      return foundBy(open().source, claimOf('north', { accessToken })).map((it) => it.key('md5')?.length)
    }
    expect([16, 20, 32, 64].map(keysOf)).toEqual([[16], [20, 16], [32], [64]])
  })

  it('keeps nothing of the received bytes', () => {
    const accessToken = tokenOf()
    const [found] = foundBy(open().source, claimOf('north', { accessToken }))
    accessToken.fill(0)
    expect(found?.key('md5')).toEqual(macKey)
  })

  it('counts each token as a user of its own', () => {
    const { source } = open()
    const userOf = (token: Partial<AccessToken>) =>
      foundBy(source, claimOf('north', { accessToken: tokenOf(north, token) }))[0]?.userId
    expect(userOf({})).toMatch(/^north:[\da-f]{16}$/)
    expect(userOf({ lifetimeSeconds: 60 })).toBe(userOf({}))
    expect(userOf({ macKey: Buffer.alloc(20) })).not.toBe(userOf({}))
  })

  it.each([
    ['without a token', claimOf('north')],
    ['without a key id', { ...claimOf(''), accessToken: tokenOf() }],
    ['of a key that is not known', claimOf('south', { accessToken: tokenOf() })],
    ['sealed with another key than it says', claimOf('union', { accessToken: tokenOf(north) })],
    ['for another server', claimOf('north', { accessToken: tokenOf(north, {}, 'turn.example.org') })],
    ['that is empty', claimOf('north', { accessToken: new Uint8Array() })],
    ['that is cut', claimOf('north', { accessToken: tokenOf().subarray(0, 63) })],
  ])('takes no claim %s', (_, claim) => {
    expect(foundBy(open().source, claim)).toEqual([])
  })

  it.each([
    ['was made just as long ago as it lives', -605_000, true],
    ['is older', -605_001, false],
    ['was made by a clock that is ahead', 605_000, true],
    ['was made by one that is too far ahead', 605_001, false],
  ])('takes a token by its time: one that %s', (_, byMs, isTaken) => {
    const { source } = open()
    const accessToken = tokenOf(north, { timestampMs: nowMs + byMs })
    expect(foundBy(source, claimOf('north', { accessToken }))).toHaveLength(isTaken ? 2 : 0)
  })

  it.each([
    [0, 600_000],
    [-4000, 600_000],
    [-6000, 599_000],
    [-605_000, 0],
    [300_000, 600_000],
  ])('lets no allocation live longer than its token: made %d ms from now it has %d ms', (byMs, leftMs) => {
    const accessToken = tokenOf(north, { timestampMs: nowMs + byMs })
    const [found] = foundBy(open().source, claimOf('north', { accessToken }))
    expect((found?.expiresAtMs ?? 0) - nowMs).toBe(leftMs)
  })

  it('takes tokens of a key in its time only', () => {
    const { clock, source } = open({
      keys: [{ ...north, notBeforeMs: nowMs + 1000, notAfterMs: nowMs + 2000 }],
    })
    const isTaken = () => foundBy(source, claimOf('north', { accessToken: tokenOf() })).length > 0
    expect(isTaken()).toBe(false)
    clock.advance(1000)
    expect(isTaken()).toBe(true)
    clock.advance(1000)
    expect(isTaken()).toBe(true)
    clock.advance(1)
    expect(isTaken()).toBe(false)
  })

  it('takes other keys once they are replaced', () => {
    const { source } = open({ keys: [north] })
    source.replace([union])
    expect(foundBy(source, claimOf('north', { accessToken: tokenOf(north) }))).toEqual([])
    expect(foundBy(source, claimOf('union', { accessToken: tokenOf(union) }))).not.toEqual([])
  })

  it('says at level debug why it refused, without the token', () => {
    const lines: string[] = []
    const logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) })
    const { source } = open({ logger })
    const refuse = (kid: string, accessToken: Uint8Array) => foundBy(source, claimOf(kid, { accessToken }))
    refuse('south', tokenOf())
    refuse('union', tokenOf())
    refuse('north', new Uint8Array(1))
    refuse('north', tokenOf(north, { timestampMs: 0 }))
    foundBy(source, claimOf('north', { accessToken: tokenOf() }))
    expect(lines.map((line) => (JSON.parse(line) as { reason: string }).reason)).toEqual([
      'unknown-key',
      'seal',
      'length',
      'out-of-date',
    ])
    expect(lines.join('')).not.toContain(Buffer.from(tokenOf()).toString('base64').slice(0, 20))
  })

  it.each<[string, Partial<OAuthOptions>]>([
    ['no server name', { serverName: '' }],
    ['a key without an id', { keys: [{ ...north, kid: '' }] }],
    ['an id twice', { keys: [north, { ...union, kid: 'north' }] }],
    // The keys of coturn's examples have a line end too many.
    ['a key of 33 bytes', { keys: [{ kid: 'north', key: Buffer.from(`${'x'.repeat(32)}\n`) }] }],
  ])('is not made with %s', (_, options) => {
    expect(() => open(options)).toThrow(expect.objectContaining({ code: 'TURN_CREDENTIAL_BAD_OPTION' }))
  })
})
