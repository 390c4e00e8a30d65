import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { YamuxErrorCode } from './errors.ts'
import { Flag, FrameType, initialWindowBytes } from './frame.ts'
import { dataFrames, frame, LoneSession, serverWithStream, TestPipe } from './session-pair.testkit.ts'

const { data, windowUpdate, goAway } = FrameType
const { syn, fin, rst } = Flag

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

  it('destroy resets at once when the peer has used up its window', () => {
    const server = serverWithStream()
    server.last.stream.pause()
    server.receive(frame(data, 0, 1, new Uint8Array(initialWindowBytes)))
    server.last.stream.destroy()
    expect(server.frames()).toEqual(['window FIN 1 +0', 'window RST 1 +0'])
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

describe('handing over', () => {
  it('goes to the next sink from where the first one put back, within one call', () => {
    const server = serverWithStream()
    const { stream } = server.last
    const seen: string[] = []
    const second = {
      onBytes: (bytes: Uint8Array) => seen.push(`second ${Buffer.from(bytes).toString()}`) > 0,
      onEnd: () => void seen.push('end'),
      onDrain() {},
      onClose() {},
    }
    stream.attach({
      ...second,
      onBytes(bytes) {
        stream.pause()
        stream.unread(bytes.subarray(5))
        stream.attach(second)
        stream.resume()
        seen.push('first is done')
        return true
      },
    })
    server.receive(frame(data, 0, 1, 'loginrest'))
    server.receive(frame(data, fin, 1, 'more'))
    expect(seen).toEqual(['first is done', 'second rest', 'second more', 'end'])
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
