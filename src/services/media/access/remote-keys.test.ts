import type { KeyObject } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  type Call,
  keyPairs,
  makeToken,
  onEnd,
  openControl,
  openServer,
  outcome,
  request,
  until,
} from './access.testkit.ts'

type Alg = keyof typeof keyPairs

function jwkOf(alg: Alg, kid: string): object {
  return { ...keyPairs[alg].publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }
}

/** A server of keys, and access that takes tokens by them. */
async function open(options: object = {}) {
  let keys: readonly object[] = [jwkOf('ES256', 'one')]
  let answer = (call: Call): void => void call.response.end(JSON.stringify({ keys }))
  const server = await openServer((call) => answer(call))
  const jwt = { jwksUrl: `${server.url}/keys?secret=hush`, ...options }
  const kit = openControl([{ publish: { jwt } }])
  const claims = { stream: 's', action: 'publish', exp: kit.clock.wallMs() / 1000 + 864_000 }
  const admit = (alg: Alg, kid?: string, key: KeyObject = keyPairs[alg].privateKey): Promise<string> => {
    const token = makeToken({ alg, ...(kid !== undefined && { kid }) }, claims, key)
    return outcome(kit.control.admit(request({ query: `token=${token}` })))
  }
  return {
    ...kit,
    server,
    admit,
    publish: (next: readonly object[]) => {
      keys = next
    },
    answerWith: (next: (call: Call) => void) => {
      answer = next
    },
  }
}

const away = 'ACCESS_KEYS_AWAY 503'
const wrong = 'ACCESS_CREDENTIALS_WRONG 403'

