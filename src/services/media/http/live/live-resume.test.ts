import type { Socket } from 'node:net'
import { describe, expect, it, vi } from 'vitest'
import { ManualClock } from '../../../../foundation/clock.ts'
import type { LiveProxyOptions } from './live-options.ts'
import { CHUNKED, chunk, FLV_HEADER, frame, LIVE, tagsOf, timesOf, unchunked } from './flv.testkit.ts'
import { FakeBalancer, FakeOrigin, Gateway, get, RawClient, until } from '../http.testkit.ts'

/** More than any of these tests may last. */
const PATIENT: Partial<LiveProxyOptions> = { resumeMs: 60_000 }

/** An origin that begins a chunked FLV body with one frame of this time. */
const beginning = (timestamp: number) => (socket: Socket) => {
  socket.write(CHUNKED)
  socket.write(chunk(FLV_HEADER, frame(timestamp)))
}

const bare = (timestamp: number) => (socket: Socket) => {
  socket.write(`${LIVE}\r\n`)
  socket.write(Buffer.concat([FLV_HEADER, frame(timestamp)]))
}

const onlySocketOf = ({ sockets }: FakeOrigin): Socket | undefined => [...sockets][0]

/** Origins that each answer the first time, and one that takes the stream over from any of them. */
function takingTurns(...answers: readonly ((socket: Socket, head: string) => void)[]) {
  const left = [...answers]
  return (socket: Socket, head: string): void => {
    const answer = left.length > 1 ? left.shift() : left[0]
    answer?.(socket, head)
  }
}

