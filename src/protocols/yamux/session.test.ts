import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { YamuxErrorCode } from './errors.ts'
import { Flag, FrameType, initialWindowBytes } from './frame.ts'
import { describeFrames, frame, LoneSession, TestPipe } from './session-pair.testkit.ts'

const { data, windowUpdate, ping, goAway } = FrameType
const { syn, ack, fin, rst } = Flag

/** A server with the stream 1 that the peer opened, its acknowledgement read. */
function serverWithStream(limits = {}): LoneSession {
  const server = new LoneSession('server', { limits })
  server.receive(frame(windowUpdate, syn, 1, 0))
  expect(server.frames()).toEqual(['window ACK 1 +0'])
  return server
}

/** So many bytes as data frames. */
function dataFrames(id: number, bytes: number): string[] {
  const whole = Array.from({ length: Math.floor(bytes / 65_536) }, () => `data ${id} 65536 bytes`)
  return bytes % 65_536 === 0 ? whole : [...whole, `data ${id} ${bytes % 65_536} bytes`]
}

describe('opening', () => {
  it('sends the first bytes together with SYN, without waiting for the acknowledgement', () => {
    const client = new LoneSession('client')
    client.open().stream.write(Buffer.from('hello'))
    expect(client.pipe.writes).toBe(0)
    expect(client.frames()).toEqual(['window SYN 1 +0', 'data 1 5 bytes'])
    expect(client.pipe.writes).toBe(1)
  })

  it('gives the client odd ids and the server even ones', () => {
    const client = new LoneSession('client')
    const server = new LoneSession('server')
    for (const side of [client, client, server, server]) side.open()
    expect(client.frames()).toEqual(['window SYN 1 +0', 'window SYN 3 +0'])
    expect(server.frames()).toEqual(['window SYN 2 +0', 'window SYN 4 +0'])
  })

  it('uses what the peer grants with SYN or with the acknowledgement', () => {
    const server = new LoneSession('server')
    server.receive(frame(windowUpdate, syn, 1, 100))
    server.last.stream.write(Buffer.alloc(400_000))
    expect(server.frames()).toEqual(['window ACK 1 +0', ...dataFrames(1, 262_244)])

    const client = new LoneSession('client')
    client.open().stream.write(Buffer.alloc(400_000))
    client.frames()
    client.receive(frame(windowUpdate, ack, 1, 200_000))
    expect(client.frames()).toEqual(dataFrames(1, 137_856))
  })

  it('takes data and FIN within the frame of SYN', () => {
    const server = new LoneSession('server')
    server.receive(frame(data, syn | fin, 1, 'hello'))
    expect([server.last.text, server.last.events]).toEqual(['hello', ['end']])
  })

  it('waits while 256 are not acknowledged', () => {
    const client = new LoneSession('client')
    for (let n = 0; n < 256; n++) client.open()
    expect(client.session.open(0)).toBeUndefined()
    client.receive(frame(windowUpdate, ack, 5, 0))
    client.receive(frame(windowUpdate, ack, 5, 0))
    expect(client.openable).toBe(1)
    client.open()
    expect(client.session.open(0)).toBeUndefined()
    client.receive(frame(windowUpdate, rst, 7, 0))
    client.open()
  })

  it('ends the session when the acknowledgement does not come within 75 s', () => {
    const client = new LoneSession('client', { limits: { keepaliveMs: 0 } })
    const { events } = client.open()
    expect(client.session.nextDeadlineMs).toBe(75_000)
    client.tick(74_999)
    expect(client.error).toBeUndefined()
    client.tick(75_000)
    expect(client.error).toMatchObject({ code: YamuxErrorCode.timeout })
    expect(events).toEqual(['close YAMUX_TIMEOUT'])
  })

  it('fails once the peer takes no more, or maxStreams are open', () => {
    const client = new LoneSession('client', { limits: { maxStreams: 1 } })
    client.open()
    expect(() => client.open()).toThrow(expect.objectContaining({ code: YamuxErrorCode.tooManyStreams }))
    client.receive(frame(goAway, 0, 0, 0))
    expect(() => client.open()).toThrow(expect.objectContaining({ code: YamuxErrorCode.goneAway }))
    expect(client.error).toBeUndefined()
  })
})

