import { describe, expect, it } from 'vitest'
import { iceConfigurationOf, issueCredential } from './issue-credential.ts'
import { parseTimeLimitedUsername, timeLimitedPassword } from './time-limited.ts'

const uris = ['turn:turn.example.com:3478?transport=udp', 'turns:turn.example.com:5349']
const order = { secret: 'north', uris, ttlSeconds: 3600, wallMs: 1_700_000_000_999 }

describe('a credential that is handed out', () => {
  it('has the form of the REST draft', () => {
    expect(issueCredential({ ...order, userId: 'alice' })).toEqual({
      username: '1700003600:alice',
      password: timeLimitedPassword('north', '1700003600:alice'),
      ttl: 3600,
      uris,
    })
  })

  it('may be nobody’s, and have another separator', () => {
    expect(issueCredential(order).username).toBe('1700003600')
    expect(issueCredential({ ...order, userId: 'a', separator: '|' }).username).toBe('1700003600|a')
  })

  it('counts as the user it was made for', () => {
    for (const userId of ['alice', '7', 'a b', 'caf\u00E9']) {
      const { username } = issueCredential({ ...order, userId })
      expect(parseTimeLimitedUsername(username, ':')).toEqual({ userId, expiresAtMs: 1_700_003_600_000 })
    }
  })

  it.each([
    ['nothing', ''],
    ['a control', 'a\nb'],
    ['the separator', 'a:b'],
    ['more bytes than a USERNAME has', 'é'.repeat(241)],
  ])('is not made for %s', (_, userId) => {
    expect(() => issueCredential({ ...order, userId })).toThrow(
      expect.objectContaining({ code: 'TURN_CREDENTIAL_BAD_REQUEST', status: 400 }),
    )
  })

  it('has the form that browsers take', () => {
    const issued = issueCredential(order)
    const iceServers = [{ urls: uris, username: issued.username, credential: issued.password }]
    expect(iceConfigurationOf(issued)).toEqual({ iceServers })
    expect(iceConfigurationOf(issued, 'relay')).toEqual({ iceServers, iceTransportPolicy: 'relay' })
    expect(() => iceConfigurationOf({ ...issued, uris: [] })).toThrow(
      expect.objectContaining({ code: 'TURN_CREDENTIAL_NO_URIS' }),
    )
  })
})