describe('LiveProxy keeps viewers when their origin', () => {
  it.each([
    ['ends the connection', (socket: Socket | undefined) => void socket?.end()],
    ['is cut off', (socket: Socket | undefined) => void socket?.destroy()],
    ['resets the connection', (socket: Socket | undefined) => void socket?.resetAndDestroy()],
  ])('%s, and goes on with the next body', async (_, leave) => {
    await using origin = await FakeOrigin.start(takingTurns(beginning(1000), beginning(20)))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv?token=t'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)

    leave(onlySocketOf(origin))
    await until(() => timesOf(unchunked(viewer.body)).length === 2)
    expect(timesOf(unchunked(viewer.body))).toEqual([1000, 1040])
    expect(origin.requests[1]).toBe(origin.requests[0])
    expect(viewer.text.match(/HTTP\/1\.1/g)).toHaveLength(1)
    expect(balancer).toMatchObject({ kept: ['o0', 'o0'], holds: 1, failed: [] })

    onlySocketOf(origin)?.write(`${chunk(frame(60)).toString('latin1')}0\r\n\r\n`, 'latin1')
    await viewer.closed()
    expect(viewer.body.endsWith('0\r\n\r\n')).toBe(true)
    expect(timesOf(unchunked(viewer.body))).toEqual([1000, 1040, 1080])
    expect(balancer.holds).toBe(0)
  })

  it('breaks off within a tag and within a chunk', async () => {
    await using origin = await FakeOrigin.start(
      takingTurns((socket) => {
        socket.write(CHUNKED)
        const whole = chunk(FLV_HEADER, frame(0), frame(40, 2000))
        socket.end(whole.subarray(0, whole.length - 700))
      }, beginning(0)),
    )
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))

    await until(() => timesOf(unchunked(viewer.body)).length === 3)
    const tags = tagsOf(unchunked(viewer.body))
    expect(tags.map(({ timestamp }) => timestamp)).toEqual([0, 40, 80])
    expect(tags.map(({ payload }) => payload.length)).toEqual([30, 2000, 30])
  })

  it('breaks off in a body without framing, which it stays', async () => {
    await using origin = await FakeOrigin.start(
      takingTurns(bare(5), beginning(5), bare(5), (socket) => void socket.end(`${LIVE}\r\n`)),
    )
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv', '', '1.0'))
    for (let bodies = 1; bodies <= 3; bodies++) {
      await until(() => timesOf(Buffer.from(viewer.body, 'latin1')).length === bodies)
      onlySocketOf(origin)?.destroy()
    }
    expect(timesOf(Buffer.from(viewer.body, 'latin1'))).toEqual([5, 45, 85])
    expect(viewer.head).not.toMatch(/transfer-encoding/i)
  })

  it('is started again at the same address', async () => {
    const first = await FakeOrigin.start(beginning(0))
    const { port } = first
    const balancer = new FakeBalancer([port])
    await using gateway = await Gateway.start(balancer, PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)

    await first[Symbol.asyncDispose]()
    await until(() => balancer.failed.length > 0)
    expect(viewer.isClosed).toBe(false)
    expect(balancer.holds).toBe(0)
    expect(await gateway.metric('sluice_http_waiting_sessions')).toBe(1)

    await using again = await FakeOrigin.start(beginning(0), port)
    await until(() => timesOf(unchunked(viewer.body)).length === 2)
    expect(again.accepted).toBe(1)
    expect(balancer.holds).toBe(1)
    expect(await gateway.metric('sluice_http_waiting_sessions')).toBe(0)
  })

  it('dies while another has the stream', async () => {
    await using origin = await FakeOrigin.start(beginning(0))
    await using other = await FakeOrigin.start(beginning(0))
    const balancer = new FakeBalancer([origin.port, other.port])
    await using gateway = await Gateway.start(balancer, PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)

    await origin[Symbol.asyncDispose]()
    await until(() => timesOf(unchunked(viewer.body)).length === 2)
    expect(gateway.live.listSessions()).toMatchObject([{ originId: 'o1' }])
    expect(balancer).toMatchObject({ failed: ['o0'], kept: ['o0', 'o1'], holds: 1 })
  })

  it('is still there, and the stream is at another one now', async () => {
    await using origin = await FakeOrigin.start(beginning(0))
    await using other = await FakeOrigin.start(beginning(0))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)

    balancer.origins = new FakeBalancer([other.port]).origins
    balancer.onMoved[0]?.()
    await until(() => timesOf(unchunked(viewer.body)).length === 2)
    await until(() => origin.sockets.size === 0)
    expect(balancer.holds).toBe(1)
    // What is said of a stay that is over moves nobody.
    balancer.onMoved[0]?.()
    onlySocketOf(other)?.write(chunk(frame(40)))
    await until(() => timesOf(unchunked(viewer.body)).length === 3)
    expect(other.accepted).toBe(1)
  })

  it('asks by TS, and the seam is made of packets', async () => {
    const packets = Buffer.concat([tsPacket(0), tsPacket(0x100)])
    await using origin = await FakeOrigin.start((socket) => {
      socket.write(CHUNKED)
      socket.write(chunk(packets, packets.subarray(0, 100)))
    })
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.ts'))
    await until(() => unchunked(viewer.body).length === 2 * 188)

    onlySocketOf(origin)?.destroy()
    await until(() => unchunked(viewer.body).length === 6 * 188)
    expect(
      unchunked(viewer.body)
        .subarray(4 * 188)
        .equals(packets),
    ).toBe(true)
  })

  it.each(['mp3', 'aac'])('breaks off in a body of .%s', async (extension) => {
    await using origin = await FakeOrigin.start((socket) => void socket.write(`${CHUNKED}4\r\nabcd\r\n`))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), PATIENT)
    await using viewer = await RawClient.send(gateway.port, get(`/live/s.${extension}`))
    await until(() => viewer.body === '4\r\nabcd\r\n')
    onlySocketOf(origin)?.destroy()
    await until(() => viewer.body === '4\r\nabcd\r\n4\r\nabcd\r\n')
  })
})

