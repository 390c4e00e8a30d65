import { randomBytes } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { systemClock } from '../../../foundation/clock.ts'
import { clientHello, encodeClientHello, helloFrame } from '../../../protocols/frp/index.ts'
import type { ServerAuth } from '../auth/contract.ts'
import { tokenAuth } from '../auth/token-auth.ts'
import { FrpClient } from './frp-client.testkit.ts'
import { atEnd, login, start } from './loopback.testkit.ts'

const plainAuth = tokenAuth(
  { token: 'secret', tokens: [], additionalScopes: [], timestampWindow: 0 },
  { clock: systemClock },
)

/** Logins are answered when the test says so. */
function slowAuth() {
  const waiting: (() => void)[] = []
  const auth: ServerAuth = {
    holds: () => true,
    async verifyLogin(message) {
      await new Promise<void>((resolve) => waiting.push(resolve))
      return plainAuth.verifyLogin(message)
    },
  }
  return { auth, waiting }
}

describe('a client that is being checked', () => {
  test('and goes leaves nothing behind', async () => {
    const { auth, waiting } = slowAuth()
    const served = await start({ auth })
    const client = new FrpClient(served.port, { login: { client_id: 'me' } })
    const answer = client.sayLogin()
    answer.catch(() => undefined)
    await eventually(() => expect(waiting).toHaveLength(1))
    await client.close()
    await eventually(async () => expect(await served.metric('sluice_tunnel_connections')).toBe(0))
    // Streams give what came, and tell their end, in the next turns of the event loop.
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
    waiting[0]?.()
    await eventually(async () =>
      expect(await served.metric('sluice_tunnel_logins_refused_total', { reason: 'closed' })).toBe(1),
    )
    expect(served.server.clients()).toEqual([])
    expect(served.recorder.events).toEqual([])
  })

  test('is not let in when its token is taken away meanwhile', async () => {
    const { auth, waiting } = slowAuth()
    const served = await start({ auth })
    const client = new FrpClient(served.port)
    atEnd(() => client.close())
    const answer = client.sayLogin()
    await eventually(() => expect(waiting).toHaveLength(1))
    const other = { ...served.config.auth, token: 'other' }
    served.server.reload({ ...served.config, auth: other }, tokenAuth(other, { clock: systemClock }))
    waiting[0]?.()
    expect((await answer).error).toBe('its token is not valid any more')
    expect([served.server.clients(), served.recorder.events]).toEqual([[], []])
  })

  test('is not let in by a server that begins to close meanwhile', async () => {
    const { auth, waiting } = slowAuth()
    const served = await start({ auth })
    const client = new FrpClient(served.port)
    atEnd(() => client.close())
    const answer = client.sayLogin()
    await eventually(() => expect(waiting).toHaveLength(1))
    const closed = served.server.close({ graceMs: 5000 })
    waiting[0]?.()
    expect((await answer).error).toBe('the server is closing')
    await closed
    expect(served.recorder.events).toEqual([])
  })
})

describe('a login is refused', () => {
  test.each(['v1', 'v2'] as const)('in words of frp (%s)', async (version) => {
    const served = await start()
    await expect(login(served, { version, token: 'wrong' })).rejects.toThrow(
      "token in login doesn't match token from configuration",
    )
    expect(await served.metric('sluice_tunnel_logins_refused_total', { reason: 'unauthorized' })).toBe(1)
  })

  test('without a reason where clients are not told', async () => {
    const served = await start({ raw: { detailedErrorsToClient: false } })
    await expect(login(served, { token: 'wrong' })).rejects.toThrow(/^register control error$/)
    const client = await login(served)
    expect((await client.ask({ proxy_name: 'p', proxy_type: 'http' })).error).toBe('new proxy [p] error')
    const work = await client.work('nobody')
    expect((await work.next('StartWorkConn')).error).toBe('invalid NewWorkConn')
    expect(await client.visit('p', 'key')).toBe('register visitor conn error')
  })

  test('also of wire version 2 when there are too many: the refusal comes behind the hello', async () => {
    const served = await start({ raw: { limits: { loginsPerMinute: 1 } } })
    await login(served)
    await expect(login(served, { version: 'v2' })).rejects.toThrow('too many logins from this address')
  })

  test('beyond the number of clients, and possible again when one has gone', async () => {
    const served = await start({ raw: { limits: { maxClients: 1 } } })
    const first = await login(served)
    await expect(login(served)).rejects.toThrow('exceed the limit of 1 clients')
    await first.close()
    await eventually(() => expect(served.server.clients()).toEqual([]))
    await login(served)
  })

  test('with a client id that is online under another run id', async () => {
    const served = await start()
    const first = await login(served, { login: { client_id: 'c', user: 'u' } })
    await expect(login(served, { login: { client_id: 'c', user: 'u' } })).rejects.toThrow(
      'client_id [c] for user [u] is already online',
    )
    await login(served, { login: { client_id: 'c', user: 'other' } })
    await login(served, { login: { client_id: 'c', user: 'u', run_id: first.runId } })
    expect(served.server.clients()).toHaveLength(2)
  })

  test('of wire version 2 without a hello', async () => {
    const served = await start()
    const client = new FrpClient(served.port, { version: 'v2' })
    atEnd(() => client.close())
    const talk = await client.talk()
    talk.channel.send('Login', {})
    expect((await talk.next('LoginResp')).error).toBe('missing v2 crypto negotiation')
    expect(await talk.closed).toBeUndefined()
  })

  test('of wire version 2 with a hello that has no cipher of ours', async () => {
    const served = await start()
    const client = new FrpClient(served.port, { version: 'v2' })
    atEnd(() => client.close())
    const talk = await client.talk()
    const hellos: string[] = []
    talk.channel.expectHello('server', (payload) => hellos.push(payload.toString()))
    const hello = clientHello({ transport: 'tcp', tls: false, tcpMux: true }, Buffer.alloc(32))
    talk.channel.sendRaw(helloFrame('client', encodeClientHello({ ...hello, algorithms: ['rot13'] })))
    talk.channel.send('Login', {})
    await talk.closed
    expect(hellos.join()).toContain('no supported crypto algorithm')
  })
})

