import { describe, expect, it } from 'vitest'
import { YamuxErrorCode } from './errors.ts'
import { Flag, FrameType, initialWindowBytes } from './frame.ts'
import { ReceiveWindow, WindowPool } from './receive-window.ts'
import { dataFrames, frame, LoneSession, serverWithStream } from './session-pair.testkit.ts'

const { data, windowUpdate, ping } = FrameType
const { syn, ack, rst } = Flag

describe('windows', () => {
  it('give back once half is read, in one frame a turn', () => {
    const server = serverWithStream()
    for (let n = 0; n < 8; n++) server.receive(frame(data, 0, 1, new Uint8Array(16_384)))
    expect(server.frames()).toEqual(['window 1 +131072', 'ping SYN 0 1'])
    server.receive(frame(data, 0, 1, new Uint8Array(16_384)))
    expect(server.frames()).toEqual([])
  })

  it('give nothing back while the reader stands still, and no more than it has read after that', () => {
    const server = serverWithStream()
    server.last.stream.pause()
    server.receive(frame(data, 0, 1, new Uint8Array(initialWindowBytes)))
    expect(server.frames()).toEqual([])
    expect(server.session.keptBytes).toBe(initialWindowBytes)
    server.last.stream.resume()
    expect(server.frames()[0]).toBe('window 1 +262144')
    expect(server.last.received).toBe(initialWindowBytes)
  })

  it('end the session when the peer sends more', () => {
    const server = serverWithStream()
    server.last.stream.pause()
    server.receive(frame(data, 0, 1, new Uint8Array(initialWindowBytes)))
    server.receive(frame(data, 0, 1, 'x'))
    expect(server.error).toMatchObject({ code: YamuxErrorCode.protocol })
    expect(server.frames()).toEqual(['goaway 0 1'])
    expect(server.last.events).toEqual(['close YAMUX_PROTOCOL'])
  })

  it('end the session when the peer grants more than can be counted', () => {
    const server = serverWithStream()
    server.receive(frame(windowUpdate, 0, 1, 0xffff_ffff))
    expect(server.error).toMatchObject({ code: YamuxErrorCode.protocol })
  })

  it('grow no further while the reader is behind, and halve when half would serve it as well', () => {
    const pool = new WindowPool(10_000_000)
    const window = new ReceiveWindow(pool, 6_291_456)
    const read = (keptBytes: number, everyMs: number): number => {
      window.take(window.grantedBytes)
      return window.settle(keptBytes, (now += everyMs), 10)
    }
    let now = 0
    expect(read(0, 5)).toBe(initialWindowBytes)
    expect(read(1000, 5)).toBe(initialWindowBytes - 1000)
    expect(read(0, 5)).toBe(2 * initialWindowBytes)
    expect(read(0, 5)).toBe(4 * initialWindowBytes)
    expect(read(0, 1000)).toBe(4 * initialWindowBytes)
    expect(read(1000, 81)).toBe(2 * initialWindowBytes - 1000)
    expect(read(1000, 81)).toBe(initialWindowBytes - 1000)
    expect(read(1000, 81)).toBe(initialWindowBytes - 1000)
    expect(pool.take(20_000_000)).toBe(10_000_000)
  })

  it('double while the window is read within two round trips, up to the most', () => {
    const server = serverWithStream({ maxWindowBytes: 1_000_000 })
    measure(server, 10)
    expect(fill(server, 1, 5)).toBe(1_000_000)
    expect(fill(server, 1, 5)).toBe(1_000_000)
  })

  it('do not grow when they are read slower than that', () => {
    const server = serverWithStream()
    measure(server, 10)
    expect(fill(server, 1, 21)).toBe(initialWindowBytes)
  })

  it('grow together by no more than sessionWindowBytes, which a closed stream gives back', () => {
    const server = serverWithStream({ sessionWindowBytes: 2 * initialWindowBytes })
    server.receive(frame(windowUpdate, syn, 3, 0))
    measure(server, 10)
    expect(fill(server, 3, 5)).toBe(3 * initialWindowBytes)
    expect(fill(server, 1, 5)).toBe(initialWindowBytes)
    server.receive(frame(windowUpdate, rst, 3, 0))
    expect(fill(server, 1, 5)).toBe(3 * initialWindowBytes)
  })
})

/** Reads 131,072 bytes, so that the session measures its round trip, which is to be so long. */
function measure(server: LoneSession, roundTripMs: number): void {
  server.receive(frame(data, 0, 1, new Uint8Array(131_072)))
  expect(server.frames()).toContain('ping SYN 0 1')
  server.nowMs += roundTripMs
  server.receive(frame(ping, ack, 0, 1))
}