describe('streams of the peer', () => {
  it('are refused when nobody wants them, after goAway, past the backlog and past maxStreams', () => {
    const nobody = new LoneSession('client', { onStream: null })
    nobody.receive(frame(windowUpdate, syn, 2, 0))
    expect(nobody.frames()).toEqual(['window RST 2 +0'])

    const leaving = new LoneSession('server')
    leaving.session.goAway()
    leaving.receive(frame(windowUpdate, syn, 1, 0))
    expect(leaving.frames()).toEqual(['goaway 0 0', 'window RST 1 +0'])

    const idle = new LoneSession('server', { limits: { acceptBacklog: 1 }, onStream: () => undefined })
    idle.receive(frame(windowUpdate, syn, 1, 0))
    idle.receive(frame(windowUpdate, syn, 3, 0))
    expect(idle.frames()).toEqual(['window ACK 1 +0', 'window RST 3 +0'])

    const full = new LoneSession('server', { limits: { maxStreams: 1 } })
    full.receive(frame(windowUpdate, syn, 1, 0))
    full.receive(frame(data, syn, 3, 'dropped'))
    full.receive(frame(data, 0, 1, 'kept'))
    expect(full.frames()).toEqual(['window ACK 1 +0', 'window RST 3 +0'])
    expect(full.last.text).toBe('kept')
  })

  it('may not have our ids, id 0, or an id in use', () => {
    for (const id of [2, 0, 1]) {
      const server = serverWithStream()
      server.receive(frame(windowUpdate, syn, id, 0))
      expect(server.error).toMatchObject({ code: YamuxErrorCode.protocol, side: 'client' })
      expect(server.frames()).toEqual(['goaway 0 1'])
    }
  })

  it('that are unknown are drained without being kept', () => {
    const server = serverWithStream()
    server.receive(frame(data, 0, 77, 'nobody'))
    server.receive(frame(windowUpdate, fin, 79, 5))
    server.receive(frame(data, 0, 1, 'somebody'))
    expect([server.last.text, server.session.keptBytes]).toEqual(['somebody', 0])
    expect(server.frames()).toEqual([])
  })
})

