import type * as Crypto from 'node:crypto'
import { describe, expect, it, vi } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import type { TokenGrant } from '../../../mechanisms/frp-config/index.ts'
import { type Login, privilegeKey } from '../../../protocols/frp/index.ts'
import { tokenAuth } from './token-auth.ts'

const { comparisons } = vi.hoisted(() => ({ comparisons: { count: 0 } }))

vi.mock('node:crypto', async (original) => {
  const crypto = await original<typeof Crypto>()
  return {
    ...crypto,
    timingSafeEqual: (one: Uint8Array, other: Uint8Array) => {
      comparisons.count++
      return crypto.timingSafeEqual(one, other)
    },
  }
})

const many = 10_000
const rights = {
  users: undefined,
  allowPorts: undefined,
  allowProxyTypes: undefined,
  allowDomains: undefined,
  maxPorts: 0,
  maxProxies: 0,
  maxClients: 0,
  maxConnections: 0,
  bandwidthLimit: 0,
}
const tokens = Array.from(
  { length: many },
  (_, index): TokenGrant => ({
    ...rights,
    name: `n${index}`,
    token: `t${index}`,
  }),
)
const server = tokenAuth(
  { token: 'master', tokens, additionalScopes: [], timestampWindow: 0 },
  { clock: new ManualClock() },
)

/** The name of the token that a login was made with, and how many were compared in constant time. */
async function tried(privilege_key: string): Promise<readonly [string | undefined, number]> {
  comparisons.count = 0
  // Of a login this looks at nothing else.
  const login = { privilege_key, timestamp: 1, user: '' } as Login
  const name = await server.verifyLogin(login).then(
    ({ grant }) => grant?.name ?? 'master',
    () => undefined,
  )
  return [name, comparisons.count]
}

describe('a login at a server of very many tokens', () => {
  it.each([
    ['the first', 't0', 'n0'],
    ['the last', `t${many - 1}`, `n${many - 1}`],
    ['the one that opens everything', 'master', 'master'],
    ['none', 'wrong', undefined],
  ])('is compared with all of them, when it was made with %s', async (_, token, name) => {
    expect(await tried(privilegeKey(token, 1))).toEqual([name, many + 1])
  })

  it.each(['', 'f'.repeat(31), 'F'.repeat(32), 'f'.repeat(1_000_000)])(
    'is compared with all of them, when it is no key',
    async (key) => {
      expect(await tried(key)).toEqual([undefined, many + 1])
    },
  )
})
