import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { amf0Object, encodeAmf0 } from './amf0.ts'
import { ChunkReader } from './chunk-reader.ts'
import { CommandPeer, statusCode, testRandom } from './command-peer.testkit.ts'
import type { StreamRequest } from './command-stream-request.ts'
import { RtmpError } from './errors.ts'
import { ClientHandshake } from './handshake.ts'
import {
  MessageType,
  UserControlEvent,
  acknowledgementMessage,
  setChunkSizeMessage,
  userControlMessage,
  windowAcknowledgementSizeMessage,
} from './message.ts'
import type { RtmpMessage } from './message.ts'
import { ServerDialogue } from './server-dialogue.ts'
import type { ServerDialogueOptions } from './server-dialogue.ts'

const connectObject = amf0Object({ app: 'live', tcUrl: 'rtmp://h/live' })
const media = (timestamp: number, length = 10): RtmpMessage => ({
  chunkStreamId: 6,
  type: MessageType.video,
  streamId: 1,
  timestamp,
  payload: Buffer.alloc(length, timestamp),
})

class Conversation {
  readonly peer = new CommandPeer(new ClientHandshake(testRandom))
  readonly dialogue: ServerDialogue
  readonly messages: RtmpMessage[] = []
  request: StreamRequest | undefined

  constructor(options: Partial<ServerDialogueOptions> = {}) {
    this.dialogue = new ServerDialogue({ random: testRandom, ...options })
    this.run()
    this.run()
  }

  /** Carries what the client sent to the dialogue, `cut` bytes at a time, and the answers back. */
  run(cut = 100_000): this {
    const bytes = this.peer.takeSent()
    for (let at = 0; at < bytes.length; at += cut) this.dialogue.receive(bytes.subarray(at, at + cut))
    this.drain()
    return this
  }

  drain(): void {
    for (let out = this.dialogue.poll(); out; out = this.dialogue.poll()) {
      if (out.kind === 'send') this.peer.receive(out.bytes)
      else if (out.kind === 'identified') this.request = out.request
      else this.messages.push(out.message)
    }
  }

  publish(): this {
    this.peer.call('connect', 1, connectObject)
    this.peer.call('createStream', 2, null)
    this.peer.callOn(1, 'publish', 3, null, 's', 'live')
    return this.run()
  }
}

describe('connect', () => {
  test('is answered with window, bandwidth, chunk size and success, in this order', () => {
    const talk = new Conversation()
    talk.peer.call('connect', 9, connectObject)
    talk.run()
    const types = talk.peer.messages.map((message) => message.type)
    expect(types).toEqual([
      MessageType.windowAcknowledgementSize,
      MessageType.setPeerBandwidth,
      MessageType.setChunkSize,
      MessageType.command,
    ])
    expect(Buffer.from(talk.peer.messages[0]!.payload).readUInt32BE()).toBe(2_500_000)
    expect(Buffer.from(talk.peer.messages[2]!.payload).readUInt32BE()).toBeGreaterThanOrEqual(60_000)
    const [result] = talk.peer.takeCommands()
    expect(result).toMatchObject({ name: '_result', transactionId: 9 })
    expect(statusCode(result)).toBe('NetConnection.Connect.Success')
  })

  test('may not come twice, and nothing may come before it', () => {
    const twice = new Conversation()
    twice.peer.call('connect', 1, connectObject)
    twice.peer.call('connect', 2, connectObject)
    expect(() => twice.run()).toThrow(expect.objectContaining({ code: 'RTMP_COMMAND_INVALID' }))
    const early = new Conversation()
    early.peer.callOn(1, 'publish', 1, null, 's')
    expect(() => early.run()).toThrow(/before connect/)
  })
})