describe('ending', () => {
  it('goes side by side: what was written before, one FIN, and reading on', () => {
    const server = serverWithStream()
    const { stream, events } = server.last
    stream.write(Buffer.alloc(300_000))
    stream.end()
    stream.end()
    stream.write(Buffer.from('dropped'))
    expect(server.frames()).toEqual(dataFrames(1, 262_144))
    server.receive(frame(windowUpdate, 0, 1, 300_000))
    expect(server.frames()).toEqual(['data 1 37856 bytes', 'window FIN 1 +0'])
    server.receive(frame(data, 0, 1, 'answer'))
    server.receive(frame(data, fin, 1, ' whole'))
    expect(server.last.text).toBe('answer whole')
    server.turn()
    expect(events).toEqual(['drain', 'end', 'close'])
    stream.destroy()
    stream.destroy(new Error('late'))
    expect(server.frames()).toEqual([])
    expect(server.session.streamCount).toBe(0)
  })

  it('by the peer leaves our side open', () => {
    const server = serverWithStream()
    server.receive(frame(windowUpdate, fin, 1, 0))
    server.last.stream.write(Buffer.from('late answer'))
    expect(server.frames()).toEqual(['data 1 11 bytes'])
    expect(server.last.events).toEqual(['end'])
    server.last.stream.end()
    expect(server.frames()).toEqual(['window FIN 1 +0'])
    expect(server.last.events).toEqual(['end', 'close'])
  })

  it('never calls onClose within end or destroy', () => {
    const server = serverWithStream()
    server.receive(frame(windowUpdate, fin, 1, 0))
    server.last.stream.end()
    expect(server.last.events).toEqual(['end'])
    server.receive(frame(windowUpdate, syn, 3, 0))
    server.last.stream.destroy()
    expect(server.last.events).toEqual([])
    server.turn()
    expect(server.last.events).toEqual(['close'])
  })

  it('a second FIN and data behind FIN mean nothing', () => {
    const server = serverWithStream()
    for (const bytes of [
      frame(windowUpdate, fin, 1, 0),
      frame(data, fin, 1, 'late'),
      frame(data, 0, 1, 'late'),
    ]) {
      server.receive(bytes)
    }
    expect(server.error).toBeUndefined()
    expect([server.last.text, server.last.events]).toEqual(['', ['end']])
  })

  it('is told to a reader that stands still only after what it has not read', () => {
    const server = serverWithStream()
    const { stream } = server.last
    stream.pause()
    server.receive(frame(data, fin, 1, 'rest'))
    stream.end()
    server.turn()
    expect([server.last.text, server.last.events, server.session.streamCount]).toEqual(['', [], 0])
    stream.resume()
    server.turn()
    expect([server.last.text, server.last.events]).toEqual(['rest', ['end', 'close']])
  })

  it('destroy closes as frp does: FIN, and what still comes is dropped', () => {
    const server = serverWithStream()
    server.last.stream.destroy()
    expect(server.frames()).toEqual(['window FIN 1 +0'])
    server.receive(frame(data, 0, 1, 'nobody'))
    server.receive(frame(windowUpdate, 0, 1, 5))
    expect([server.last.text, server.session.streamCount]).toEqual(['', 1])
    server.receive(frame(windowUpdate, fin, 1, 0))
    expect([server.frames(), server.session.streamCount, server.last.events]).toEqual([[], 0, ['close']])
  })

  it('destroy after end waits for the FIN of the peer, and sends none of its own again', () => {
    const server = serverWithStream()
    server.last.stream.end()
    server.last.stream.destroy()
    expect(server.frames()).toEqual(['window FIN 1 +0'])
    server.receive(frame(windowUpdate, fin, 1, 0))
    expect([server.frames(), server.session.streamCount, server.last.events]).toEqual([[], 0, ['close']])
  })

  it('destroy after the FIN of the peer is over at once', () => {
    const server = serverWithStream()
    server.receive(frame(windowUpdate, fin, 1, 0))
    server.last.stream.destroy()
    expect([server.frames(), server.session.streamCount]).toEqual([['window FIN 1 +0'], 0])
  })

  it('a destroyed stream is reset when the peer uses up its window, or does not end within 5 min', () => {
    const busy = serverWithStream()
    busy.last.stream.destroy()
    busy.frames()
    busy.receive(frame(data, 0, 1, new Uint8Array(initialWindowBytes)))
    expect([busy.frames(), busy.session.streamCount]).toEqual([['window RST 1 +0'], 0])

    const silent = serverWithStream({ keepaliveMs: 0 })
    silent.last.stream.destroy()
    silent.frames()
    silent.tick(299_999)
    expect(silent.session.streamCount).toBe(1)
    silent.tick(silent.session.nextDeadlineMs)
    expect([silent.frames(), silent.session.streamCount]).toEqual([['window RST 1 +0'], 0])
    expect(silent.session.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY)
  })

  it('destroy resets when it has a reason, or when bytes are lost by it', () => {
    const withReason = serverWithStream()
    withReason.last.stream.destroy(new Error('why'))
    expect(withReason.frames()).toEqual(['window RST 1 +0'])
    expect(withReason.last.events).toEqual(['close why'])

    const withLoss = serverWithStream()
    withLoss.last.stream.write(Buffer.alloc(300_000))
    withLoss.frames()
    withLoss.last.stream.destroy()
    expect(withLoss.frames()).toEqual(['window RST 1 +0'])
    expect(withLoss.last.events).toEqual(['close'])
  })

  it('RST of the peer ends both sides, also of a reader that stands still', () => {
    for (const before of [0, fin]) {
      const server = serverWithStream()
      server.last.stream.pause()
      server.receive(frame(data, before, 1, 'lost'))
      server.receive(frame(windowUpdate, rst, 1, 0))
      server.last.stream.write(Buffer.from('dropped'))
      expect(server.frames()).toEqual([])
      expect(server.last.events).toEqual(['close YAMUX_RESET'])
      expect([server.session.streamCount, server.session.keptBytes]).toEqual([0, 0])
    }
  })

  it('tells a sink that comes after the close', () => {
    const server = serverWithStream()
    const { stream, events } = server.last
    server.receive(frame(windowUpdate, rst, 1, 0))
    server.turn()
    const late: (Error | undefined)[] = []
    stream.attach({ onBytes: () => true, onEnd() {}, onDrain() {}, onClose: (error) => late.push(error) })
    expect(late).toEqual([])
    server.turn()
    expect(late).toEqual([expect.objectContaining({ code: YamuxErrorCode.reset })])
    expect(events).toEqual(['close YAMUX_RESET'])
  })
})

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

