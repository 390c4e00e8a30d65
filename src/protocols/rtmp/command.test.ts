import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { amf0Object, encodeAmf0 } from './amf0.ts'
import { createStreamRequest, readStreamRequest } from './command-stream-request.ts'
import { commandMessage, decodeCommand } from './command.ts'
import { RtmpError } from './errors.ts'
import { MessageType } from './message.ts'
import type { RtmpMessage } from './message.ts'

const message = (type: number, payload: Uint8Array): RtmpMessage => ({
  chunkStreamId: 3,
  type,
  streamId: 0,
  timestamp: 0,
  payload,
})

describe('command messages', () => {
  test('name, transaction id and arguments survive a round trip', () => {
    const args = [amf0Object({ app: 'live' }), 'extra', 7]
    const command = decodeCommand(commandMessage({ name: 'connect', transactionId: 1, args }), 'client')
    expect(command).toEqual({
      name: 'connect',
      transactionId: 1,
      args,
      argumentBytes: encodeAmf0(...args),
    })
  })

  test('one of type 17 is AMF0 behind a byte 0', () => {
    const payload = Buffer.concat([Buffer.of(0), encodeAmf0('createStream', 2, null)])
    const command = decodeCommand(message(MessageType.commandAmf3, payload), 'client')
    expect([command.name, command.transactionId, command.args]).toEqual(['createStream', 2, [null]])
    const amf3 = message(MessageType.commandAmf3, Buffer.from('0311', 'hex'))
    expect(() => decodeCommand(amf3, 'client')).toThrow(
      expect.objectContaining({ code: 'RTMP_COMMAND_INVALID' }),
    )
  })

  test('a missing transaction id counts as 0', () => {
    expect(decodeCommand(message(20, encodeAmf0('ping')), 'client').transactionId).toBe(0)
  })

  test('argument bytes are the ones that came, also where text is not UTF-8', () => {
    const name = Buffer.from('0200 02 c4e3'.replaceAll(' ', ''), 'hex')
    const payload = Buffer.concat([encodeAmf0('publish', 5), encodeAmf0(null), name])
    const { argumentBytes } = decodeCommand(message(20, payload), 'client')
    expect(Buffer.from(argumentBytes)).toEqual(Buffer.concat([encodeAmf0(null), name]))
  })

  test('any payload is a command or an RtmpError of the side that sent it', () => {
    const payload = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ maxLength: 40 }).map((tail) => Buffer.concat([encodeAmf0('x', 1), tail])),
    )
    fc.assert(
      fc.property(payload, fc.constantFrom(17, 20), (bytes, type) => {
        try {
          decodeCommand(message(type, bytes), 'origin')
        } catch (error) {
          expect(error).toBeInstanceOf(RtmpError)
          expect(error).toMatchObject({ side: 'origin' })
        }
      }),
    )
  })
})

describe('stream requests', () => {
  test('carry app, tcUrl and name as they were written', () => {
    const request = createStreamRequest({
      action: 'publish',
      app: 'live',
      tcUrl: 'rtmp://Host/live?a=b',
      streamName: 's?token=x',
      connectProperties: { fourCcList: ['hvc1'] },
      connectArguments: ['user', 'pass'],
    })
    expect(request).toMatchObject({
      action: 'publish',
      app: 'live',
      tcUrl: 'rtmp://Host/live?a=b',
      streamName: 's?token=x',
      publishType: 'live',
    })
    expect(request.connect.args.slice(1)).toEqual(['user', 'pass'])
  })

  test('start, duration and reset of a player are kept', () => {
    const { connect, command } = createStreamRequest({ action: 'play', app: '', tcUrl: '', streamName: 's' })
    const play = { ...command, args: [null, 's', -2000, -1, true] }
    const request = readStreamRequest(connect, play, { streamId: 1, bufferLengthMs: 3000, side: 'client' })
    expect(request).toMatchObject({
      playArguments: [-2000, -1, true],
      publishType: undefined,
      bufferLengthMs: 3000,
    })
  })

  test('without a stream name there is no request', () => {
    const { connect, command } = createStreamRequest({ action: 'play', app: '', tcUrl: '', streamName: 's' })
    const context = { streamId: 1, bufferLengthMs: undefined, side: 'client' } as const
    expect(() => readStreamRequest(connect, { ...command, args: [null] }, context)).toThrow(RtmpError)
  })
})
