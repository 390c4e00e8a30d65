import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import type { TokenGrant } from '../../../mechanisms/frp-config/index.ts'
import type { NewProxy } from '../../../protocols/frp/index.ts'
import { domainsOf, remoteAddrOf } from './domains.ts'
import { LoginRate } from './login-rate.ts'
import { Quota, take } from './quota.ts'
import { Rights } from './rights.ts'
import { UdpUsers } from './udp-users.ts'

const grant: TokenGrant = {
  name: 'alice',
  token: 'secret',
  users: ['alice'],
  allowPorts: undefined,
  allowProxyTypes: ['http'],
  allowDomains: ['*.alice.example', 'alice.example'],
  maxPorts: 0,
  maxProxies: 0,
  maxClients: 0,
  maxConnections: 0,
  bandwidthLimit: 0,
}

// Of a request these look at names alone.
const request = (fields: Partial<NewProxy>): NewProxy =>
  ({ custom_domains: [], subdomain: '', ...fields }) as NewProxy

describe('the rights of a token', () => {
  const rights = new Rights(grant, new ManualClock())
  const check = (name: string, type: string, domains: string[]) => (): void =>
    rights.checkProxy(request({ proxy_name: name }), type, 'alice', domains)

  test('what is allowed passes', () => {
    expect(check('alice.web', 'http', ['a.alice.example', 'alice.example'])).not.toThrow()
  })

  test('other types, names and domains do not', () => {
    expect(check('alice.web', 'tcp', [])).toThrow('proxy type [tcp] is not allowed, allowed are http')
    expect(check('bob.web', 'http', [])).toThrow('proxy name [bob.web] must begin with [alice.]')
    expect(check('alice.web', 'http', ['evil-alice.example'])).toThrow(
      'domain [evil-alice.example] is not allowed',
    )
  })
})

describe('domains', () => {
  test('are lower case, with the subdomain under the host', () => {
    const asked = request({ custom_domains: ['A.example.com'], subdomain: 'Web' })
    expect(domainsOf(asked, 'frp.example.org')).toEqual(['a.example.com', 'web.frp.example.org'])
  })

  test.each([
    [{ custom_domains: ['x.frp.org'] }, 'frp.org', 'should not belong to subdomain host [frp.org]'],
    [{ subdomain: 'web' }, '', 'subdomain is not supported because this feature is not enabled in server'],
    [{ subdomain: 'a.b' }, 'frp.org', "'.' and '*' are not supported in subdomain"],
    [{}, 'frp.org', 'should set at least one'],
  ])('%o under %s is refused', (fields, host, message) => {
    expect(() => domainsOf(request(fields), host)).toThrow(message)
  })

  test('are told with their port where it is not the usual one', () => {
    expect(remoteAddrOf(['a.org', 'b.org'], 8080)).toBe('a.org:8080,b.org:8080')
    expect(remoteAddrOf(['a.org'], 443)).toBe('a.org')
  })
})

describe('quotas', () => {
  test('are taken all or none, and given back once', () => {
    const [many, one] = [new Quota('many', 0), new Quota('one', 1)]
    const release = take([many, one])
    expect(take([many, one])).toBe(one)
    expect([many.used, one.used]).toEqual([1, 1])
    if (!(release instanceof Quota)) {
      release()
      release()
    }
    expect([many.used, one.used]).toEqual([0, 0])
  })
})

describe('the rate of logins', () => {
  test('is per address and minute', () => {
    const clock = new ManualClock()
    const rate = new LoginRate(2, clock)
    expect([rate.admit('a'), rate.admit('a'), rate.admit('a'), rate.admit('b')]).toEqual([
      true,
      true,
      false,
      true,
    ])
    clock.advance(60_000)
    expect(rate.admit('a')).toBe(true)
  })

  test('counts a /64 of IPv6 as one source, and an IPv4 address as itself', () => {
    const rate = new LoginRate(1, new ManualClock())
    expect(
      ['2001:db8::1', '2001:db8::2', '2001:db8:0:0:ffff::', '2001:db8:0:1::1'].map((address) =>
        rate.admit(address),
      ),
    ).toEqual([true, false, false, true])
    expect([rate.isSpent('2001:db8::9'), rate.isSpent('2001:db8:0:2::1')]).toEqual([true, false])
    expect([rate.admit('192.0.2.1'), rate.admit('192.0.2.2')]).toEqual([true, true])
  })

  test('is spent when as many came as may, until the minute is over', () => {
    const clock = new ManualClock()
    const rate = new LoginRate(2, clock)
    const seen = [rate.isSpent('a')]
    for (let count = 0; count < 2; count++) {
      rate.admit('a')
      seen.push(rate.isSpent('a'))
    }
    clock.advance(59_999)
    seen.push(rate.isSpent('a'))
    clock.advance(1)
    expect([...seen, rate.isSpent('a')]).toEqual([false, false, true, true, false])
    rate.admit('a')
    rate.admit('a')
    rate.configure(0)
    expect(rate.isSpent('a')).toBe(false)
  })

  test('0 does not limit', () => {
    const rate = new LoginRate(0, new ManualClock())
    expect(Array.from({ length: 1000 }, () => rate.admit('a'))).not.toContain(false)
  })
})

describe('the users of a udp proxy', () => {
  test('are known for five to ten minutes after they spoke', () => {
    const clock = new ManualClock()
    const users = new UdpUsers(clock)
    users.heard('192.0.2.1', 1000, 3)
    expect(users.localOf('192.0.2.1', 1000)).toBe(3)
    expect(users.localOf('192.0.2.1', 1001)).toBeUndefined()
    clock.advance(300_000)
    users.heard('192.0.2.2', 1, 0)
    expect(users.localOf('192.0.2.1', 1000)).toBe(3)
    clock.advance(300_000)
    users.heard('192.0.2.2', 1, 0)
    expect(users.localOf('192.0.2.1', 1000)).toBeUndefined()
  })
})