describe('until publish or play', () => {
  test('calls are answered in any order with the transaction ids of the client', () => {
    const talk = new Conversation()
    talk.peer.call('connect', 1, connectObject)
    talk.peer.call('_checkbw', 2, null)
    talk.peer.call('createStream', 3.5, null)
    talk.peer.call('FCPublish', 4, null, 's')
    talk.peer.call('getStreamLength', 5, null, 's')
    talk.peer.call('releaseStream', 6, null, 's')
    talk.peer.call('createStream', 7, null)
    talk.run()
    const answers = talk.peer.takeCommands().slice(1)
    expect(answers.map(({ name, transactionId, args }) => [name, transactionId, args[1]])).toEqual([
      ['_result', 2, undefined],
      ['_result', 3.5, 1],
      ['_result', 4, undefined],
      ['_result', 6, undefined],
      ['_result', 7, 2],
    ])
  })

  test('acknowledgements, user control, chunk sizes and media are no reason to stop', () => {
    const talk = new Conversation()
    talk.peer.send(acknowledgementMessage(3073))
    talk.peer.call('connect', 1, connectObject)
    talk.peer.send(setChunkSizeMessage(4096))
    talk.peer.writer.setChunkSize(4096)
    talk.peer.send(userControlMessage(UserControlEvent.pingRequest, Buffer.from('00000007', 'hex')))
    talk.peer.send(media(1, 3000))
    talk.peer.send({ ...media(1), type: 99 })
    talk.peer.send(
      userControlMessage(UserControlEvent.setBufferLength, Buffer.from('0000000100000bb8', 'hex')),
    )
    talk.peer.callOn(1, 'play', 4, null, 's?token=x', -2000, -1, true)
    talk.run(7)
    expect(talk.request).toMatchObject({
      action: 'play',
      streamName: 's?token=x',
      app: 'live',
      tcUrl: 'rtmp://h/live',
      playArguments: [-2000, -1, true],
      bufferLengthMs: 3000,
      streamId: 1,
    })
    const pong = talk.peer.messages.find((message) => message.type === MessageType.userControl)
    expect(Buffer.from(pong!.payload).toString('hex')).toBe('000700000007')
  })

  test('connect is kept as it came: Enhanced RTMP lists, further arguments, order', () => {
    const object = amf0Object({
      app: 'live',
      fourCcList: ['hvc1', 'av01', 'vp09'],
      videoFourCcInfoMap: { kind: 'ecma-array', count: 9, entries: [['*', 4]] },
      capsEx: 15,
      tcUrl: 'rtmp://h/live',
    })
    const talk = new Conversation()
    talk.peer.call('connect', 1, object, 'user', { kind: 'unsupported' })
    talk.peer.callOn(1, 'publish', 3, null, 's')
    talk.run()
    expect(talk.request?.connect.args).toEqual([object, 'user', { kind: 'unsupported' }])
    expect(Buffer.from(talk.request!.connect.argumentBytes)).toEqual(
      encodeAmf0(object, 'user', { kind: 'unsupported' }),
    )
  })

  test('a client that sends on without saying what it wants is ended', () => {
    const talk = new Conversation({ maxDialogueBytes: 2000 })
    talk.peer.call('connect', 1, connectObject)
    talk.peer.send(media(1, 2000))
    expect(() => talk.run()).toThrow(/within 2000 bytes/)
  })
})

