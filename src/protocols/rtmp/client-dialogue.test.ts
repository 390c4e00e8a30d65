import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { amf0Object, amf0Property, encodeAmf0 } from './amf0.ts'
import type { Amf0Value } from './amf0.ts'
import { ClientDialogue } from './client-dialogue.ts'
import type { ClientDialogueOptions, ClientDialogueOutput } from './client-dialogue.ts'
import { CommandPeer, testRandom } from './command-peer.testkit.ts'
import { createStreamRequest, readStreamRequest } from './command-stream-request.ts'
import type { StreamRequest } from './command-stream-request.ts'
import { RtmpError } from './errors.ts'
import { ServerHandshake } from './handshake.ts'
import { MessageType, UserControlEvent, setPeerBandwidthMessage, userControlMessage } from './message.ts'
import type { RtmpMessage } from './message.ts'

const publish = createStreamRequest({
  action: 'publish',
  app: 'live',
  tcUrl: 'rtmp://Edge.Example:1935/live?x=1',
  streamName: 's?token=x',
  connectProperties: { fourCcList: ['hvc1', 'av01'], capsEx: 15 },
  connectArguments: ['user', 'secret'],
})
const play = createStreamRequest({ action: 'play', app: 'live', tcUrl: 'rtmp://h/live', streamName: 's' })
const success = amf0Object({ level: 'status', code: 'NetConnection.Connect.Success' })
const status = (code: string, level = 'status'): Amf0Value => amf0Object({ level, code, description: 'why' })
const media: RtmpMessage = {
  chunkStreamId: 6,
  type: MessageType.video,
  streamId: 7,
  timestamp: 1,
  payload: Buffer.alloc(10),
}

/** A dialogue with an origin whose answers the test writes. */
class Conversation {
  readonly origin = new CommandPeer(new ServerHandshake(testRandom))
  readonly dialogue: ClientDialogue
  readonly outputs: Exclude<ClientDialogueOutput, { kind: 'send' }>[] = []

  constructor(request: StreamRequest, options: Partial<ClientDialogueOptions> = {}) {
    this.dialogue = new ClientDialogue(request, { random: testRandom, ...options })
    this.run().run()
  }

  run(cut = 100_000): this {
    const bytes = this.origin.takeSent()
    for (let at = 0; at < bytes.length; at += cut) {
      this.dialogue.receive(bytes.subarray(at, at + cut))
      this.drain()
    }
    this.drain()
    return this
  }

  drain(): void {
    for (let out = this.dialogue.poll(); out; out = this.dialogue.poll()) {
      if (out.kind === 'send') this.origin.receive(out.bytes)
      else this.outputs.push(out)
    }
  }

  /** Answers until `publish` or `play` is there. */
  upToRequest(): this {
    this.origin.call('_result', 1, null, success)
    this.run()
    const create = this.origin.takeCommands().find((command) => command.name === 'createStream')
    this.origin.call('_result', create!.transactionId, null, 7)
    return this.run()
  }
}

describe('what the origin gets', () => {
  test('connect is what the client said, all of it', () => {
    const { origin } = new Conversation(publish)
    const [connect] = origin.takeCommands()
    expect(connect).toMatchObject({ name: 'connect', transactionId: 1 })
    expect(Buffer.from(connect!.argumentBytes)).toEqual(Buffer.from(publish.connect.argumentBytes))
    expect(amf0Property(connect!.args[0], 'tcUrl')).toBe('rtmp://Edge.Example:1935/live?x=1')
  })

  test('a chunk size of 60,000 or more is announced first', () => {
    const { origin } = new Conversation(publish)
    expect(origin.messages[0]?.type).toBe(MessageType.setChunkSize)
    expect(Buffer.from(origin.messages[0]!.payload).readUInt32BE()).toBeGreaterThanOrEqual(60_000)
  })

  test('a publisher releases, announces and creates the stream, then publishes on the stream it was given', () => {
    const talk = new Conversation(publish)
    talk.origin.takeCommands()
    talk.origin.call('_result', 1, null, success)
    talk.run()
    const calls = talk.origin.takeCommands()
    expect(calls.map(({ name, args }) => [name, args[1]])).toEqual([
      ['releaseStream', 's?token=x'],
      ['FCPublish', 's?token=x'],
      ['createStream', undefined],
    ])
    talk.origin.call('_error', calls[0]!.transactionId, null, status('NetConnection.Call.Failed', 'error'))
    talk.origin.call('_error', calls[1]!.transactionId, null, status('NetConnection.Call.Failed', 'error'))
    talk.run()
    expect(talk.dialogue.isAsked).toBe(false)
    talk.origin.call('_result', calls[2]!.transactionId, null, 7)
    talk.run()
    expect([talk.dialogue.isAsked, talk.outputs]).toEqual([true, []])
    expect(talk.origin.messages[0]?.streamId).toBe(7)
    expect(talk.origin.takeCommands()).toMatchObject([{ name: 'publish', args: [null, 's?token=x', 'live'] }])
  })

  test('a player passes start, duration, reset, transaction id and buffer length on', () => {
    const command = {
      ...play.command,
      transactionId: 0,
      argumentBytes: encodeAmf0(null, 's', -2000, -1, true),
    }
    const request = readStreamRequest(play.connect, command, {
      streamId: 1,
      bufferLengthMs: 3000,
      side: 'client',
    })
    const talk = new Conversation(request)
    talk.upToRequest()
    const control = talk.origin.messages.find((message) => message.type === MessageType.userControl)
    expect(Buffer.from(control!.payload).toString('hex')).toBe('00030000000700000bb8')
    expect(talk.origin.takeCommands()).toMatchObject([
      { name: 'play', transactionId: 0, args: [null, 's', -2000, -1, true] },
    ])
  })

  test('pings of the origin are answered', () => {
    const talk = new Conversation(play)
    talk.origin.messages.length = 0
    talk.origin.send(userControlMessage(UserControlEvent.pingRequest, Buffer.from('01020304', 'hex')))
    talk.run()
    expect(talk.origin.messages.map(({ payload }) => Buffer.from(payload).toString('hex'))).toEqual([
      '000701020304',
    ])
  })
})