/** Sends half a window again and again, that long apart, while it grows, and gives its size at the end. */
function fill(server: LoneSession, id: number, everyMs: number): number {
  const { stream } = server.accepted[(id - 1) / 2] ?? server.accepted[0]!
  for (let n = 0; n < 8; n++) {
    for (let left = Math.ceil(stream.windowBytes / 2); left > 0; left -= 131_072) {
      server.receive(frame(data, 0, id, new Uint8Array(Math.min(left, 131_072))))
    }
    server.nowMs += everyMs
    server.frames()
  }
  return stream.windowBytes
}

describe('memory', () => {
  it('of 64 streams whose readers stop stays within what they were granted', () => {
    const server = new LoneSession('server')
    const granted = new Map<number, number>()
    const learn = (): void => {
      for (const line of server.frames()) {
        const [, id, bytes] = /^window (\d+) \+(\d+)$/.exec(line) ?? []
        if (id !== undefined) granted.set(Number(id), (granted.get(Number(id)) ?? 0) + Number(bytes))
      }
    }
    for (let id = 1; id < 128; id += 2) {
      server.receive(frame(windowUpdate, syn, id, 0))
      granted.set(id, initialWindowBytes)
    }
    measure(server, 20)
    granted.set(1, initialWindowBytes)
    const send = (id: number, most: number): void => {
      const bytes = Math.min(most, granted.get(id) ?? 0)
      granted.set(id, (granted.get(id) ?? 0) - bytes)
      for (let left = bytes; left > 0; left -= 32_768) {
        server.receive(frame(data, 0, id, new Uint8Array(Math.min(left, 32_768))))
      }
    }
    // All are read fast, and grow as far as they may.
    for (let round = 0; round < 20; round++) {
      for (const id of granted.keys()) send(id, Number.POSITIVE_INFINITY)
      server.nowMs += 5
      learn()
    }
    const together = server.accepted.reduce((sum, { stream }) => sum + stream.windowBytes, 0)
    expect(together).toBeGreaterThan(64 * initialWindowBytes)
    expect(together).toBeLessThanOrEqual(64 * initialWindowBytes + 16_777_216)
    for (const { stream } of server.accepted) stream.pause()
    for (let round = 0; round < 5; round++) {
      for (const id of granted.keys()) send(id, Number.POSITIVE_INFINITY)
      learn()
    }
    expect(server.error).toBeUndefined()
    expect(server.session.keptBytes).toBe(together)
    expect(server.session.keptBytes).toBeLessThan(460e6 / 3)
  })

  it('of what waits is bounded over all: the stream with most is reset', () => {
    const server = serverWithStream({ maxKeptBytes: 300_000 })
    server.receive(frame(windowUpdate, syn, 3, 0))
    for (const { stream } of server.accepted) stream.pause()
    server.receive(frame(data, 0, 1, new Uint8Array(200_000)))
    server.receive(frame(data, 0, 3, new Uint8Array(90_000)))
    server.receive(frame(data, 0, 3, new Uint8Array(20_000)))
    expect(server.frames()).toEqual(['window ACK 3 +0', 'window RST 1 +0'])
    expect(server.accepted[0]?.end.events).toEqual(['close YAMUX_READ_OVERFLOW'])
    expect(server.session.keptBytes).toBe(110_000)
  })

  it('of small pieces in large chunks does not pin the chunks', () => {
    const server = serverWithStream()
    server.last.stream.pause()
    const chunk = new Uint8Array(65_536)
    for (let at = 0; at + 1012 <= 65_536; at += 1012) chunk.set(frame(data, 0, 1, new Uint8Array(1000)), at)
    expect(server.session.receive(chunk.subarray(0, 64 * 1012), 0)).toBe(true)
    expect(server.session.keptBytes).toBe(64_000)
    expect(server.receive(frame(data, 0, 1, new Uint8Array(64_000)))).toBe(false)
  })

  it('of a writer that ignores the advice is bounded: its stream is reset', () => {
    const server = serverWithStream({ maxHeldBytes: 100_000 })
    const { stream } = server.last
    expect(stream.write(Buffer.alloc(400_000))).toBe(false)
    expect(stream.write(Buffer.alloc(10))).toBe(true)
    expect(server.frames()).toEqual([...dataFrames(1, 262_144), 'window RST 1 +0'])
    expect(server.last.events).toEqual(['close YAMUX_WRITE_OVERFLOW'])
  })
})