describe('after publish or play', () => {
  test('what comes before the reply is kept and passed on in order', () => {
    const talk = new Conversation()
    talk.peer.call('connect', 1, connectObject)
    talk.peer.callOn(1, 'publish', 3, null, 's')
    talk.peer.send(media(1))
    talk.run()
    talk.peer.send(media(2, 500))
    talk.run(13)
    expect(talk.messages).toEqual([])
    talk.dialogue.accept()
    talk.drain()
    expect(talk.messages.map(({ timestamp, payload }) => [timestamp, payload.length])).toEqual([
      [1, 10],
      [2, 500],
    ])
  })

  test('bytes that were received before they were needed may change afterwards', () => {
    const talk = new Conversation()
    talk.peer.call('connect', 1, connectObject)
    talk.peer.callOn(1, 'publish', 3, null, 's')
    talk.peer.send(media(1))
    const bytes = talk.peer.takeSent()
    talk.dialogue.receive(bytes)
    talk.drain()
    bytes.fill(0xff)
    talk.dialogue.accept()
    talk.drain()
    expect(talk.messages).toHaveLength(1)
  })

  test('is full when enough lies there', () => {
    const talk = new Conversation({ maxDialogueBytes: 1000 }).publish()
    expect(talk.dialogue.isFull).toBe(false)
    talk.peer.send(media(1, 1000))
    talk.run()
    expect(talk.dialogue.isFull).toBe(true)
  })

  test('accept tells a publisher and a player that it starts', () => {
    const publisher = new Conversation().publish()
    publisher.peer.takeCommands()
    publisher.dialogue.accept()
    publisher.drain()
    const [fcPublish, status] = publisher.peer.takeCommands()
    expect(fcPublish?.name).toBe('onFCPublish')
    expect([status?.name, statusCode(status)]).toEqual(['onStatus', 'NetStream.Publish.Start'])

    const player = new Conversation()
    player.peer.call('connect', 1, connectObject)
    player.peer.callOn(1, 'play', 0, null, 's')
    player.run()
    player.peer.takeCommands()
    player.dialogue.accept()
    player.drain()
    expect(player.peer.messages.every(({ streamId, type }) => streamId === 1 || type === 4)).toBe(true)
    expect(player.peer.takeCommands().map(statusCode)).toEqual([
      'NetStream.Play.Reset',
      'NetStream.Play.Start',
    ])
  })

  test('refuse gives the status and ignores the rest', () => {
    const talk = new Conversation().publish()
    talk.peer.takeCommands()
    talk.dialogue.refuse('NetStream.Publish.BadName', 'already publishing')
    talk.drain()
    const [status] = talk.peer.takeCommands()
    expect(status?.args[1]).toMatchObject({
      entries: expect.arrayContaining([
        ['level', 'error'],
        ['code', 'NetStream.Publish.BadName'],
      ]),
    })
    talk.peer.send(media(1))
    talk.run()
    expect(talk.messages).toEqual([])
  })

  test('detach hands over all that was not read', () => {
    const talk = new Conversation()
    talk.peer.call('connect', 1, connectObject)
    talk.peer.send(windowAcknowledgementSizeMessage(50_000))
    talk.peer.callOn(1, 'publish', 3, null, 's')
    const before = talk.peer.takeSent()
    talk.dialogue.receive(before)
    talk.drain()
    talk.peer.send(media(1))
    talk.peer.send(media(2))
    const held = talk.peer.takeSent()
    talk.dialogue.receive(held.subarray(0, 15))
    talk.dialogue.receive(held.subarray(15))
    talk.drain()
    const link = talk.dialogue.detach()
    expect(link).toMatchObject({ writeChunkSize: 65_536, streamId: 1, windowBytes: 50_000 })
    expect(link.reader.bytesReceived).toBe(before.length + held.length)
    const reader = new ChunkReader()
    reader.push(link.reader.unread)
    expect([reader.next()?.timestamp, reader.next()?.timestamp]).toEqual([1, 2])
  })

  test('nothing can be accepted, refused or detached before', () => {
    const { dialogue } = new Conversation()
    for (const act of [() => dialogue.accept(), () => dialogue.refuse('a', 'b'), () => dialogue.detach()]) {
      expect(act).toThrow(expect.objectContaining({ side: 'self' }))
    }
  })

  test('an Acknowledgement goes out for every window', () => {
    const talk = new Conversation()
    talk.peer.send(windowAcknowledgementSizeMessage(20_000))
    talk.run()
    talk.publish()
    talk.dialogue.accept()
    talk.drain()
    talk.peer.messages.length = 0
    for (let count = 0; count < 5; count++) {
      talk.peer.send(media(count, 10_000))
      talk.run()
    }
    const acknowledgements = talk.peer.messages.filter(
      (message) => message.type === MessageType.acknowledgement,
    )
    expect(acknowledgements.length).toBeGreaterThanOrEqual(2)
  })
})

test('a window of 0 is none', () => {
  const talk = new Conversation()
  talk.peer.send(windowAcknowledgementSizeMessage(0))
  talk.run()
  talk.publish()
  expect(talk.peer.messages.some((message) => message.type === MessageType.acknowledgement)).toBe(false)
})

describe('properties', () => {
  test('any chunking identifies the same request', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), (cut) => {
        const talk = new Conversation()
        talk.peer.call('connect', 1, connectObject)
        talk.peer.call('createStream', 2, null)
        talk.peer.callOn(1, 'publish', 3, null, 's', 'record')
        talk.run(cut)
        expect(talk.request).toMatchObject({ streamName: 's', publishType: 'record', streamId: 1 })
      }),
    )
  })

  test('any bytes after the handshake are read or end in an RtmpError', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), (chunks) => {
        const talk = new Conversation()
        try {
          for (const chunk of chunks) {
            talk.dialogue.receive(chunk)
            talk.drain()
          }
        } catch (error) {
          expect(error).toBeInstanceOf(RtmpError)
        }
      }),
    )
  })
})
