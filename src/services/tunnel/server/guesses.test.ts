import { describe, expect, test } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { tokenAuth } from '../auth/token-auth.ts'
import type { FrpClient, FrpClientOptions } from './frp-client.testkit.ts'
import { login, start } from './loopback.testkit.ts'
import type { Served } from './tunnel-server.testkit.ts'

const perMinute = 3
const raw = { limits: { loginsPerMinute: perMinute }, transport: { tcpMuxKeepaliveInterval: 1000 } }

async function served(): Promise<{ readonly clock: ManualClock; readonly served: Served }> {
  const clock = new ManualClock()
  return { clock, served: await start({ clock, raw }) }
}

/** The answer to a work connection, `cut` when there was none. */
async function workAnswer(client: FrpClient, runId: string): Promise<string> {
  const talk = await client.work(runId)
  return talk.next('StartWorkConn').then(
    ({ error }) => error,
    () => 'cut',
  )
}

/** The answer to a visitor, `cut` when there was none. */
async function visitAnswer(client: FrpClient, key: string): Promise<string> {
  const answer = await client.visit('s', key).catch(() => 'cut')
  return typeof answer === 'string' ? answer : ''
}

async function owner(served: Served, options: FrpClientOptions = {}): Promise<FrpClient> {
  const client = await login(served, options)
  await client.register({ proxy_name: 's', proxy_type: 'stcp', sk: 'key' })
  return client
}

async function times<Answer>(count: number, ask: () => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = []
  for (let round = 0; round < count; round++) answers.push(await ask())
  return answers
}

describe('a work connection', () => {
  test.each([
    ['from outside of any session', { mux: false }],
    ['from the session of another client', {}],
  ])('%s is not one of a client with mux', async (_, options) => {
    const served = await start()
    const client = await login(served)
    const other = await login(served, options)
    expect(await workAnswer(other, client.runId)).toBe(
      'the work connection is not of the session of its client',
    )
    expect(await served.metric('sluice_tunnel_work_connections_refused_total')).toBe(1)
    expect(await served.metric('sluice_tunnel_work_connections_idle')).toBe(0)
    await client.work()
    await eventually(async () => expect(await served.metric('sluice_tunnel_work_connections_idle')).toBe(1))
  })

  test('of a client without mux needs the run id only', async () => {
    const served = await start()
    const client = await login(served, { mux: false })
    const other = await login(served)
    await other.work(client.runId)
    await eventually(async () => expect(await served.metric('sluice_tunnel_work_connections_idle')).toBe(1))
  })
})

describe('guesses', () => {
  test.each([true, false])(
    'of run ids are not answered beyond the rate, for a minute (mux %s)',
    async (mux) => {
      const { clock, served: server } = await served()
      const client = await login(server, { mux })
      const guess = (): Promise<string> => workAnswer(client, 'guess')
      const told = 'no client control found for run id [guess]'
      expect(await times(perMinute + 2, guess)).toEqual([...Array(perMinute).fill(told), 'cut', 'cut'])
      clock.advance(60_000)
      expect(await guess()).toBe(told)
    },
  )

  test('of secret keys are not answered beyond the rate, right or wrong, for a minute', async () => {
    const { clock, served: server } = await served()
    const client = await owner(server)
    const told = 'visitor connection of [s] auth failed'
    expect(await times(perMinute, () => visitAnswer(client, 'wrong'))).toEqual(Array(perMinute).fill(told))
    expect(await visitAnswer(client, 'wrong')).toBe('cut')
    expect(await visitAnswer(client, 'key')).toBe('cut')
    clock.advance(60_000)
    expect(await visitAnswer(client, 'key')).toBe('')
  })

  test.each([true, false])('of keys do not cost clients their work connections (mux %s)', async (mux) => {
    const { served: server } = await served()
    const client = await owner(server, { mux })
    expect((await times(perMinute + 1, () => visitAnswer(client, 'wrong'))).at(-1)).toBe('cut')
    await client.work()
    await eventually(async () => expect(await server.metric('sluice_tunnel_work_connections_idle')).toBe(1))
  })

  test('of run ids by a neighbour do not cost a client with mux its work connections', async () => {
    const { served: server } = await served()
    const client = await login(server)
    const neighbour = await login(server, { mux: false })
    expect((await times(perMinute + 1, () => workAnswer(neighbour, 'guess'))).at(-1)).toBe('cut')
    await client.work()
    await eventually(async () => expect(await server.metric('sluice_tunnel_work_connections_idle')).toBe(1))
  })

  test('are none that a pool has no room for', async () => {
    const { served: server } = await served()
    const client = await login(server, { mux: false })
    const works = await times(10 + perMinute + 3, () => client.work())
    await eventually(() => expect(works.filter(({ heard }) => heard.length > 0)).toHaveLength(perMinute + 3))
    expect(await workAnswer(client, client.runId)).toBe('work connection pool is full, discarding')
    expect(await workAnswer(client, 'guess')).toBe('no client control found for run id [guess]')
  })

  test('are as many as one likes where logins have no limit, also after a reload', async () => {
    const { clock, served: server } = await served()
    const client = await owner(server)
    expect((await times(perMinute + 1, () => visitAnswer(client, 'wrong'))).at(-1)).toBe('cut')
    const { config } = server
    const free = { ...config, limits: { ...config.limits, loginsPerMinute: 0 } }
    server.server.reload(free, tokenAuth(config.auth, { clock }))
    expect(new Set(await times(2 * perMinute, () => visitAnswer(client, 'wrong')))).toEqual(
      new Set(['visitor connection of [s] auth failed']),
    )
  })
})