describe('how it ends', () => {
  test('ready with the stream id and all that the origin said to the client', () => {
    const talk = new Conversation(play).upToRequest()
    talk.origin.send(setPeerBandwidthMessage(1000, 2))
    talk.origin.send(userControlMessage(UserControlEvent.streamBegin, Buffer.from('00000007', 'hex')))
    talk.origin.callOn(7, 'onStatus', 0, null, status('NetStream.Play.Reset'))
    talk.run()
    expect(talk.outputs).toEqual([])
    talk.origin.callOn(7, 'onStatus', 0, null, status('NetStream.Play.Start'))
    talk.origin.send(media)
    talk.run(5)
    expect(talk.outputs[0]).toMatchObject({
      kind: 'ready',
      streamId: 7,
      messages: [
        { type: MessageType.userControl },
        { type: MessageType.command },
        { type: MessageType.command },
      ],
    })
    expect(talk.outputs[1]).toMatchObject({ kind: 'message', message: { timestamp: 1 } })
  })

  test('media without a status is a yes as well', () => {
    const talk = new Conversation(play).upToRequest()
    talk.origin.send(media)
    talk.run()
    expect(talk.outputs).toMatchObject([{ kind: 'ready', messages: [{ type: MessageType.video }] }])
  })

  test('after ready nothing is read before poll is called again', () => {
    const talk = new Conversation(publish).upToRequest()
    talk.origin.callOn(7, 'onStatus', 0, null, status('NetStream.Publish.Start'))
    talk.origin.send(media)
    talk.dialogue.receive(talk.origin.takeSent())
    expect(talk.dialogue.poll()?.kind).toBe('ready')
    const link = talk.dialogue.detach()
    expect(link).toMatchObject({ streamId: 7, writeChunkSize: 65_536 })
    expect(link.reader.unread.length).toBe(12 + 10)
  })

  test.each([
    ['_error', 'NetConnection.Connect.Rejected'],
    ['_result', 'NetConnection.Connect.Failed'],
  ])('refused by %s on connect', (name, code) => {
    const talk = new Conversation(publish)
    talk.origin.call(name, 1, null, status(code, 'error'))
    talk.run()
    expect(talk.outputs).toEqual([
      {
        kind: 'refused',
        refusal: { code, description: 'why', redirect: undefined, streamId: 0, messages: [] },
      },
    ])
  })

  test('refused with a redirect, as _error or as a status', () => {
    const info = amf0Object({
      level: 'error',
      code: 'NetConnection.Connect.Rejected',
      description: 'RTMP 302 Redirect',
      ex: amf0Object({ code: 302, redirect: 'rtmp://10.0.0.2:1935/live' }),
    })
    const onConnect = new Conversation(publish)
    onConnect.origin.call('_error', 1, null, info)
    onConnect.run()
    const onPublish = new Conversation(publish).upToRequest()
    onPublish.origin.call('onStatus', 0, null, info)
    onPublish.run()
    for (const talk of [onConnect, onPublish]) {
      expect(talk.outputs).toMatchObject([
        { kind: 'refused', refusal: { redirect: 'rtmp://10.0.0.2:1935/live' } },
      ])
    }
  })

  test('refused by a status, which goes to the client as it is', () => {
    const talk = new Conversation(play).upToRequest()
    talk.origin.callOn(7, 'onStatus', 0, null, status('NetStream.Play.StreamNotFound', 'error'))
    talk.run()
    expect(talk.outputs).toMatchObject([
      { kind: 'refused', refusal: { code: 'NetStream.Play.StreamNotFound', messages: [{ streamId: 7 }] } },
    ])
  })

  test('refused by _error on publish, whatever its transaction id', () => {
    const command = { ...publish.command, transactionId: 3 }
    const talk = new Conversation({ ...publish, command }).upToRequest()
    talk.origin.call('_error', 3, null, status('NetStream.Publish.Denied', 'error'))
    talk.run()
    expect(talk.outputs).toMatchObject([{ kind: 'refused', refusal: { code: 'NetStream.Publish.Denied' } }])
  })

  test.each([[null], [-1], [1.5], ['1'], [2 ** 32]])('createStream answered by %s ends it', (id) => {
    const talk = new Conversation(play)
    talk.origin.call('_result', 1, null, success)
    talk.run()
    const create = talk.origin.takeCommands().find((command) => command.name === 'createStream')
    talk.origin.call('_result', create!.transactionId, null, id)
    expect(() => talk.run()).toThrow(
      expect.objectContaining({ code: 'RTMP_COMMAND_INVALID', side: 'origin' }),
    )
  })

  test('an origin that talks and never answers is ended', () => {
    const talk = new Conversation(play, { maxDialogueBytes: 2000 })
    for (let count = 0; count < 100; count++) talk.origin.call('onBWDone', 0, null)
    expect(() => talk.run()).toThrow(/within 2000 bytes/)
  })
})

test('any bytes of an origin are read or end in an RtmpError', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), (chunks) => {
      const talk = new Conversation(play)
      try {
        for (const chunk of chunks) {
          talk.dialogue.receive(chunk)
          talk.drain()
        }
      } catch (error) {
        expect(error).toBeInstanceOf(RtmpError)
        expect(error).toMatchObject({ side: 'origin' })
      }
    }),
  )
})
