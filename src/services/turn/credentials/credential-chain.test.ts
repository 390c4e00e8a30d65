import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import type { Credential, CredentialClaim, CredentialSource } from './contract.ts'
import { CredentialChain } from './credential-chain.ts'
import { claimOf, foundBy } from './credentials.testkit.ts'
import { NoCredentials } from './no-credentials.ts'
import { OAuth } from './oauth.ts'
import { StaticUsers } from './static-users.ts'
import { TimeLimited } from './time-limited.ts'

const clock = new ManualClock(1_700_000_000_000)
const users = new StaticUsers([{ username: 'alice', password: 'a', maxAllocations: 2 }])
const limited = new TimeLimited({ secrets: ['north', 'south'], clock })

const credentialOf = (username: string): Credential => ({ username, userId: username, key: () => undefined })

/** Answers later, with whom it knows, and remembers the claims. */
function slow(known: readonly string[], failure?: Error) {
  const claims: CredentialClaim[] = []
  const source: CredentialSource = {
    find: async (claim) => {
      claims.push(claim)
      await Promise.resolve()
      if (failure !== undefined) throw failure
      return known.includes(claim.username ?? '') ? [credentialOf(claim.username ?? '')] : []
    },
  }
  return { source, claims }
}

describe('no credentials', () => {
  it('are found, and it says so', () => {
    expect(foundBy(new NoCredentials(), claimOf('alice'))).toEqual([])
    expect(new NoCredentials().isNone).toBe(true)
  })
})

describe('a chain of sources', () => {
  it('lets listed users and time-limited ones stand side by side, at once', () => {
    const chain = new CredentialChain([users, limited])
    expect(foundBy(chain, claimOf('alice'))).toHaveLength(1)
    expect(foundBy(chain, claimOf('1700000060:bob'))).toHaveLength(2)
    expect(foundBy(chain, claimOf('bob'))).toEqual([])
  })

  it('stops at the first that knows the claim', async () => {
    const { source, claims } = slow(['alice', 'bob'])
    const chain = new CredentialChain([users, source])
    expect(foundBy(chain, claimOf('alice'))).toHaveLength(1)
    expect(claims).toEqual([])
    expect(await chain.find(claimOf('bob'))).toMatchObject([{ username: 'bob' }])
    expect(claims).toHaveLength(1)
  })

  it('goes on behind one that answers later', async () => {
    const first = slow(['bob'])
    const last = slow(['carol'])
    const chain = new CredentialChain([first.source, users, last.source])
    expect(await chain.find(claimOf('alice'))).toMatchObject([{ userId: 'alice' }])
    expect(await chain.find(claimOf('carol'))).toMatchObject([{ userId: 'carol' }])
    expect(await chain.find(claimOf('dave'))).toEqual([])
    expect(last.claims.map(({ username }) => username)).toEqual(['carol', 'dave'])
  })

  it('passes over one that fails, and fails only when nobody knows the claim', async () => {
    const failure = new Error('down')
    const chain = new CredentialChain([
      slow([], failure).source,
      users,
      slow([], new Error('down too')).source,
    ])
    expect(await chain.find(claimOf('alice'))).toHaveLength(1)
    await expect(chain.find(claimOf('bob'))).rejects.toBe(failure)
  })

  it('keeps for later ones what the claim has of the received message', async () => {
    const { source, claims } = slow([])
    const received = { userhash: Uint8Array.of(1), accessToken: Uint8Array.of(2) }
    const found = new CredentialChain([slow([]).source, source]).find(claimOf('x', received))
    received.userhash.fill(0)
    received.accessToken.fill(0)
    await found
    expect(claims).toMatchObject([{ userhash: Uint8Array.of(1), accessToken: Uint8Array.of(2) }])
  })

  it('is none when all of it are', () => {
    expect(new CredentialChain([]).isNone).toBe(true)
    expect(new CredentialChain([new NoCredentials()]).isNone).toBe(true)
    expect(new CredentialChain([new NoCredentials(), users]).isNone).toBe(false)
  })

  it('names the server of its OAuth, or none', () => {
    const oauth = new OAuth({ serverName: 'turn.example.com', keys: [] })
    expect(new CredentialChain([users, oauth]).thirdPartyServer).toBe('turn.example.com')
    expect(new CredentialChain([users]).thirdPartyServer).toBeUndefined()
  })

  it('knows the bounds that one of its sources knows', () => {
    const chain = new CredentialChain([limited, users])
    expect([chain.maxAllocations('alice'), chain.maxAllocations('bob')]).toEqual([2, undefined])
  })
})