describe('a run id that is live', () => {
  test('is taken over: the old control is closed, and its proxies are free before the new one is answered', async () => {
    const served = await start()
    const first = await login(served)
    const port = await first.register({ proxy_name: 'p' })
    const second = await login(served, { login: { run_id: first.runId } })
    expect(second.runId).toBe(first.runId)
    expect(await second.register({ proxy_name: 'p', remote_port: port })).toBe(port)
    await first.control.closed
    const { runId } = first
    expect(served.recorder.events).toEqual([
      `+client ${runId}`,
      '+p',
      '-p',
      `-client ${runId}`,
      `+client ${runId}`,
      '+p',
    ])
  })

  test('is taken over by two at the same time: one of them stays, and no third is left over', async () => {
    const { auth, waiting } = slowAuth()
    const served = await start({ auth })
    const logins = [login(served)]
    await eventually(() => expect(waiting).toHaveLength(1))
    waiting[0]?.()
    const [first] = await Promise.all(logins)
    const again = { login: { run_id: first?.runId ?? '' } }
    const both = Promise.all([login(served, again), login(served, again)])
    await eventually(() => expect(waiting).toHaveLength(3))
    waiting[1]?.()
    waiting[2]?.()
    const [second, third] = await both
    await Promise.race([second.control.closed, third.control.closed])
    await eventually(() => expect(served.server.clients()).toHaveLength(1))
    const online = served.recorder.events.filter((event) => event.startsWith('+')).length
    const offline = served.recorder.events.filter((event) => event.startsWith('-')).length
    expect(online - offline).toBe(1)
  })

  test('is not taken over by another user', async () => {
    const served = await start()
    const first = await login(served, { login: { user: 'a' } })
    await expect(login(served, { login: { user: 'b', run_id: first.runId } })).rejects.toThrow(
      'the run id belongs to another client',
    )
  })
})

describe('a login that fails when it has been answered', () => {
  test.each([
    ['v1', true],
    ['v1', false],
    ['v2', true],
    ['v2', false],
  ] as const)(
    'says nothing more, and leaves nothing behind: no cipher (%s, mux %s)',
    async (version, mux) => {
      let isBroken = true
      const served = await start({
        raw: { limits: { maxClients: 1 } },
        // A run id has 8 bytes, the randomness of a hello 32; ciphers begin with others.
        random: (length) => {
          if (isBroken && length !== 8 && length !== 32) throw new Error('no randomness')
          return randomBytes(length)
        },
      })
      const client = new FrpClient(served.port, { version, mux })
      atEnd(() => client.close())
      await client.sayLogin()
      await client.control.closed
      expect(client.control.heard).toMatchObject([{ name: 'LoginResp', body: { error: '' } }])
      expect([served.server.clients(), served.recorder.events]).toEqual([[], []])
      isBroken = false
      await login(served, { version })
    },
  )

  test.each([true, false])('says nothing more, and leaves nothing behind: no books (mux %s)', async (mux) => {
    const served = await start({ raw: { limits: { maxClients: 1 } } })
    vi.spyOn(served.recorder, 'clientOnline').mockImplementationOnce(() => {
      throw new Error('no books')
    })
    const client = await login(served, { mux })
    await client.control.closed
    expect(client.control.heard).toMatchObject([{ name: 'LoginResp', body: { error: '' } }])
    await eventually(() => expect(served.server.clients()).toEqual([]))
    await login(served)
  })
})