describe('LiveProxy lets viewers go when', () => {
  it('the stream does not come back in time', async () => {
    await using origin = await FakeOrigin.start(
      takingTurns(
        beginning(0),
        (socket) => void socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'),
      ),
    )
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { resumeMs: 150 })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)

    onlySocketOf(origin)?.destroy()
    await viewer.closed()
    expect(viewer.body.endsWith('0\r\n\r\n')).toBe(false)
    expect(balancer).toMatchObject({ kept: ['o0'], released: ['o0'], holds: 0 })
    expect(gateway.live.listSessions()).toEqual([])
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_ORIGIN_BROKE')).toBe(1)
    expect(await gateway.metric('sluice_http_waiting_sessions')).toBe(0)
  })

  it('the origin keeps silent until then', async () => {
    await using origin = await FakeOrigin.start(takingTurns(beginning(0), () => {}))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { resumeMs: 150 })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)

    onlySocketOf(origin)?.destroy()
    await viewer.closed()
    await until(() => origin.sockets.size === 0)
    expect(balancer).toMatchObject({ released: ['o0'], holds: 0, failed: [] })
  })

  it('they may not watch any longer', async () => {
    await using origin = await FakeOrigin.start(
      takingTurns(beginning(0), (socket) => void socket.end('HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n')),
    )
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)
    onlySocketOf(origin)?.destroy()
    await viewer.closed()
  })

  it('keeping them is switched off', async () => {
    await using origin = await FakeOrigin.start(beginning(0))
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), { resumeMs: 0 })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)
    onlySocketOf(origin)?.destroy()
    await viewer.closed()
    expect(origin.accepted).toBe(1)
  })

  it('as many wait as may', async () => {
    await using origin = await FakeOrigin.start(beginning(0))
    const { port } = origin
    await using gateway = await Gateway.start(new FakeBalancer([port]), { ...PATIENT, maxWaiting: 1 })
    const viewers = [
      await RawClient.send(gateway.port, get('/live/a.flv')),
      await RawClient.send(gateway.port, get('/live/b.flv')),
    ]
    await until(() => viewers.every((viewer) => timesOf(unchunked(viewer.body)).length === 1))
    await origin[Symbol.asyncDispose]()
    await until(() => viewers.filter((viewer) => viewer.isClosed).length === 1)
    expect(await gateway.metric('sluice_http_waiting_sessions')).toBe(1)
    for (const viewer of viewers) viewer.socket.destroy()
    await until(() => gateway.live.listSessions().length === 0)
  })

  it('what comes next is something else', async () => {
    await using origin = await FakeOrigin.start(
      takingTurns(beginning(0), (socket) => void socket.write(`${CHUNKED}6\r\n<html>\r\n`)),
    )
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => timesOf(unchunked(viewer.body)).length === 1)
    onlySocketOf(origin)?.destroy()
    await viewer.closed()
    expect(viewer.text).not.toContain('html')
    expect(await gateway.metric('sluice_http_errors_total', 'HTTP_ORIGIN_OTHER_BODY')).toBe(1)
    expect(balancer.holds).toBe(0)
  })

  it('the body came to its end', async () => {
    await using origin = await FakeOrigin.start((socket) => {
      beginning(0)(socket)
      socket.end('0\r\n\r\n')
    })
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await viewer.closed()
    expect(origin.accepted).toBe(1)
  })

  it.each([['Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT'], ['ETag: "x"'], ['Content-Encoding: gzip']])(
    'it was no live body (%s)',
    async (header) => {
      await using origin = await FakeOrigin.start((socket) => {
        socket.end(Buffer.concat([Buffer.from(`${LIVE}${header}\r\n\r\n`), FLV_HEADER, frame(0)]))
      })
      await using gateway = await Gateway.start(new FakeBalancer([origin.port]), PATIENT)
      await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
      await viewer.closed()
      expect(origin.accepted).toBe(1)
    },
  )
})

