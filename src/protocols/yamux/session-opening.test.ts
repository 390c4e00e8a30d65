import { describe, expect, it } from 'vitest'
import { YamuxErrorCode } from './errors.ts'
import { Flag, FrameType } from './frame.ts'
import { dataFrames, frame, LoneSession, serverWithStream } from './session-pair.testkit.ts'

const { data, windowUpdate, goAway } = FrameType
const { syn, ack, fin, rst } = Flag

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
