import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { pump } from './pump.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'

/** A tunnel to a stream peer that does what a test says. */
class FakeTunnel implements Tunnel {
  readonly pieceBytes = undefined
  readonly isDrained = true
  readonly handlers: TunnelHandlers
  isPaused = false
  isClosed = false

  constructor(handlers: TunnelHandlers) {
    this.handlers = handlers
  }

  open(): void {}
  send(): boolean {
    return true
  }
  pause(): void {
    this.isPaused = true
  }
  resume(): void {
    this.isPaused = false
  }
  endSending(): void {}
  close(): Promise<void> {
    this.isClosed = true
    return Promise.resolve()
  }
}

test('while the sink takes nothing the peer is stopped, and its silence does not count', async () => {
  const clock = new ManualClock()
  const source = new PassThrough()
  const sink = new PassThrough({ highWaterMark: 4 })
  let tunnel: FakeTunnel | undefined
  const done = pump({
    source,
    sink,
    makeTunnel: (handlers) => (tunnel = new FakeTunnel(handlers)),
    waitMs: 1000,
    clock,
    signal: new AbortController().signal,
  })
  source.end()
  await expect.poll(() => source.readableEnded, { interval: 2 }).toBe(true)
  tunnel?.handlers.onData(Buffer.from('more than the sink takes'))
  expect(tunnel?.isPaused).toBe(true)
  clock.advance(60_000)
  await new Promise(setImmediate)
  expect(tunnel?.isClosed).toBe(false)
  sink.resume()
  await expect.poll(() => tunnel?.isPaused, { interval: 2 }).toBe(false)
  clock.advance(1000)
  await done
  expect(tunnel?.isClosed).toBe(true)
})
