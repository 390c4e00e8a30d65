import { afterEach, describe, expect, it, vi } from 'vitest'
import { ManualClock } from '../foundation/clock.ts'
import { Drain } from '../mechanisms/fleet/index.ts'
import { silentLogger } from '../mechanisms/telemetry/index.ts'
import { AdminBench } from '../services/admin/admin.testkit.ts'
import { drain, type DrainCommandOptions } from './drain.ts'

const bench = new AdminBench()
afterEach(async () => {
  vi.restoreAllMocks()
  process.exitCode = undefined
  await bench.close()
})

/** A gateway that loses sessions as time passes; `at` is called after so many seconds. Pauses take `slowness` times as long. */
async function open(
  at: Readonly<Record<number, (gateway: { left: typeof NOTHING }) => void>> = {},
  slowness = 1,
) {
  const clock = new ManualClock()
  const gateway = { left: { ...NOTHING, sessions: 3 } }
  let closed: Promise<void> | undefined
  const control = new Drain({
    left: () => gateway.left,
    onChange: () => {},
    onEmpty: () => {
      closed = admin.service.close()
    },
    logger: silentLogger(),
    clock,
  })
  const admin = await bench.open({ drain: control })
  const lines: string[] = []
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => lines.push(String(text)) > 0)
  const place = `127.0.0.1:${admin.service.address?.port}`
  const run = async (options: DrainCommandOptions): Promise<string> => {
    await drain(
      { admin: place, ...options },
      {
        nowMs: () => clock.nowMs(),
        pause: async (ms) => {
          clock.advance(ms * slowness)
          at[clock.nowMs() / 1000]?.(gateway)
          // So that the next question finds the gateway there or not.
          await closed
        },
      },
    )
    return lines.join('').replaceAll(place, 'GATEWAY')
  }
  return { run, control, clock, gateway, admin }
}

const NOTHING = { sessions: 0, allocations: 0, tunnelClients: 0 }

describe('sluice drain', () => {
  it('drains and tells what is left', async () => {
    const { run, control, gateway } = await open()
    gateway.left = { sessions: 1, allocations: 2, tunnelClients: 1 }
    expect(await run({})).toBe('GATEWAY drains: 1 session, 2 TURN allocations, 1 tunnel client left\n')
    expect(control.state()).toMatchObject({ isDraining: true, isToExit: false })
    expect(process.exitCode).toBeUndefined()
  })

  it('is taken back', async () => {
    const { run, control } = await open()
    control.begin()
    expect(await run({ undo: true })).toBe('GATEWAY drains no more\n')
    expect(control.isDraining).toBe(false)
  })

  it('waits until nothing is left, and says every few seconds how far it is', async () => {
    const { run } = await open({
      4: (gateway) => (gateway.left = { ...NOTHING, sessions: 2 }),
      12: (gateway) => (gateway.left = NOTHING),
    })
    expect(await run({ wait: true })).toBe(
      [
        'GATEWAY drains: 3 sessions left',
        'GATEWAY: 2 sessions left',
        'GATEWAY: 2 sessions left',
        'GATEWAY: nothing is left',
        '',
      ].join('\n'),
    )
    expect(process.exitCode).toBeUndefined()
  })

  it('ends with 1 when the time is over before', async () => {
    const { run, clock, control } = await open()
    expect(await run({ wait: '3' })).toBe(
      'GATEWAY drains: 3 sessions left\nGATEWAY: 3 sessions left, and the time is over\n',
    )
    expect([process.exitCode, clock.nowMs(), control.isDraining]).toEqual([1, 3000, true])
  })

  it('waits an hour when no time is said', async () => {
    const { run, clock } = await open({}, 600)
    await run({ wait: true })
    expect([process.exitCode, clock.nowMs()]).toEqual([1, 3_600_000])
  })

  it('lets the gateway end when nothing is left, and waits for that', async () => {
    const { run, control } = await open({ 2: (gateway) => (gateway.left = NOTHING) })
    expect(await run({ exit: true, wait: '60' })).toBe(
      'GATEWAY drains: 3 sessions left; it ends when nothing is left\nGATEWAY has ended\n',
    )
    expect(control.state().isToExit).toBe(true)
    expect(process.exitCode).toBeUndefined()
  })

  it('says when somebody has taken the drain back meanwhile', async () => {
    let takeBack = (): void => {}
    const { run, control } = await open({ 2: () => takeBack() })
    takeBack = () => void control.end()
    await expect(run({ wait: '10' })).rejects.toMatchObject({ code: 'ADMIN_DRAIN_UNDONE' })
  })

  it('fails when the gateway dies while it is waited for, unless it is to end', async () => {
    const { run, admin } = await open({ 2: () => void admin.service.close() })
    await expect(run({ wait: '10' })).rejects.toMatchObject({ code: 'ADMIN_UNREACHABLE' })
  })

  it.each([
    { wait: '' },
    { wait: '-1' },
    { wait: '1.5' },
    { wait: 'long' },
    { undo: true, wait: '1' },
    { undo: true, exit: true },
  ])('%j is refused', async (options) => {
    const { run, control } = await open()
    await expect(run(options)).rejects.toMatchObject({ code: 'ADMIN_BAD_WAIT' })
    expect(control.isDraining).toBe(false)
  })
})