describe('LiveProxy and viewers who wait', () => {
  it('who leave, or are kicked, are waited for no longer', async () => {
    const origin = await FakeOrigin.start(beginning(0))
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, PATIENT)
    await using leaving = await RawClient.send(gateway.port, get('/live/s.flv'))
    await using kicked = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => [leaving, kicked].every((viewer) => timesOf(unchunked(viewer.body)).length === 1))
    await origin[Symbol.asyncDispose]()
    await until(() => balancer.failed.length > 0)

    leaving.socket.end()
    await until(() => gateway.live.listSessions().length === 1)
    const [session] = gateway.live.listSessions()
    expect(gateway.live.kickSession(session?.id ?? '')).toBe(true)
    await kicked.closed()
    expect(await gateway.metric('sluice_http_waiting_sessions')).toBe(0)
    expect(gateway.live.listSessions()).toEqual([])
  })

  it('of an origin that breaks off again and again ask it once a second', async () => {
    const clock = new ManualClock()
    await using origin = await FakeOrigin.start((socket) => {
      beginning(0)(socket)
      socket.end()
    })
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, { ...PATIENT, clock })
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    // The first time it is asked at once.
    await until(() => timesOf(unchunked(viewer.body)).length === 2)
    for (let asked = 2; asked < 5; asked++) {
      // The look at all viewers, how long the viewer is kept, and the pause.
      await until(() => balancer.holds === 0 && clock.pending === 3)
      clock.advance(999)
      expect(origin.accepted).toBe(asked)
      clock.advance(1)
      await until(() => timesOf(unchunked(viewer.body)).length === asked + 1)
    }
    viewer.socket.destroy()
    await until(() => gateway.live.listSessions().length === 0)
    await until(() => clock.pending === 0)
  })

  it('and take slowly get every byte of both bodies', async () => {
    const frames = 400
    const body = Array.from({ length: frames }, (_, index) => chunk(frame(index, 5000 + (index % 300) * 40)))
    await using origin = await FakeOrigin.start(
      takingTurns(
        (socket) => {
          socket.write(CHUNKED)
          socket.end(Buffer.concat([chunk(FLV_HEADER), ...body]))
        },
        (socket) => {
          socket.write(CHUNKED)
          socket.end(Buffer.concat([chunk(FLV_HEADER), ...body, Buffer.from('0\r\n\r\n')]))
        },
      ),
    )
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    // Stops at each few hundred kilobytes until the gateway stands still.
    let takenAt = 0
    viewer.socket.on('data', () => {
      if (viewer.socket.bytesRead < takenAt + 300_000) return
      takenAt = viewer.socket.bytesRead
      viewer.socket.pause()
      setImmediate(() => setImmediate(() => viewer.socket.resume()))
    })
    await viewer.closed(50_000)
    const tags = tagsOf(unchunked(viewer.body))
    expect(tags).toHaveLength(2 * frames)
    for (const [index, { timestamp, payload }] of tags.entries()) {
      const own = index % frames
      expect(timestamp).toBe(index < frames ? index : frames - 1 + 40 + own)
      const wanted = tagsOf(Buffer.concat([FLV_HEADER, frame(0, 5000 + (own % 300) * 40)]))[0]?.payload
      expect(wanted !== undefined && Buffer.from(payload).equals(wanted)).toBe(true)
    }
  })

  it('and have not taken yet what came before the stream moved get it whole', async () => {
    const frames = Array.from({ length: 2000 }, (_, index) => frame(index, 5000 + (index % 300) * 40))
    const flood = (socket: Socket): void => {
      socket.write(CHUNKED)
      socket.end(
        Buffer.concat([chunk(FLV_HEADER), ...frames.map((tag) => chunk(tag)), Buffer.from('0\r\n\r\n')]),
      )
    }
    await using origin = await FakeOrigin.start(flood)
    const balancer = new FakeBalancer([origin.port])
    await using gateway = await Gateway.start(balancer, PATIENT)
    await using viewer = await RawClient.send(gateway.port, get('/live/s.flv'))
    await until(() => viewer.text.length > 0)
    viewer.socket.pause()
    let seen = -1
    const standsStill = (): boolean => {
      const [session] = gateway.live.listSessions()
      const stands = session?.bytesOut === seen
      seen = session?.bytesOut ?? -1
      return stands
    }
    await vi.waitFor(() => expect(standsStill()).toBe(true), { interval: 100, timeout: 15_000 })
    balancer.onMoved[0]?.()
    await until(() => origin.accepted === 2 && balancer.holds === 1)
    viewer.socket.resume()
    await viewer.closed(50_000)
    const tags = tagsOf(unchunked(viewer.body))
    const second = tags.slice(-2000)
    const own = tagsOf(Buffer.concat([FLV_HEADER, ...frames]))
    for (const [index, { payload }] of second.entries()) {
      expect(Buffer.compare(payload, own[index]?.payload ?? Buffer.of())).toBe(0)
    }
  })

  it('of one stream let one of them ask, and all go on when it is back', async () => {
    let isBack = false
    let isAway = false
    let refused = 0
    await using origin = await FakeOrigin.start((socket) => {
      if (isAway && !isBack) {
        refused++
        socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')
      } else beginning(0)(socket)
    })
    await using gateway = await Gateway.start(new FakeBalancer([origin.port]), PATIENT)
    const viewers = await Promise.all(
      Array.from({ length: 30 }, () => RawClient.send(gateway.port, get('/live/s.flv'))),
    )
    await until(() => viewers.every((viewer) => timesOf(unchunked(viewer.body)).length === 1))
    isAway = true
    for (const socket of origin.sockets) socket.destroy()
    await until(() => refused >= 3)
    // Who asked is the first to lose patience; another one asks for the rest.
    viewers[0]?.socket.destroy()
    const before = refused
    await until(() => refused >= before + 2)
    expect(await gateway.metric('sluice_http_waiting_sessions')).toBe(29)

    isBack = true
    await until(() => viewers.slice(1).every((viewer) => timesOf(unchunked(viewer.body)).length === 2))
    expect(origin.accepted).toBe(30 + refused + 29)
    for (const viewer of viewers) viewer.socket.destroy()
    await until(() => gateway.live.listSessions().length === 0)
  })
})

function tsPacket(pid: number): Buffer {
  const bytes = Buffer.alloc(188, 1)
  bytes.set([0x47, pid >> 8, pid & 0xff, 0x10])
  return bytes
}
