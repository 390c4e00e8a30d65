import { afterEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../foundation/eventually.testkit.ts'
import type { StartOptions } from '../foundation/lifecycle.ts'
import { silentLogger } from '../mechanisms/telemetry/index.ts'
import { runUntilSignal } from './until-signal.ts'

const before = new Map(
  (['SIGHUP', 'SIGTERM', 'SIGINT', 'SIGUSR1'] as const).map((name) => [name, process.listeners(name)]),
)
afterEach(() => {
  vi.restoreAllMocks()
  for (const [name, kept] of before) {
    for (const listener of process.listeners(name)) if (!kept.includes(listener)) process.off(name, listener)
  }
})

describe('runUntilSignal', () => {
  it('hangs up at each SIGHUP, for one during the start when that is over, and drains at SIGTERM', async () => {
    const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as never)
    const told: string[] = []
    let stand: (() => void) | undefined
    const service = {
      start: () => new Promise<void>((resolve) => (stand = resolve)),
      close: async ({ graceMs }: { graceMs?: number } = {}) => void told.push(`closed within ${graceMs}`),
    }
    const run = runUntilSignal(service, {
      logger: silentLogger(),
      graceMs: 7,
      onReady: () => told.push('ready'),
      onHangUp: () => told.push('hung up'),
    })
    process.emit('SIGHUP', 'SIGHUP')
    process.emit('SIGHUP', 'SIGHUP')
    expect(told).toEqual([])
    stand?.()
    await eventually(() => expect(told).toEqual(['ready', 'hung up']))
    process.emit('SIGHUP', 'SIGHUP')
    process.emit('SIGTERM', 'SIGTERM')
    await run
    expect(told).toEqual(['ready', 'hung up', 'hung up', 'closed within 7'])
    expect(exit).toHaveBeenCalledWith(0)
  })

  it('ends with code 0 at a signal during the start, which is given up', async () => {
    const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as never)
    const onReady = vi.fn()
    const close = vi.fn(async () => {})
    const service = {
      start: ({ signal }: StartOptions = {}) =>
        new Promise<void>((_, reject) => {
          signal?.addEventListener('abort', () => reject(new Error('given up')))
        }),
      close,
    }
    const run = runUntilSignal(service, { logger: silentLogger(), graceMs: 7, onReady })
    process.emit('SIGTERM', 'SIGTERM')
    await run
    expect(exit.mock.calls).toEqual([[0]])
    expect(close).toHaveBeenCalledOnce()
    expect(onReady).not.toHaveBeenCalled()
  })

  it('ends with code 1 when the drain takes longer than forceMs', async () => {
    const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as never)
    const service = { start: async () => {}, close: () => new Promise<void>(() => {}) }
    const onReady = vi.fn()
    void runUntilSignal(service, { logger: silentLogger(), graceMs: 7, forceMs: 1, onReady })
    await eventually(() => expect(onReady).toHaveBeenCalled())
    process.emit('SIGTERM', 'SIGTERM')
    await eventually(() => expect(exit).toHaveBeenCalledWith(1))
  })
})