describe('keys of a URL', () => {
  it('are fetched when a token comes, once for many', async () => {
    const { admit, server, metric } = await open()
    expect(server.calls).toHaveLength(0)
    expect(await Promise.all(Array.from({ length: 20 }, () => admit('ES256', 'one')))).toEqual(
      Array(20).fill('allowed'),
    )
    expect(server.calls.map(({ path }) => path)).toEqual(['/keys?secret=hush'])
    expect(await metric('sluice_access_key_fetches_total', { result: 'ok' })).toBe(1)
  })

  it('of every kind are taken, with and without a name', async () => {
    const { admit, publish } = await open()
    publish([jwkOf('RS256', 'r'), jwkOf('ES256', 'e'), jwkOf('EdDSA', 'd')])
    expect(await admit('RS256', 'r')).toBe('allowed')
    expect(await admit('EdDSA', 'd')).toBe('allowed')
    expect(await admit('ES256')).toBe('allowed')
  })

  it('are tried one after the other where a token names none', async () => {
    const { admit, publish } = await open()
    const { generateKeyPairSync } = await import('node:crypto')
    const strange = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
    publish([{ ...strange, kid: 'a' }, jwkOf('ES256', 'b')])
    expect(await admit('ES256')).toBe('allowed')
  })

  it('are not secrets, whatever is in them', async () => {
    const { admit, publish, clock, control } = await open()
    const k = Buffer.from('published-by-mistake-0123456789ab')
    publish([{ kty: 'oct', k: k.toString('base64url'), kid: 'o', alg: 'HS256' }, jwkOf('ES256', 'one')])
    expect(await admit('ES256', 'one')).toBe('allowed')
    const claims = { stream: 's', action: 'publish', exp: clock.wallMs() / 1000 + 60 }
    const token = makeToken({ alg: 'HS256', kid: 'o' }, claims, k.toString())
    expect(await outcome(control.admit(request({ query: `token=${token}` })))).toBe(wrong)
  })

  it('are not asked for what is no token or signed with a secret', async () => {
    const { control, server } = await open()
    for (const token of ['x', makeToken({ alg: 'HS256' }, {}, 'x'), makeToken({ alg: 'none' }, {}, '')]) {
      expect(await outcome(control.admit(request({ query: `token=${token}` })))).toBe(wrong)
    }
    expect(server.calls).toHaveLength(0)
  })

  it('are fetched again for a key that is not among them, but not too often', async () => {
    const { admit, publish, clock, server } = await open()
    expect(await admit('ES256', 'one')).toBe('allowed')
    publish([jwkOf('RS256', 'two')])
    // A stranger's token at once after the fetch does not make another.
    expect(await admit('RS256', 'two')).toBe(wrong)
    expect(server.calls).toHaveLength(1)
    clock.advance(30_000)
    expect(await admit('RS256', 'two')).toBe('allowed')
    // The old one has gone with the rotation.
    expect(await admit('ES256', 'one')).toBe(wrong)
    expect(server.calls).toHaveLength(2)
  })

  it('are fetched again when they are old, and kept for a day while that fails', async () => {
    const { admit, answerWith, clock, server, lines } = await open()
    expect(await admit('ES256', 'one')).toBe('allowed')
    clock.advance(600_000)
    expect(await admit('ES256', 'one')).toBe('allowed')
    expect(server.calls).toHaveLength(1)
    answerWith(({ response }) => response.writeHead(500).end())
    clock.advance(1)
    expect(await admit('ES256', 'one')).toBe('allowed')
    expect(server.calls).toHaveLength(2)
    // Asked no more often than every five seconds.
    expect(await admit('ES256', 'one')).toBe('allowed')
    expect(server.calls).toHaveLength(2)
    clock.advance(86_400_000)
    expect(await admit('ES256', 'one')).toBe(away)
    const warnings = lines.filter(({ level }) => level === 'warn')
    expect(warnings).toMatchObject([{ msg: 'keys of tokens cannot be fetched', reason: 'status 500' }])
    expect(JSON.stringify(lines)).not.toContain('hush')
  })

  it.for<[string, (call: Call) => void]>([
    ['a status', ({ response }) => response.writeHead(404).end('{"keys":[]}')],
    ['a redirect', ({ response }) => response.writeHead(302, { location: '/elsewhere' }).end()],
    ['garbage', ({ response }) => response.end('<html>')],
    ['no set', ({ response }) => response.end('[]')],
    ['keys that are none', ({ response }) => response.end('{"keys":[1]}')],
    [
      'too many keys',
      ({ response }) =>
        response.end(JSON.stringify({ keys: Array.from({ length: 65 }, () => ({ kty: 'EC' })) })),
    ],
    ['too long an answer', ({ response }) => response.end(' '.repeat(300_000))],
    ['a cut connection', ({ response }) => response.destroy()],
  ])('that cannot be used let nobody in: %s', async ([, broken]) => {
    const { admit, answerWith, clock, server } = await open()
    answerWith(broken)
    expect(await admit('ES256', 'one')).toBe(away)
    expect(await admit('ES256', 'one')).toBe(away)
    expect(server.calls).toHaveLength(1)
    clock.advance(5000)
    answerWith(({ response }) => response.end(JSON.stringify({ keys: [jwkOf('ES256', 'one')] })))
    expect(await admit('ES256', 'one')).toBe('allowed')
  })

  it('that do not come are waited for no longer than said', async () => {
    const { admit, answerWith, clock, server } = await open({ jwksTimeoutSeconds: 3 })
    answerWith(() => {})
    const answer = admit('ES256', 'one')
    await until(() => server.calls.length === 1)
    clock.advance(3000)
    expect(await answer).toBe(away)
    expect(clock.pending).toBe(0)
  })

  it('that are away do not matter to who has a static key', async () => {
    const server = await openServer(() => {})
    await server.close()
    const { control } = openControl([
      { publish: { keys: ['open-sesame'], jwt: { jwksUrl: `${server.url}/keys` } } },
    ])
    expect(await outcome(control.admit(request({ query: 'key=open-sesame' })))).toBe('allowed')
    const token = makeToken({ alg: 'ES256' }, {}, keyPairs.ES256.privateKey)
    expect(await outcome(control.admit(request({ query: `token=${token}` })))).toBe(away)
  })

  it('end what waits for them when access is closed', async () => {
    const { admit, answerWith, server, control, clock } = await open()
    answerWith(() => {})
    const answer = admit('ES256', 'one')
    await until(() => server.calls.length === 1)
    await control.close()
    expect(await answer).toBe(away)
    expect(clock.pending).toBe(0)
    onEnd(() => server.close())
  })
})
