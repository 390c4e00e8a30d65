import { describe, expect, it } from 'vitest'
import { agree, openControl, openServer, outcome, request, rules, until } from './access.testkit.ts'
import type { ResumedSession } from './contract.ts'

/** A session that another gateway let in. */
function session(some: Parameters<typeof request>[0] & { readonly endsAtMs?: number } = {}): ResumedSession {
  const { endsAtMs, ...about } = some
  const { protocol, role, key, address, tcUrl, sessionId } = request({ protocol: 'webrtc', ...about })
  const end = endsAtMs === undefined ? {} : { endsAtMs }
  return { protocol, role, key, address, tcUrl, sessionId, ...end }
}

const hooksOf = (url: string) => ({
  onPublish: [`${url}/publish`],
  onUnpublish: [`${url}/unpublish`],
  onPlay: [`${url}/play`],
  onStop: [`${url}/stop`],
})

describe('a session of another gateway', () => {
  it('is let in without a key, by whatever rule there is, and counted', async () => {
    const { control, metric } = openControl([
      { app: 'live', publish: { keys: ['secret'] } },
      { app: 'shut', publish: { policy: 'deny' } },
    ])
    const keys = ['__defaultVhost__/live/s', '__defaultVhost__/shut/s', '__defaultVhost__/none/s']
    const admissions = keys.map((key) => control.resume(session({ key })))
    expect(admissions.map(({ signal }) => signal.aborted)).toEqual([false, false, false])
    const resumed = { protocol: 'webrtc', role: 'publish', result: 'resumed' }
    expect(await metric('sluice_access_decisions_total', resumed)).toBe(3)
    expect(await metric('sluice_access_sessions')).toBe(3)
    for (const admission of admissions) admission.end()
    expect(await metric('sluice_access_sessions')).toBe(0)
  })

  it('has its limits of bandwidth, in the budgets that others share', async () => {
    const limits = { streamBytesPerSecond: 100_000, appBytesPerSecond: 500_000 }
    const { control } = openControl([{ publish: { limits } }])
    const own = await control.admit(request())
    const resumed = control.resume(session())
    expect(resumed.limits.map(({ bytesPerSecond }) => bytesPerSecond)).toEqual([100_000, 500_000])
    expect(resumed.limits.map(({ id }) => id)).toEqual(own.limits.map(({ id }) => id))
    own.limits[0]?.charge(100_000)
    expect(resumed.limits[0]?.charge(50_000)).toBe(500)
  })

  it('may go beyond a count, and takes a place that others then lack', async () => {
    const { control } = openControl([{ publish: { limits: { maxPerStream: 1 } } }])
    const first = await control.admit(request())
    const resumed = control.resume(session())
    first.end()
    expect(await outcome(control.admit(request()))).toBe('ACCESS_TOO_MANY 429')
    resumed.end()
    expect(await outcome(control.admit(request()))).toBe('allowed')
  })

  it('ends when its token does, at once when that was before', async () => {
    const { control, clock, metric } = openControl([])
    const endsAtMs = clock.wallMs() + 5000
    const resumed = control.resume(session({ endsAtMs }))
    expect(resumed.endsAtMs).toBe(endsAtMs)
    clock.advance(4999)
    expect(resumed.signal.aborted).toBe(false)
    clock.advance(1)
    expect(resumed.signal.reason).toMatchObject({ code: 'ACCESS_EXPIRED' })
    expect(await metric('sluice_access_sessions_ended_total', { reason: 'expired' })).toBe(1)
    expect(() => control.resume(session({ endsAtMs }))).toThrow('the token has expired')
    resumed.end()
    expect(clock.pending).toBe(0)
  })

  it('is refused by one that is closed', async () => {
    const { control } = openControl([])
    await control.close()
    expect(() => control.resume(session())).toThrow('going down')
  })

  it('goes on through a reload, as no key of it is known here', () => {
    const { control } = openControl([{ publish: { keys: ['secret'] } }])
    const resumed = control.resume(session())
    control.prepareReload(rules({ publish: { policy: 'deny' } }))()
    expect(resumed.signal.aborted).toBe(false)
  })
})

describe('hooks of a session that changes gateways', () => {
  it('hear of its begin from the one that let it in, and of its end from the one that serves it then', async () => {
    const server = await openServer(agree)
    const [first, second] = [1, 2].map(() => openControl([{ hooks: hooksOf(server.url) }]).control)
    const began = await first?.admit(request({ role: 'play', sessionId: 'webrtc-1', query: 'token=x' }))
    const resumed = second?.resume(session({ role: 'play', sessionId: 'webrtc-1' }))
    began?.handOver()
    began?.end()
    // Whatever it might have said goes before this one.
    ;(await first?.admit(request({ role: 'play', sessionId: 'other' })))?.end()
    await until(() => server.calls.length === 3)
    resumed?.end()
    resumed?.handOver()
    await until(() => server.calls.length === 4)
    expect(server.calls.map(({ path, body }) => [path, body['client_id'], body['param']])).toEqual([
      ['/play', 'webrtc-1', '?token=x'],
      ['/play', 'other', ''],
      ['/stop', 'other', ''],
      ['/stop', 'webrtc-1', ''],
    ])
  })

  it('a hand-over gives back what was counted', async () => {
    const { control, clock, metric } = openControl([{ publish: { limits: { maxPerStream: 1 } } }])
    const admission = await control.admit(request())
    admission.handOver()
    expect(await outcome(control.admit(request()))).toBe('allowed')
    expect(await metric('sluice_access_sessions')).toBe(1)
    expect(clock.pending).toBe(0)
  })
})
