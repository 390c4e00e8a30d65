import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { TurncatError, TurncatErrorCode } from './errors.ts'
import { pump } from './pump.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'

/** A tunnel to a stream peer that does what a test says. */
class FakeTunnel implements Tunnel {
  readonly pieceBytes = undefined
  readonly isDrained = true
  readonly handlers: TunnelHandlers
  isPaused = false
  hasEndedSending = false
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
  endSending(): void {
    this.hasEndedSending = true
  }
  close(): Promise<void> {
    this.isClosed = true
    return Promise.resolve()
  }
}

function begin(clock: ManualClock, sink: PassThrough = new PassThrough()) {
  const source = new PassThrough()
  let made: FakeTunnel | undefined
  const done = pump({
    source,
    sink,
    makeTunnel: (handlers) => (made = new FakeTunnel(handlers)),
    waitMs: 1000,
    lingerMs: 30_000,
    clock,
    signal: new AbortController().signal,
  })
  return { source, tunnel: made as FakeTunnel, done }
}

async function end(source: PassThrough): Promise<void> {
  source.end()
  await expect.poll(() => source.readableEnded, { interval: 2 }).toBe(true)
}

test('a stream peer that has been silent is told the end, and has time to close', async () => {
  const clock = new ManualClock()
  const { source, tunnel, done } = begin(clock)
  await end(source)
  clock.advance(999)
  expect(tunnel.hasEndedSending).toBe(false)
  clock.advance(1)
  expect(tunnel.hasEndedSending).toBe(true)
  clock.advance(29_000)
  tunnel.handlers.onData(Buffer.from('its last words'))
  clock.advance(29_999)
  await new Promise(setImmediate)
  expect(tunnel.isClosed).toBe(false)
  tunnel.handlers.onEnd(undefined)
  await done
  expect([tunnel.isClosed, clock.pending]).toEqual([true, 0])
})

test('a stream peer that does not close is left', async () => {
  const clock = new ManualClock()
  const { source, tunnel, done } = begin(clock)
  await end(source)
  clock.advance(31_000)
  await done
  expect(tunnel.isClosed).toBe(true)
})

test('a server that breaks off once it was told the end is no failure, before it is one', async () => {
  const error = new TurncatError(TurncatErrorCode.serverLost, 'reset')
  const clock = new ManualClock()
  const early = begin(clock)
  early.tunnel.handlers.onEnd(error)
  await expect(early.done).rejects.toBe(error)
  const late = begin(clock)
  await end(late.source)
  clock.advance(1000)
  late.tunnel.handlers.onEnd(error)
  await late.done
})

test('while the sink takes nothing the peer is stopped, and its silence does not count', async () => {
  const clock = new ManualClock()
  const sink = new PassThrough({ highWaterMark: 4 })
  const { source, tunnel, done } = begin(clock, sink)
  await end(source)
  tunnel.handlers.onData(Buffer.from('more than the sink takes'))
  expect(tunnel.isPaused).toBe(true)
  clock.advance(60_000)
  expect(tunnel.hasEndedSending).toBe(false)
  sink.resume()
  await expect.poll(() => tunnel.isPaused, { interval: 2 }).toBe(false)
  clock.advance(1000)
  expect(tunnel.hasEndedSending).toBe(true)
  tunnel.handlers.onEnd(undefined)
  await done
})
