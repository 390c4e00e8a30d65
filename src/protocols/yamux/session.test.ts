import { describe, expect, it } from 'vitest'
import { YamuxErrorCode } from './errors.ts'
import { Flag, FrameType, initialWindowBytes } from './frame.ts'
import { describeFrames, frame, LoneSession, TestPipe } from './session-pair.testkit.ts'

const { windowUpdate, ping } = FrameType
const { syn, ack } = Flag

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
    expect(ends.map((end) => end.events)).toEqual([[], [], ['drain'], []])
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

  it('serves a stream whose window was small when it began to wait', () => {
    const { client, ends } = busyClient(2)
    ends[1]?.stream.write(Buffer.alloc(initialWindowBytes + 100_000))
    drain(client)
    ends[0]?.stream.write(Buffer.alloc(60_000))
    client.receive(frame(windowUpdate, 0, 3, 10))
    client.receive(frame(windowUpdate, 0, 3, 200_000))
    expect(drain(client).flat()).toEqual(['data 1 60000 bytes', 'data 3 65536 bytes', 'data 3 34464 bytes'])
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

  it('answers any number of pings of a peer that reads the answers', () => {
    const server = new LoneSession('server')
    server.receive(Buffer.concat(Array.from({ length: 3000 }, (_, value) => frame(ping, syn, 0, value))))
    expect(server.frames()).toHaveLength(3000)
    expect(server.error).toBeUndefined()
  })

  it('answers pings with their value', () => {
    const server = new LoneSession('server')
    server.receive(frame(ping, syn, 0, 0xdead_beef))
    expect(server.frames()).toEqual(['ping ACK 0 3735928559'])
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