describe('a busy carrier', () => {
  /** A client whose carrier keeps the first write, and streams to write to. */
  function busyClient(streams: number): { client: LoneSession; ends: ReturnType<LoneSession['open']>[] } {
    const client = new LoneSession('client', { pipe: new TestPipe(200) })
    const ends = Array.from({ length: streams }, () => client.open())
    client.frames()
    ends[0]?.stream.write(Buffer.alloc(60_000))
    expect(client.session.outbox.isBusy).toBe(true)
    client.pipe.writes = 0
    return { client, ends }
  }

  /** All frames that leave until it is no longer busy. */
  function drain(client: LoneSession): string[][] {
    const writes: string[][] = []
    for (;;) {
      const lines = describeFrames(client.pipe.read())
      if (!client.pipe.takeDrain()) return [...writes, lines].filter((write) => write.length > 0)
      writes.push(lines)
      client.session.drained(client.nowMs)
    }
  }

  it('gets nothing more, then small frames first, then large ones in turn', () => {
    const { client, ends } = busyClient(4)
    expect(ends[1]?.stream.write(Buffer.alloc(300_000))).toBe(false)
    expect(ends[2]?.stream.write(Buffer.alloc(100_000))).toBe(false)
    expect(ends[3]?.stream.write(Buffer.from('message'))).toBe(true)
    client.receive(frame(ping, syn, 0, 9))
    client.turn()
    expect(client.pipe.writes).toBe(0)
    expect(drain(client)).toEqual([
      ['data 1 60000 bytes'],
      ['data 7 7 bytes', 'ping ACK 0 9', 'data 3 65536 bytes'],
      ['data 5 65536 bytes'],
      ['data 3 65536 bytes'],
      ['data 5 34464 bytes'],
      ['data 3 65536 bytes'],
      ['data 3 65536 bytes'],
    ])
    expect(ends.map((end) => end.events)).toEqual([['drain'], [], ['drain'], []])
  })

  it('takes small writes up to a bound, and the rest in order', () => {
    const { client, ends } = busyClient(3)
    const answers = Array.from({ length: 40 }, () => ends[1]?.stream.write(Buffer.alloc(4000)))
    expect(answers.slice(0, 16)).toEqual(Array.from({ length: 16 }, () => true))
    expect(answers.slice(16)).toEqual(Array.from({ length: 24 }, () => false))
    ends[1]?.stream.end()
    const lines = drain(client).flat()
    expect(lines.filter((line) => line === 'data 3 4000 bytes')).toHaveLength(40)
    expect(lines.at(-1)).toBe('window FIN 3 +0')
    expect(ends[1]?.events).toEqual(['drain'])
  })

  it('is not waited for by a peer that provokes answers and does not read them', () => {
    for (const provoke of [
      () => frame(ping, syn, 0, 1),
      (n: number) => frame(windowUpdate, syn, 2 * n + 2, 0),
    ]) {
      const { client, ends } = busyClient(1)
      for (let n = 0; n < 2000; n++) client.receive(provoke(n))
      client.turn()
      expect(client.error).toMatchObject({ code: YamuxErrorCode.flood })
      expect(ends[0]?.events).toEqual(['close YAMUX_FLOOD'])
    }
  })
})

