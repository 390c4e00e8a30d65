import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { silentLogger } from '../telemetry/index.ts'
import { Drain, type DrainOptions } from './drain.ts'

function make(options: Partial<DrainOptions> = {}) {
  const [clock, calls, left]: [ManualClock, unknown[], { sessions: number }] = [
    new ManualClock(),
    [],
    { sessions: 2 },
  ]
  const drain = new Drain({
    left: () => ({ allocations: 0, tunnelClients: 0, ...left }),
    onChange: (isDraining) => calls.push(isDraining),
    onEmpty: () => calls.push('empty'),
    logger: silentLogger(),
    clock,
    ...options,
  })
  return { drain, clock, calls, left }
}

describe('a drain', () => {
  it('begins once, tells what is left, and is taken back', () => {
    const { drain, calls, clock } = make()
    expect(drain.state()).toMatchObject({ isDraining: false, isToExit: false, sinceMs: undefined })
    drain.begin()
    clock.advance(5000)
    drain.begin()
    expect(drain.state()).toEqual({
      isDraining: true,
      isToExit: false,
      sinceMs: Date.UTC(2026, 0, 1),
      left: { sessions: 2, allocations: 0, tunnelClients: 0 },
    })
    expect([drain.end(), drain.end()]).toEqual([true, true])
    expect([drain.isDraining, calls, clock.pending]).toEqual([false, [true, false], 0])
  })

  it('ends the gateway when nothing is left, if it is to', () => {
    const { drain, calls, clock, left } = make()
    drain.begin()
    left.sessions = 0
    clock.advance(60_000)
    expect(calls).toEqual([true])
    left.sessions = 1
    drain.begin({ isToExit: true })
    drain.begin({ isToExit: true })
    clock.advance(60_000)
    expect([calls, drain.state().isToExit]).toEqual([[true], true])
    left.sessions = 0
    clock.advance(1000)
    expect(calls).toEqual([true, 'empty'])
    clock.advance(60_000)
    expect([calls, clock.pending]).toEqual([[true, 'empty'], 0])
  })

  it.each(['sessions', 'allocations', 'tunnelClients'])(
    'does not end the gateway while it has %s',
    (what) => {
      const empty = { sessions: 0, allocations: 0, tunnelClients: 0 }
      const { drain, calls, clock } = make({ left: () => ({ ...empty, [what]: 1 }) })
      drain.begin({ isToExit: true })
      clock.advance(60_000)
      expect(calls).toEqual([true])
    },
  )

  it('does not end an empty gateway before load balancers have noticed', () => {
    const { drain, calls, clock, left } = make({ noticeMs: 10_000 })
    left.sessions = 0
    drain.begin({ isToExit: true })
    clock.advance(9999)
    expect(calls).toEqual([true])
    clock.advance(1)
    expect(calls).toEqual([true, 'empty'])
  })

  it('that is taken back does not end the gateway', () => {
    const { drain, calls, clock, left } = make()
    drain.begin({ isToExit: true })
    drain.end()
    left.sessions = 0
    clock.advance(60_000)
    expect([calls, drain.state().isToExit, clock.pending]).toEqual([[true, false], false, 0])
  })

  it('that has ended the gateway cannot be taken back, until it starts again', () => {
    const { drain, calls, clock, left } = make()
    left.sessions = 0
    drain.begin({ isToExit: true })
    clock.advance(1000)
    expect([drain.end(), drain.isDraining, calls]).toEqual([false, true, [true, 'empty']])
    drain.reopen()
    expect([drain.isDraining, drain.end()]).toEqual([false, true])
  })

  it('of a gateway that cannot end itself only drains', () => {
    const drain = new Drain({
      left: () => ({ sessions: 0, allocations: 0, tunnelClients: 0 }),
      onChange: () => {},
      logger: silentLogger(),
    })
    drain.begin({ isToExit: true })
    expect([drain.canExit, drain.state().isToExit]).toEqual([false, false])
  })

  it('on the way down gives load balancers time, cannot be taken back, and begins anew with the next start', async () => {
    const { drain, calls, clock } = make({ noticeMs: 10_000 })
    let isOver = false
    const closed = drain.close(60_000).then(() => (isOver = true))
    expect([calls, drain.end()]).toEqual([[true], false])
    clock.advance(9999)
    await Promise.resolve()
    expect(isOver).toBe(false)
    clock.advance(1)
    await closed
    expect(clock.pending).toBe(0)
    drain.reopen()
    expect([drain.isDraining, drain.end()]).toEqual([false, true])
  })

  it('gives only what is left of the notice, and no more than the grace time', async () => {
    const { drain, clock } = make({ noticeMs: 10_000 })
    await drain.close(0)
    drain.reopen()
    drain.begin()
    clock.advance(4000)
    const closed = drain.close(60_000)
    expect(clock.dueInMs).toBe(6000)
    clock.advance(6000)
    await closed
    drain.reopen()
    const cut = drain.close(3000)
    expect(clock.dueInMs).toBe(3000)
    clock.advance(3000)
    await cut
  })
})