describe('keepalive', () => {
  it('asks every 30 s, and ends the session when nothing comes within 10 s', () => {
    const client = new LoneSession('client')
    expect(client.session.nextDeadlineMs).toBe(30_000)
    client.tick(30_000)
    expect(client.frames()).toEqual(['ping SYN 0 1'])
    expect(client.session.nextDeadlineMs).toBe(40_000)
    client.nowMs = 35_000
    client.receive(frame(ping, ack, 0, 1))
    expect(client.session.nextDeadlineMs).toBe(60_000)
    client.tick(60_000)
    expect(client.frames()).toEqual(['ping SYN 0 2'])
    client.receive(frame(ping, ack, 0, 1))
    client.tick(69_999)
    expect(client.error).toBeUndefined()
    client.tick(70_000)
    expect(client.error).toMatchObject({ code: YamuxErrorCode.timeout, retryable: true })
    expect(client.session.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY)
  })

  it('takes whatever arrives for a sign of life', () => {
    const client = new LoneSession('client')
    client.tick(30_000)
    client.nowMs = 39_000
    client.receive(frame(ping, syn, 0, 5))
    client.tick(40_000)
    expect(client.error).toBeUndefined()
    client.tick(49_000)
    expect(client.error).toBeDefined()
  })

  it('answers pings with their value', () => {
    const server = new LoneSession('server')
    server.receive(frame(ping, syn, 0, 0xdead_beef))
    expect(server.frames()).toEqual(['ping ACK 0 3735928559'])
  })
})

describe('the end of the session', () => {
  it('by a go-away of the peer with a code ends all streams', () => {
    for (const code of [1, 2, 77]) {
      const server = serverWithStream()
      server.receive(frame(goAway, 0, 0, code))
      expect(server.error).toMatchObject({ code: YamuxErrorCode.protocol })
      server.turn()
      expect(server.last.events).toEqual(['close YAMUX_PROTOCOL'])
      expect(() => server.open()).toThrow(server.error)
    }
  })

  it('leaves to a slow reader what the peer had sent with its FIN', () => {
    const server = serverWithStream()
    const { stream } = server.last
    stream.pause()
    server.receive(frame(data, fin, 1, 'whole'))
    server.receive(frame(goAway, 0, 0, 2))
    server.turn()
    expect(server.last.events).toEqual([])
    stream.resume()
    server.turn()
    expect([server.last.text, server.last.events]).toEqual(['whole', ['end', 'close YAMUX_PROTOCOL']])
  })

  it('comes with go-away 1 on bytes that are not yamux', () => {
    const server = serverWithStream()
    server.receive(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    expect(server.error).toMatchObject({ code: YamuxErrorCode.protocol, message: 'not yamux: version 71' })
    expect(server.frames()).toEqual(['goaway 0 1'])
  })

  it('is the worst that any bytes do', () => {
    const anyFrame = fc
      .tuple(
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 0, max: 15 }),
        fc.integer({ min: 0, max: 6 }),
        fc.nat(300_000),
      )
      .map(([type, flags, id, length]) =>
        type === data
          ? frame(type, flags, id, new Uint8Array(length))
          : frame(type as FrameType, flags, id, length),
      )
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 20, arbitrary: anyFrame }, fc.uint8Array()), { maxLength: 30 }),
        (inputs) => {
          const server = new LoneSession('server', { pipe: new TestPipe(1000) })
          for (const bytes of inputs) {
            server.receive(Uint8Array.from(bytes))
            server.frames()
          }
          expect(server.session.keptBytes).toBe(0)
        },
      ),
    )
  })
})

it('names options that are out of range', () => {
  expect(() => new LoneSession('client', { limits: { maxWindowBytes: 1000 } })).toThrow(
    expect.objectContaining({
      code: YamuxErrorCode.badOption,
      message: 'maxWindowBytes must be a whole number from 262144 to 1073741824, is 1000',
    }),
  )
})
